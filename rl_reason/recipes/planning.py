"""What a run would take: the steps of a recipe, compiled for devices that need not be there (`rl_reason.plan`).

The functions are those that the recipe runs, made by the same calls; their arguments are shapes with shardings.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.labelled import Judged
from rl_reason.errors import UsageError
from rl_reason.models import weights
from rl_reason.models.cache import CompletionCache
from rl_reason.parallel import compiled
from rl_reason.parallel.mesh import DECODING, HOST, lanes, make_mesh, replicated, sharding
from rl_reason.recipes import distillation, distillation_update, policy_steps, reward_model, supervised
from rl_reason.recipes.accumulation import Pieces, Step, rows_at_once
from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.recipes.checks.common import check_rows
from rl_reason.recipes.checks.distillation import check_distillation
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient
from rl_reason.recipes.checks.reward_model import check_reward_model
from rl_reason.recipes.completions import completion_scores, lay, make_scoring, pieces_sharding
from rl_reason.recipes.critic import CRITIC_ALONE, CRITIC_READS, describe_critic, with_shared_critic
from rl_reason.recipes.drawing import make_policy_sampler
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.learned_rewards import describe_reward_model
from rl_reason.recipes.optimizer import TrainState, make_optimizer
from rl_reason.recipes.rollout import cut_minibatches, make_batch, weigh
from rl_reason.recipes.setup import Model, check_length, describe_by_config, describe_scorer, describe_teacher
from rl_reason.recipes.state import State, abstract_state, train_shardings
from rl_reason.runtime.progress import Progress
from rl_reason.sampling.sampler import Sampler
from rl_reason.settings import Settings

Piece = dict[str, jax.ShapeDtypeStruct]
SCORED = ("tokens", "segments", "mask", "questions")
"""What scoring reads of a batch."""


@dataclass(frozen=True)
class _Program:
    compiled: jax.stages.Compiled | None
    """None: it takes more memory than there is."""
    error: str
    """What the compiler says then."""
    seconds: float


def _compile(function: Any, *arguments: Any) -> _Program:
    start = time.monotonic()
    try:
        made, error = function.lower(*arguments).compile(), ""
    except jax.errors.JaxRuntimeError as raised:
        if "RESOURCE_EXHAUSTED" not in str(raised):
            raise
        made, error = None, _one_line(raised)
    return _Program(made, error, round(time.monotonic() - start, 1))


@dataclass(frozen=True)
class Call:
    """A jitted function of a step with the shapes that it is called with."""

    name: str
    function: Any
    arguments: tuple
    calls: int
    """In a step."""
    rows: int
    """That it works on at the same time."""
    trips: int = 1
    """At most, of its loops that end when they are done."""
    within: dict[str, int] = dataclasses.field(default_factory=dict)
    """Bytes on a device of what is known among its arguments and temporaries."""
    takes_pieces: bool = False
    """Whether its rows are those of `algorithm.micro_batch`."""
    reads_state: bool = True
    """Whether its first argument is a part of the state: weights, or all that an update changes."""
    program: _Program | None = None
    """Compiled already, to see where what it makes lies."""


def plan(settings: Settings, devices: Sequence[jax.Device], memory: int | None) -> dict[str, Any]:
    """Compiles every function of a step; returns JSON values, sizes in bytes on one device.

    Args:
        settings: of the run.
        devices: to compile for.
        memory: bytes of one of them; None: not known.
    """
    model, state, calls = _calls(settings, devices)
    report: dict[str, Any] = {
        "devices": model.mesh.size,
        "device_kind": devices[0].device_kind,
        "mesh": dict(model.mesh.shape),
        "memory": memory,
        "parameters": weights.count(model.config),
        "dtype": model.dtype.name,
        "attention": model.attention,
        "remat": model.remat,
        "state": state_bytes(state),
        "offloaded": device_bytes(list(state.values()), on_host=True),
        "functions": {},
    }
    with Progress(len(calls), title="compile") as progress:
        while calls:  # Programs take memory here, too.
            call = calls.pop(0)
            report["functions"][call.name] = _measure(call, report["state"], memory)
            progress.advance(1)
    functions = report["functions"].values()
    updating = ("gradients", "update", "critic_gradients", "critic_update")
    by_phase = {"sampling": ("move", "prefill", "decode"), "update": updating}
    report["peak"] = {phase: _greatest(report, names) for phase, names in by_phase.items()}
    report["flops_step"] = sum(made["flops"] * made["calls"] for made in functions)
    report["fits"] = None if memory is None else all(made["fits"] for made in functions)
    return report


def find_micro_batch(settings: Settings, devices: Sequence[jax.Device], memory: int) -> tuple[int, dict[int, int]]:
    """The greatest `algorithm.micro_batch` of which every function that takes one fits: a divisor of the rows of an
    update, found by bisection.

    Args:
        settings: of the run.
        devices: to compile for.
        memory: bytes of one of them.

    Returns:
        It, 0 if none fits, and the peak of each one tried.
    """
    algorithm = settings.algorithm
    rows = algorithm.batch_size // algorithm.minibatches
    lanes_of_mesh = lanes(make_mesh(settings.mesh, devices))
    sizes = [n for n in range(1, rows + 1) if rows % n == 0 and n % lanes_of_mesh == 0] or [rows]
    tried: dict[int, int] = {}
    first, last = 0, len(sizes)  # sizes[:first] fit, sizes[last:] do not
    with Progress(len(sizes).bit_length(), title="micro-batches") as progress:
        while first < last:
            middle = (first + last) // 2
            changed = dataclasses.replace(settings, algorithm=dataclasses.replace(algorithm, micro_batch=sizes[middle]))
            model, state, calls = _calls(changed, devices)
            made = [_measure(call, state_bytes(state), memory) for call in calls if call.takes_pieces]
            # Where the compiler gives up, it does not always say what it would have taken.
            tried[sizes[middle]] = max(one["peak"] or memory + 1 for one in made)
            fits = all(one["fits"] for one in made)
            first, last = (middle + 1, last) if fits else (first, middle)
            progress.advance(1)
    return (sizes[first - 1] if first else 0), tried


def _greatest(report: dict[str, Any], names: tuple[str, ...]) -> int | None:
    peaks = [report["functions"][name]["peak"] for name in names if name in report["functions"]]
    return None if None in peaks else max(peaks, default=None)


def _calls(settings: Settings, devices: Sequence[jax.Device]) -> tuple[Model, State, list[Call]]:
    if settings.recipe not in PLANS:
        raise UsageError(f"config.recipe={settings.recipe!r}: cannot be planned; expected {' or '.join(PLANS)}")
    model = with_shared_critic(describe_by_config(settings.model, make_mesh(settings.mesh, devices)), settings)
    if settings.recipe == "reward_model":
        model = describe_scorer(model)
    return model, *PLANS[settings.recipe](settings, model)


def _measure(call: Call, state: dict[str, int], memory: int | None) -> dict[str, Any]:
    """Compiles a function and reads what it takes."""
    made: dict[str, Any] = {"rows": call.rows, "calls": call.calls, "within": call.within}
    made["flops"] = compiled.flops(call.function.trace(*call.arguments).jaxpr, call.trips)
    others = device_bytes([x for x in call.arguments[call.reads_state :] if not isinstance(x, int)])
    made["resident"] = sum(state.values()) - device_bytes(call.arguments[0]) * call.reads_state
    result = call.program or _compile(call.function, *call.arguments)
    program = result.compiled
    if program is None:
        needed = _needed(result.error)
        peak = None if needed is None else needed + made["resident"]
        return made | {"arguments": None, "peak": peak, "fits": False, "error": result.error}
    made["compile_s"] = result.seconds
    made |= _memory(program, sum(state.values()), others)
    made["xla"] = compiled.cost(program)
    made["collectives"] = compiled.summarize(compiled.collectives(program.as_text() or ""))
    # What a gradient function makes beside activations, in temporaries or in what it returns, is the gradient.
    beside = call.within.get("gradients", 0) if call.name.endswith("gradients") else made["outputs_beside"]
    made["activations"] = max(made["temporaries"] + made["outputs_beside"] - beside, 0)
    made["fits"] = None if memory is None else made["peak"] <= memory
    return made


def _memory(program: jax.stages.Compiled, state: int, others: int) -> dict[str, int]:
    """Bytes on a device while a program runs, whose arguments are `others` and a part of the `state`."""
    sizes = compiled.memory(program)
    # What a program does not read of its arguments is none of them, but lies there all the same.
    resident = max(state - max(sizes["argument"] - others, 0), 0)
    beside = sizes["output"] - sizes["alias"]
    return {
        "arguments": sizes["argument"],
        "outputs_beside": beside,
        "temporaries": sizes["temp"],
        "code": sizes["generated_code"],
        "resident": resident,
        "peak": sizes["argument"] + beside + sizes["temp"] + sizes["generated_code"] + resident,
    }


def _one_line(error: Exception) -> str:
    """What the compiler says of memory that is too small, without the list of what lies in it."""
    text = " ".join(str(error).split())
    found = re.search(r"(Ran out of memory|Used [\d.]+[KMGT] of).*?(?=Total hbm|Largest|$)", text)
    return (found[0] if found else text)[:300].strip()


def _needed(told: str) -> int | None:
    """The bytes in what the compiler says: "Used 15.93G of 15.75G hbm", "… temporaries (670.62G) exceeds …"."""
    found = re.search(r"(?:Used |\()([\d.]+)([KMGT])", told)
    return round(float(found[1]) * 1024 ** (" KMGT".index(found[2]))) if found else None


def device_bytes(tree: Any, on_host: bool = False) -> int:
    """Bytes of a tree of shapes on one device, or of what waits for one in the host's memory; all devices hold the
    same."""

    def one(x: Any) -> int:
        place = getattr(x, "sharding", None)
        if (getattr(place, "memory_kind", None) == HOST) != on_host:
            return 0
        shape = place.shard_shape(x.shape) if place is not None else x.shape
        return int(np.prod(shape, dtype=np.int64)) * np.dtype(x.dtype).itemsize

    return sum(one(x) for x in jax.tree.leaves(tree) if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key))


def state_bytes(state: State) -> dict[str, int]:
    """Bytes on one device that lie there throughout a run."""
    train = state["train"]
    return {
        "parameters": device_bytes(train.params),
        "optimizer": device_bytes((train.opt_state, train.updates)),
        "reference": device_bytes(state.get("reference", ())),
        "frozen": device_bytes(train.frozen),
        "critic": device_bytes(state.get("critic", ())),
        "reward model": device_bytes(state.get("reward_model", ())),
        "teacher": device_bytes(state.get("teacher", ())),
    }


def _policy_gradient(settings: Settings, model: Model) -> tuple[State, list[Call]]:
    check_policy_gradient(settings)
    algorithm, sampling = settings.algorithm, settings.sampling
    prompt = settings.data.max_prompt_length
    check_length(model, prompt, sampling.max_length, "config.sampling.max_length")
    check_rows(settings, model.mesh)
    critic = describe_critic(settings, model, by_config=True)
    judge = describe_reward_model(settings.reward, model, by_config=True) if settings.reward.model else None
    if critic:
        check_length(critic, prompt, sampling.max_length, "config.critic.path: config.sampling.max_length")
    steps = policy_steps.make_steps(settings, model, critic, judge)
    state = _with_frozen(steps.abstract, model)
    updates = algorithm.updates * algorithm.minibatches

    sampled = _sampling(settings, model, steps.sampler, state["train"].policy)
    batch, length = _batch(settings, model), prompt + sampling.max_length
    scored = {}  # log-probabilities → the weights that give them
    if algorithm.kl_coef:
        scored["reference"] = jax.tree.map(_on_device, state.get("reference", state["train"].frozen))
    if policy_steps.scores_old_logprobs(settings):
        scored["old"] = state["train"].policy
    read = {name: batch[name] for name in SCORED}
    pieces, count = _pieces(read, model, steps.score.micro_batch)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    rows = pieces["tokens"].shape[1]
    scores = []
    for name, params in scored.items():
        fetched = name == "reference" and "reference" in model.offload
        arguments = params, pieces, number, length
        made = Call(f"score_{name}", steps.score.of_pieces, arguments, 1, rows, count, takes_pieces=True)
        scores.append(dataclasses.replace(made, reads_state=not fetched))
    if steps.values:
        learner: TrainState = state.get("critic", state["train"])
        own, count = _pieces(read, steps.values.model, steps.micro_batch)
        arguments = (learner.policy, own, number, length)
        own_rows = own["tokens"].shape[1]
        scores += [Call("values", steps.values.of_pieces, arguments, 1, own_rows, count, takes_pieces=True)]
        batch |= {name: batch["sampler_logprobs"] for name in CRITIC_ALONE}
    if judge:
        if "reward_model" not in state:  # It stays as it is, and lies there in the compute dtype.
            state["reward_model"] = _in_dtype(weights.abstract(weights.table(judge.config), judge.shardings()), judge)
        params = state["reward_model"].params if "reward_model" in steps.others else state["reward_model"]
        score = make_scoring(judge, completion_scores, steps.micro_batch)
        own, count = _pieces(read, judge, steps.micro_batch)
        arguments, own_rows = (params, own, number, length), own["tokens"].shape[1]
        scores += [Call("score_reward", score.of_pieces, arguments, 1, own_rows, count, takes_pieces=True)]
    read_too = [*scored, "old"] if algorithm.old_logprobs == "sampler" else scored
    batch |= {f"{name}_logprobs": batch["sampler_logprobs"] for name in read_too}
    part = cut_minibatches(batch, algorithm.minibatches, (settings.seed,))[0]
    part, _ = weigh(part, algorithm.reduction, sampling.max_length)
    learned = []
    if steps.update_critic:
        read = {name: part.pop(name) if name in CRITIC_ALONE else part[name] for name in CRITIC_READS}
        pieces, count = _pieces(read, steps.update_critic.model, steps.micro_batch)
        learned = _step(steps.update_critic.step(length), state["critic"], pieces, count, updates, "critic_")
    pieces, count = _pieces(part, model, steps.update.micro_batch)
    learned += _step(steps.update.step(length), state["train"], pieces, count, updates)
    return state, [*sampled, *scores, *learned]


def _sampling(settings: Settings, model: Model, sampler: Sampler, params: weights.Params) -> list[Call]:
    """The functions of sampling, the last one with the greatest cache. What comes behind one that does not fit is left
    out."""
    algorithm, sampling, prompt = settings.algorithm, settings.sampling, settings.data.max_prompt_length
    rows = rows_at_once(sampling.batch_size, algorithm.batch_size)
    calls, length = algorithm.batch_size // rows, sampling.max_length
    arguments = _sampler_arguments(model, rows // algorithm.group_size, prompt)
    # What these make lies where their compiled programs put it.
    moving = _compile(sampler.to_decoding, params)
    made = [Call("move", sampler.to_decoding, (params,), 1, 0, program=moving)]
    if moving.compiled is None:
        return made
    decoding = _results(moving.compiled, sampler.to_decoding, params)
    arguments = params, decoding, *arguments
    starting = _compile(sampler.start, *arguments)
    made.append(Call("prefill", sampler.start, arguments, calls, rows, program=starting))
    if starting.compiled is None:
        return made
    prompts, state = _results(starting.compiled, sampler.start, *arguments)
    places = jax.tree.map(lambda x: x.sharding, state.own)
    state = dataclasses.replace(state, own=jax.tree.map(_placed, _grown(sampler, state.own), places))
    within = {"cache": _cache_bytes(model, rows, algorithm.group_size, prompt, length)}
    number = jax.ShapeDtypeStruct((), jnp.int32)
    arguments = decoding, prompts, state, number, number
    return [*made, Call("decode", sampler.decode, arguments, calls, rows, length - 1, within, reads_state=False)]


def _results(program: jax.stages.Compiled, function: Any, *arguments: Any) -> Any:
    """The shapes of what a function returns, where it lies."""
    return jax.tree.map(_placed, jax.eval_shape(function, *arguments), program.output_shardings)


def _on_device(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Where a shape lies that was fetched from the host."""
    return _placed(x, x.sharding.with_memory_kind("device")) if x.sharding.memory_kind == HOST else x


