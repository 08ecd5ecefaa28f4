"""`jaxstyle models` and `jaxstyle export`: parsing and printing only."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.cli.apply import blended
from jaxstyle.cli.running.arguments import Settings
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.card import read_card
from jaxstyle.fast.export import exported
from jaxstyle.fast.model import read_model, shares, write_model
from jaxstyle.fast.shelf import find_model, models, shelves
from jaxstyle.weights import SUFFIX


@dataclass(frozen=True)
class Models:
    """List the fast networks that `jaxstyle apply` finds by name, one per line."""

    def run(self, settings: Settings, console: Console) -> int:
        """Name, styles, licence and sample of each."""
        found = models()
        for name, path in found.items():
            try:
                card = read_card(path)
            except JaxstyleError as error:
                sys.stdout.write(f"{name}  cannot be read: {error}\n")
                continue
            sample = path.parent / card.sample if card.sample else ""
            sys.stdout.write(f"{name}  {len(card.styles)} styles: {', '.join(card.styles)}  "
                             f"{card.steps} steps  licence: {card.licence or 'not stated'}  "
                             f"sample: {sample or 'none'}\n")
        if not found:
            console.print(f"no models in {', '.join(map(str, shelves()))}; `jaxstyle train` makes one",
                          highlight=False, soft_wrap=True)
        return 0


@dataclass(frozen=True)
class Export:
    """Write a fast network for other programs: .onnx, .stablehlo, or a .safetensors file (half precision)."""

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A name from `jaxstyle models`, a model's folder, or a .safetensors file."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="FILE")]
    """The file; its suffix says which kind."""
    style: Annotated[str | None, arg(metavar="NAME")] = None
    """The style that a program is fixed to; the first if not given."""
    blend: Annotated[str, arg(metavar="A=0.6,B=0.4")] = ""
    """Several styles with their shares."""
    force: bool = False
    """Overwrite a file that exists."""

    def run(self, settings: Settings, console: Console) -> int:
        """Write the file; a program is read back in a fresh process and compared first."""
        if self.style and self.blend:
            raise JaxstyleError("give --style or --blend, not both")
        model = read_model(find_model(self.model))
        if self.output.suffix == SUFFIX:
            write_model(self.output, model, "float16", overwrite=self.force)
            console.print(f"done → {self.output}", highlight=False, soft_wrap=True)
            return 0
        share = shares(model, {self.style: 1.0} if self.style else blended(self.blend))
        difference = exported(model, share, self.output, overwrite=self.force)
        console.print(f"done → {self.output} (read back in a fresh process: differs by {difference:.1e})",
                      highlight=False, soft_wrap=True)
        return 0
