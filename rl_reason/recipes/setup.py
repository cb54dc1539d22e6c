"""What every recipe needs before its first step: the mesh, the model on it, its tokenizer, its dtype."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike
from transformers import PreTrainedTokenizerBase

from rl_reason import settings
from rl_reason.data import tokenization
from rl_reason.data.iterators import EncodedPrompt, encode_all
from rl_reason.data.templates import Template, find_template
from rl_reason.errors import UsageError, nearest
from rl_reason.models import attention, families, huggingface, lora, weights
from rl_reason.models.config import ModelConfig
from rl_reason.models.decoder import REMAT_POLICIES, Constrain
from rl_reason.models.tensor_files import TensorFiles
from rl_reason.models.weights import Params
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import DECODING, make_constrain, make_mesh, sharding
from rl_reason.runtime.progress import late_progress

OFFLOADED = ("optimizer", "reference")


@dataclass(frozen=True)
class Model:
    """A model's description, without its weights."""

    config: ModelConfig
    tokenizer: PreTrainedTokenizerBase
    stop_ids: tuple[int, ...]
    """End-of-sequence token ids."""
    dtype: jnp.dtype
    """Of the computation; master weights are float32."""
    remat: str
    logprob_chunk: int
    mesh: Mesh
    constrain: Constrain
    """Places what computes whole sequences on the mesh."""
    folder: Path | None
    """Where the weights come from; None: random ones."""
    adapters: Path | None = None
    """Where adapters come from; None: fresh ones, where `config.lora` asks for some."""
    offload: tuple[str, ...] = ()
    """What waits in the host's memory: "optimizer", "reference"."""
    attention: str = "xla"
    """The kernel for whole sequences, as `models.attention.choose` names it."""
    fresh_scores: bool = False
    """Whether the layer that gives scores begins at zero though the folder has one."""

    @property
    def pad_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return self.stop_ids[0] if pad is None else pad

    @property
    def decoding(self) -> Constrain:
        """Places what computes tokens one by one on the mesh."""
        return make_constrain(self.mesh, DECODING)

    def shardings(self) -> Params:
        """Where the weights lie on the mesh, as a tree."""
        return _shardings(self.mesh, weights.table(self.config))

    def trained(self) -> Params:
        """Shapes, dtypes and shardings of what is trained: the weights, or the adapters where there are some."""
        if self.config.lora:
            return weights.abstract(lora.table(self.config), self._adapter_shardings())
        return weights.abstract(weights.table(self.config), self.shardings())

    def check_files(self) -> None:
        """Raises `UsageError` unless the folder, where there is one, holds the weights."""
        if self.folder is not None:
            huggingface.check_files(self.folder, self.config)

    def fingerprint(self) -> str:
        """SHA-256 of the folder's weights, of which there are some."""
        assert self.folder is not None
        return TensorFiles(self.folder).fingerprint()

    def load_adapters(self, seed: int) -> Params:
        """The adapters to start from, float32, on the mesh: those of the folder, or fresh ones that do nothing yet."""
        if self.adapters is not None:
            return lora.load_adapters(self.adapters, self.config, self._adapter_shardings())
        table = lora.table(self.config)
        make = jax.jit(lambda key: weights.initialize(self.config, key, table), out_shardings=self._adapter_shardings())
        return make(jax.random.fold_in(jax.random.key(seed), 1))

    def _adapter_shardings(self) -> Params:
        return _shardings(self.mesh, lora.table(self.config))

    def load_params(self, seed: int, dtype: DTypeLike = "float32") -> Params:
        """The weights, read from the folder or drawn from the seed, on the mesh: the float32 masters, or their cast."""
        if self.folder is not None:
            params = huggingface.load_params(self.folder, self.config, self.shardings(), dtype)
            return {**params, "score": jnp.zeros_like(params["score"])} if self.fresh_scores else params
        make = lambda key: weights.cast(weights.initialize(self.config, key), dtype)  # noqa: E731
        return jax.jit(make, out_shardings=self.shardings())(jax.random.key(seed))


def _shardings(mesh: Mesh, table: dict[tuple[str, ...], weights.Weight]) -> Params:
    return weights.tree({path: sharding(mesh, weight.axes, weight.shape) for path, weight in table.items()})


def check_length(model: Model, prompt: int, completion: int, key: str) -> None:
    """Raises `UsageError` where a prompt and a completion together are longer than the model's positions."""
    limit = model.config.max_positions
    if prompt + completion > limit:
        raise UsageError(
            f"{key}={completion}: with prompts of up to {prompt} tokens that is {prompt + completion}; "
            f"expected at most {limit}, the model's max_position_embeddings"
        )


def take_problems(problems: Sequence[Any], count: int) -> list[Any]:
    """The first `count` of them, or all (0), in memory. Made ones are made now, some of which takes minutes."""
    count = min(count or len(problems), len(problems))
    taken = []
    with late_progress("make problems", count, enabled=hosts.is_first()) as advance:
        for index in range(count):
            taken.append(problems[index])
            advance(1)
    return taken


