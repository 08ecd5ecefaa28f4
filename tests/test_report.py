"""The report of a sweep: what it is made of, and how it behaves in a browser."""

import json
import math
import re

import numpy as np
import pytest
from browser import MISSING, browser
from PIL import Image
from tiny import tiny_recipe

from jaxstyle import JaxstyleError, save
from jaxstyle.metrics.pareto import knee, pareto_front
from jaxstyle.pytrees import to_json
from jaxstyle.report.data import read_sweep
from jaxstyle.report.page import page, page_data, write_report
from jaxstyle.report.plots import loss_curves, part_curves
from jaxstyle.report.sheet import contact_sheet, fitted_text, font, grid_of
from jaxstyle.runs.manifest import FORMAT as RUN
from jaxstyle.runs.manifest import KINDS
from jaxstyle.sweeps.folder import FORMAT, History, lane_folder, read_json, write_json, write_result
from jaxstyle.weights.store import sha256

LOSSES = {("1", "0"): 5.0, ("1", "1"): 4.0, ("10", "0"): 9.0, ("10", "1"): 8.0, ("100", "0"): 30.0}


def made_sweep(folder, snapshots=False, title="A test </script><b>of titles</b>"):
    """A sweep of 3 × 2 lanes, written as a run would: one failed, one still waiting."""
    labels = [{"weight": w, "seed": s} for w in ("1", "10", "100") for s in ("0", "1")]
    entries = [{"labels": label, "fingerprint": f"{i:064x}"} for i, label in enumerate(labels)]
    versions = {"jaxstyle": "0", "jax": "0"}
    (folder / "lanes").mkdir(parents=True)
    write_json(folder / "manifest.json", {
        "format": FORMAT, "title": title, "about": "What to look for.", "status": "running",
        "axes": [{"name": "weight", "values": ["1", "10", "100"]}, {"name": "seed", "values": ["0", "1"]}],
        "varied": ["terms.style.weight", "seed"], "lanes": entries, "created": "2026-01-02T03:04:05Z",
        "versions": versions, "device": "cpu", "devices": 1})
    for i, label in enumerate(labels[:-1]):
        lane = lane_folder(folder, i)
        lane.mkdir()
        history = History()
        loss = LOSSES[label["weight"], label["seed"]]
        history.add(range(31), np.linspace(0, 1, 31), {"total": np.linspace(3 * loss, loss, 31),
                                                       "style": np.linspace(2 * loss, loss / 2, 31)})
        failed = i == 4
        image = np.full((48, 64, 3), (i + 1) / 8, np.float32)
        if snapshots:
            save(lane / "step-00010.png", image / 2)
        record = {"recipe": to_json(tiny_recipe()), "labels": label, "device": "cpu",
                  "weights": {"name": "tiny", "sha256": ""}, "format": RUN,
                  "references": {"content": None, "styles": []},
                  "status": "failed" if failed else "finished", "loss": loss, "parts": {"style": loss / 2},
                  "distances": {"content": 0.1 * (i + 1), "style": 1 / (i + 1)}, "seconds": 2.0, "steps": 30,
                  "failures": 0, "compile_seconds": 1.0, "batch_seconds": 2.0, "lanes_in_batch": 2}
        write_result(lane, record, None if failed else image, history)
    return folder


def test_pareto_front_and_knee():
    points = [(1, 9), (2, 4), (2, 5), (3, 3.9), (9, 1), (9, 2), (math.nan, 0), (0.5, 20)]
    brute = [i for i, p in enumerate(points) if not math.isnan(p[0]) and not any(
        q != p and q[0] <= p[0] and q[1] <= p[1] for q in points if not math.isnan(q[0]))]
    front = pareto_front(points)
    assert sorted(front) == brute == [0, 1, 3, 4, 7]
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)
    assert points[knee(points, front)] == (2, 4)
    assert knee([], []) is None
    assert knee([(3, 3)], [0]) == 0


def test_knee_of_two_points_is_the_better_bargain():
    """Halving one cost is worth more than a tenth of the other, wherever on the front."""
    assert knee([(1.0, 10.0), (2.0, 9.0)], [0, 1]) == 0
    assert knee([(1.0, 10.0), (1.1, 5.0)], [0, 1]) == 1
    assert knee([(0.0, 1.0), (1.0, 0.9), (2.0, 0.8)], [0, 1, 2]) == 0  # on a line: all are equally far


