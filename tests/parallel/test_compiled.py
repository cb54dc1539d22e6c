"""What is read out of compiled programs: collectives with their loops, and operations."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from rl_reason.parallel import compiled

TEXT = """\
HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[8,4]{1,0})->f32[8,4]{1,0}}

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%inner (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0:T(8,128)} parameter(0)
  ROOT %ar.1 = f32[8,4]{1,0:T(8,128)} all-reduce(%p), channel_id=1, to_apply=%add, metadata={op_name="jit(f)/psum"}
}

%short_condition (c: (s32[], f32[8,4])) -> pred[] {
  %five = s32[] constant(5)
  %c = (s32[], /*index=1*/f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  ROOT %less = pred[] compare(%i, %five), direction=LT
}

%short_body (b: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %b = (s32[], f32[8,4]{1,0}) parameter(0)
  %g = f32[8,4]{1,0} get-tuple-element(%b), index=1
  %fused = f32[8,4]{1,0} fusion(%g), kind=kCustom, calls=%inner
  %fused.2 = f32[8,4]{1,0} fusion(%fused), kind=kCustom, calls=%inner
  ROOT %t = (s32[], f32[8,4]{1,0}) tuple(%b, %fused)
}

%wrapped (w: bf16[16]) -> bf16[4] {
  %w = bf16[16]{0} parameter(0)
  ROOT %rs = bf16[4]{0} reduce-scatter(%w), channel_id=9, dimensions={0}, to_apply=%add
}

%long_condition (d: (s32[], f32[8,4])) -> pred[] {
  %d = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %any = pred[] custom-call(%d), custom_call_target="more"
}

%long_body (e: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %e = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %while.1 = (s32[], f32[8,4]{1,0}) while(%e), condition=%short_condition, body=%short_body
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  %ags = (f32[8,4]{1,0}, f32[32,4]{1,0}) all-gather-start(%a), channel_id=2, dimensions={0}
  %agd = f32[32,4]{1,0} all-gather-done(%ags)
  %z = (bf16[16]{0}, bf16[4]{0}, u32[]) async-start(%a), calls=%wrapped
  %zd = bf16[4]{0} async-done(%z), calls=%wrapped
  %w2 = (s32[], f32[8,4]{1,0}) while(%a), condition=%long_condition, body=%long_body, backend_config=KNOWN
  ROOT %out = f32[8,4]{1,0} get-tuple-element(%w2), index=1
}
""".replace("KNOWN", '{"known_trip_count":{"n":"3"}}')


def test_collectives_of_a_text():
    found = {one.kind: one for one in compiled.collectives(TEXT)}
    assert len(compiled.collectives(TEXT)) == len(found) == 3
    gathered, scattered, reduced = found["all-gather"], found["reduce-scatter"], found["all-reduce"]
    # An asynchronous pair counts once, by what comes out; a reduce-scatter by what goes in.
    assert (gathered.bytes, gathered.runs, gathered.in_loop) == (32 * 4 * 4, 1, False)
    assert (scattered.bytes, scattered.runs, scattered.in_loop) == (16 * 2, 1, False)
    # One channel in two fusions is one operation. It runs three times five times: inside a loop whose length XLA knows
    # stands one whose condition tells it.
    assert (reduced.bytes, reduced.runs, reduced.in_loop, reduced.source) == (8 * 4 * 4, 15, True, "jit(f)/psum")


def test_a_reduce_scatter_of_a_tpu():
    """An all-reduce, fused with taking this device's part of it."""
    text = """\
%fused (p: f32[8,4]) -> f32[2,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %at = s32[] constant(2)
  %ar.1 = f32[8,4]{1,0} all-reduce(%p), channel_id=1, to_apply=%add
  ROOT %part = f32[2,4]{1,0} dynamic-slice(%ar.1, %at, %at), dynamic_slice_sizes={2,4}
}

ENTRY %main (a: f32[8,4]) -> f32[2,4] {
  %a = f32[8,4]{1,0} parameter(0)
  ROOT %out = f32[2,4]{1,0} fusion(%a), kind=kCustom, calls=%fused
}
"""
    (scattered,) = compiled.collectives(text)
    assert (scattered.kind, scattered.bytes) == ("reduce-scatter", 8 * 4 * 4)
    (reduced,) = compiled.collectives(text.replace("dynamic-slice(%ar.1", "dynamic-slice(%p"))
    assert reduced.kind == "all-reduce"


def test_summary():
    rows = compiled.summarize(compiled.collectives(TEXT))
    assert [(row["kind"], row["where"], row["instructions"]) for row in rows] == [
        ("all-gather", "outside", 1),
        ("all-reduce", "inside a loop", 1),
        ("reduce-scatter", "outside", 1),
    ]
    assert rows[1]["bytes"] == 128 and rows[1]["bytes_of_all_runs"] == 15 * 128


@pytest.mark.parametrize(
    "shape, size",
    [
        ("f32[]", 4),
        ("bf16[8,128]{1,0:T(8,128)(2,1)S(1)}", 2048),
        ("pred[3]", 3),
        ("f8e4m3fn[10]{0}", 10),
        ("(f32[2]{0}, /*index=1*/s4[8]{0}, token[])", 12),
    ],
)
def test_bytes_of_a_shape(shape, size):
    assert compiled.shape_bytes(shape) == size


def test_program_of_this_machine():
    mesh = jax.make_mesh((4,), ("x",), devices=jax.devices()[:4])
    split = NamedSharding(mesh, PartitionSpec("x"))

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("x"), out_specs=PartitionSpec("x"))
    def function(x):
        def body(x, _):
            return x + jax.lax.psum(x, "x"), None

        x = jax.lax.ppermute(x, "x", [(i, (i + 1) % 4) for i in range(4)])
        return jax.lax.scan(body, x, length=7)[0]

    program = jax.jit(function).lower(jax.ShapeDtypeStruct((32, 16), jnp.float32, sharding=split)).compile()
    rows = {(row["kind"], row["where"]): row for row in compiled.summarize(compiled.collectives(program.as_text()))}
    part = 8 * 16 * 4  # bytes on a device
    assert set(rows) == {("all-reduce", "inside a loop"), ("collective-permute", "outside")}
    assert rows["all-reduce", "inside a loop"]["bytes_of_all_runs"] == 7 * part
    assert rows["collective-permute", "outside"]["bytes_of_all_runs"] == part
    assert compiled.memory(program)["argument"] == compiled.memory(program)["output"] == part