def encode_prompts(
    problems: Sequence[Mapping], template: Template, model: Model, max_length: int, long_prompts: str | None = None
) -> list[EncodedPrompt]:
    """`iterators.encode_all`, of which each host does its share."""
    rows, mine = model.config.vocab_size, hosts.share(len(problems))
    return encode_all(problems, template, model.tokenizer, max_length, long_prompts, rows, mine, hosts.gather)


def describe_model(model: settings.Model, mesh: Mesh, texts: Callable[[], Iterable[str]]) -> Model:
    """Reads the configuration and the tokenizer, not the weights.

    Args:
        model: the settings.
        mesh: the device mesh.
        texts: what a tokenizer is trained on where `model.path` is empty.
    """
    if model.path:
        folder = huggingface.local_folder(model.path)
        config = families.read_config(folder)
        tokenizer = tokenization.load_tokenizer(str(folder))
        without_row = tokenization.ordinary_tokens_from(tokenizer, config.vocab_size)
        if without_row:
            tensor = families.tensor_name(config.family, "embed", None)
            raise UsageError(
                f"config.model.path={model.path!r}: {tensor} has {config.vocab_size} rows, the tokenizer "
                f"{len(tokenizer)} tokens; expected a row for each token, found none for {without_row[0]!r}"
            )
    else:
        folder = None
        tokenizer = tokenization.train_tokenizer(texts(), model.tokenizer_size)
        config = families.from_shape(dict(model.shape), vocab_size=len(tokenizer))
    return _on_mesh(model, mesh, folder, config, tokenizer, tokenization.stop_ids(tokenizer, folder))


def describe_asked(
    flags: Mapping[str, Any], problems: Sequence[Mapping]
) -> tuple[Model, Template, list[EncodedPrompt]]:
    """The model that a command's flags name, on all devices, and what it is asked about problems.

    Args:
        flags: `model`, `dtype`, `template`, `max_prompt_tokens`, `max_tokens`.

    Raises:
        UsageError: there are no such weights, no such template, or too few positions.
    """
    chosen = settings.Model(path=flags["model"], dtype=flags["dtype"])
    model = describe_model(chosen, make_mesh(settings.Mesh(data=1, fsdp=-1)), lambda: ())
    model.check_files()
    template = find_template(flags["template"], "--template")
    prompts = encode_prompts(problems, template, model, flags["max_prompt_tokens"])
    check_length(model, longest(prompts), flags["max_tokens"], "--max_tokens")
    return model, template, prompts


def longest(prompts: Sequence[EncodedPrompt]) -> int:
    """Tokens of the longest prompt."""
    return max(len(prompt.prompt_ids) for prompt in prompts)


def describe_scorer(policy: Model, path: str = "", key: str = "", by_config: bool = False) -> Model:
    """A model that gives scores to what a policy writes: all of its weights are trained, and its tokens are the same.

    Args:
        policy: whose tokenizer, mesh and dtype it takes.
        path: a Hugging Face folder or name, of a language model or of one that gives scores; empty: the policy's own.
        key: what held the path, for the error line.
        by_config: whether `config.json` is enough, for what is compiled and not run.

    Raises:
        UsageError: no such folder, weights that do not fit, or another tokenizer.
    """
    if not path:
        config = dataclasses.replace(policy.config, heads=("score",), lora=None)
        return dataclasses.replace(policy, config=config, adapters=None)
    folder = huggingface.local_folder(path, weights=not by_config, key=key)
    config = dataclasses.replace(families.read_config(folder), heads=("score",))
    if not by_config and tokenization.load_tokenizer(str(folder)).get_vocab() != policy.tokenizer.get_vocab():
        raise UsageError(f"{key}={path!r}: expected the policy's tokenizer, found another vocabulary")
    return _describe_beside(policy, folder, config, by_config)


def describe_teacher(student: Model, path: str, key: str, by_config: bool = False) -> Model:
    """A language model of any family and size whose logits stand for the student's tokens.

    Args:
        student: whose tokenizer, mesh and dtype it takes.
        path: a Hugging Face folder or name.
        key: what held the path, for the error line.
        by_config: as in `describe_scorer`.

    Raises:
        UsageError: no such folder, weights that do not fit, a model without a vocabulary, or another tokenizer.
    """
    folder = huggingface.local_folder(path, weights=not by_config, key=key)
    config = families.read_config(folder)
    architecture = (config.hf.get("architectures") or ["none"])[0]
    if architecture.endswith("ForSequenceClassification"):
        raise UsageError(f"{key}={path!r}: expected a language model, found {architecture}")
    if not by_config:
        _check_same_tokens(student, folder, f"{key}={path!r}")
        without_row = tokenization.ordinary_tokens_from(student.tokenizer, config.vocab_size)
        if without_row:
            raise UsageError(
                f"{key}={path!r}: its vocabulary has {config.vocab_size} rows, the tokenizer {len(student.tokenizer)} "
                f"tokens; expected a row for each token, found none for {without_row[0]!r}"
            )
    made = _describe_beside(student, folder, config, by_config)
    # It reads the rows that the student reads, which share their prompts where the student's attention lets them.
    return dataclasses.replace(made, attention="xla") if student.attention == "xla" else made