def test_contact_sheet_is_the_grid_of_the_axes(tmp_path):
    sweep = read_sweep(made_sweep(tmp_path / "run"))
    grid = grid_of(sweep)
    assert (grid.row_name, grid.column_name) == ("weight", "seed")
    assert (list(grid.rows), list(grid.columns)) == (["1", "10", "100"], ["0", "1"])
    assert grid.cells[1, 0][0].labels == {"weight": "10", "seed": "0"}
    sheet = np.asarray(contact_sheet(sweep))
    greys = {tuple(c) for c in sheet.reshape(-1, 3)}
    for i in range(4):  # the picture of every finished lane is on it
        assert (round((i + 1) / 8 * 255),) * 3 in greys


def test_a_lane_without_a_label_has_its_place(tmp_path):
    plan = read_json(made_sweep(tmp_path / "run") / "manifest.json")
    del plan["lanes"][2]["labels"]["seed"]
    write_json(tmp_path / "run" / "manifest.json", plan)
    sweep = read_sweep(tmp_path / "run")
    assert sweep.plan["axes"][1]["values"] == ["0", "1", ""] and sweep.lanes[2].labels["seed"] == ""
    assert len(grid_of(sweep).cells) == 6


def test_lanes_that_cross_few_axes_stand_in_rows(tmp_path):
    """A search varies two things at once: in a grid nearly every cell would be empty."""
    folder = made_sweep(tmp_path / "run")
    plan = read_json(folder / "manifest.json")
    names = [str(i) for i in range(6)]
    for i, lane in enumerate(plan["lanes"]):
        lane["labels"] = {"weight": names[i], "seed": names[-1 - i]}
    axes = [{"name": "weight", "values": names}, {"name": "seed", "values": names}]
    write_json(folder / "manifest.json", {**plan, "axes": axes})
    grid = grid_of(read_sweep(folder))
    assert sorted(grid.cells) == [(0, i) for i in range(6)]
    assert grid.column_name == "weight, seed"
    assert np.asarray(contact_sheet(read_sweep(folder))).shape[1] < 7 * 250


def test_snapshots_are_columns(tmp_path):
    grid = grid_of(read_sweep(made_sweep(tmp_path / "run", snapshots=True)))
    assert list(grid.columns) == ["10", "30"]
    assert grid.cells[0, 0][1].name == "step-00010.png"
    assert grid.cells[0, 1][1].name == "image.png"


def test_all_losses_of_all_lanes_are_in_one_plot(tmp_path):
    """Total and style of five lanes, with the values of the metrics, and a name for each part and lane."""
    sweep = read_sweep(made_sweep(tmp_path / "run"))
    figure = part_curves(sweep)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert len(lines) == 10
    ends = sorted(float(line.get_ydata()[-1]) for line in lines)
    np.testing.assert_allclose(ends, sorted([*LOSSES.values(), *(loss / 2 for loss in LOSSES.values())]))
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:2] == ["total", "style"] and len(named) == 7
    assert len({(line.get_color(), str(line.get_linestyle())) for line in lines}) == 10


def test_long_words_are_broken(tmp_path):
    from PIL import ImageDraw

    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines = fitted_text(draw, "a few words and averyveryverylongwordthatmustbebroken", 100)
    assert "".join(lines).replace(" ", "") == "afewwordsandaveryveryverylongwordthatmustbebroken"
    assert all(draw.textlength(line, font()) <= 100 for line in lines)


def test_page_is_one_file(tmp_path):
    text = page(read_sweep(made_sweep(tmp_path / "run")))
    outside = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)
    assert not re.search(r'(src|href)="|url\(|@import|https?://(?!www\.w3\.org/2000/svg)', outside)
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1]
    data = json.loads(embedded)
    assert len(data["lanes"]) == 6
    assert data["lanes"][5]["status"] == "waiting"
    assert data["lanes"][0]["image"]["full"].startswith("data:image/jpeg;base64,")
    assert data["lanes"][0]["curve"]["total"][-1] == 5.0
    assert [lane["name"] for lane in data["lanes"]][2] == "weight 10, seed 0"


def test_every_kind_of_input_is_shown(tmp_path):
    folder = made_sweep(tmp_path / "run")
    path = next(lane_folder(folder, 0).glob("*.json"))
    record, named = read_json(path), {}
    for i, key in enumerate(KINDS.values()):
        file = lane_folder(folder, 0) / f"{i}.png"
        save(file, np.full((4, 4, 3), i / 10, np.float32))
        named[key] = {"path": file.name, "sha256": sha256(file)}
    many = {"styles", "style_maps", "regions", "style_regions"}
    record["references"] = {key: [entry] if key in many else entry for key, entry in named.items()}
    write_json(path, record)
    shown = page_data(read_sweep(folder), embed=True)["references"]
    assert sorted(each["name"] for each in shown) == [f"{i}.png" for i in range(len(KINDS))]
    assert len({each["kind"] for each in shown}) == len(KINDS)


