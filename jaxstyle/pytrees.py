"""The only machinery: frozen dataclasses that are pytrees, with paths, stacking and JSON.

A field is a *leaf* (a number or an array: changing it never recompiles a program) unless it is
marked `static()` (changing it changes a shape or the program itself).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.errors import JaxstyleError

T = TypeVar("T")
MAX_INTEGER = 2**31 - 1
"""Of whole numbers in a tree: what a traced integer holds."""


def static(default: Any = dataclasses.MISSING) -> Any:
    """Mark a dataclass field as static: part of the program, not an input of it."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(static,))
def pytree(cls: type[T]) -> type[T]:
    """Frozen keyword-only dataclass registered with JAX; `static()` fields are metadata."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, kw_only=True)(cls))


def children(node: Any) -> dict[str, Any]:
    """Named children of a pytree dataclass, mapping or sequence; empty for anything else."""
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    if isinstance(node, Mapping):
        return {str(key): value for key, value in node.items()}
    if isinstance(node, list | tuple):
        return {str(i): value for i, value in enumerate(node)}
    return {}


def paths(node: Any, prefix: str = "") -> dict[str, Any]:
    """Every path that `replace` accepts for a single value, with its value: {"terms.style.weight": 1.0}."""
    flat: dict[str, Any] = {}
    for name, child in children(node).items():
        path = f"{prefix}{name}"
        if nested := paths(child, f"{path}."):
            flat.update(nested)
        else:
            flat[path] = child
    return flat


def replace(tree: T, changes: Mapping[str, Any]) -> T:
    """Copy of `tree` with the values at dotted paths exchanged, all at once.

    A numeric leaf keeps its kind (an int given for a float becomes a float), so that changing it
    never retraces a compiled program.

    Raises:
      JaxstyleError: an unknown path (the message lists the choices) or a value of the wrong kind.
    """
    changed: T = _replace(tree, [(path.split("."), value, path) for path, value in changes.items()])
    return changed


def get(tree: Any, path: str) -> Any:
    """The value at a dotted path.

    Raises:
      JaxstyleError: there is none; the message lists the choices where the path goes astray.
    """
    node = tree
    for name in path.split("."):
        branches = children(node)
        if name not in branches:
            raise _unknown(path, name, branches)
        node = branches[name]
    return node


def _unknown(path: str, name: str, branches: Mapping[str, Any]) -> JaxstyleError:
    choices = ", ".join(branches) if branches else "nothing: it is a plain value"
    near = difflib.get_close_matches(name, branches, 1)
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return JaxstyleError(f"unknown setting '{path}': '{name}' is not one of {choices}{meant}")


def _replace(node: Any, changes: Sequence[tuple[Sequence[str], Any, str]]) -> Any:
    below: dict[str, list[tuple[Sequence[str], Any, str]]] = {}
    for names, value, path in changes:
        if names:
            below.setdefault(names[0], []).append((names[1:], value, path))
        else:
            node = like(node, value, path)
    if not below:
        return node
    branches = children(node)
    for name, inner in below.items():
        if name not in branches:
            raise _unknown(inner[0][2], name, branches)
    new = {name: _replace(branches[name], inner) for name, inner in below.items()}
    if isinstance(node, Mapping):
        return {key: new.get(str(key), old) for key, old in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(new.get(str(i), old) for i, old in enumerate(node))
    for name, value in new.items():
        check_field(type(node), name, value, next(p for names, _, p in changes if names[0] == name))
    return dataclasses.replace(node, **new)


def like(old: Any, new: Any, path: str = "value") -> Any:
    """`new` in the kind (bool, int, float, tuple, …) of `old`, so that nothing retraces."""
    if isinstance(new, jax.Array | np.ndarray) or dataclasses.is_dataclass(new):
        return new
    if isinstance(new, int) and not isinstance(new, bool) and abs(new) > MAX_INTEGER:
        raise JaxstyleError(f"'{path}' is too large a number; it takes whole numbers up to {MAX_INTEGER}")
    if isinstance(old, tuple) and isinstance(new, list | tuple):
        samples = old if len(old) == len(new) else tuple(old[0] if old else item for item in new)
        return tuple(like(sample, item, path) for sample, item in zip(samples, new))
    wants_float = isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool)
    if wants_float:
        return float(new)
    if isinstance(old, int) and isinstance(new, float) and new.is_integer():
        return int(new)
    if old is None or new is None or type(old) is type(new):
        return new
    raise JaxstyleError(
        f"'{path}' takes a {type(old).__name__} such as {old!r}, but got {new!r}"
    )


def check_field(cls: type, name: str, value: Any, path: str) -> None:
    """Raise unless a value is of the kind that a field of a dataclass is annotated with.

    `Any` takes anything, but only a number where the default is one, as do the items of `tuple[Any, ...]`.
    """
    field = next(f for f in dataclasses.fields(cls) if f.name == name)
    hint = hints(cls).get(name, Any)
    if hint is Any and type(field.default) in (int, float):
        hint = complex  # any number, or an array or tracer of them
    if not is_kind(value, hint):
        raise JaxstyleError(f"'{path}' takes {described(hint)}, not {str(value)[:80]!r}")


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """Annotations of a class, resolved; empty where they cannot be."""
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError):
        return {}


def is_kind(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated kind, as far as JSON could get it wrong."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(is_kind(value, choice) for choice in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1:] == (Ellipsis,):
            return all(is_kind(item, complex if inner[0] is Any else inner[0]) for item in value)
        return len(value) == len(inner) and all(map(is_kind, value, inner))
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(is_kind(item, inner[1]) for item in value.values())
    if hint is type(None):
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint is complex:
        return not isinstance(value, bool | str | tuple | list | Mapping | None)
    if hint in (int, float):
        kinds = (int, np.integer) if hint is int else (int, float, np.number)
        return isinstance(value, kinds) and not isinstance(value, bool)
    return True


def described(hint: Any) -> str:
    """An annotation in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(described, inner))
    if origin is tuple:
        return "a list such as " + (f"{described(inner[0])}, …" if inner[-1:] == (Ellipsis,)
                                    else ", ".join(map(described, inner)))
    words = {int: "a whole number", float: "a number", complex: "a number", bool: "true or false",
             str: "a name", type(None): "none", Any: "a number"}
    return words.get(hint, "a value of its own kind")