def _check_same_tokens(student: Model, folder: Path, told: str) -> None:
    """Raises `UsageError` with the first token that is another one for the model in a folder."""
    theirs, ours = (
        {id: token for token, id in tokenizer.get_vocab().items()}
        for tokenizer in (tokenization.load_tokenizer(str(folder)), student.tokenizer)
    )
    differing = [id for id in theirs.keys() | ours.keys() if theirs.get(id) != ours.get(id)]
    if differing:
        first = min(differing)
        name = "that is trained here" if student.folder is None else f"of config.model.path={str(student.folder)!r}"
        named = [repr(tokens[first]) if first in tokens else "none" for tokens in (theirs, ours)]
        raise UsageError(
            f"{told}: expected the tokenizer {name}, for logits of the same tokens; token {first} is {named[0]} of the "
            f"teacher, {named[1]} of the student"
        )


def _describe_beside(policy: Model, folder: Path, config: ModelConfig, by_config: bool) -> Model:
    """Another model on the policy's mesh."""
    _check_experts(config, policy.mesh)
    kernel = attention.choose(policy.attention, policy.mesh.devices.flat[0], config, policy.dtype)
    made = dataclasses.replace(policy, config=config, folder=folder, adapters=None, attention=kernel)
    if not by_config:
        made.check_files()
    return made


def describe_by_config(model: settings.Model, mesh: Mesh) -> Model:
    """As `describe_model`, from `config.json` alone: for what is compiled and not run. The tokenizer is empty."""
    if model.path:
        folder = huggingface.local_folder(model.path, weights=False)
        config = families.read_config(folder)
    else:
        folder = None
        config = families.from_shape(dict(model.shape), vocab_size=model.tokenizer_size)
    ids = config.hf.get("eos_token_id")
    stop_ids = tuple(ids) if isinstance(ids, list) else (0 if ids is None else ids,)
    return _on_mesh(model, mesh, folder, config, tokenization.empty_tokenizer(), stop_ids)


def _on_mesh(
    model: settings.Model,
    mesh: Mesh,
    folder: Path | None,
    config: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    stop_ids: tuple[int, ...],
) -> Model:
    if model.remat not in REMAT_POLICIES:
        raise UsageError(f"config.model.remat={model.remat!r}: unknown policy{nearest(model.remat, REMAT_POLICIES)}")
    for name in model.offload:
        if name not in OFFLOADED:
            raise UsageError(f"config.model.offload={model.offload!r}: expected some of {', '.join(OFFLOADED)}")
    if "reference" in model.offload and (model.lora_rank or model.lora_path):
        raise UsageError(
            f"config.model.offload={model.offload!r}: with adapters the frozen weights are the reference; expected no "
            "'reference'"
        )
    if model.logprob_chunk < 1:
        raise UsageError(f"config.model.logprob_chunk={model.logprob_chunk}: expected a positive integer")
    _check_experts(config, mesh)
    adapters = Path(model.lora_path).expanduser() if model.lora_path else None
    if adapters:
        config = dataclasses.replace(config, lora=lora.read_lora(adapters, config))
    elif model.lora_rank:
        config = dataclasses.replace(
            config, lora=lora.make_lora(config, model.lora_rank, model.lora_alpha, model.lora_targets)
        )
    dtype = compute_dtype(model.dtype, mesh.devices.flat[0])
    return Model(
        config=config,
        tokenizer=tokenizer,
        stop_ids=stop_ids,
        dtype=dtype,
        remat=model.remat,
        offload=tuple(model.offload),
        logprob_chunk=model.logprob_chunk,
        mesh=mesh,
        constrain=make_constrain(mesh),
        folder=folder,
        adapters=adapters,
        attention=attention.choose(model.attention, mesh.devices.flat[0], config, dtype),
    )


def _check_experts(config: ModelConfig, mesh: Mesh) -> None:
    ways, count = mesh.shape["expert"], config.experts.count if config.experts else 1
    if count % ways:
        raise UsageError(f"config.mesh.expert={ways}: expected a divisor of the model's number of experts, {count}")


def compute_dtype(name: str, device: jax.Device) -> jnp.dtype:
    """The dtype of the computation on a device; "auto" is float32 on CPU and bfloat16 elsewhere."""
    if name == "auto":
        name = "float32" if device.platform == "cpu" else "bfloat16"
    if name not in ("float32", "bfloat16"):
        raise UsageError(f"config.model.dtype={name!r}: expected 'auto', 'float32' or 'bfloat16'")
    return jnp.dtype(name)