def test_plots_show_every_lane(tmp_path):
    axes = loss_curves(read_sweep(made_sweep(tmp_path / "run"))).axes[0]
    assert [line.get_ydata()[-1] for line in axes.lines] == list(LOSSES.values())
    assert axes.get_yscale() == "log"


def test_losses_of_different_objectives_share_no_axis(tmp_path):
    folder = made_sweep(tmp_path / "run")
    assert read_sweep(folder).one_objective()
    (axes,) = loss_curves(read_sweep(folder)).axes
    assert axes.get_ylabel() == "total loss" and axes.lines[0].get_ydata()[0] == 15
    path = lane_folder(folder, 2) / "manifest.json"
    record = read_json(path)
    record["recipe"]["terms"]["style"]["weight"] *= 2
    write_json(path, record)
    sweep = read_sweep(folder)
    assert not sweep.one_objective() and page_data(sweep, embed=False)["one_objective"] is False
    (axes,) = loss_curves(sweep).axes
    assert "objectives differ" in axes.get_ylabel()
    np.testing.assert_allclose([line.get_ydata()[0] for line in axes.lines], 1)


def test_a_folder_without_a_sweep(tmp_path):
    with pytest.raises(JaxstyleError, match="holds no sweep"):
        write_report(tmp_path)


needs_browser = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed")
ORDER = "return [...document.querySelectorAll('.card')].map(c => +c.dataset.lane)"
SET = ("const e = document.getElementById(arguments[0]); e.value = arguments[1];"
       "e.dispatchEvent(new Event('input'))")
NATURAL = "return document.getElementById(arguments[0]).naturalWidth"
CLICK = "document.querySelector(arguments[0]).click()"


@needs_browser
def test_page_in_a_browser(tmp_path):
    write_report(made_sweep(tmp_path / "run", snapshots=True))
    with browser() as it:
        it.open((tmp_path / "run" / "report.html").as_uri())
        assert it.run("return document.title") == "A test </script><b>of titles</b>"
        assert it.run(ORDER) == [0, 1, 2, 3, 4, 5]
        it.run(SET, "sort", "loss")
        assert it.run(ORDER) == [1, 0, 3, 2, 4, 5]
        it.run(CLICK, "#descending")
        assert it.run(ORDER) == [4, 2, 3, 0, 1, 5]  # a lane without a loss stays last
        it.run(SET, "filter", "seed 1")
        assert it.run(ORDER) == [3, 1, 5]
        assert it.run("return document.getElementById('count').textContent") == "3 of 6"
        it.run(SET, "filter", "")
        it.run("const s = document.querySelector('[data-axis=weight]'); s.value = '10';"
               "s.dispatchEvent(new Event('change'))")
        assert it.run(ORDER) == [2, 3]
        it.run(CLICK, ".card .open")
        assert it.run("return document.getElementById('dialog').open") is True
        assert it.run("return document.getElementById('dialog-name').textContent") == "weight 10, seed 0"
        assert it.run(NATURAL, "full") == 64
        assert "terms.style.weight" in it.run("return document.getElementById('dialog-body').textContent")
        it.run(CLICK, "#next")
        assert it.run("return document.getElementById('dialog-name').textContent") == "weight 10, seed 1"
        it.run(CLICK, "#close")
        it.run(SET, "left", "1")
        it.run(SET, "right", "3")
        it.run(SET, "slider", "20")
        assert it.run("return document.querySelector('.over').style.clipPath") == "inset(0px 80% 0px 0px)"
        assert [it.run(NATURAL, "left-image"), it.run(NATURAL, "right-image")] == [64, 64]
        assert it.run("return document.querySelectorAll('#curves polyline').length") == 5
        assert it.run("return document.querySelectorAll('#scatter circle').length") >= 5
        assert it.run("return document.querySelectorAll('#sheet img').length") == 9
        assert it.run("return document.getElementById('measured_by').textContent") == "Measured by tiny."
        assert it.console() == []


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overflows(tmp_path, width):
    folder = made_sweep(tmp_path / "run", title="A rather long title " * 6 + "x" * 60)
    plan = read_json(folder / "manifest.json")
    for lane in plan["lanes"]:
        lane["labels"]["seed"] += " with layer weights 0.25 0.26 0.32 0.07 0.11"
    plan["axes"][1]["values"] = sorted({lane["labels"]["seed"] for lane in plan["lanes"]})
    write_json(folder / "manifest.json", plan)
    write_report(folder)
    with browser() as it:
        it.resize(width, 844)
        it.open((tmp_path / "run" / "report.html").as_uri())
        assert it.run("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
        it.run(CLICK, ".card .open")
        assert it.run("const d = document.getElementById('dialog'); return d.scrollWidth <= d.clientWidth")
