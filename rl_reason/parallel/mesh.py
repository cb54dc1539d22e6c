"""The device mesh, and the rules that place logical axes on it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rl_reason import settings
from rl_reason.errors import UsageError

AXES = ("data", "fsdp", "expert", "tensor")


def make_mesh(sizes: settings.Mesh, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh (data, fsdp, expert, tensor) over all devices; one size may be −1 for what is left."""
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
    return jax.make_mesh(tuple(shape), AXES, devices=devices, axis_types=(jax.sharding.AxisType.Auto,) * len(AXES))


@dataclass(frozen=True)
class Rules:
    """For each logical axis the mesh axis or axes that it is split over; None: replicated.

    Weights are split over `fsdp` along the model's width, over `tensor` along heads, MLP width and vocabulary, and over
    `expert` along experts; activations along the batch over all but `tensor`.
    """

    batch: tuple[str, ...] | None = ("data", "fsdp", "expert")
    time: str | None = None
    width: str | None = None
    """Width of activations; `embed` is that of weights."""
    embed: str | None = "fsdp"
    embed_norm: str | None = None
    heads: str | None = "tensor"
    kv_heads: str | None = "tensor"
    head_dim: str | None = None
    mlp: str | None = "tensor"
    vocab: str | None = "tensor"
    layers: str | None = None
    latent: str | None = None
    experts: str | None = "expert"
    routes: str | None = None
    rank: str | None = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            for axis in self._mesh_axes(field.name):
                if axis not in AXES:
                    raise UsageError(f"rule {field.name} → {axis!r}: expected one of {', '.join(AXES)}")

    def _mesh_axes(self, logical: str) -> tuple[str, ...]:
        value = getattr(self, logical)
        return () if value is None else (value,) if isinstance(value, str) else tuple(value)

    def spec(self, axes: Sequence[str | None]) -> PartitionSpec:
        """The partition of an array with these logical axes; raises where two of them want one mesh axis."""
        taken = [mesh_axis for axis in axes if axis is not None for mesh_axis in self._mesh_axes(axis)]
        if len(taken) != len(set(taken)):
            raise UsageError(f"logical axes {tuple(axes)} collide: they are split over {taken}")
        return PartitionSpec(*(None if axis is None else getattr(self, axis) for axis in axes))


RULES = Rules()


def sharding(
    mesh: Mesh, axes: Sequence[str | None], shape: Sequence[int] | None = None, rules: Rules = RULES
) -> NamedSharding:
    """Where an array with these logical axes lies.

    With `shape`, dimensions that a mesh axis does not divide are replicated: few key/value heads on a wide mesh.
    """
    spec = list(rules.spec(axes))
    for dimension, mesh_axes in enumerate(spec):
        if shape is not None and mesh_axes is not None:
            names = (mesh_axes,) if isinstance(mesh_axes, str) else mesh_axes
            if shape[dimension] % math.prod(mesh.shape[name] for name in names):
                spec[dimension] = None
    return NamedSharding(mesh, PartitionSpec(*spec))


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


def make_constrain(mesh: Mesh, rules: Rules = RULES) -> Callable[[jax.Array, Sequence[str | None]], jax.Array]:
    """The decoder's `constrain` on a mesh; on one device, the identity."""
    return OnMesh(mesh, rules) if mesh.size > 1 else lambda x, axes: x
