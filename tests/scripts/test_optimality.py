"""`stockyard-optimality`: learners against exact optima, in the smallest form that runs."""

import dataclasses
import functools
import json
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from stockyard.conf.schema import OptimalitySchema
from stockyard.envs import textbook
from stockyard.scripts import command_line, optimality

STUDIES = yaml.safe_load(optimality.STUDIES.read_text(encoding="utf-8"))
TINY = [
    "total_steps=800",
    "n_envs=8",
    "agent.segment_steps=10",
    "agent.lookahead_steps=4",
    "agent.burn_in_steps=4",
    "agent.width=8",
    "env.horizon=40",
    "eval.tapes=4",
    "eval.every=400",
    "checkpoint.every=400",
]
QUICK = [f"overrides={json.dumps(TINY)}", "tapes=4", "periods=20", "warmup=5", "runs=runs"]


@pytest.fixture
def command(place, command):
    """Runs the command in an empty folder."""
    return functools.partial(command, optimality)


@pytest.fixture
def two_studies(monkeypatch, tmp_path):
    """One cell each of a study with a picture and of one without."""
    poisson = {**STUDIES["hindsight_poisson"], "grid": {"env.lead_time": [1]}}
    poisson["grid"]["env.penalty_cost"] = [4]
    serial = {**STUDIES["hindsight_serial"], "cells": STUDIES["hindsight_serial"]["cells"][:1]}
    file = tmp_path / "studies.yaml"
    file.write_text(yaml.safe_dump({"hindsight_poisson": poisson, "hindsight_serial": serial}))
    monkeypatch.setattr(optimality, "STUDIES", file)


@pytest.mark.usefixtures("two_studies")
def test_a_study_writes_page_rows_and_picture(command):
    """The cells are trained, compared with the optimum and shown."""
    code, out, err = command(*QUICK, "page=page.md")
    assert code == 0, err
    assert "2 cells, 0 of them done before" in out and "written: page.md" in out
    page = Path("page.md").read_text()
    for study in STUDIES["hindsight_poisson"], STUDIES["hindsight_serial"]:
        assert f"## {study['title']}" in page
    assert "Made by `stockyard-optimality" in page and "](page.png)" in page
    assert page.count("| optimum |") == 2
    assert Path("page.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(Path("page.json").read_text())["rows"]
    assert [row["study"] for row in rows] == ["hindsight_poisson", "hindsight_serial"]
    assert rows[0]["reference_cost"] == pytest.approx(4.0404, abs=1e-3)
    assert rows[1]["reference_cost"] == pytest.approx(27.6602, abs=1e-3)
    for row in rows:
        assert row["cost"] == pytest.approx(row["reference_cost"] * (1 + row["gap_percent"] / 100))
        assert row["steps"] >= 800 and len(row["course"]) >= 2
        assert row["gap_standard_error"] > 0


@pytest.mark.usefixtures("two_studies")
def test_what_is_done_is_not_done_again(command, monkeypatch):
    """The same command finds its rows; another training adds one, and leaves the first."""
    serial = [*QUICK, "only=hindsight_serial"]
    assert command(*serial)[0] == 0
    runs = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if path.is_file()}
    trained = {path for path in runs if path.name == "run.json"}
    rows = Path("runs/optimality.json").read_text()

    def refuse(task):
        raise AssertionError(f"{task.study} is done already")

    with monkeypatch.context() as patch:
        patch.setattr(optimality, "run_cell", refuse)
        code, out, err = command(*serial)
    assert code == 0, err
    assert "1 cells, 1 of them done before" in out
    assert Path("runs/optimality.json").read_text() == rows
    assert all(path.stat().st_mtime_ns == runs[path] for path in trained)
    assert Path("runs/page.md").is_file()
    assert not Path("runs/page.png").exists(), "no study of the picture was asked for"

    other = [part.replace("total_steps=800", "total_steps=400") for part in serial]
    assert "1 cells, 0 of them done before" in command(*other)[1]
    assert len(json.loads(Path("runs/optimality.json").read_text())["rows"]) == 2


def test_a_run_that_is_there_is_judged_without_training(command, two_studies, monkeypatch):
    """Rows may be lost or an interruption fall between training and comparison."""
    serial = [*QUICK, "only=hindsight_serial"]
    assert command(*serial)[0] == 0
    (first,) = json.loads(Path("runs/optimality.json").read_text())["rows"]
    Path("runs/optimality.json").unlink()
    from stockyard.agents.learners.hindsight import Learner

    monkeypatch.setattr(Learner, "train", None)
    assert command(*serial)[0] == 0
    (second,) = json.loads(Path("runs/optimality.json").read_text())["rows"]
    assert second == {**first, "date": second["date"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["only=hindsight_fish"], "only: no study matches hindsight_fish; known: hindsight_"),
        (["workers=0"], "workers: must be >= 1, got 0"),
        (["tape=3"], "there is no key 'tape'; did you mean 'tapes'?"),
    ],
)
def test_a_mistake_is_told_in_one_line(command, arguments, message):
    """No traceback, and nothing is trained."""
    code, _, err = command(*arguments)
    assert code == 1 and message in err
    assert err.startswith("error: ") and err.count("\n") == 1
    if "only" in message:
        assert all(name in err for name in STUDIES)
    assert not list(Path().rglob("run.json"))


@pytest.mark.parametrize("name", STUDIES)
def test_every_cell_of_a_study_composes(name):
    """A cell that does not would stop a study after hours."""
    given = STUDIES[name]
    assert {"title", "note", "experiment"} <= set(given)
    assert ("target" in given) != ("rivals" in given)
    assert ("grid" in given) != ("cells" in given)
    config = OmegaConf.structured(OptimalitySchema)
    tasks = optimality.tasks_of(name, given, config)
    assert tasks
    assert len({task.overrides for task in tasks}) == len({task.folder for task in tasks})
    for task in tasks:
        composed = optimality._composed(task.experiment, task.overrides)
        spec = command_line.specification(composed.env)
        assert isinstance(spec["scenario"], textbook.OneWarehouse) == bool(task.rivals)


def test_an_interrupted_cell_is_not_taken_for_a_result(command, monkeypatch):
    """A learner ends quietly at Ctrl-C; what it has by then is half trained."""
    from stockyard.agents.learners.hindsight import Learner

    train = Learner.train

    def interrupted(self, *given, **named):
        return dataclasses.replace(train(self, *given, **named), interrupted=True)

    monkeypatch.setattr(Learner, "train", interrupted)
    code, _, err = command("only=hindsight_serial", *QUICK)
    assert code == 1 and "goes on" in err
    assert not Path("runs/optimality.json").exists()
