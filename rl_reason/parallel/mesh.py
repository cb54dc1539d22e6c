"""The device mesh, and the rules that place logical axes on it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rl_reason import settings
from rl_reason.errors import UsageError

AXES = ("slice", "data", "fsdp", "sequence", "expert", "tensor")
"""From the slowest network between neighbours to the fastest."""


def make_mesh(sizes: settings.Mesh, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh of `AXES` over all devices; one size may be −1 for what is left.

    Raises:
        UsageError: sizes that do not fit the devices, or slices of TPU that they would cut through.
    """
    devices = list(jax.devices() if devices is None else devices)
    shape = [getattr(sizes, axis) for axis in AXES]
    for axis, size in zip(AXES, shape, strict=True):
        if size != -1 and size < 1:
            raise UsageError(
                f"config.mesh.{axis}={size}: expected a positive integer, or -1 for the devices that are left"
            )
    if shape.count(-1) > 1:
        raise UsageError(f"config.mesh={dict(zip(AXES, shape, strict=True))}: expected at most one axis of size -1")
    given = math.prod(size for size in shape if size != -1)
    if -1 in shape and len(devices) % given == 0:
        shape[shape.index(-1)] = len(devices) // given
    if math.prod(shape) != len(devices):
        raise UsageError(
            f"config.mesh={dict(zip(AXES, shape, strict=True))}: expected a product of {len(devices)} devices"
        )
    auto = (jax.sharding.AxisType.Auto,) * len(AXES)
    slices = {getattr(device, "slice_index", 0) for device in devices}
    groups = slices if len(slices) > 1 else {device.process_index for device in devices}
    if shape[0] > 1 and shape[0] == len(groups):
        within, between = (1, *shape[1:]), (shape[0], *[1] * (len(AXES) - 1))
        by_process = len(slices) == 1
        placed = mesh_utils.create_hybrid_device_mesh(within, between, devices, process_is_granule=by_process)
        return Mesh(placed, AXES, axis_types=auto)
    if len(slices) > 1:
        raise UsageError(f"config.mesh.slice={shape[0]}: expected {len(slices)}, the slices that these devices are of")
    return jax.make_mesh(tuple(shape), AXES, devices=devices, axis_types=auto)


def mesh_axes(part: str | Sequence[str] | None) -> tuple[str, ...]:
    """The mesh axes of a part of a partition, or of a rule."""
    return () if part is None else (part,) if isinstance(part, str) else tuple(part)


@dataclass(frozen=True)
class Rules:
    """For each logical axis the mesh axis or axes that it is split over; None: replicated.

    Weights are split over `fsdp` and `sequence` along the model's width, over `tensor` along heads, MLP width and
    vocabulary, and over `expert` along experts; activations along time over `sequence`, and along the batch over all
    that is left but `tensor`.
    """

    batch: tuple[str, ...] | None = ("slice", "data", "expert", "fsdp")
    rows: tuple[str, ...] | None = ("slice", "data", "expert", "fsdp")
    """The batch beside MLP width or vocabulary, without the mesh axes that these are split over."""
    time: str | None = "sequence"
    keys: str | None = None
    """Time of keys and values: each device has those of the whole sequence, for its own queries."""
    width: str | None = None
    """Width of activations; `embed` is that of weights."""
    embed: str | tuple[str, ...] | None = ("fsdp", "sequence")
    embed_norm: str | None = None
    heads: str | None = "tensor"
    kv_heads: str | None = "tensor"
    head_dim: str | None = None
    mlp: str | tuple[str, ...] | None = "tensor"
    vocab: str | tuple[str, ...] | None = "tensor"
    """Of weights, and of logits as they are computed."""
    logits: str | None = "tensor"
    """Vocabulary of logits beside their batch."""
    layers: str | None = None
    latent: str | None = None
    experts: str | None = "expert"
    routes: str | None = None
    scores: str | None = None
    rank: str | None = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            for axis in mesh_axes(getattr(self, field.name)):
                if axis not in AXES:
                    raise UsageError(f"rule {field.name} → {axis!r}: expected one of {', '.join(AXES)}")

    def spec(self, axes: Sequence[str | None]) -> PartitionSpec:
        """The partition of an array with these logical axes; raises where two of them want one mesh axis."""
        taken = [mesh_axis for axis in axes if axis is not None for mesh_axis in mesh_axes(getattr(self, axis))]
        if len(taken) != len(set(taken)):
            raise UsageError(f"logical axes {tuple(axes)} collide: they are split over {taken}")
        return PartitionSpec(*(None if axis is None else getattr(self, axis) for axis in axes))


