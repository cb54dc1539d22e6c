"""The work that is timed: models of random weights, prompts and a reward that every system can take as they are.

A workload is a shape of a model, a length of prompts and completions, and a number of samples. `make_folder` writes its
model as a Hugging Face folder, with numpy and tokenizers only, so that each system's own environment can do so.

How long completions are is a property of the weights, so that every system meets the same lengths without being asked:
coordinate 0 of the residual stream is one large constant. All embeddings have it, no layer writes to it, and after the
last norm it is the same number at every position. Through the tied head it adds the same to all logits, which changes
nothing, but for the rows of two tokens that have another coordinate 0: padding never comes, and the token that ends a
completion comes with a fixed probability at each position, whatever came before. All other tokens are nearly equally
probable.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np

from rl_reason.errors import UsageError

Lengths = Literal["fixed", "longtail", "short"]
LENGTHS: tuple[Lengths, ...] = ("fixed", "longtail", "short")
"""`fixed`: every completion goes to the limit; `longtail`: lengths are geometric, most far below it; `short`: geometric
with a mean of `SHORT` tokens, whatever the limit is."""
SHORT = 32

PAD, END = "<|pad|>", "<|endoftext|>"
PAD_ID, END_ID = 0, 1
PROMPTS = 256
"""Different prompts of a workload."""

CONSTANT = 10.0
"""Coordinate 0 of the residual stream; the others have norm 1 at first, so it makes up nearly all of the norm."""
NEVER = -40.0
"""What is added to the logit of a token that must not come."""
SPREAD = 0.1
"""Standard deviation of logits in units of the norm of the residual stream's other coordinates."""
VERSION = 2
"""Of the folders: raised when what is written changes."""


@dataclass(frozen=True)
class Workload:
    """One model shape (Qwen2's architecture, tied embeddings) and one step's work."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    prompt: int
    """Tokens of every prompt."""
    completion: int
    """Tokens of a completion, at most."""
    prompts: int
    """Different prompts in one step."""
    group: int
    """G: completions of a prompt."""

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def batch(self) -> int:
        """Completions in one step."""
        return self.prompts * self.group

    def hazard(self, lengths: Lengths) -> float:
        """Probability that a completion ends at a position, given that it has come so far."""
        return {"fixed": 0.0, "longtail": 4 / self.completion, "short": 1 / SHORT}[lengths]

    def mean_length(self, lengths: Lengths) -> float:
        """Expected tokens of a completion, the one that ends it counted: a geometric distribution, cut off."""
        hazard = self.hazard(lengths)
        return (1 - (1 - hazard) ** self.completion) / hazard if hazard else float(self.completion)


_ROWS = (
    Workload("tiny", 256, 4, 4, 2, 1024, 1024, 64, 128, 4, 8),
    Workload("small", 512, 8, 8, 2, 2048, 8192, 128, 256, 4, 8),
    Workload("0.5b", 896, 24, 14, 2, 4864, 151936, 64, 64, 2, 4),
    Workload("1.5b", 1536, 28, 12, 2, 8960, 151936, 256, 1024, 32, 16),
)
WORKLOADS: dict[str, Workload] = {row.name: row for row in _ROWS}
"""By name. `tiny`, `small` and `0.5b` are meant for a CPU, `1.5b` for a GPU."""


def find(name: str) -> Workload:
    """The workload of a name, which may change some of its numbers: "tiny", "tiny:completion=512:group=4".

    Raises:
        UsageError: there is none; says what was expected.
    """
    base, *changes = name.split(":")
    if base not in WORKLOADS:
        raise UsageError(f"workload {base!r}: expected one of {', '.join(WORKLOADS)}")
    numbers = [field.name for field in fields(Workload) if field.name != "name"]
    made = {}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in numbers or not value.isdecimal() or int(value) < 1:
            raise UsageError(f"workload {name!r}, {change!r}: expected KEY=NUMBER with one of {', '.join(numbers)}")
        made[key] = int(value)
    return replace(WORKLOADS[base], name=name, **made)


def prompts(workload: Workload) -> list[str]:
    """`PROMPTS` different texts of exactly `workload.prompt` tokens, always the same ones."""
    random = np.random.default_rng(1)
    ids = random.integers(END_ID + 1, workload.vocab, (PROMPTS, workload.prompt))
    return [" ".join(f"w{i}" for i in row) for row in ids]


def problems(split: str, dir: str, seed: int) -> list[dict]:
    """The prompts as a data source of rl_reason; `dir` is the workload's name. All splits and seeds are the same."""
    texts = prompts(find(dir))
    return [{"id": f"{dir}-{i}", "problem": text, "answer": "none"} for i, text in enumerate(texts)]


def reward(completion: str, problem: Mapping | None = None) -> float:
    """Share of words with an even number: cheap, and different for the samples of a group.

    A text without words has 0. Special tokens, which some systems leave in the text, do not count.
    """
    words = [word for word in completion.split() if word[0] == "w"]
    return sum(word[-1] in "02468" for word in words) / len(words) if words else 0.0


def make_folder(workload: Workload, lengths: Lengths, folder: Path) -> Path:
    """Writes the model of a workload as a Hugging Face folder; where it stands already, nothing is done.

    Weights are float32 and random with a fixed seed, made and written tensor by tensor.
    """
    about = {"version": VERSION, "lengths": lengths, **asdict(workload)}
    mark = folder / "workload.json"
    if mark.is_file() and json.loads(mark.read_text()) == about:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    _write_json(folder / "config.json", model_config(workload))
    _write_json(folder / "generation_config.json", {"eos_token_id": END_ID, "pad_token_id": PAD_ID})
    _write_tokenizer(workload, folder)
    _write_weights(workload, lengths, folder / "model.safetensors")
    _write_json(mark, about)
    return folder