def _placed(x: jax.ShapeDtypeStruct, place: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)


def _grown(sampler: Sampler, own: CompletionCache) -> CompletionCache:
    """Shapes of the cache of completions at its greatest."""
    return jax.eval_shape(lambda own: sampler.grow(own, sampler.max_length), own)


def _supervised(settings: Settings, model: Model) -> tuple[State, list[Call]]:
    """Of examples or of documents: both fill rows."""
    OF_RECIPES[settings.recipe](settings)
    algorithm = settings.algorithm
    optimizer = make_optimizer(algorithm, settings.steps)
    state = _with_frozen(abstract_state(model, optimizer, with_reference=False), model)
    step = supervised.make_supervised_step(model, optimizer, train_shardings(state, model))
    rows = rows_at_once(algorithm.micro_batch, algorithm.batch_size)
    kinds = {"tokens": np.int32, "segments": np.int32, "weights": np.float32}
    count, shape = algorithm.batch_size // rows, (rows, supervised.row_length(settings)[1])
    pieces = {name: np.empty((count, *shape), kind) for name, kind in kinds.items()}
    return state, _step(step, state["train"], _shapes(pieces, model), count, 1)


def _distillation(settings: Settings, model: Model) -> tuple[State, list[Call]]:
    """The steps that sample, where there are some; their update where all do, else that of a file's completions, which
    share no prompts and take more."""
    check_distillation(settings)
    algorithm, wanted = settings.algorithm, settings.distillation
    prompt, completion = settings.data.max_prompt_length, settings.sampling.max_length
    teacher = describe_teacher(model, wanted.teacher, "config.distillation.teacher", by_config=True)
    check_length(model, prompt, completion, "config.sampling.max_length")
    check_length(teacher, prompt, completion, "config.distillation.teacher: config.sampling.max_length")
    check_rows(settings, model.mesh)
    optimizer = make_optimizer(algorithm, settings.steps)
    state = _with_frozen(abstract_state(model, optimizer, with_reference=False), model)
    update = distillation_update.make_update(
        model,
        teacher,
        wanted,
        optimizer,
        train_shardings(state, model),
        distillation.micro_batch(settings),
        distillation.common_tokens(model, teacher),
    )
    state["teacher"] = _in_dtype(weights.abstract(weights.table(teacher.config), teacher.shardings()), teacher)
    sampled = []
    if wanted.on_policy > 0:
        sampler = make_policy_sampler(settings, model, algorithm.group_size)
        sampled = _sampling(settings, model, sampler, state["train"].policy)
    if wanted.on_policy < 1:
        settings = dataclasses.replace(settings, algorithm=dataclasses.replace(algorithm, group_size=1))
    batch, _ = weigh(_batch(settings, model), algorithm.reduction, completion)
    del batch["advantages"]
    pieces, count = _pieces(batch, model, update.micro_batch)
    arguments = state["teacher"], pieces, jax.ShapeDtypeStruct((), jnp.int32)
    rows, length = pieces["tokens"].shape[1], prompt + completion
    asked = Call("teacher", update.ask.of_pieces, (*arguments, length), 1, rows, count, takes_pieces=True)
    told: Any = jax.eval_shape(lambda p, pieces, n: update.ask.of_pieces(p, pieces, n, length), *arguments)
    axes = None, "batch", "time", None
    place: Callable = lambda x: _placed(x, sharding(model.mesh, axes[: x.ndim], x.shape))  # noqa: E731
    pieces = {**pieces, **{name: place(x) for name, x in told.items()}}
    others = update.others(state["teacher"])
    return state, [*sampled, asked, *_step(update.step(length), state["train"], pieces, count, 1, others=others)]


