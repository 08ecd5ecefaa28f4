"""Votes: the statistics against independent solutions, what is kept and counted, the page in a browser."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from browser import MISSING, browser
from rich.console import Console
from scipy.optimize import minimize
from tiny import tiny_recipe

from jaxstyle import JaxstyleError, save
from jaxstyle.cli.voting import Vote
from jaxstyle.cli.voting.server import Poll, serving
from jaxstyle.metrics.preferences import bradley_terry, chances, wilson
from jaxstyle.pytrees import to_json
from jaxstyle.report.votes import (
    VOTES,
    axes_of,
    cast,
    contestants,
    questions,
    read_votes,
    standings,
    standings_csv,
)
from jaxstyle.runs.manifest import FORMAT as RUN
from jaxstyle.sweeps.folder import FORMAT, History, file_hash, lane_folder, write_json, write_result

WINS = np.array([[0, 6, 9.5, 3], [2, 0, 5, 4], [1.5, 3, 0, 0], [1, 4, 2, 0]])


def made_run(folder, recipes=("gatys", "ours", "crowson"), seeds=1):
    """A finished sweep over recipes and seeds, its photo and painting beside it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    inputs = {}
    for name in ("photo", "painting"):
        save(folder.parent / f"{name}.png", np.kron(rng.random((6, 8, 3)), np.ones((20, 20, 1))))
        inputs[name] = {"path": f"../../../{name}.png", "sha256": file_hash(folder.parent / f"{name}.png")}
    labels = [{"recipe": name, "seed": str(seed)} for name in recipes for seed in range(seeds)]
    write_json(folder / "manifest.json", {
        "format": FORMAT, "title": "", "status": "finished", "axes": [], "created": "2026-01-02T03:04:05Z",
        "lanes": [{"labels": label, "fingerprint": f"{i:064x}"} for i, label in enumerate(labels)],
        "versions": {}, "device": "cpu"})
    for i, label in enumerate(labels):
        lane = lane_folder(folder, i)
        lane.mkdir(parents=True)
        record = {"recipe": to_json(tiny_recipe()), "labels": label, "device": "cpu", "status": "finished",
                  "weights": {"name": "tiny", "sha256": ""}, "format": RUN,
                  "references": {"content": inputs["photo"], "styles": [inputs["painting"]]}}
        image = np.kron(np.random.default_rng(i + 1).random((12, 16, 3)), np.ones((20, 20, 1)))
        write_result(lane, record, image, History())
    return folder


# ---- the statistics


def test_strengths_are_the_maximum_of_the_likelihood():
    """SciPy's general minimiser on the log-likelihood written as a loop finds the same."""
    prior = 0.5

    def loss(theta):
        total = 0.0
        for i, row in enumerate(WINS):
            for j, count in enumerate(row):
                total += count * np.log1p(np.exp(theta[j] - theta[i]))
            total += prior / 2 * (np.log1p(np.exp(-theta[i])) + np.log1p(np.exp(theta[i])))
        return total

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-10}).x
    np.testing.assert_allclose(bradley_terry(WINS, prior).values, best - best.mean(), atol=1e-6)


def test_strengths_without_a_prior_are_those_of_hunters_algorithm():
    """Hunter 2004: p_i ← wins_i / Σ_j games_ij / (p_i + p_j), repeated."""
    p, games = np.ones(4), WINS + WINS.T
    for _ in range(5000):
        for i in range(4):
            p[i] = WINS[i].sum() / sum(games[i, j] / (p[i] + p[j]) for j in range(4) if j != i)
        p /= p.sum()
    theta = np.log(p)
    np.testing.assert_allclose(bradley_terry(WINS, 1e-9).values, theta - theta.mean(), atol=1e-6)


