"""`jaxstyle models`: parsing and printing only."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rich.console import Console

from jaxstyle.cli.arguments import Settings
from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.model import read_card
from jaxstyle.fast.shelf import models, shelves


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