RULES = Rules()

DECODING = Rules(
    batch=("slice", "data", "expert", "fsdp", "sequence"),
    rows=("slice", "data", "expert"),
    time=None,
    embed=None,
    mlp=("tensor", "fsdp", "sequence"),
    vocab=("tensor", "fsdp", "sequence"),
)
"""A token is computed too fast for weights to be gathered for it. Those of attention, a small part, lie whole on each
device but for `tensor`; of all others each device keeps its part, and the activations of a few tokens go around. One
token has no time to share out: `sequence` has its share of the batch."""


def lanes(mesh: Mesh, rules: Rules = RULES) -> int:
    """The parts that a large enough batch is split into."""
    return math.prod(mesh.shape[name] for name in mesh_axes(rules.batch))


def sharding(
    mesh: Mesh, axes: Sequence[str | None], shape: Sequence[int] | None = None, rules: Rules = RULES
) -> NamedSharding:
    """Where an array with these logical axes lies.

    With `shape`, dimensions are split over the first of their mesh axes only, as many as divide them: few key/value
    heads on a wide mesh are replicated.
    """
    spec = rules.spec(axes)
    if shape is None:
        return NamedSharding(mesh, spec)
    parts = []
    for size, part in zip(shape, spec, strict=True):
        names = mesh_axes(part)
        while size % math.prod(mesh.shape[name] for name in names):
            names = names[:-1]
        parts.append(names or None)
    return NamedSharding(mesh, PartitionSpec(*parts))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


@dataclass(frozen=True)
class OnMesh:
    """`constrain(x, axes)` of the decoder: places an activation by its logical axes."""

    mesh: Mesh
    rules: Rules = RULES

    def __call__(self, x: jax.Array, axes: Sequence[str | None]) -> jax.Array:
        return jax.lax.with_sharding_constraint(x, sharding(self.mesh, axes, x.shape, self.rules))

    def spec(self, axes: Sequence[str | None], shape: Sequence[int]) -> PartitionSpec:
        """The partition that such an array has."""
        return sharding(self.mesh, axes, shape, self.rules).spec


def ways(constrain: Callable, axis: str, size: int) -> int:
    """The parts that `constrain` splits a dimension of this logical axis and size into."""
    if not isinstance(constrain, OnMesh):
        return 1
    return math.prod(constrain.mesh.shape[name] for name in mesh_axes(constrain.spec((axis,), (size,))[0]))


def make_constrain(mesh: Mesh, rules: Rules = RULES) -> Callable[[jax.Array, Sequence[str | None]], jax.Array]:
    """The decoder's `constrain` on a mesh; on one device, the identity."""
    return OnMesh(mesh, rules) if mesh.size > 1 else lambda x, axes: x


HOST = "pinned_host"
"""The kind of memory of arrays that wait on the host, where devices can fetch them."""


def on_host(places: Any) -> Any:
    """A tree of shardings, with the same parts in the host's memory."""
    return jax.tree.map(lambda place: place.with_memory_kind(HOST), places)


def to_devices(tree: Any, places: Any) -> Any:
    """A tree of arrays, those that wait on the host moved to the devices; traced or not. `places`: where they lie."""

    def move(x: Any, place: jax.sharding.Sharding) -> Any:
        return jax.device_put(x, place.with_memory_kind("device")) if place.memory_kind == HOST else x

    return jax.tree.map(move, tree, places)