def test_two_things_are_a_binomial():
    """Log-odds log(a/b), and their standard error √(1/a + 1/b)."""
    found = bradley_terry(np.array([[0, 30], [12, 0]]), 1e-9)
    np.testing.assert_allclose(found.values[0] - found.values[1], np.log(30 / 12), rtol=1e-6)
    variance = found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1]
    np.testing.assert_allclose(variance, 1 / 30 + 1 / 12, rtol=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(3)
    theta = np.array([0.8, 0.2, -0.3, -0.7])
    truth, held = 1 / (1 + np.exp(-theta)), []
    for _ in range(400):
        wins = np.zeros((4, 4))
        for i in range(4):
            for j in range(i):
                wins[i, j] = rng.binomial(30, 1 / (1 + np.exp(theta[j] - theta[i])))
                wins[j, i] = 30 - wins[i, j]
        low, _, high = chances(bradley_terry(wins)).T
        held.append((low <= truth) & (truth <= high))
    assert 0.93 < np.mean(held) < 0.97


def test_extremes_stay_finite():
    """All games won; things never compared; one thing; nothing."""
    low, middle, high = chances(bradley_terry(np.array([[0, 20], [0, 0]])))[0]
    assert 0.5 < low < middle < high < 1
    assert np.allclose(chances(bradley_terry(np.zeros((2, 2))))[:, 1], 0.5)
    assert chances(bradley_terry(np.zeros((1, 1)))).shape == (1, 3)
    assert bradley_terry(np.zeros((0, 0))).values.shape == (0,)
    for wrong in (np.zeros((2, 3)), np.array([[0, -1], [0, 0]]), np.array([[0, np.nan], [0, 0]])):
        with pytest.raises(JaxstyleError, match="square table"):
            bradley_terry(wrong)


def test_wilsons_interval():
    """Its ends are where a share that far off would just be 1.96 standard errors away."""
    low, high = wilson(7, 10)
    for end in (low, high):
        np.testing.assert_allclose(abs(0.7 - end), 1.959964 * np.sqrt(end * (1 - end) / 10), rtol=1e-5)
    assert wilson(0, 0) == (0, 1) and wilson(5, 5)[1] == 1


# ---- what is asked, kept and counted


def test_every_two_results_once(tmp_path):
    run = made_run(tmp_path / "run", seeds=2)
    those = contestants([run])
    asked = questions(those, "ann")
    assert len(asked) == 15 and len({question.id for question in asked}) == 15
    assert {question.id for question in asked}.isdisjoint(q.id for q in questions(those, "ben"))
    sides = [question.left.sha256 < question.right.sha256 for question in asked]
    assert any(sides) and not all(sides)
    assert axes_of(those) == ["recipe", "seed"]
    assert those[0].photo is not None and len(those[0].paintings) == 1


def test_those_asked_least_come_first(tmp_path):
    run = made_run(tmp_path / "run")
    those = contestants([run])
    first, *others = questions(those, "ann")
    cast(run, first, "ann", "left")
    again = questions(those, "ben", read_votes([run]))
    assert {again[-1].left.sha256, again[-1].right.sha256} == {first.left.sha256, first.right.sha256}
    assert len(others) == 2


def test_a_question_counts_once_and_a_torn_line_not_at_all(tmp_path):
    run = made_run(tmp_path / "run")
    those = contestants([run])
    one, two, _ = questions(those, "ann")
    cast(run, one, "ann", "left")
    cast(run, one, "ann", "right")
    whole = (run / VOTES).read_bytes()
    (run / VOTES).write_bytes(whole + whole.splitlines()[0][:40])  # as after a power cut
    cast(run, two, "ann", "neither")
    with pytest.warns(UserWarning, match="line 3.*left out"):
        votes = read_votes([run])
    assert [(vote["id"], vote["choice"]) for vote in votes] == [(one.id, "left"), (two.id, "neither")]


def test_standings_are_of_values_and_of_pictures_that_are_there(tmp_path):
    """Of two recipes and two seeds, recipe b always wins; a vote about another picture says nothing."""
    run = made_run(tmp_path / "run", ("a", "b"), seeds=2)
    those = contestants([run])
    for question in questions(those, "ann"):
        left, right = question.left.labels["recipe"], question.right.labels["recipe"]
        cast(run, question, "ann", "neither" if left == right else "left" if left == "b" else "right")
    votes = read_votes([run])
    table = standings(those, [*votes, {**votes[0], "left": "0" * 64}], "recipe")
    assert [(row.value, row.wins, row.votes) for row in table] == [("b", 4, 4), ("a", 0, 4)]
    assert table[0].chance[0] < table[0].chance[1] < table[0].chance[2]
    seeds = standings(those, votes, "seed")
    assert [row.votes for row in seeds] == [4, 4] and sum(row.wins for row in seeds) == 4
    rows = list(csv.DictReader(standings_csv({"recipe": table}).splitlines()))
    assert rows[0]["value"] == "b" and float(rows[0]["share"]) == 1 and len(rows) == 2


def test_several_folders_are_an_axis(tmp_path):
    one, two = made_run(tmp_path / "x" / "one", ("a",)), made_run(tmp_path / "y" / "two", ("b", "c"))
    those = contestants([one, two])
    assert [each.labels["run"] for each in those] == ["one", "two", "two"]
    assert axes_of(those) == ["run", "recipe"]


def test_pictures_that_have_moved_are_found_by_their_hash(tmp_path):
    run = made_run(tmp_path / "run")
    moved = [(tmp_path / name).rename(tmp_path / f"moved-{name}") for name in ("photo.png", "painting.png")]
    assert contestants([run])[0].photo is None and not contestants([run])[0].paintings
    found = contestants([run], [*moved, run / "manifest.json"])[0]
    assert found.photo == moved[0] and found.paintings == (moved[1],)


def test_wrong_choices_and_full_disks_say_so(tmp_path):
    question = questions(contestants([made_run(tmp_path / "run")]), "ann")[0]
    with pytest.raises(JaxstyleError, match="choice takes left, right, neither"):
        cast(tmp_path, question, "ann", "both")
    with pytest.raises(JaxstyleError, match="cannot be written"):
        cast(tmp_path / "nowhere", question, "ann", "left")


# ---- the page and the command


@pytest.fixture
def poll(tmp_path):
    run = made_run(tmp_path / "run")
    with serving(Poll(questions(contestants([run]), "ann"), run, "ann", set()), 0) as poll:
        yield poll


def ask(poll, path, data=None, **headers):
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(poll.address + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def token_of(poll) -> str:
    return re.search(rb'token = "([^"]+)"', ask(poll, "/")[1])[1].decode()


def test_the_page_needs_nothing_else_and_names_nothing(poll):
    page = ask(poll, "/")[1]
    assert not re.search(rb"https?://|@import|<link", page)
    state = json.loads(ask(poll, "/state.json")[1])
    assert (state["done"], state["of"]) == (0, 3)
    assert not any(word in json.dumps(state) for word in ("gatys", "ours", "lanes", "recipe"))
    status, picture = ask(poll, f"/picture/{state['question']['id']}/left")
    assert status == 200 and picture[:2] == b"\xff\xd8" and b"jaxstyle" not in picture


def test_only_the_page_itself_votes_and_each_question_once(poll):
    name = json.loads(ask(poll, "/state.json")[1])["question"]["id"]
    vote, mine = {"id": name, "choice": "left"}, {"X-Jaxstyle": token_of(poll)}
    assert ask(poll, "/vote", vote)[0] == 403
    assert ask(poll, "/vote", vote, **{"X-Jaxstyle": "guess"})[0] == 403
    assert ask(poll, "/vote", vote, Host="evil.example", **mine)[0] == 403
    for wrong in ([], {"id": name}, {"id": "0" * 64, "choice": "left"}, {"id": name, "choice": "x" * 5000}):
        assert ask(poll, "/vote", wrong, **mine)[0] == 400
    assert read_votes([poll.folder]) == []
    assert ask(poll, "/vote", {"id": name, "choice": "both"}, **mine)[0] == 500
    threads = [threading.Thread(target=ask, args=(poll, "/vote", vote), kwargs=mine) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((poll.folder / VOTES).read_text().splitlines()) == 1
    assert json.loads(ask(poll, "/state.json")[1])["done"] == 1


@pytest.mark.parametrize("path", ["/picture/x/left", "/picture/left", "/../manifest.json", "/vote.html",
                                  "/a/b/c"])
def test_nothing_else_is_there(poll, path):
    assert ask(poll, path)[0] == 404


def test_ports(poll):
    with pytest.raises(JaxstyleError, match="use another port"), serving(poll, poll.port):
        pass
    with pytest.raises(JaxstyleError, match="65535"), serving(poll, 65536):
        pass


def test_results_and_csv(tmp_path, capsys):
    run = made_run(tmp_path / "run")
    for question in questions(contestants([run]), "ann"):
        cast(run, question, "ann", "left")
    command = Vote(runs=(run,), results=True, csv=tmp_path / "study.csv")
    assert command.run({}, Console(width=200)) == 0
    out = capsys.readouterr().out
    assert "3 votes by 1" in out and "recipe: wins of votes" in out
    rows = list(csv.DictReader((tmp_path / "study-votes.csv").read_text().splitlines()))
    assert len(rows) == 3 and {row["choice"] for row in rows} == {"left"}
    assert {row["left recipe"] for row in rows} | {row["right recipe"] for row in rows} == {
        "gatys", "ours", "crowson"}
    assert sum(float(row["wins"]) for row in csv.DictReader((tmp_path / "study.csv").read_text().splitlines())
               ) == 3


@pytest.mark.parametrize(("fields", "message"), [
    ({"runs": ()}, "no run"), ({"voter": ""}, "--voter"), ({"questions": 0}, "--questions")])
def test_options_that_make_no_sense(tmp_path, fields, message):
    with pytest.raises(JaxstyleError, match=message):
        Vote(**{"runs": (tmp_path,), **fields}).run({}, Console())


def test_one_result_alone_cannot_be_voted_on(tmp_path):
    with pytest.raises(JaxstyleError, match="no two different results"):
        Vote(runs=(made_run(tmp_path / "run", ("a",)),)).run({}, Console())


def test_ctrl_c_ends_it_with_the_results(tmp_path):
    run = made_run(tmp_path / "run")
    cast(run, questions(contestants([run]), "ben")[0], "ben", "right")
    process = subprocess.Popen([sys.executable, "-m", "jaxstyle.cli.main", "vote", str(run), "--port", "0"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert "vote at http://127.0.0.1:" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert "1 votes by 1" in out and "Traceback" not in out
    assert process.returncode == 130


@pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")
def test_the_page_in_a_browser(poll):
    def until(script):
        for _ in range(100):
            if page.run(f"return {script}"):
                return
            time.sleep(0.1)
        raise AssertionError(script)

    loaded = "[...document.images].filter(i => i.naturalWidth).length === 4"
    with browser() as page:
        page.resize(390, 844)
        page.open(poll.address)
        until(loaded)
        assert page.run("return document.documentElement.scrollWidth") <= 390
        assert page.run("return document.getElementById('count').textContent") == "1 of 3"
        page.run("const b = document.querySelector('[data-choice=left]'); b.click(); b.click()")
        until("document.getElementById('count').textContent === '2 of 3'")
        until(loaded)
        page.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown'}))")
        until("document.getElementById('count').textContent === '3 of 3'")
        page.open(poll.address)  # a reload changes nothing
        until(loaded)
        page.run("document.querySelectorAll('#results img')[1].click()")
        until("!document.getElementById('thanks').hidden")
        assert page.run("return document.getElementById('choices').hidden")
        assert [vote["choice"] for vote in read_votes([poll.folder])] == ["left", "neither", "right"]
        page.run("document.getElementById('stop').click()")
        assert poll.over.wait(10)
        assert [m for m in page.console() if m["level"] == "SEVERE" and "favicon" not in m["message"]] == []