def _step(
    step: Step, train: TrainState, pieces: Pieces, count: int, updates: int, prefix: str = "", others: tuple = ()
) -> list[Call]:
    """The two functions of an optimizer step; `updates`: how many there are in a step of the run; `others`: what the
    loss reads beside pieces."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    whole = jax.ShapeDtypeStruct((), jnp.int32)
    arguments = train, pieces, whole, *others
    shapes = jax.eval_shape(step.gradients, *arguments)
    places = jax.tree.map(lambda x: x.sharding, train.params)
    totals = dataclasses.replace(shapes, gradients=jax.tree.map(_placed, shapes.gradients, places))
    rows, within = pieces["tokens"].shape[1], {"gradients": device_bytes(totals.gradients)}
    return [
        Call(f"{prefix}gradients", step.gradients, arguments, updates, rows, count, within, True),
        Call(f"{prefix}update", step.finish, (train, totals, number, number), updates, rows * count, within=within),
    ]


def _reward_model(settings: Settings, model: Model) -> tuple[State, list[Call]]:
    """The training; what samples the labels is a policy's sampling, before the training's state is there."""
    check_reward_model(settings)
    algorithm, kind = settings.algorithm, settings.reward_model.kind
    prompt, completion = settings.data.max_prompt_length, settings.sampling.max_length
    check_length(model, prompt, completion, "config.sampling.max_length")
    optimizer = make_optimizer(algorithm, settings.steps)
    state = abstract_state(model, optimizer, with_reference=False)
    micro_batch, update = reward_model.make_steps(settings, model, optimizer, state)
    # As many prompts as completions, which is the most that there can be.
    ids = [0] * completion
    ends: list[int] = [completion - 1]
    targets: list[float | None] = [1.0]
    sides = [Judged(str(i), [i + 1] * prompt, ids, ends, targets) for i in range(algorithm.batch_size)]
    items = [(side, side) if kind == "preference" else (side,) for side in sides]
    batch = reward_model.make_labelled_batch(items, (prompt, completion), model.pad_id)
    scores = []
    if kind == "preference":
        read = {name: batch[name] for name in SCORED}
        pieces, count = _pieces(read, model, micro_batch)
        number = jax.ShapeDtypeStruct((), jnp.int32)
        arguments = (state["train"].policy, pieces, number, prompt + completion)
        own_rows = pieces["tokens"].shape[1]
        scores = [Call("score", update.score.of_pieces, arguments, 1, own_rows, count, takes_pieces=True)]
        batch, _ = reward_model.with_tangents(batch, np.zeros(batch["mask"].shape, np.float32))
    pieces, count = _pieces(batch, model, micro_batch)
    return state, [*scores, *_step(update.step(prompt + completion), state["train"], pieces, count, 1)]


PLANS: dict[str, Callable[[Settings, Model], tuple[State, list[Call]]]] = {
    "distillation": _distillation,
    "policy_gradient": _policy_gradient,
    "pretraining": _supervised,
    "reward_model": _reward_model,
    "supervised": _supervised,
}
"""`config.recipe` → the state of a run, and the functions of a step."""


def _with_frozen(state: State, model: Model) -> State:
    """The state as it is in a run: with the weights beneath adapters, where there are some."""
    if not model.config.lora:
        return state
    params = weights.abstract(weights.table(model.config), model.shardings())
    train: TrainState = state["train"]
    return {**state, "train": dataclasses.replace(train, frozen=_in_dtype(params, model))}


def _in_dtype(params: weights.Params, model: Model) -> weights.Params:
    """Shapes of weights in the compute dtype."""
    return jax.tree.map(
        lambda x, like: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=like.sharding),
        jax.eval_shape(lambda p: weights.cast(p, model.dtype), params),
        params,
    )


def _batch(settings: Settings, model: Model) -> dict[str, np.ndarray]:
    """A batch as the recipe makes it, of prompts of the greatest length."""
    algorithm, prompt = settings.algorithm, settings.data.max_prompt_length
    rows, length = algorithm.batch_size, settings.sampling.max_length
    asked = [EncodedPrompt(i, [0] * prompt) for i in range(rows // algorithm.group_size)]
    zeros = np.zeros((rows, length))
    samples = Samples(
        zeros.astype(np.int32), zeros.astype(np.float32), np.full(rows, length, np.int32), np.zeros(rows, bool)
    )
    batch = make_batch(asked, samples, algorithm.group_size, prompt, model.pad_id)
    return {**batch, "advantages": np.ones(rows, np.float32)}


def _pieces(batch: Mapping[str, np.ndarray], model: Model, micro_batch: int) -> tuple[Pieces, int]:
    """The shapes of a batch's pieces, and how many there are."""
    layout = lay(batch, model, micro_batch)
    return _shapes(make_pieces(batch, layout), model), layout.pieces


