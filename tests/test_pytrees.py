"""Paths, kinds of leaves, stacking and JSON."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import pytest

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import Content, Gram
from jaxstyle.pytrees import (
    from_json,
    get,
    paths,
    pytree,
    replace,
    stack,
    static,
    structure,
    to_json,
    unstack,
)


@pytree
class Leafy:
    rate: float = 1.0
    count: int = 3
    name: str = static(default="x")
    pair: tuple = (1.0, 2.0)
    inner: object = None


def test_static_fields_are_structure_and_numbers_are_leaves():
    assert jax.tree.leaves(Leafy()) == [1.0, 3, 1.0, 2.0]
    assert structure(Leafy()) == structure(Leafy(rate=5.0))
    assert structure(Leafy()) != structure(Leafy(name="y"))


def test_replace_reaches_into_dicts_tuples_and_dataclasses():
    tree = {"a": Leafy(inner=Leafy()), "b": (Leafy(),)}
    changed = replace(tree, {"a.inner.rate": 4.0, "b.0.pair.1": 9.0})
    assert get(changed, "a.inner.rate") == 4.0 and changed["b"][0].pair == (1.0, 9.0)
    assert tree["a"].inner.rate == 1.0


def test_replace_keeps_the_kind_of_a_leaf_so_that_nothing_retraces():
    traces = []

    @jax.jit
    def f(tree):
        traces.append(1)
        return tree.rate * tree.count

    f(Leafy())
    for changes in ({"rate": 2}, {"rate": 2.5}, {"count": 7.0}, {"pair": [3, 4]}):
        f(replace(Leafy(), changes))
    assert len(traces) == 1


@pytest.mark.parametrize(("path", "value", "message"), [
    ("speed", 1, "rate, count"), ("inner.rate", 1, "plain value"), ("rate", "fast", "float"),
    ("count", 1.5, "int"), ("pair.7", 1.0, "0, 1"), ("name", 3, "str"), ("rate", True, "float"),
])
def test_replace_names_mistakes(path, value, message):
    with pytest.raises(JaxstyleError, match=message):
        replace(Leafy(), {path: value})


def test_paths_lists_everything_that_replace_takes():
    tree = {"a": Leafy(inner=Leafy())}
    for path, value in paths(tree).items():
        assert replace(tree, {path: value}) == tree


def test_stack_and_unstack_are_inverse():
    trees = [Leafy(rate=float(i), count=i) for i in range(3)]
    stacked = stack(trees)
    assert stacked.rate.shape == (3,) and stacked.pair[0].shape == (3,)
    for i, tree in enumerate(trees):
        assert jax.tree.map(float, unstack(stacked, i)) == jax.tree.map(float, tree)


def test_json_round_trip_keeps_kinds():
    tree = {"c": Content(weight=2.0), "s": Gram(blend=(1.0, 3.0))}
    again = from_json(json.loads(json.dumps(to_json(tree))), (Content, Gram))
    assert again == tree
    assert from_json({"type": "Content", "weight": 2}, (Content,)).weight == 2.0
    assert isinstance(from_json({"type": "Content", "weight": 2}, (Content,)).weight, float)
    assert to_json(Leafy(rate=jnp.float32(0.5)))["rate"] == 0.5


@pytest.mark.parametrize(("data", "message"), [
    ({"type": "Contents"}, "Content, Gram"), ({"type": "Content", "wait": 1}, "no field 'wait'"),
])
def test_json_names_mistakes(data, message):
    with pytest.raises(JaxstyleError, match=message):
        from_json(data, (Content, Gram))