def stack(trees: Sequence[T]) -> T:
    """One tree whose leaves have a leading axis over `trees` (all of equal structure)."""
    stacked: T = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)
    return stacked


def unstack(tree: T, index: int) -> T:
    """The `index`-th of the trees that `stack` joined."""
    chosen: T = jax.tree.map(lambda leaf: leaf[index], tree)
    return chosen


def structure(tree: Any) -> Any:
    """Hashable key: two trees with equal keys can be stacked and share one compiled program."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, tuple(np.shape(leaf) for leaf in leaves)


def to_json(node: Any) -> Any:
    """JSON-ready form of a tree of pytree dataclasses; each carries its class name as "type"."""
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        fields = {name: to_json(child) for name, child in children(node).items()}
        return {"type": type(node).__name__, **fields}
    if isinstance(node, Mapping):
        return {key: to_json(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [to_json(value) for value in node]
    if isinstance(node, jax.Array | np.ndarray | np.generic):
        return np.asarray(node).tolist()
    return node


def from_json(data: Any, classes: Iterable[type]) -> Any:
    """Inverse of `to_json`; `classes` are those that may occur.

    Raises:
      JaxstyleError: an unknown type or field, naming the choices; a field that is missing, or whose value is
        of another kind, naming its path.
    """
    by_name = {cls.__name__: cls for cls in classes}
    return _from_json(data, by_name, "")


def _from_json(data: Any, by_name: Mapping[str, type], path: str) -> Any:
    def below(name: Any) -> str:
        return f"{path}.{name}" if path else str(name)

    if isinstance(data, list):
        return tuple(_from_json(item, by_name, below(i)) for i, item in enumerate(data))
    if not isinstance(data, Mapping):
        return data
    if "type" not in data:
        return {key: _from_json(value, by_name, below(key)) for key, value in data.items()}
    cls = by_name.get(data["type"]) if isinstance(data["type"], str) else None
    if cls is None:
        raise JaxstyleError(f"{below('type')}: unknown type '{str(data['type'])[:80]}'; known: "
                            f"{', '.join(sorted(by_name))}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if unknown := sorted(data.keys() - fields.keys() - {"type"}):
        raise JaxstyleError(f"{cls.__name__} has no field '{unknown[0][:80]}'; it has {', '.join(fields)}")
    values = {name: _from_json(data[name], by_name, below(name)) for name in fields if name in data}
    defaults = {n: f.default for n, f in fields.items() if f.default is not dataclasses.MISSING}
    if missing := [name for name in fields if name not in values and name not in defaults]:
        raise JaxstyleError(f"{below(missing[0])}: is missing")
    made = {name: like(defaults.get(name), value, below(name)) for name, value in values.items()}
    for name, value in made.items():
        check_field(cls, name, value, below(name))
    return cls(**made)
