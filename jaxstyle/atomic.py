"""Files that appear whole or not at all."""

import os
import secrets
from pathlib import Path

from jaxstyle.errors import JaxstyleError


def write_whole(path: str | os.PathLike[str], data: bytes, overwrite: bool = True) -> None:
    """Write `data` to `path` so that an interruption at any moment leaves the old file, or none.

    The bytes go into `.jaxstyle-….tmp` beside the target, are flushed to disk, and the file is
    renamed; the temporary file is removed on every exception, KeyboardInterrupt included (only a
    killed process can leave it behind). A symbolic link is followed. Raises `JaxstyleError` when
    the file exists and `overwrite` is false, the folder is missing or may not be written, or the
    disk is full.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".jaxstyle-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, target)
        else:
            _rename_new(temporary, target)
        _flush_folder(target.parent)
    except FileExistsError as error:
        raise exists_already(path) from error
    except OSError as error:
        raise JaxstyleError(f"{path}: {_reason(target, error)}") from error
    finally:
        # After a rename nothing is left under this name.
        _discard(temporary)


def exists_already(path: str | os.PathLike[str]) -> JaxstyleError:
    """What to raise where a file must not be overwritten."""
    return JaxstyleError(f"{path}: exists already; choose another name or allow overwriting", "force")


def _rename_new(temporary: Path, target: Path) -> None:
    """Rename without replacing: a hard link fails when the name is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: take the name first, which fails when it is taken
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        os.replace(temporary, target)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last; only POSIX can open folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _discard(temporary: Path) -> None:
    try:
        os.unlink(temporary)
    except OSError:
        # Never made, renamed, or in a folder that has gone: there is nothing to remove.
        return


def _reason(target: Path, error: OSError) -> str:
    if target.is_dir():
        return "is a folder; add a file name"
    if not target.parent.is_dir():
        return f"there is no folder {target.parent}; create it first"
    why = error.strerror or error
    return f"cannot be written ({why}); check permissions and space in its folder"