def _shapes(pieces: Mapping[str, np.ndarray], model: Model) -> Pieces:
    """Pieces as they lie on the mesh."""
    return {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=pieces_sharding(x, model.mesh))  # type: ignore[misc]
        for name, x in pieces.items()
    }


def _sampler_arguments(model: Model, questions: int, prompt: int) -> tuple:
    """As `evaluation.start_sampling` puts them on the mesh."""
    rows = sharding(model.mesh, ("batch", "time"), (questions, prompt))
    everywhere = replicated(model.mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return (
        jax.ShapeDtypeStruct((questions, prompt), jnp.int32, sharding=rows),
        jax.ShapeDtypeStruct((questions, prompt), jnp.bool_, sharding=rows),
        jax.ShapeDtypeStruct((questions,), jnp.int32, sharding=everywhere),
        key,
    )


def _cache_bytes(model: Model, rows: int, group: int, prompt: int, length: int) -> int:
    """Bytes of keys and values of prompts and completions on one device, laid out as the model's heads are."""
    heads, *widths = model.config.cached

    def part(count: int, positions: int) -> int:
        shapes = [(count, heads, positions, width) for width in widths]
        axes = ("batch", "kv_heads", "keys", None)
        places = [sharding(model.mesh, axes, shape, DECODING) for shape in shapes]
        return device_bytes(
            [jax.ShapeDtypeStruct(s, model.dtype, sharding=p) for s, p in zip(shapes, places, strict=True)]
        )

    return model.config.num_layers * (part(rows // group, prompt) + part(rows, length))
