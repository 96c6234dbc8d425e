"""`stockyard-leaderboard`: from the template to the board, and the same board after ten deaths."""

import hashlib
import io
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import submissions
import yaml
from composing import composed

from stockyard.agents.evaluation.leaderboard import Benchmark, Results, plan
from stockyard.scripts import command_line, leaderboard
from stockyard.scripts.leaderboard_house import house

FILES = ("results.json", "returns.npz", "board.json")
"""Files that are the same each time."""


@pytest.fixture
def small(place: Path) -> Path:
    """An empty folder to run in, with a small benchmark."""
    (place / "small.yaml").write_text(yaml.safe_dump(submissions.DATA, sort_keys=False))
    return place


def config(*overrides: str) -> Any:
    """The configuration of the command for the small benchmark."""
    return composed("benchmark=small.yaml", *overrides, name="leaderboard")


def content(folder: Path) -> list[bytes]:
    """What must not change."""
    return [(folder / file).read_bytes() for file in FILES]


def test_a_newcomer_comes_from_the_template_to_the_board(small: Path, command: Any) -> None:
    """`new` writes what works as it is, `check` explains, `run` ranks it, `page` draws it again."""
    code, out, err = command(leaderboard, "new", "benchmark=small.yaml", "folder=mine")
    assert code == 0, err
    assert "next: stockyard-leaderboard check folder=mine" in out
    code, _, err = command(leaderboard, "new", "benchmark=small.yaml", "folder=mine")
    assert code == 1 and "mine holds a submission already" in err
    code, out, err = command(leaderboard, "check", "benchmark=small.yaml", "folder=mine")
    assert code == 0, err
    assert "tape 1: " in out and "ms a decision" in out
    code, out, err = command(leaderboard, "run", "benchmark=small.yaml", "submissions=mine")
    assert code == 0, err
    assert "3 rows in 2 entries, 10 cells, 10 of them to do" in out and "written: " in out
    folder = small / "runs/leaderboard/small/results"
    told = json.loads((folder / "board.json").read_text())
    ranking = {row["name"]: row for row in told["tracks"][0]["ranking"]}
    assert set(ranking) == {"base_stock", "capped_base_stock", "mine"}
    assert ranking["mine"]["iqm"] < 0.0 < ranking["base_stock"]["iqm"]
    before = content(folder)
    code, out, err = command(leaderboard, "page", f"results={folder}")
    assert code == 0, err
    assert content(folder) == before
    assert "mine" in (folder / "index.html").read_text()


