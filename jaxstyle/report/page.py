"""The report of a sweep, from its folder: a contact sheet, two plots and one page to look at."""

from __future__ import annotations

import base64
import html
import importlib.resources
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from jaxstyle.atomic import write_whole
from jaxstyle.images.decode import opened
from jaxstyle.pytrees import paths
from jaxstyle.report.data import LaneRecord, SweepRecord, is_whole_picture, read_sweep, recipe_of
from jaxstyle.report.plots import loss_curves, part_curves, scatter, write_figure
from jaxstyle.report.sheet import contact_sheet
from jaxstyle.runs.manifest import recorded_entries
from jaxstyle.sweeps.folder import file_hash, lane_folder

PAGE, SHEET, CURVES, SCATTER = "report.html", "contact-sheet.png", "loss-curves.png", "distances.png"
PARTS = "loss-parts.png"
NAMES = {"photo": "photo", "style": "painting", "start": "start", "map": "map of the photo",
         "map of the style": "map of the painting", "region": "region",
         "part of the style": "part of the painting", "content mask": "content mask",
         "strength mask": "strength mask"}
"""What reports call each of `runs.manifest.KINDS`, in their order."""
THUMBNAIL, CURVE_POINTS, EMBED_BYTES = 320, 240, 60_000_000


def write_report(directory: Path) -> Path:
    """Writes everything into the folder of a sweep, finished or not; returns the page.

    Raises:
      JaxstyleError: the folder holds no sweep.
    """
    sweep = read_sweep(directory)
    write_whole(directory / SHEET, encoded(contact_sheet(sweep), "PNG"))
    write_figure(loss_curves(sweep), directory / CURVES)
    write_figure(part_curves(sweep), directory / PARTS)
    write_figure(scatter(sweep), directory / SCATTER)
    write_whole(directory / PAGE, page(sweep).encode(errors="backslashreplace"))
    return directory / PAGE


def page(sweep: SweepRecord) -> str:
    """The page: one HTML document with data, pictures, style and script inside.

    Pictures are embedded; where they would come to more than 60 MB in all, the full ones are linked.
    """
    size = sum(path.stat().st_size for lane in sweep.lanes for path in pictures_of(lane))
    text = json.dumps(page_data(sweep, embed=size <= EMBED_BYTES), ensure_ascii=False)
    template = importlib.resources.files("jaxstyle.report").joinpath("page.html").read_text("utf-8")
    # "</script" or "<!--" inside a string could end or swallow the script element.
    return template.replace("__TITLE__", html.escape(title_of(sweep))).replace(
        "__DATA__", text.replace("<", "\\u003c"))


def title_of(sweep: SweepRecord) -> str:
    """The sweep's title, or its folder's name."""
    return sweep.plan.get("title") or sweep.directory.resolve().name


def pictures_of(lane: LaneRecord) -> Sequence[Path]:
    """Every picture of a lane."""
    return [*lane.snapshots.values(), *([lane.image] if lane.image else [])]


def page_data(sweep: SweepRecord, embed: bool) -> dict[str, Any]:
    """All that the page's script needs, ready for JSON."""
    fronts, plan = sweep.fronts(), sweep.plan
    return {
        "title": title_of(sweep), "about": plan.get("about", ""), "axes": plan["axes"],
        "created": plan["created"], "device": plan["device"], "devices": plan.get("devices", 1),
        "versions": plan["versions"], "status": plan["status"], "varied": plan.get("varied", []),
        "references": references_data(sweep), "fronts": [front for front, _ in fronts],
        "knees": [knee for _, knee in fronts if knee is not None],
        "measured_by": sweep.measured_by(), "one_objective": sweep.one_objective(),
        "lanes": [lane_data(sweep, lane, embed) for lane in sweep.lanes],
    }


def lane_data(sweep: SweepRecord, lane: LaneRecord, embed: bool) -> dict[str, Any]:
    """One lane for the page."""
    def picture(path: Path) -> dict[str, Any]:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
        full = data_uri(rgb, 92) if embed else path.relative_to(sweep.directory).as_posix()
        small = rgb.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        return {"full": full, "small": data_uri(small, 85), "width": rgb.width, "height": rgb.height}

    record = lane.manifest
    keep = ("loss", "parts", "distances", "distortion", "repetition", "seconds", "compile_seconds",
            "batch_seconds", "lanes_in_batch", "steps", "failures", "reason", "device")
    settings = {}
    if "recipe" in record:
        settings = {path: str(value) for path, value in paths(recipe_of(record)).items()}
    return {
        "id": lane.index, "name": lane.name, "labels": dict(lane.labels), "status": lane.status,
        **{key: record.get(key) for key in keep}, "weights": record.get("weights", {}).get("name"),
        "judge": lane.judge if lane.measured else None,
        "settings": settings, "curve": curve_data(lane),
        "image": picture(lane.image) if lane.image else None,
        "snapshots": [{"step": step, **picture(path)} for step, path in lane.snapshots.items()],
    }


def curve_data(lane: LaneRecord) -> dict[str, list[Any]]:
    """Losses by step, thinned to at most `CURVE_POINTS` points; the first and last stay."""
    rows = lane.metrics
    stride = max(1, -(-len(rows) // CURVE_POINTS))
    kept = [row for i, row in enumerate(rows) if i % stride == 0 or i == len(rows) - 1]
    return {name: [row[name] for row in kept] for name in (rows[0] if rows else ())}


def references_data(sweep: SweepRecord) -> list[dict[str, str]]:
    """Small pictures of the inputs, each once: those that are where a lane's manifest says and have the hash
    that it notes. A folder of somebody else's may name any file of this machine."""
    found: dict[str, dict[str, str]] = {}
    for lane in sweep.lanes:
        for kind, entry in recorded_entries(lane.manifest.get("references", {})):
            path = lane_folder(sweep.directory, lane.index) / entry["path"]
            if entry["sha256"] not in found and file_hash(path) == entry["sha256"] and is_whole_picture(path):
                with opened(path) as image:
                    small = image.convert("RGB")
                small.thumbnail((THUMBNAIL, THUMBNAIL))
                found[entry["sha256"]] = {"kind": NAMES[kind], "name": path.name,
                                          "small": data_uri(small, 85)}
    return sorted(found.values(), key=lambda each: list(NAMES.values()).index(each["kind"]))


def data_uri(image: Image.Image, quality: int) -> str:
    """A picture as a JPEG inside an address."""
    return "data:image/jpeg;base64," + base64.b64encode(encoded(image, "JPEG", quality=quality)).decode()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
