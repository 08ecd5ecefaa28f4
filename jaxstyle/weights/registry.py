"""Which published weights can be fetched, from where, and what their input must be."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from jaxstyle.weights.store import bundled_dir


@dataclass(frozen=True)
class Published:
    """A file that holds a network: where, its hash as "md5:…" or "sha256:…" ("" unknown), its input."""

    url: str
    hash: str
    convention: str


@dataclass(frozen=True)
class Entry:
    """A network of the registry; its files are mirrors, tried in turn."""

    architecture: str
    licence: str
    origin: str
    files: tuple[Published, ...]


def registry(path: Path | None = None) -> dict[str, Entry]:
    """Every network that can be fetched, by name; from `weights/registry.toml`."""
    content = tomllib.loads((path or bundled_dir() / "registry.toml").read_text(encoding="utf-8"))
    return {
        name: Entry(entry["architecture"], entry["licence"], entry["origin"],
                    tuple(Published(**file) for file in entry["files"]))
        for name, entry in content.items()
    }
