"""Every solver: finds a known minimum, keeps its state's types, steps back from non-finite values, goes on
bit for bit from a saved state."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxstyle.solvers import SOLVERS, ArmijoLbfgs, ScipyLbfgsb, begin_search, evaluate, search_step
from jaxstyle.solvers.armijo import Memory, inverse_hessian_product

QUASI_NEWTON = [s for s in SOLVERS if "Lbfgs" in s.__name__]
SCALES = jnp.array([1.0, 3.0, 10.0, 30.0])
BOTTOM = {"a": jnp.array([0.2, 0.4, 0.6, 0.8]), "b": jnp.array([[0.5, 0.3]])}


def bowl(x, memory=()):
    """A quadratic with its minimum 0 at BOTTOM."""
    a = (SCALES * (x["a"] - BOTTOM["a"]) ** 2).sum()
    b = ((x["b"] - BOTTOM["b"]) ** 2).sum()
    return a + b, ({"a": a, "b": b}, memory)


def start():
    return jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.95), BOTTOM)


def run(solver, fun, x, steps):
    @jax.jit
    def go(solver, x):
        search = begin_search(solver, fun, x)
        return jax.lax.fori_loop(0, steps, lambda _, s: search_step(solver, fun, s), search)

    return go(solver, x)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.__name__)
def test_finds_a_known_minimum(solver, x64):
    steps = 40 if solver in QUASI_NEWTON else 1500
    search = run(solver(), bowl, jax.tree.map(lambda a: a.astype(jnp.float64), start()), steps)
    tolerance = 1e-6 if solver in QUASI_NEWTON else 2e-2
    for name, value in BOTTOM.items():
        np.testing.assert_allclose(search.best.x[name], value, atol=tolerance)
    assert search.failures == 0
    np.testing.assert_allclose(sum(search.best.parts.values()), search.best.value, rtol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.__name__)
def test_state_keeps_its_types_and_value_belongs_to_its_point(solver):
    search = begin_search(solver(), bowl, start())
    after = jax.jit(search_step, static_argnums=1)(solver(), bowl, search)

    def types(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)

    assert types(search) == types(after)
    again = evaluate(bowl, after.iterate.x)
    np.testing.assert_allclose(after.iterate.value, again.value, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
                 after.iterate.grad, again.grad)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.__name__)
def test_non_finite_values_never_reach_the_point(solver):
    def cliff(x, memory=()):
        value, (parts, _) = bowl(x)
        inside = x["a"][0] > 0.5
        return jnp.where(inside, value, jnp.nan), (parts, memory)

    search = run(solver(), cliff, start(), 60)
    assert np.isfinite(search.best.value) and np.isfinite(search.iterate.value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(search.iterate))
    assert search.best.value < bowl(start())[0]
    assert search.best.x["a"][0] > 0.5


def test_failures_are_counted_and_shrink_steps():
    def hole(x, memory=()):
        value, (parts, _) = bowl(x)
        return jnp.where(x["a"][0] == 0.95, value, jnp.inf), (parts, memory)

    search = run(ArmijoLbfgs(), hole, start(), 3)
    assert search.failures >= 1 and search.failures_in_a_row == search.failures
    assert search.scale < 1
    assert search.best.x["a"][0] == start()["a"][0]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.__name__)
def test_goes_on_bit_for_bit_from_a_saved_state(solver):
    step = jax.jit(lambda search: search_step(solver(), bowl, search))
    search = jax.jit(lambda x: begin_search(solver(), bowl, x))(start())
    for _ in range(3):
        search = step(search)
    saved = jax.tree.map(np.asarray, search)
    straight = step(step(search))
    resumed = step(step(jax.tree.map(jnp.asarray, saved)))
    jax.tree.map(np.testing.assert_array_equal, straight, resumed)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.__name__)
def test_lanes_equal_single_runs(solver, x64):
    starts = {"a": jnp.linspace(0.1, 0.95, 8).reshape(2, 4), "b": jnp.full((2, 1, 2), 0.9, jnp.float64)}

    def go(x):
        search = begin_search(solver(), bowl, x)
        return jax.lax.fori_loop(0, 12, lambda _, s: search_step(solver(), bowl, s), search).best

    lanes = jax.jit(jax.vmap(go))(starts)
    for i in range(2):
        single = jax.jit(go)(jax.tree.map(lambda leaf, i=i: leaf[i], starts))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-9, atol=1e-12),
                     lanes, single)


def test_scipy_steps_are_scipys_own(x64):
    def flat(x):
        return float(bowl({"a": jnp.asarray(x[:4]), "b": jnp.asarray(x[4:]).reshape(1, 2)})[0])

    def gradient(x):
        g = jax.grad(lambda x: bowl(x)[0])({"a": jnp.asarray(x[:4]), "b": jnp.asarray(x[4:]).reshape(1, 2)})
        return np.concatenate([g["a"], g["b"].ravel()])

    expected = scipy.optimize.minimize(flat, np.full(6, np.float32(0.95)), jac=gradient, method="L-BFGS-B",
                                       bounds=[(0, 1)] * 6, options={"maxiter": 4, "ftol": 0, "gtol": 0})
    search = run(ScipyLbfgsb(), bowl, jax.tree.map(lambda a: a.astype(jnp.float64), start()), 4)
    np.testing.assert_allclose(np.concatenate([search.iterate.x["a"], search.iterate.x["b"].ravel()]),
                               expected.x, rtol=1e-9)


def test_single_steps_of_scipy_are_its_evaluations(x64):
    def valley(x, memory=()):  # Rosenbrock's: line searches of several evaluations
        value = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        return value, ({"all": value}, memory)

    seen = []

    def told(x):
        seen.append(x.copy())
        value, slope = jax.value_and_grad(lambda x: valley(x)[0])(jnp.asarray(x))
        return float(value), np.asarray(slope)

    scipy.optimize.minimize(told, np.array([0.1, 0.8]), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * 2,
                            options={"maxcor": 10, "ftol": 0, "gtol": 0})
    search = begin_search(ScipyLbfgsb(single=True), valley, jnp.array([0.1, 0.8]))
    step = jax.jit(lambda search: search_step(ScipyLbfgsb(single=True), valley, search))
    for point in seen[1:12]:
        search = step(search)
        np.testing.assert_allclose(search.iterate.x, point, rtol=1e-9)


def test_scipy_and_boxed_solvers_stay_inside(x64):
    def outside(x, memory=()):
        value = ((x - 2.0) ** 2).sum()
        return value, ({"all": value}, memory)

    for solver in SOLVERS:
        if solver is ScipyLbfgsb:
            chosen = solver()
        elif "box" in solver.__dataclass_fields__:
            chosen = solver(box=(0.0, 1.0))
        else:
            continue
        search = run(chosen, outside, jnp.full(5, 0.5), 200)
        np.testing.assert_allclose(search.best.x, 1.0)


def test_two_loop_recursion_equals_the_dense_bfgs_matrix(x64):
    rng = np.random.default_rng(0)
    n, pairs = 6, 3
    hessian = np.diag(rng.uniform(1, 5, n))
    steps = rng.normal(size=(pairs, n))
    changes = steps @ hessian
    gamma = 0.37
    dense = gamma * np.eye(n)
    for s, y in zip(steps, changes):
        rho = 1 / (y @ s)
        left = np.eye(n) - rho * np.outer(s, y)
        dense = left @ dense @ left.T + rho * np.outer(s, s)
    pad = np.zeros((1, n))
    memory = Memory(steps=jnp.asarray(np.vstack([steps, pad])),
                    changes=jnp.asarray(np.vstack([changes, pad])),
                    rho=jnp.asarray([*(1 / (y @ s) for s, y in zip(steps, changes)), 0.0]),
                    gamma=jnp.asarray(gamma), length=jnp.asarray(1.0), count=jnp.asarray(pairs))
    grad = rng.normal(size=n)
    np.testing.assert_allclose(inverse_hessian_product(memory, jnp.asarray(grad)), dense @ grad, rtol=1e-10)


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_the_scale_of_the_loss_changes_nothing(factor, x64):
    """A loss times a number has the same minimum, and L-BFGS comes as near to it: its pairs are kept by their
    angle. (Absolute losses of recipes for Oxford's VGG-19 are some 1e12.)"""
    def scaled(x, memory=()):
        value, (_, memory) = bowl(x, memory)
        return factor * value, ({}, memory)

    begin = jax.tree.map(lambda a: a.astype(jnp.float64), start())
    search = run(ArmijoLbfgs(), scaled, begin, 40)
    for name, value in BOTTOM.items():
        np.testing.assert_allclose(search.best.x[name], value, atol=1e-6)
