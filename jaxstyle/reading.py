"""Files that are read back: regular ones of bounded size, and JSON of the form that was written.

A pipe, a device or a socket where a file is expected would hang a program or never end; JSON that somebody
has edited can be as deep, as large and as wrong as JSON can be.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from typing import Any, BinaryIO

import msgspec

from jaxstyle.errors import JaxstyleError

MAX_BYTES = 256 * 2**20
"""Of a file of JSON, far above any that is written here."""
MAX_DEPTH = 32
MAX_SHOWN = 200


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The file, open for reading, if it is a regular one.

    Raises:
      JaxstyleError: there is none, it may not be read, or it is a folder, a pipe, a device or a socket.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise not_regular(path)
        # Between the two looks somebody may have put a pipe there, whose opening would wait for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = os.fdopen(handle, "rb")
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return file
        file.close()
    except FileNotFoundError:
        raise JaxstyleError(f"{path}: no such file; check the name") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise JaxstyleError(f"{path}: cannot be read ({reason}); check its name and permissions") from None
    raise not_regular(path)


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raises:
      JaxstyleError: as `open_regular` does; for libraries that open files by their name.
    """
    open_regular(path).close()


def not_regular(path: str | os.PathLike[str]) -> JaxstyleError:
    """What is said of a folder, a pipe, a device or a socket."""
    kind = "a folder" if os.path.isdir(path) else "not a regular file"
    return JaxstyleError(f"{path}: is {kind}; name a file")


def read_bounded(path: str | os.PathLike[str], most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of at most `most` bytes.

    Raises:
      JaxstyleError: as `open_regular` does, or it is larger.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise JaxstyleError(f"{path}: is larger than {most // 2**20} MiB, which no file of this kind is")
    return data


def parsed(text: bytes | str, form: Any, what: str) -> Any:
    """The value that JSON text stands for, if it has the form of `form` (types, TypedDicts, bounds in
    `Annotated`; further keys are allowed).

    Args:
      what: the file or picture that it comes from, for the message.

    Raises:
      JaxstyleError: no JSON, nested deeper than `MAX_DEPTH`, or of another form; it names the field.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise JaxstyleError(f"{what}: is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise JaxstyleError(f"{what}: is damaged (no JSON); make it again") from None
    return checked(data, form, what)


def checked(data: Any, form: Any, what: str) -> Any:
    """`data` itself, if it has the form of `form`; see `parsed`."""
    if too_deep([data]):
        raise JaxstyleError(f"{what}: is nested deeper than {MAX_DEPTH} levels")
    try:
        msgspec.convert(data, form)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `")
        field = place.rstrip("`").removeprefix("$").removeprefix(".") or "the whole"
        raise JaxstyleError(f"{what}: {shown(field)}: {shown(said.replace('`', ''))}") from None
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        raise JaxstyleError(f"{what}: holds text that is no Unicode; make it again") from None
    return data


def too_deep(level: Iterable[Any]) -> bool:
    """Whether lists and objects are nested deeper than `MAX_DEPTH`; goes level by level, not by recursion."""
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                inner += node.values()
            elif isinstance(node, list):
                inner += node
        if not inner:
            return False
        level = inner
    return True


def shown(text: object) -> str:
    """A text from a file, cut to a length that a message can hold."""
    text = str(text)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
