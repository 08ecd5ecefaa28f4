"""One kind of checkpoint: numbered states of something that runs, each whole or absent, checked when read.

    DIR/120/…   state after step 120, with a JSON beside it (Orbax)

Orbax writes a state under another name and renames it when it is complete, so a kill leaves no half of one.
What is read back is compared with the hash that was noted when it was written; where the newest state is
damaged, the one before serves, with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxstyle.errors import JaxstyleError

if TYPE_CHECKING:
    from orbax.checkpoint import CheckpointManager

FORMAT = "jaxstyle-checkpoint-2"
DAMAGES = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError)
"""What Orbax and its libraries raise where files are missing or broken."""
DAMAGED = object()


@dataclass(frozen=True)
class Checkpoint:
    """A state that was saved: the step, a pytree of NumPy arrays, and what was noted beside it."""

    step: int
    state: Any
    about: Mapping[str, Any]


def save_checkpoint(folder: Path, step: int, state: Any, about: Mapping[str, Any], *, keep: int = 2,
                    spare: Collection[int] = ()) -> None:
    """Write the state after `step`, and remove old ones.

    Args:
      state: any pytree of arrays; about: what to note beside it, ready for JSON.
      keep: how many of the newest stay; spare: steps that stay beside them.

    Raises:
      JaxstyleError: the folder cannot be written or the disk is full; states that are there stay.
    """
    leaves = named_leaves(state)
    entry = {"format": FORMAT, "sha256": sha256_of(leaves, about), "about": dict(about)}
    try:
        with opened(folder) as (ocp, manager):
            if step in manager.all_steps():
                manager.delete(step)
            manager.save(step, args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(leaves), entry=ocp.args.JsonSave(entry)))
            for old in sorted(manager.all_steps())[:-keep]:
                if old not in spare:
                    manager.delete(old)
    except DAMAGES as error:
        reason = " ".join(str(error).split())[:200]
        raise JaxstyleError(f"{folder}: the state of the run cannot be saved there ({reason})") from error


def restore_checkpoint(folder: Path, shapes: Callable[[Mapping[str, Any]], Any]) -> Checkpoint | None:
    """The newest whole state; None if there is none.

    Args:
      shapes: from what was noted beside a state to the pytree (of arrays or shapes) that the state must look
        like; or to None, if it is of no use. It may raise.

    Warns:
      of a state that is damaged; the one before is taken then.

    Raises:
      JaxstyleError: the states are of a version that is not known here.
    """
    if not folder.is_dir() or not any(path.name.isdigit() for path in folder.iterdir()):
        return None
    with opened(folder) as (ocp, manager):
        for step in sorted(manager.all_steps(), reverse=True):
            if (entry := read_entry(ocp, manager, step)) is not None:
                try:
                    like = shapes(entry["about"])
                except DAMAGES:  # what was noted has lost a field
                    like = DAMAGED
                if like is None:
                    return None
                state = None if like is DAMAGED else read_state(ocp, manager, step, like, entry)
                if state is not None:
                    return Checkpoint(step, state, entry["about"])
            warnings.warn(f"{folder / str(step)}: this state is damaged; going on from the one before",
                          stacklevel=2)
    return None


def drop_checkpoints(folder: Path) -> None:
    """Remove all states of a folder, and the folder."""
    shutil.rmtree(folder, ignore_errors=True)


def read_entry(ocp: Any, manager: CheckpointManager, step: int) -> dict[str, Any] | None:
    """What was noted beside a state; None if it is damaged."""
    try:
        entry = manager.restore(step, args=ocp.args.Composite(entry=ocp.args.JsonRestore()))["entry"]
    except DAMAGES:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("about"), dict) or "sha256" not in entry:
        return None
    if entry.get("format") != FORMAT:
        raise JaxstyleError(f"{manager.directory}: saved by another version of jaxstyle "
                            f"({entry.get('format')}, here {FORMAT}); remove this folder to start anew")
    return entry


def read_state(ocp: Any, manager: CheckpointManager, step: int, like: Any, entry: Mapping[str, Any]) -> Any:
    """A state in the form of `like`; None if it is damaged or of another form."""
    leaves, treedef = jax.tree.flatten(like)
    names = [leaf_name(i) for i in range(len(leaves))]
    kinds = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
    try:
        found = manager.restore(step, args=ocp.args.Composite(
            state=ocp.args.PyTreeRestore(restore_args=kinds)))["state"]
        found = {name: np.asarray(found[name]) for name in names}
    except DAMAGES:
        return None
    same = all((found[name].shape, found[name].dtype) == (leaf.shape, leaf.dtype)
               for name, leaf in zip(names, leaves))
    if not same or sha256_of(found, entry["about"]) != entry["sha256"]:
        return None
    return jax.tree.unflatten(treedef, [found[name] for name in names])


def named_leaves(state: Any) -> dict[str, np.ndarray]:
    """The arrays of a pytree by number."""
    return {leaf_name(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}


def leaf_name(index: int) -> str:
    """What an array is called in the files."""
    return f"leaf{index:04d}"


def sha256_of(leaves: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    """Hex SHA-256 of named arrays (names, shapes, types and numbers) and of what is noted beside them."""
    noted = json.loads(json.dumps(about))  # keys are texts in the file
    digest = hashlib.sha256(json.dumps(noted, sort_keys=True).encode())
    for name in sorted(leaves):
        array = np.ascontiguousarray(leaves[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Any, CheckpointManager]]:
    """Orbax, and its manager of a folder; what a kill left of an unfinished state is removed."""
    import orbax.checkpoint as ocp  # takes a second to import

    quiet = logging.getLogger("absl")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, cleanup_tmp_directories=True)
    try:
        with ocp.CheckpointManager(folder.absolute(), options=options) as manager:
            yield ocp, manager
    finally:
        quiet.setLevel(level)
