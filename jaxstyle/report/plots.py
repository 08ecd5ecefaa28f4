"""Plots of a sweep as picture files: loss curves, and content against style distance."""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from jaxstyle.atomic import write_whole
from jaxstyle.report.data import SweepRecord
from jaxstyle.sweeps.folder import STOPPED

MANY = 14
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (1, 3)), (0, (6, 2, 1, 2, 1, 2)), (0, (8, 4)))


def colours(count: int) -> list[tuple[float, float, float, float]]:
    """Colours that can be told apart, or shades of one map where there are many."""
    if count <= 10:
        return [matplotlib.colormaps["tab10"](i) for i in range(count)]
    return [matplotlib.colormaps["viridis"](i / (count - 1)) for i in range(count)]


def loss_curves(sweep: SweepRecord) -> Figure:
    """Total loss after every step, one line per lane, logarithmic where all are positive; as a share of the
    loss at the start where lanes minimise different things."""
    figure = Figure(figsize=(9, 5), layout="constrained", dpi=130)
    axes = figure.subplots()
    lanes = [lane for lane in sweep.lanes if lane.metrics]
    positive = True
    for lane, colour in zip(lanes, colours(len(lanes))):
        values = [row["total"] if row["total"] is not None else math.nan for row in lane.metrics]
        if not sweep.one_objective():
            values = [value / (values[0] or math.nan) for value in values]
        positive &= all(value > 0 for value in values if not math.isnan(value))
        axes.plot([row["step"] for row in lane.metrics], values, color=colour, label=lane.name, lw=1.4)
    unit = "total loss" if sweep.one_objective() else "total loss / loss at the start (objectives differ)"
    axes.set(xlabel="step", ylabel=unit, yscale="log" if lanes and positive else "linear")
    axes.grid(alpha=0.25)
    if 0 < len(lanes) <= MANY:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def part_curves(sweep: SweepRecord) -> Figure:
    """Total loss and its weighted parts after every step in one plot: a colour for each lane, a dash for each
    part; logarithmic, without what is not above 0. Of many lanes the first `MANY`."""
    figure = Figure(figsize=(9, 5), layout="constrained", dpi=130)
    axes = figure.subplots()
    lanes = [lane for lane in sweep.lanes if lane.metrics][:MANY]
    names = list(dict.fromkeys(name for lane in lanes for name in lane.metrics[0]
                               if name not in ("step", "seconds")))
    for lane, colour in zip(lanes, colours(len(lanes))):
        for name in lane.metrics[0].keys() & set(names):
            rows = [(row["step"], row[name]) for row in lane.metrics if (row[name] or 0) > 0]
            if rows:
                axes.plot(*zip(*rows), color=colour, lw=1.8 if name == "total" else 1.2,
                          ls=DASHES[names.index(name) % len(DASHES)])
    for name, dash in zip(names, itertools.cycle(DASHES)):
        axes.plot([], [], color="#555555", ls=dash, label=name)
    for lane, colour in zip(lanes, colours(len(lanes)) if len(lanes) > 1 else ()):
        axes.plot([], [], color=colour, label=lane.name, lw=3)
    axes.set(xlabel="step", ylabel="loss, weighted as it counts", yscale="log" if lanes else "linear")
    axes.grid(alpha=0.25)
    if names:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def scatter(sweep: SweepRecord) -> Figure:
    """Relative distance from the photo against that from the painting; the Pareto front of each pair of
    pictures is drawn.

    Lanes that were stopped on the way are hollow; the title says by which network distances were measured.
    """
    figure = Figure(figsize=(7, 5), layout="constrained", dpi=130)
    axes = figure.subplots()
    lanes = [lane for lane in sweep.lanes if lane.measured]
    for lane, colour in zip(lanes, colours(len(lanes))):
        axes.plot(lane.distance("content"), lane.distance("style"), "o", color=colour,
                  mfc="none" if lane.status == STOPPED else colour)
        if len(lanes) <= MANY:
            axes.annotate(", ".join(lane.labels.values()) or str(lane.index),
                          (lane.distance("content"), lane.distance("style")), xytext=(5, 4),
                          textcoords="offset points", fontsize=7)
    fronts = sweep.fronts()
    for i, (front, knee) in enumerate(fronts):
        line = [(sweep.lanes[j].distance("content"), sweep.lanes[j].distance("style")) for j in front]
        if len(line) > 1:
            axes.plot(*zip(*line), color="#888888", lw=1, zorder=0, label="" if i else "Pareto front")
        if knee is not None:
            lane = sweep.lanes[knee]
            axes.plot(lane.distance("content"), lane.distance("style"), "o", ms=12, mfc="none", mec="#d33",
                      label="" if i else "knee")
    if fronts:
        axes.legend(frameon=False, fontsize=8)
    heights = [lane.distance("style") for lane in lanes]
    wide = heights and max(heights) > 5 * min(heights) > 0
    axes.set(xlabel="distance from the photo (content)", ylabel="distance from the painting (style)",
             yscale="log" if wide else "linear")
    axes.margins(x=0.12)  # room for the names
    axes.set_title(textwrap.fill(sweep.measured_by(), 100), fontsize=8, color="#555555")
    axes.grid(alpha=0.25)
    return figure


def write_figure(figure: Figure, path: Path) -> None:
    """Save as PNG, atomically."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_whole(path, buffer.getvalue())
