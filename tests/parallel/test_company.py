"""Runs in company: what each computes is what it would compute alone, and none waits for one that has failed."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.errors import RunError
from rl_reason.parallel import company
from rl_reason.parallel.company import Company


def run(works, numbers=None):
    """What each member's work has made."""
    made = [None] * len(works)

    def keep(member, work):
        made[member] = work()

    keeping = [lambda member=member, work=work: keep(member, work) for member, work in enumerate(works)]
    Company(numbers or [{}] * len(works)).run(keeping)
    return made


def test_alone_nothing_is_joined():
    own = jax.jit(lambda x: x + 1)
    assert company.joined(own) is own and company.most(3) == 3 and company.shows()


def test_the_greatest_of_all_and_one_that_shows():
    assert run([lambda n=n: (company.most(n), company.most(-n), company.shows()) for n in (4, 9, 2)]) == [
        (9, -2, True),
        (9, -2, False),
        (9, -2, False),
    ]


def test_a_joined_function_is_each_members_own_with_its_numbers():
    """A state that goes on from call to call; a length that is compiled; a random key; a number of each member."""
    traced = []

    def make(numbers):
        def go(state, key, length):
            traced.append(length)
            drawn = jax.random.normal(key, (length,))
            return {"count": state["count"] + 1, "x": state["x"] * numbers["rate"] + drawn[:2]}

        return jax.jit(go, static_argnums=2)

    def work(seed, rate, join):
        own = make({"rate": rate})
        function = company.joined(own, make) if join else own
        state = {"count": jnp.int32(0), "x": jnp.full(2, seed, jnp.float32)}
        for step in range(3):
            state = function(state, jax.random.fold_in(jax.random.key(seed), step), 5)
        return jax.device_get(state)

    points = [(3, 0.5), (7, 0.5), (3, 2.0)]
    together = run([lambda p=p: work(*p, True) for p in points], [{"rate": rate} for _, rate in points])
    assert len(traced) == 1, "compiled once for all members and calls"
    for point, made in zip(points, together, strict=True):
        alone = work(*point, False)
        assert made["count"] == alone["count"] == 3
        np.testing.assert_allclose(made["x"], alone["x"], rtol=1e-6)
    assert not np.allclose(together[0]["x"], together[2]["x"])


def test_a_loop_goes_on_while_any_member_has_something_to_do():
    """Its counter is not mapped: else what it writes at its place would become a scatter."""

    @jax.jit
    def fill(out, needed):
        def step(carry):
            i, out = carry
            return i + 1, jax.lax.dynamic_update_slice(out, jnp.where(i < needed, 1.0, out[i])[None], (i,))

        return jax.lax.while_loop(lambda carry: company.most(jnp.max(needed)) > carry[0], step, (jnp.int32(0), out))

    def work(needed):
        count, out = company.joined(fill)(jnp.zeros(6), jnp.float32(needed))
        return int(count), int(out.sum())

    assert run([lambda: work(2), lambda: work(5), lambda: work(0)]) == [(5, 2), (5, 5), (5, 0)]


def test_one_that_fails_ends_all_and_is_the_one_that_is_told():
    ended = []

    def waits():
        try:
            while True:
                company.most(1)
        finally:
            ended.append(threading.current_thread().name)

    def fails():
        company.most(1)
        raise RunError("step 2: loss is nan")

    with pytest.raises(RunError, match="step 2: loss is nan"):
        run([waits, fails, waits])
    assert sorted(ended) == ["member 0", "member 2"]


@pytest.mark.parametrize("other", ["fewer", "shape", "name"])
def test_out_of_step_is_an_error(other):
    def work(member):
        function = company.joined(jax.jit(lambda x: x))
        function(jnp.zeros(2 + (member if other == "shape" else 0)))
        if other == "name" and member:
            company.most(1)
        elif other != "fewer" or member:
            function(jnp.zeros(2))

    with pytest.raises(RunError, match="out of step"):
        run([lambda: work(0), lambda: work(1)])
