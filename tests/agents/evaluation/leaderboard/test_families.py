"""Classes of policies that play the same environments: the same tapes, ranked apart."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import submissions

from stockyard.agents.evaluation.leaderboard import Benchmark, Submission, board, plan
from stockyard.agents.evaluation.leaderboard.cells import do
from stockyard.agents.evaluation.leaderboard.page import render
from stockyard.agents.evaluation.leaderboard.submission import rule_recipe

CLASSES: dict[str, dict[str, Any]] = {
    name: {
        "family": "restock",
        "mechanisms": [name],
        "env": {"id": "stockyard/RestockLimits-v0", "size": "small", "horizon": 56},
        "scenarios": ["steady"],
        "naive": "no_limit",
    }
    for name in ("caps", "price")
}

CODE = """
import numpy as np

class Policy:
    action_mode = MODE

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return np.zeros((len(observation["limit"]), SIZE)), state

def make_policy(task):
    return Policy()
"""


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    """Two classes of one family on held-out tapes."""
    return submissions.benchmark(
        tracks=CLASSES,
        tapes=1,
        slow_tapes=1,
        seeds="held_out",
        # of the text "open sesame"
        secret_sha256="41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb",
        secret="open sesame",
    )


def verdicts(played: Benchmark, submission: Submission) -> dict[str, list[str]]:
    """Track -> what is said of the episodes that were not decided."""
    planned = plan(played, [submission])
    return {
        cell.entry.track: [failure["message"] for failure in do(cell)["result"]["failures"]]
        for cell in planned.policies.values()
    }


def test_classes_of_one_family_meet_the_same_tapes_and_share_bounds(benchmark: Benchmark) -> None:
    """Bounds are the dear part of a board, and are not to be found once for each class."""
    caps, price = benchmark.entries
    assert benchmark.tape_seeds(caps) == benchmark.tape_seeds(price)
    rule = rule_recipe("no_limit", {})
    recipes = {(entry.key, 0): rule for entry in (caps, price)}
    row = Submission("both", "heuristic", recipes=recipes, digests=dict.fromkeys(recipes, "same"))
    planned = plan(benchmark, [row])
    assert planned.naive[caps.key].key == planned.naive[price.key].key
    assert [cell.key for cell in planned.bounds[caps.key]] == [
        cell.key for cell in planned.bounds[price.key]
    ]
    # but what is told to a policy, and what is allowed, differs
    assert len({cell.key for cell in planned.policies.values()}) == 2


def test_bounds_of_a_part_of_the_tapes_make_a_whole_board(tmp_path: Path) -> None:
    """Rows are ranked on all tapes, which all count with the mean stake of the bounded ones."""
    rows = [submissions.submission(submissions.write(tmp_path / "mine"), submissions.benchmark())]
    told = {}
    for bounded in (4, 2):
        played = submissions.benchmark(bound_tapes=bounded)
        results = submissions.evaluated(played, rows, tmp_path / "cells")
        assert results.returns["bound/shop"].shape == (2, bounded)
        assert results.returns["row/shop/mine"].shape == (1, 2, 4)
        track = board(results)["tracks"][0]
        told[bounded] = track["by_row"]["mine"]
        is_told = f"the first {bounded} have bounds" in render(board(results), {})
        assert is_told == (bounded < 4)
    naive, bound = results.returns["naive/shop"], results.returns["bound/shop"]
    stake = (bound - naive[:, :2]).mean(axis=1)
    for i, (whole, part) in enumerate(zip(told[4], told[2], strict=True)):
        assert part["money"] == whole["money"]
        assert part["score"] == pytest.approx(part["gain"] / stake[i])
        entry = track["entries"][i]
        assert entry["bound"] - entry["naive"] == pytest.approx(entry["stake"])
        assert entry["stake"] == pytest.approx(stake[i])


def test_a_family_is_of_one_environment() -> None:
    """Others could not be told apart by their scores alone."""
    for changes, problem in [
        ({"naive": "equal_split"}, "naive"),
        ({"scenarios": ["q4"]}, "env, scenarios or problems"),
    ]:
        tracks = {"caps": CLASSES["caps"], "price": {**CLASSES["price"], **changes}}
        with pytest.raises(ValueError, match=f"price.family: restock is .* has other {problem}"):
            submissions.benchmark(tracks=tracks)


def test_the_allowed_mechanisms_are_part_of_the_specification(benchmark: Benchmark) -> None:
    """A class that lets in others is another competition."""
    tracks = tuple(dataclasses.replace(track, mechanisms=()) for track in benchmark.tracks)
    other = dataclasses.replace(benchmark, tracks=tracks)
    assert other.specification_hash != benchmark.specification_hash


def test_who_decides_by_other_means_is_not_ranked_in_a_class(
    tmp_path: Path, benchmark: Benchmark
) -> None:
    """A mode that can do anything is none of a class, and neither is that of another one."""
    for mode, size, fits in [("price", 1, "price"), ("quantity", 30, None)]:
        code = CODE.replace("MODE", repr(mode)).replace("SIZE", str(size))
        folder = submissions.write(tmp_path / mode, code=code, tracks=["caps", "price"])
        told = verdicts(benchmark, submissions.submission(folder, benchmark))
        for track, messages in told.items():
            if track == fits:
                assert messages == []
                continue
            (message,) = messages
            assert message.startswith(f"decides by {'price' if fits else 'hybrid'}; policies ")
            assert ("action mode price, class_price" in message) == (track == "price")


def test_rules_of_the_house_are_told_apart_by_what_they_are(benchmark: Benchmark) -> None:
    """They speak a mode that can do anything, and nothing but our code runs in their process."""
    recipe = rule_recipe("constant_price", {"price": 10.0})
    recipes = {(entry.key, 0): recipe for entry in benchmark.entries}
    row = Submission("one", "heuristic", recipes=recipes, digests=dict.fromkeys(recipes, "same"))
    told = verdicts(benchmark, row)
    assert told["price"] == []
    assert "decides by price; policies compete here by caps" in told["caps"][0]


def test_a_submission_names_a_mode_and_brings_no_rule_with_it(
    tmp_path: Path, benchmark: Benchmark
) -> None:
    """A rule in the action mode would be computed by the evaluator, with numbers of theirs."""
    mode = {"residual": {"name": "forecast_need", "days": float("nan")}}
    code = CODE.replace("MODE", repr(mode).replace("nan", "float('nan')")).replace("SIZE", "8")
    folder = submissions.write(tmp_path / "own", code=code, tracks=["caps"])
    (messages,) = verdicts(benchmark, submissions.submission(folder, benchmark)).values()
    assert messages[0].startswith("action_mode: must be the name of a mode")
