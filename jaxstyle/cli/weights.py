"""`jaxstyle weights …`: list, fetch, port, verify, normalise; parsing and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.text import Text
from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from jaxstyle.backbones import Architecture
from jaxstyle.backbones.perceptual import Weights
from jaxstyle.cli.console.terminal import marked
from jaxstyle.errors import JaxstyleError, printable
from jaxstyle.weights import SUFFIX
from jaxstyle.weights.fetch import fetch
from jaxstyle.weights.normalise import normalise_on_photos
from jaxstyle.weights.port import Provenance, port
from jaxstyle.weights.registry import registry
from jaxstyle.weights.store import (
    available,
    bundled_dir,
    cache_dir,
    load_weights,
    read_notes,
    weights_path,
    write_weights,
)
from jaxstyle.weights.verify import must_pass, notes_of, verify

Convention = Literal["caffe-vgg", "matconvnet", "caffe-104-117-123", "torchvision"]
Border = Literal["zero", "reflect", "replicate"]
MEANING = {"caffe-vgg": "BGR 0..255", "matconvnet": "RGB 0..255", "caffe-104-117-123": "BGR 0..255",
           "torchvision": "RGB, mean 0, deviation 1", "own": "its own input"}


@dataclass(frozen=True)
class List:
    """List the networks that are here and those that can be fetched."""

    def run(self, console: Console) -> int:
        """Print one line for each."""
        here = available()
        for name, path in here.items():
            console.print(_line(name, *_describe(path)), highlight=False, soft_wrap=True)
        for name, entry in registry().items():
            if name not in here:
                meaning = MEANING[entry.files[0].convention]
                about = (entry.architecture, meaning, entry.origin, entry.licence)
                console.print(_line(name, "to fetch", *about), highlight=False, soft_wrap=True)
        console.print()
        console.print(f"cache folder: {cache_dir() / 'weights'}")
        return 0


@dataclass(frozen=True)
class Fetch:
    """Download a published network, check it, and keep it in the cache folder."""

    name: Annotated[str, Positional, arg(metavar="NAME")]
    """A name from `jaxstyle weights list`, for example vgg19."""
    file: Annotated[Path | None, arg(metavar="FILE")] = None
    """The published file, if you have it already (for machines without network)."""

    def run(self, console: Console) -> int:
        """Fetch and say what came."""
        weights = fetch(self.name, file=self.file, progress=console.is_terminal)
        console.print(f"{self.name}: {_summary(weights)}", highlight=False, soft_wrap=True)
        console.print(f"use it with --weights {self.name}", highlight=False)
        return 0


@dataclass(frozen=True)
class Port:
    """Turn a weights file of another program into a network that can be used here.

    FILE can be Keras .h5, PyTorch .pth, MatConvNet .mat, NumPy .npz or .npy, Caffe .caffemodel. Nothing in it
    is executed.
    """

    file: Annotated[Path, Positional, arg(metavar="FILE")]
    """The file of the other program."""
    output: Annotated[Path | None, arg(aliases=("-o",), metavar="OUT")] = None
    """The .safetensors file to write; if not given, FILE's name in the cache folder."""
    arch: Architecture | None = None
    """The network; found in the file if not given."""
    convention: Convention | None = None
    """What the network was trained on; that of the file's format if not given."""
    border: Border | None = None
    """How images go on outside; zero, or reflect for files with their own preprocessing."""
    licence: str = ""
    """Noted in the file."""
    force: bool = False
    """Overwrite OUT if it exists."""

    def run(self, console: Console) -> int:
        """Port, check, and say what was made."""
        output = self.output or cache_dir() / "weights" / f"{self.file.stem}{SUFFIX}"
        _check_target(output, self.force)
        weights = port(self.file, output, self.arch, convention=self.convention,
                       border=self.border, provenance=Provenance(licence=self.licence))
        made_for = MEANING[read_notes(output)["convention"]]
        console.print(f"{output}: {_summary(weights)}, input: {made_for}, border: {weights.network.border}",
                      highlight=False, soft_wrap=True)
        for finding in verify(str(output)):
            if not finding.passed:
                console.print(marked("warning:", "yellow", finding.text))
        name = output.stem if self.output is None else output
        console.print(f"use it with --weights {name}", highlight=False, soft_wrap=True)
        return 0