def test_rows_of_before_stay_and_those_of_others_are_self_reported(small: Path) -> None:
    """A board grows; what somebody else has evaluated is shown, takes no rank, and says so."""
    submissions.write(small / "ours")
    submissions.write(small / "theirs", "observation['inventory_position'] += 1")
    leaderboard.run(config("house=false", "submissions=ours", "results=ours_results"))
    leaderboard.run(config("submissions=theirs", "only=theirs", "results=theirs_results"))
    leaderboard.run(config("only=base_stock", "results=ours_results"))
    results = Results.read("ours_results")
    assert {row["provenance"] for row in results.rows.values()} == {"re-run"}
    assert set(results.rows) == {"base_stock", "ours"}
    leaderboard.page(config("results=ours_results", "reported=theirs_results"))
    told = json.loads(Path("ours_results/board.json").read_text())
    assert told["rows"]["theirs"]["provenance"] == "self-reported"
    ranks = {row["name"]: row["rank"] for row in told["tracks"][0]["ranking"]}
    assert ranks["theirs"] is None and ranks["ours"] is not None
    other = {**submissions.DATA, "version": 2}
    (small / "small.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(command_line.UserError, match="of another specification of small"):
        leaderboard.run(config("results=ours_results"))


def test_neither_order_nor_workers_change_a_digit(small: Path) -> None:
    """Results are those of the submissions, not of how they were evaluated."""
    for name in ("first", "second"):
        submissions.write(small / name, f"observation['inventory_position'] += {len(name)}")
    leaderboard.run(config("submissions=[first,second]", "workers=1", "runs=one"))
    leaderboard.run(config("submissions=[second,first]", "workers=2", "runs=two"))
    assert content(Path("one/small/results")) == content(Path("two/small/results"))


def test_ten_deaths_leave_the_same_board(small: Path) -> None:
    """Killed at random by a signal that no program can catch, it goes on to the same bytes."""
    submissions.write(small / "mine")
    leaderboard.run(config("submissions=mine", "runs=whole"))
    deaths, chance = 0, random.Random(0)
    while deaths < 10:
        child = os.fork()  # nothing to import again: what is tried is the killing
        if child == 0:
            os.setsid()
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
                os.dup2(nothing.fileno(), 2)
            leaderboard.run(config("submissions=mine", "runs=killed"))
            os._exit(0)
        time.sleep(chance.uniform(0.05, 1.2))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        deaths += 1
        assert not list(Path("killed").rglob("*.json.tmp"))
        if os.WIFEXITED(status):  # it was done; begin anew
            for path in sorted(Path("killed").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
    leaderboard.run(config("submissions=mine", "runs=killed"))
    assert content(Path("killed/small/results")) == content(Path("whole/small/results"))


def test_an_evaluation_through_pipes_is_that_of_the_evaluator(small: Path) -> None:
    """Bit for bit: what a rule earns on a board is what `evaluate` says."""
    from stockyard import agents

    leaderboard.run(config())
    results = Results.read("runs/leaderboard/small/results")
    benchmark = Benchmark.from_mapping(submissions.DATA)
    for place, entry in enumerate(benchmark.entries):
        spec = entry.specification
        policy = agents.make("capped_base_stock", spec, order_up_to=15, cap=8)
        money = agents.evaluate(policy, spec, num_tapes=4).per_period_mean
        assert (results.returns["row/shop/capped_base_stock"][0, place] == money).all()


@pytest.mark.parametrize("name", ["quick", "v1", "textbook"])
def test_the_house_comes_by_data(name: str) -> None:
    """Rules with their tuned parameters and agents with all their seeds, in every entry."""
    benchmark = Benchmark.from_file(leaderboard.BENCHMARKS / f"{name}.yaml")
    rows, left_out = house(benchmark)
    by_name = {row.name: row for row in rows}
    for row in rows:
        tracks = {entry.track for entry in row.entries(benchmark)}
        entries = [entry for entry in benchmark.entries if entry.track in tracks]
        assert set(row.recipes) == {(e.key, seed) for e in entries for seed in row.seeds}
    assert "base_stock" in by_name
    if name == "textbook":
        return
    learner = by_name["replenishment_generalist_hindsight"]
    assert learner.seeds == (0, 1, 2) and learner.steps > 0 and learner.cpu_hours > 0
    tuned = by_name["base_stock"].recipes["replenishment/steady", 0]["parameters"]
    assert set(tuned) == {"cover_days", "safety_factor"}
    assert by_name["forecast_mpc"].kind == "optimiser"
    for told in left_out.values():
        assert all("not tuned" in why or "no weights" in why for why in told.values())


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["stage=sell"], "stage: unknown 'sell'; known: new, check, run, page"),
        (["benchmark=v99"], "benchmark: unknown 'v99'; known: quick, textbook, v1, or a .yaml"),
        (["benchmark=gone.yaml"], "benchmark: there is no file gone.yaml"),
        (["workers=-1"], "workers: must be >= 0"),
        (["launcher=moon"], "launcher: unknown 'moon'; known: processes, ray"),
        (["only=nobody"], "only: matches nobody"),
        (["submissions=gone"], "gone: has no submission.yaml; `stockyard-leaderboard new`"),
        (["stage=check", "folder=gone"], "gone: has no submission.yaml"),
        (["stage=page"], "results: runs/leaderboard/quick/results has no results.json"),
        (["stage=new", "track=moon"], "unknown track 'moon'; known: replenishment, placement"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    place: Path, command: Any, overrides: list[str], problem: str
) -> None:
    """One clear line that names the key."""
    code, _, err = command(leaderboard, *overrides)
    assert code == 1
    assert err.startswith("error: ") and problem in err and len(err.splitlines()) == 1


def test_a_misspelt_key_is_refused(place: Path, command: Any) -> None:
    """And the key that was meant is named."""
    code, _, err = command(leaderboard, "run", "submission=mine")
    assert code == 1 and "did you mean 'submissions'?" in err


def test_held_out_tapes_take_the_secret_from_standard_input(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody else can read it; without it nothing is evaluated."""
    told = hashlib.sha256(b"open sesame").hexdigest()
    data = {**submissions.DATA, "seeds": "held_out", "secret_sha256": told}
    (small / "small.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(command_line.UserError, match="the tapes of small are held out"):
        leaderboard.run(config())
    monkeypatch.setattr("sys.stdin", io.StringIO("open sesame\n"))
    leaderboard.run(config("secret='-'", "only=base_stock"))
    benchmark = Benchmark.from_mapping(data)
    seeds = benchmark.tape_seeds(benchmark.entries[0], "open sesame")
    kept = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert kept and not any(str(seed).encode() in p.read_bytes() for p in kept for seed in seeds)


@pytest.mark.parametrize(
    ("seeds", "published", "cache"),
    [
        ("development", None, "bounds"),
        ("held_out", None, None),
        ("held_out", "open sesame", "bounds"),
    ],
)
def test_bounds_are_cached_only_where_everybody_knows_the_tapes(
    seeds: str, published: str | None, cache: str | None
) -> None:
    """Lines of the file name seeds."""
    data = {**submissions.DATA, "seeds": seeds}
    if seeds == "held_out":
        data |= {"secret_sha256": hashlib.sha256(b"open sesame").hexdigest(), "secret": published}
    benchmark = Benchmark.from_mapping(data)
    given = None if seeds == "development" else "open sesame"
    planned = plan(benchmark, [], secret=given, bounds_of=lambda *_: Path("bounds"))
    assert {cell.cache for cells in planned.bounds.values() for cell in cells} == {cache}
