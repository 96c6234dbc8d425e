"""Benchmarks are data: what they may say, which tapes they mean, and what their hash covers."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import submissions

import stockyard.conf
from stockyard.agents.evaluation.leaderboard import Benchmark
from stockyard.agents.evaluation.leaderboard.benchmark import content_of
from stockyard.agents.evaluation.leaderboard.digests import digest, file_digest
from stockyard.envs.scenarios import BENCHMARK
from stockyard.scripts.headroom_contest import Contest

SHIPPED = sorted((Path(stockyard.conf.__file__).parent / "leaderboard").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_benchmark_is_read_and_built(path: Path) -> None:
    """Each entry is an environment that exists, and the file is named after its benchmark."""
    benchmark = Benchmark.from_file(path)
    assert benchmark.name == path.stem
    first = {entry.track: entry for entry in reversed(benchmark.entries)}
    for entry in first.values():
        assert json.loads(json.dumps(entry.description)) == entry.description
        assert content_of(entry.specification)["id"].startswith("stockyard/")


def test_the_full_board_plays_every_scenario() -> None:
    """A board of chosen scenarios would be one of chosen winners."""
    benchmark = Benchmark.from_file(next(path for path in SHIPPED if path.stem == "v1"))
    for track in benchmark.tracks:
        assert track.contest is not None
        played = Contest.read(track.contest).scenarios
        assert tuple(entry.name for entry in track.entries) == played
        # sellers' space and trucks have scenarios of their own
        assert played == BENCHMARK or track.contest.startswith(("restock_", "truck_"))
    assert benchmark.seeds == "held_out" and benchmark.tapes == 64


def test_the_first_board_publishes_its_secret() -> None:
    """So that every row can be rebuilt."""
    benchmark = Benchmark.from_file(next(path for path in SHIPPED if path.stem == "v1"))
    assert benchmark.secret is not None
    assert hashlib.sha256(benchmark.secret.encode()).hexdigest() == benchmark.secret_sha256
    assert len(benchmark.tape_seeds(benchmark.entries[0])) == 64


def test_held_out_tapes_need_the_secret_whose_hash_is_published() -> None:
    """Without it nobody knows them; with another one they would be other tapes."""
    told = hashlib.sha256(b"open sesame").hexdigest()
    benchmark = submissions.benchmark(seeds="held_out", secret_sha256=told)
    first, second = benchmark.entries
    with pytest.raises(ValueError, match="the tapes of small are held out; give the file"):
        benchmark.tape_seeds(first)
    with pytest.raises(ValueError, match="its SHA-256 is not the published"):
        benchmark.tape_seeds(first, "abracadabra")
    seeds = benchmark.tape_seeds(first, "open sesame")
    assert seeds == benchmark.tape_seeds(first, "open sesame")
    others = benchmark.tape_seeds(second, "open sesame")
    assert len({*seeds, *others}) == 8 and all(0 <= seed < 2**63 for seed in seeds)
    longer = dataclasses.replace(benchmark, tapes=6)
    assert longer.tape_seeds(first, "open sesame")[:4] == seeds


def test_development_tapes_are_those_of_the_rest_of_the_house() -> None:
    """0, 1, 2, ... of the split test, as `evaluate` plays them."""
    benchmark = submissions.benchmark()
    assert benchmark.tape_seeds(benchmark.entries[0]) == [0, 1, 2, 3]


def changed(**problem: Any) -> Benchmark:
    """The small benchmark with another first problem."""
    tracks = submissions.with_problems("p9", "p19")
    tracks["shop"]["problems"]["p9"] = {**submissions.PROBLEM, **problem}
    return submissions.benchmark(tracks=tracks)


def test_the_specification_hash_changes_with_all_that_scores_depend_on() -> None:
    """Scores of different hashes are not comparable, and those of equal ones are."""
    base = submissions.benchmark()
    assert base.specification_hash == submissions.benchmark(title="Other").specification_hash
    others = [
        changed(penalty_cost=9.5),
        changed(horizon=7),
        submissions.benchmark(version=2),
        submissions.benchmark(tapes=5),
        submissions.benchmark(bound_tapes=2),
        submissions.benchmark(limits={"decision_seconds": 1.0}),
        submissions.benchmark(rows=2),
        submissions.benchmark(seeds="held_out", secret_sha256="0" * 64),
    ]
    hashes = {one.specification_hash for one in [base, *others]}
    assert len(hashes) == 9
    one = changed(penalty_cost=9.5)
    assert one.entry_hashes["shop/p9"] != base.entry_hashes["shop/p9"]
    assert one.entry_hashes["shop/p19"] == base.entry_hashes["shop/p19"]


def test_a_hash_is_that_of_the_world_and_not_of_its_name(tmp_path: Path) -> None:
    """A scenario of the same numbers hashes alike; one number apart, it does not."""
    spec = {"id": "stockyard/Replenishment-v0", "size": "small"}
    same, other = tmp_path / "same.yaml", tmp_path / "other.yaml"
    same.write_text("like: steady\n")
    other.write_text("like: steady\nretail: {local_space_days: 8.01}\n")
    base = digest(content_of({**spec, "scenario": "steady"}))
    assert digest(content_of({**spec, "scenario": str(same)})) == base
    assert digest(content_of({**spec, "scenario": str(other)})) != base


def test_digests_count_what_is_inside() -> None:
    """Types, shapes and fields count; the last digits of a number do not."""

    class Thing:
        def __init__(self, value: float) -> None:
            self.value = value

    different = [
        None,
        0,
        1.5,
        "0",
        [0],
        [[0]],
        {"a": 0},
        {"b": 0},
        np.zeros(2),
        np.zeros((1, 2)),
        np.zeros(2, bool),
        Thing(1.0),
        Thing(2.0),
        len,
        np.mean,
    ]
    assert len({digest(value) for value in different}) == len(different)
    assert digest(0.1 + 0.2) == digest(0.3) and digest(1) == digest(1.0) == digest(np.float32(1))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    with pytest.raises(TypeError, match=r"value\['deep'\]\[1\]: generator has no content"):
        digest({"deep": [0, (x for x in ())]})


def test_file_digests_go_by_content_and_not_by_place(tmp_path: Path) -> None:
    """A submission that is moved stays the same one."""
    for place in ("one", "two"):
        (tmp_path / place / "mine").mkdir(parents=True)
        (tmp_path / place / "mine" / "policy.py").write_text("pass")
    first, second = (tmp_path / place / "mine" for place in ("one", "two"))
    assert file_digest(first) == file_digest(second)
    (second / "policy.py").write_text("pass  # not the same")
    assert file_digest(first) != file_digest(second)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tapse": 3}, "tapse: no such field; known: name, version"),
        ({"tapes": 0}, "tapes: must be a whole number >= 1"),
        ({"slow_tapes": 9}, "slow_tapes: must not exceed tapes"),
        ({"bound_tapes": 9}, "bound_tapes: must be 1 to "),
        ({"bound_tapes": 0}, "bound_tapes: must be 1 to "),
        ({"bound_tapes": 1.5}, "bound_tapes: must be 1 to "),
        ({"seeds": "lucky"}, "seeds: unknown 'lucky'; known: development, held_out"),
        ({"seeds": "held_out"}, "secret_sha256: held-out seeds need the hash of a secret"),
        ({"secret": "x", "secret_sha256": "y"}, "secret: its SHA-256 is not the published"),
        ({"limits": {"decision_seconds": 0}}, "limits.decision_seconds: must be > 0"),
        ({"limits": {"hours": 1}}, "limits.hours: no such field"),
        ({"tracks": {}}, "tracks: must map names to tracks"),
        ({"tracks": {"a": {}}}, "tracks.a.env: give either env and scenarios, or problems"),
        ({"tracks": {"a": {"env": {"size": "small"}}}}, "tracks.a.env: needs an id"),
        ({"tracks": {"a": {"problems": {"b": {}}}}}, "tracks.a.problems.b: needs a problem"),
        (
            {"tracks": {"a": {"problems": {"b": {"problem": "c"}}, "bound": "sky"}}},
            "tracks.a.bound: unknown 'sky'; known: perfect_information, optimum, module:function",
        ),
    ],
)  # fmt: skip
def test_a_mistake_names_the_field(changes: dict[str, Any], problem: str) -> None:
    """Whoever writes a benchmark is told what is wrong, and what may be there."""
    with pytest.raises(ValueError, match=problem):
        submissions.benchmark(**changes)
