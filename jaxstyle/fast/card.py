"""The card of a trained network, and the header that says what a file or a folder holds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta
from safetensors import SafetensorError, safe_open

from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.network import StyleNetwork, checked
from jaxstyle.reading import check_regular, parsed, read_bounded, shown
from jaxstyle.reading import checked as of_form
from jaxstyle.runs.schema import Count, Short

FORMAT = "jaxstyle-fast-network"
VERSION = 1
CARD_FILE = "card.json"
Size = Annotated[int, Meta(ge=0, le=1024)]


class Header(TypedDict):
    """What stands before the numbers: network and card as JSON text, and a hash of the numbers."""

    format: Short
    format_version: Short
    network: str
    card: str
    content_sha256: Short


class Attributes(TypedDict):
    """Of a network: the numbers that its size depends on; `fast.network.checked` knows the names."""

    styles: Size
    width: Size
    depth: Size


class Written(TypedDict):
    """A card as JSON."""

    name: Short
    styles: Annotated[list[Short], Meta(min_length=1)]
    licence: Short
    origin: Short
    sample: Short
    steps: Count
    losses: dict[str, Any]
    notes: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """What people want to know about a model.

    Attributes:
      name: of the model; styles: name of each style, in the order of the network's.
      licence, origin: whose pictures and photos it comes from; sample: file name of a picture of it.
      steps: of training; recipe: as JSON; losses: figures measured on held-out photos; notes: anything else.
    """

    name: str
    styles: tuple[str, ...]
    licence: str = ""
    origin: str = ""
    sample: str = ""
    steps: int = 0
    recipe: Any = None
    losses: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_header(path: Path) -> dict[str, str]:
    """The header of a model that this version reads: a file, or a folder.

    Raises:
      JaxstyleError: missing, damaged, of a newer version, or something else than a model.
    """
    header = _folder_header(path) if path.is_dir() else _file_header(path)
    if header.get("format") != FORMAT:
        raise JaxstyleError(f"{path}: is no style network; `jaxstyle train` makes one")
    if (version := str(header.get("format_version", ""))) != str(VERSION):
        raise JaxstyleError(f"{path}: was written by a newer version (format {shown(version)}, this one "
                            f"reads {VERSION}); update jaxstyle")
    found: dict[str, str] = of_form(header, Header, str(path))
    return found


def card_in(header: Mapping[str, str], path: Path) -> Card:
    """The card in a header.

    Raises:
      JaxstyleError: it is damaged; it names the field.
    """
    card = parsed(header["card"], Written, f"{path}: card")
    try:
        return Card(**{**card, "styles": tuple(card["styles"])})
    except TypeError as error:
        raise JaxstyleError(f"{path}: its card cannot be read ({first_line(error)})") from None


def network_in(header: Mapping[str, str], path: Path) -> StyleNetwork:
    """The network that a header describes.

    Raises:
      JaxstyleError: there is no such network; it names the attribute.
    """
    attributes = parsed(header["network"], Attributes, f"{path}: network")
    try:
        return checked(StyleNetwork(**attributes))
    except JaxstyleError as error:
        raise JaxstyleError(f"{path}: {error}") from None
    except TypeError as error:
        raise JaxstyleError(f"{path}: its attributes make no network ({first_line(error)})") from None


def card_json(card: Card) -> dict[str, Any]:
    """A card, ready for JSON."""
    return {field.name: getattr(card, field.name) for field in dataclasses.fields(card)}


def read_card(path: str | os.PathLike[str]) -> Card:
    """The card alone, which is quick.

    Raises:
      JaxstyleError: as `read_header` and `card_in`.
    """
    return card_in(read_header(Path(path)), Path(path))


def _file_header(path: Path) -> dict[str, str]:
    if not path.exists():
        raise JaxstyleError(f"{path}: no such model")
    check_regular(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise JaxstyleError(f"{path}: not a whole safetensors file ({first_line(error)})") from None


def _folder_header(path: Path) -> dict[str, str]:
    if not (path / CARD_FILE).exists():
        raise JaxstyleError(f"{path}: holds no {CARD_FILE}, so it is no model folder; `jaxstyle train` makes "
                            "one")
    found: dict[str, str] = parsed(read_bounded(path / CARD_FILE), dict[str, str], str(path / CARD_FILE))
    return found


def first_line(error: BaseException) -> str:
    """What went wrong, in at most 160 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