def model_config(workload: Workload) -> dict:
    """The content of `config.json`."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": workload.vocab,
        "hidden_size": workload.hidden,
        "intermediate_size": workload.intermediate,
        "num_hidden_layers": workload.layers,
        "num_attention_heads": workload.heads,
        "num_key_value_heads": workload.kv_heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "max_position_embeddings": max(2048, workload.prompt + workload.completion),
        "eos_token_id": END_ID,
        "pad_token_id": PAD_ID,
        "torch_dtype": "float32",
    }


def end_shift(workload: Workload, lengths: Lengths) -> float:
    """What is added to the logit of the end token; other logits are about 0, with a small spread.

    Behind the last norm coordinate 0 is a little less than √d, because the others have norm 1 at least.
    """
    hazard = workload.hazard(lengths)
    if not hazard:
        return NEVER
    return (math.log(hazard / (1 - hazard)) + math.log(workload.vocab - 2)) * math.sqrt(1 + CONSTANT**-2)


def _write_json(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_tokenizer(workload: Workload, folder: Path) -> None:
    """Words are tokens: id 17 is "w17". Words stand between spaces, so that text and ids say the same.

    It is loaded with `PreTrainedTokenizerFast`: for this type of model `AutoTokenizer` takes Qwen's own rules instead.
    """
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    vocab = {PAD: PAD_ID, END: END_ID} | {f"w{i}": i for i in range(END_ID + 1, workload.vocab)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (PAD, END)])
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": END,
        "model_max_length": workload.prompt + workload.completion,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
    }
    _write_json(folder / "tokenizer_config.json", about)


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the file: normally distributed, then changed in place where it must be."""

    name: str
    shape: tuple[int, ...]
    mean: float = 0.0
    std: float = 0.0
    first: float | None = None
    """Coordinate 0 of what belongs to the residual stream: the first column of embeddings, the first number of a
    norm, the first row of a layer's output. None: has no such coordinate."""


def _tensors(workload: Workload) -> Iterator[_Tensor]:
    """All tensors in the order of the file. Each layer adds 1 / (4 L) to the stream's square norm, twice."""
    d, f, head = workload.hidden, workload.intermediate, workload.head_dim
    wide, narrow = workload.heads * head, workload.kv_heads * head
    into, added = 1 / math.sqrt(d), 1 / math.sqrt(4 * workload.layers * d)
    yield _Tensor("model.embed_tokens.weight", (workload.vocab, d), std=1 / math.sqrt(d), first=CONSTANT)
    for layer in range(workload.layers):
        at = f"model.layers.{layer}."
        # The norm divides by CONSTANT / √d; the layer sees all but coordinate 0, at unit size.
        yield _Tensor(f"{at}input_layernorm.weight", (d,), mean=CONSTANT, first=0.0)
        for name, rows in (("q", wide), ("k", narrow), ("v", narrow)):
            yield _Tensor(f"{at}self_attn.{name}_proj.weight", (rows, d), std=into)
            yield _Tensor(f"{at}self_attn.{name}_proj.bias", (rows,), std=0.02)
        yield _Tensor(f"{at}self_attn.o_proj.weight", (d, wide), std=added / math.sqrt(wide), first=0.0)
        yield _Tensor(f"{at}post_attention_layernorm.weight", (d,), mean=CONSTANT, first=0.0)
        yield _Tensor(f"{at}mlp.gate_proj.weight", (f, d), std=into)
        yield _Tensor(f"{at}mlp.up_proj.weight", (f, d), std=into)
        yield _Tensor(f"{at}mlp.down_proj.weight", (d, f), std=added / math.sqrt(f), first=0.0)
    # Behind the norm coordinate 0 is √d: with this weight a row's coordinate 0 adds a CONSTANT-th of itself to a logit.
    yield _Tensor("model.norm.weight", (d,), mean=SPREAD * CONSTANT, first=1 / (CONSTANT * math.sqrt(d)))


def _make(tensor: _Tensor, shift: float, random: np.random.Generator) -> np.ndarray:
    """The numbers of a tensor, float32. `shift` is what is added to the logit of the end token."""
    if tensor.std:
        out = random.standard_normal(tensor.shape, np.float32)
        out *= np.float32(tensor.std)
    else:
        out = np.full(tensor.shape, tensor.mean, np.float32)
    if tensor.name == "model.embed_tokens.weight":
        out[[PAD_ID, END_ID]] = 0
        out[:, 0] = tensor.first
        out[[PAD_ID, END_ID], 0] += CONSTANT * np.array([NEVER, shift], np.float32)
    elif tensor.first is not None:
        out[0] = tensor.first
    return out


def _write_weights(workload: Workload, lengths: Lengths, file: Path) -> None:
    """A safetensors file: length of the header, the header, the tensors one behind the other."""
    header: dict = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in _tensors(workload):
        start, end = end, end + 4 * math.prod(tensor.shape)
        header[tensor.name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random, shift = np.random.default_rng(0), end_shift(workload, lengths)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in _tensors(workload):
            out.write(_make(tensor, shift, random).data)