@dataclass(frozen=True)
class Verify:
    """Check a network: hash, shapes, and whether its input is the one it was trained on."""

    names: Annotated[tuple[str, ...], Positional, arg(metavar="[NAME ...]")] = ()
    """Names or .safetensors files; every network that is here if not given."""

    def run(self, console: Console) -> int:
        """Print every check; fail if one failed."""
        results = {name: verify(name) for name in self.names or available()}
        for name, findings in results.items():
            for check, passed, text in findings:
                mark, style = ("ok  ", "green") if passed else ("BAD ", "red")
                console.print(marked(mark, style, f"{name}: {check}: {text}"))
        for name, findings in results.items():
            must_pass(findings, name)
        return 0


@dataclass(frozen=True)
class Normalise:
    """Rescale a VGG's filters so that each has mean activation 1 on photos, as Gatys did."""

    name: Annotated[str, Positional, arg(metavar="NAME")]
    """The network to start from: a name or a .safetensors file."""
    photos: Annotated[Path, arg(metavar="DIR")]
    """A folder of photos; some hundred are enough."""
    output: Annotated[Path | None, arg(aliases=("-o",), metavar="OUT")] = None
    """The .safetensors file to write; if not given, NAME-normalised in the cache folder."""
    size: Annotated[int, arg(metavar="PIXELS")] = 256
    """Side of the square that is cut from the middle of each photo."""
    force: bool = False
    """Overwrite OUT if it exists."""

    def run(self, console: Console) -> int:
        """Measure, rescale, write."""
        name = Path(self.name).stem if self.name.endswith(SUFFIX) else self.name
        output = self.output or cache_dir() / "weights" / f"{name}-normalised{SUFFIX}"
        _check_target(output, self.force)
        weights, path = load_weights(self.name), weights_path(self.name)
        normalised, count = normalise_on_photos(weights, self.photos, self.size)
        notes = read_notes(path) if path else {"architecture": "vgg19", "origin": "random"}
        notes |= notes_of(normalised)
        notes |= {"normalised": f"mean activation 1 over {count} photos at {self.size} pixels",
                  "normalised_from": weights.sha256}
        write_weights(output, normalised, notes.pop("architecture"), **notes)
        console.print(f"{output}: {_summary(normalised)}, normalised on {count} photos",
                      highlight=False, soft_wrap=True)
        return 0


Action = (
    Annotated[List, subcommand("list")]
    | Annotated[Fetch, subcommand("fetch")]
    | Annotated[Port, subcommand("port")]
    | Annotated[Verify, subcommand("verify")]
    | Annotated[Normalise, subcommand("normalise")]
)


@dataclass(frozen=True)
class WeightsCommand:
    """The networks that pictures are compared with: list, fetch, port, verify, normalise."""

    action: OmitSubcommandPrefixes[Action]

    def run(self, settings: dict[str, str], console: Console) -> int:
        """Do what the sub-command says; there is no recipe whose `settings` could be given."""
        del settings
        return self.action.run(console)


def _line(name: str, where: str, *about: str) -> Text:
    return marked(f"{printable(name):20}", "bold", f"{where:9} {' · '.join(part for part in about if part)}")


def _describe(path: Path | None) -> tuple[str, ...]:
    """Where, network, input, origin and licence of weights that are here."""
    if path is None:
        return "made here", "vgg19", "seeded random numbers: textures only"
    where = "bundled" if path.parent == bundled_dir() else "cached"
    try:
        notes = read_notes(path)
    except JaxstyleError:
        return where, "damaged: fetch or port it again"
    meaning = MEANING.get(notes.get("convention", ""), "its own input")
    return (where, notes.get("architecture", "?"), meaning, notes.get("origin", ""),
            notes.get("licence", ""))


def _summary(weights: Weights) -> str:
    """Network, parameters, hash in one line."""
    count = sum(part.size for layer in weights.params.values() for part in layer.values())
    written = f", hash {weights.sha256[:16]}…" if weights.sha256 else ""
    return (f"{type(weights.network).__name__}, {len(weights.params)} layers, "
            f"{count / 1e6:.1f} million parameters{written}")


def _check_target(output: Path, force: bool) -> None:
    if output.suffix != SUFFIX:
        raise JaxstyleError(f"{output}: the name must end in {SUFFIX}")
    if output.exists() and not force:
        raise JaxstyleError(f"{output}: exists already; add --force or choose another -o")
