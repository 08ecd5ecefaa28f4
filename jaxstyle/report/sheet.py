"""All results of a sweep on one picture: rows and columns are what was varied."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from jaxstyle.errors import printable
from jaxstyle.report.data import LaneRecord, SweepRecord

CELL, GAP, FONT_SIZE, WRAP = 240, 10, 17, 6
INK, PAPER, FAINT = "#1c1c1c", "#ffffff", "#e8e8e8"


@dataclass(frozen=True)
class Grid:
    """What stands where: heads of rows and columns, and the picture at each crossing."""

    row_name: str
    column_name: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Mapping[tuple[int, int], tuple[LaneRecord, Path | None]]


def grid_of(sweep: SweepRecord) -> Grid:
    """Two axes as rows and columns; one axis as a row, wrapped; the last of several axes as columns.

    Snapshots, where there are any, are the columns, and every lane is a row. Lanes that would leave more than
    half of a grid empty stand in a row, too.
    """
    axes = sweep.plan["axes"]
    steps = sorted({step for lane in sweep.lanes for step in lane.snapshots})
    if steps:
        rows = [lane.name for lane in sweep.lanes]
        last = max((lane.manifest.get("steps", 0) for lane in sweep.lanes), default=0)
        columns = [*steps, *([last] if last not in steps else [])]
        cells = {(i, j): (lane, lane.snapshots.get(step, lane.image if step == last else None))
                 for i, lane in enumerate(sweep.lanes) for j, step in enumerate(columns)}
        return Grid("", "steps", rows, [str(step) for step in columns], cells)
    if len(axes) < 2:
        return wrapped(sweep, axes[0]["name"] if axes else "")
    *others, last_axis = axes
    heads = list(itertools.product(*(axis["values"] for axis in others)))
    names = [axis["name"] for axis in others]
    if len(heads) * len(last_axis["values"]) > 2 * len(sweep.lanes):
        return wrapped(sweep, ", ".join([*names, last_axis["name"]]))
    cells = {}
    for lane in sweep.lanes:
        row = heads.index(tuple(lane.labels[name] for name in names))
        column = last_axis["values"].index(lane.labels[last_axis["name"]])
        cells[row, column] = (lane, lane.image)
    return Grid(" · ".join(names), last_axis["name"], [" · ".join(head) for head in heads],
                list(last_axis["values"]), cells)


def wrapped(sweep: SweepRecord, name: str) -> Grid:
    """All lanes in rows of at most `WRAP`; below each picture its values of the axes `name`."""
    rows = max(1, -(-len(sweep.lanes) // WRAP))
    count = max(1, -(-len(sweep.lanes) // rows))
    cells = {divmod(i, count): (lane, lane.image) for i, lane in enumerate(sweep.lanes)}
    return Grid("", name, [""] * (-(-len(sweep.lanes) // count)), [""] * count, cells)


def font(size: int = FONT_SIZE) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def fitted_text(draw: ImageDraw.ImageDraw, text: str, width: int) -> list[str]:
    """The text in lines no wider than `width`; breaks at spaces, and inside words that are too long."""
    lines, line = [], ""
    for word in printable(text).split(" "):
        while draw.textlength(word, font()) > width:
            cut = next(n for n in range(len(word) - 1, 0, -1)
                       if draw.textlength(word[:n], font()) <= width or n == 1)
            lines += [line] if line else []
            lines, line, word = [*lines, word[:cut]], "", word[cut:]
        longer = f"{line} {word}".strip()
        if draw.textlength(longer, font()) > width:
            lines, longer = [*lines, line], word
        line = longer
    return [*lines, line] if line else lines


def contact_sheet(sweep: SweepRecord) -> Image.Image:
    """The sheet as a picture; lanes without a result are grey."""
    grid = grid_of(sweep)
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    captions = not any(grid.columns)
    shown = [path for _, path in grid.cells.values() if path]
    ratio = aspect(shown[0]) if shown else 1.0
    height = round(CELL * min(ratio, 1.6))
    heads = [fitted_text(probe, text, CELL) for text in grid.columns]
    sides = [fitted_text(probe, text, 180) for text in grid.rows]
    line = FONT_SIZE + 6
    top = GAP + line * (1 + max((len(head) for head in heads), default=0)) if not captions else GAP + line
    side = max((probe.textlength(text, font()) for lines in sides for text in lines), default=0)
    left = GAP + (round(side) + 2 * GAP if any(grid.rows) else 0)
    below = line * max((len(caption_lines(probe, lane)) for lane, _ in grid.cells.values()), default=0) \
        if captions else 0
    step_x, step_y = CELL + GAP, height + GAP + below
    title = printable(" ↓   ".join(name for name in (grid.row_name, f"{grid.column_name} →")
                                   if name.strip(" →")))
    width = max(left + step_x * len(grid.columns), round(probe.textlength(title, font())) + 2 * GAP)
    sheet = Image.new("RGB", (width, top + step_y * len(grid.rows)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP - 4), title, INK, font())
    for j, lines in enumerate(heads):
        draw.multiline_text((left + step_x * j + CELL / 2, top - 6), "\n".join(lines), INK, font(),
                            anchor="md", align="center")
    for i, lines in enumerate(sides):
        draw.multiline_text((GAP, top + step_y * i + height / 2), "\n".join(lines), INK, font(), anchor="lm")
    for (i, j), (lane, path) in grid.cells.items():
        corner = (left + step_x * j, top + step_y * i)
        paste(sheet, draw, path, lane, corner, height)
        if captions:
            draw.multiline_text((corner[0] + CELL / 2, corner[1] + height + 4),
                                "\n".join(caption_lines(probe, lane)), INK, font(), anchor="ma",
                                align="center")
    return sheet


def caption_lines(draw: ImageDraw.ImageDraw, lane: LaneRecord) -> list[str]:
    """The values of a lane, in lines of a cell's width."""
    return fitted_text(draw, ", ".join(lane.labels.values()), CELL)


def aspect(path: Path) -> float:
    """Height by width of a picture."""
    with Image.open(path) as image:
        return image.height / image.width


def paste(sheet: Image.Image, draw: ImageDraw.ImageDraw, path: Path | None, lane: LaneRecord,
          corner: tuple[int, int], height: int) -> None:
    """One picture in its cell, centred; grey with the lane's status where there is none."""
    x, y = corner
    if path is None:
        draw.rectangle((x, y, x + CELL - 1, y + height - 1), FAINT)
        draw.text((x + CELL / 2, y + height / 2), lane.status, "#888888", font(), anchor="mm")
        return
    with Image.open(path) as image:
        scale = min(CELL / image.width, height / image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    sheet.paste(small, (x + (CELL - size[0]) // 2, y + (height - size[1]) // 2))
