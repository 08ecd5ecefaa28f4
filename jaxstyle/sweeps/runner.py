"""Runs a planned sweep into a folder: groups, batches, results as they finish, and going on after a stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxstyle.metrics.distances import judge_called
from jaxstyle.references import References
from jaxstyle.runs.manifest import Files, load_references, manifest
from jaxstyle.sweeps.batches import (
    USUAL,
    Options,
    Progress,
    Running,
    batches,
    outcome_of,
    run_batch,
    steps_before,
    write_outcome,
)
from jaxstyle.sweeps.folder import FINISHED, is_finished, lane_folder, update_plan, write_plan
from jaxstyle.sweeps.plan import Lane
from jaxstyle.sweeps.program import group_key
from jaxstyle.transfer.layout import lane_mesh
from jaxstyle.transfer.program import forget_programs
from jaxstyle.weights.store import load_weights


def run_sweep(directory: Path, lanes: Sequence[Lane], *, title: str = "", about: str = "",
              options: Options = USUAL, mesh: Mesh | None = None) -> Iterator[Progress]:
    """Runs all lanes of this process into a folder; lanes that are finished there are left alone.

    Raises:
      JaxstyleError: the folder holds something else, or an input cannot be used.
    """
    mesh = mesh or lane_mesh()
    judge = judge_called(options.judge) if options.judge else None
    weights = {name: load_weights(name) for name in {lane.weights for lane in lanes}}
    records = [manifest(lane.recipe, lane.files, weights[lane.weights], beside=lane_folder(directory, i),
                        labels=dict(lane.labels)) for i, lane in enumerate(lanes)]
    references = references_by_files(lanes)  # all, so that nothing is written if one is damaged
    groups = grouped(lanes, references, options)
    if options.process == 0:
        write_plan(directory, lanes, records, title, about)
    together("planned", options)
    total = sum(lanes[i].recipe.total_steps for group in groups for i in group)
    done = finished = 0
    for number, group in enumerate(groups):
        waiting = [Running(i, lanes[i], records[i], lane_folder(directory, i), references[lanes[i].files])
                   for i in group
                   if not is_finished(lane_folder(directory, i), records[i])]
        done += sum(lanes[i].recipe.total_steps for i in {*group} - {run.index for run in waiting})
        finished += len(group) - len(waiting)
        network = weights[lanes[group[0]].weights]
        for runs, batch, resume in batches(waiting, network, options, mesh):
            for at in run_batch(runs, batch, resume, options):
                steps = steps_before(batch.recipes, at.stage) + at.step
                yield Progress(done + len(runs) * steps, total, finished,
                               tuple(runs), at, number, len(groups))
            for i, run in enumerate(runs):
                write_outcome(run, *outcome_of(run, at, i, judge or network))
            done += sum(run.lane.recipe.total_steps for run in runs)
            finished += len(runs)
        forget_programs()
    together("finished", options)
    if options.process == 0:
        update_plan(directory, status=FINISHED)


def together(moment: str, options: Options) -> None:
    """Wait until every process of the sweep has come here."""
    if options.processes > 1:
        multihost_utils.sync_global_devices(f"jaxstyle sweep {moment}")


def references_by_files(lanes: Sequence[Lane]) -> dict[Files, References]:
    """The pictures of all lanes, each read once.

    Raises:
      JaxstyleError: one cannot be used.
    """
    return {files: load_references(files) for files in dict.fromkeys(lane.files for lane in lanes)}


def grouped(lanes: Sequence[Lane], references: Mapping[Files, References], options: Options
            ) -> list[list[int]]:
    """Indices of lanes that share a program, and of them this process's share."""
    groups: dict[Any, list[int]] = {}
    for i, lane in enumerate(lanes):
        key = lane.weights, group_key(lane.recipe, references[lane.files])
        groups.setdefault(key, []).append(i)
    shares = ([i for position, i in enumerate(group)
               if position * options.processes // len(group) == options.process]
              for group in groups.values())
    return [share for share in shares if share]
