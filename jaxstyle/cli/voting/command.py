"""`jaxstyle vote`: parsing and printing only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.atomic import write_whole
from jaxstyle.cli.console.interrupts import noting_signals
from jaxstyle.cli.voting.server import Poll, serving
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.folder import pictures
from jaxstyle.report.votes import (
    Contestant,
    axes_of,
    contestants,
    questions,
    read_votes,
    standings,
    standings_csv,
    votes_csv,
)

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Vote:
    """Ask people which of two results is better, on a local page: wins with confidence intervals.

    The page shows photo, painting and two results without their names. Every vote is kept in
    RUN/votes.jsonl. It ends with the page's button or Ctrl-C, and prints wins and Bradley–Terry chances with
    95 % intervals for every axis on which the results differ.
    """

    runs: Annotated[tuple[Path, ...], Positional, arg(metavar="RUN ...")]
    """Folders that `jaxstyle sweep` or an experiment wrote; votes are kept in the first."""
    voter: Annotated[str, arg(metavar="NAME")] = "anonymous"
    """Who votes: nobody is asked twice about the same two pictures."""
    inputs: Annotated[tuple[Path, ...], arg(metavar="PICTURE ...")] = ()
    """Photo and paintings, or folders of them, that do not lie beside RUN; the right ones are found."""
    questions: Annotated[int | None, arg(metavar="N")] = None
    """Ask at most so many; every two results if not given."""
    port: Annotated[int, arg(metavar="PORT")] = 8123
    """The page is at http://127.0.0.1:PORT; 0 takes any free port."""
    results: bool = False
    """Print what the votes so far say, and ask nobody."""
    csv: Annotated[Path | None, arg(metavar="FILE")] = None
    """Also write the results to FILE.csv, and every vote to FILE-votes.csv."""

    def run(self, settings: Mapping[str, str], console: Console) -> int:
        """Serve the page until it is ended, then print the results."""
        if not self.runs:
            raise JaxstyleError("no run was given; try: jaxstyle vote runs/strength")
        if not 1 <= len(self.voter) <= 100:
            raise JaxstyleError("--voter takes a name of 1 to 100 characters")
        if self.questions is not None and self.questions < 1:
            raise JaxstyleError("--questions takes a number of at least 1")
        those = contestants(self.runs, pictures(self.inputs))
        if not self.results:
            self.ask(those, console)
        self.print_results(those, console)
        return 0

    def ask(self, those: list[Contestant], console: Console) -> None:
        """Serve the page.

        Raises:
          JaxstyleError: no two results are of the same photo and painting.
        """
        votes = read_votes(self.runs)
        asked = questions(those, self.voter, votes)
        if not asked:
            raise JaxstyleError("there are no two different results of the same photo and painting to choose "
                                "from; name a folder with more lanes, or several folders")
        if any(question.left.photo is None or not question.left.paintings for question in asked):
            console.print("photos or paintings do not lie beside these runs and cannot be shown; name them "
                          "with --inputs", soft_wrap=True)
        answered = {vote["id"] for vote in votes}
        if self.questions is not None:
            asked = [question for question in asked if question.id not in answered][: self.questions]
        if all(question.id in answered for question in asked):
            console.print(f"{self.voter} has answered all questions; give another --voter", soft_wrap=True)
            return
        poll = Poll(asked, self.runs[0], self.voter, answered)
        with noting_signals() as stopped, serving(poll, self.port):
            console.print(f"vote at {poll.address} (Ctrl-C ends)", highlight=False, soft_wrap=True)
            while not stopped and not poll.over.wait(LOOK_SECONDS):
                pass

    def print_results(self, those: list[Contestant], console: Console) -> None:
        """Print a table for each axis, and write the CSV files."""
        votes = read_votes(self.runs)
        tables = {axis: standings(those, votes, axis) for axis in axes_of(those)}
        console.print(f"{len(votes)} votes by {len({vote['voter'] for vote in votes})}", highlight=False)
        for axis, table in tables.items():
            console.print(f"{axis}: wins of votes; chance to be preferred to the average (95 % interval)",
                          highlight=False, markup=False, soft_wrap=True)
            width = max(len(row.value) for row in table)
            for row in table:
                low, chance, high = row.chance
                chances = f"{100 * chance:3.0f} % ({100 * low:.0f} to {100 * high:.0f})"
                console.print(f"  {row.value:{width}}  {row.wins:5.1f} of {row.votes:3d}  {chances}",
                              highlight=False, markup=False, soft_wrap=True)
        if self.csv is not None:
            each = self.csv.with_name(f"{self.csv.stem}-votes.csv")
            for path, text in ((self.csv, standings_csv(tables)), (each, votes_csv(votes))):
                write_whole(path, text.encode(errors="backslashreplace"))
            console.print(f"results → {self.csv}, votes → {each}", highlight=False, soft_wrap=True)