def test_flops():
    def function(x, w):
        y = jax.lax.scan(lambda y, w: (jnp.tanh(y @ w), None), x, w)[0]
        y = jax.lax.while_loop(lambda y: jnp.sum(y) > 0, lambda y: y @ w[0], y)
        return jax.lax.cond(jnp.sum(y) > 0, lambda: y @ w[0], lambda: y)

    shapes = jax.ShapeDtypeStruct((5, 8), jnp.float32), jax.ShapeDtypeStruct((3, 8, 8), jnp.float32)
    one = 2 * 5 * 8 * 8
    assert compiled.flops(jax.jit(function).trace(*shapes).jaxpr, trips=11) == one * (3 + 11 + 1)
    batched = jax.jit(lambda a, b: jnp.einsum("bij,bjk->bik", a, b)).trace(np.zeros((2, 3, 4)), np.zeros((2, 4, 5)))
    assert compiled.flops(batched.jaxpr) == 2 * 2 * 3 * 4 * 5


def test_flops_of_experts():
    sizes = jnp.array([3, 7], jnp.int32)
    product = lambda x, w: jnp.sum(jax.lax.ragged_dot(x, w, sizes))  # noqa: E731
    shapes = jnp.zeros((10, 4)), jnp.zeros((2, 4, 6))
    one = 2 * 10 * 4 * 6
    assert compiled.flops(jax.jit(product).trace(*shapes).jaxpr) == one
    assert compiled.flops(jax.jit(jax.value_and_grad(product, (0, 1))).trace(*shapes).jaxpr) == 3 * one
