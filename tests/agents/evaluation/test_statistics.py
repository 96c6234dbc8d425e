"""Paired differences, their intervals, and the files that hold them."""

import io
import json
import math

import numpy as np
import pytest
import tiny_network
from rich.console import Console
from tiny_network import Constant, Perfect

from stockyard.agents import compare, evaluate
from stockyard.agents.evaluation import render, write_bytes_atomic, write_json_atomic
from stockyard.agents.evaluation.report import number
from stockyard.agents.evaluation.statistics import bootstrap_interval, standard_error

SPEC = {"id": tiny_network.ID, "horizon": 16}


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """An interval is worth its coverage: 95 % of 200, within 4 standard errors."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        interval = bootstrap_interval(rng.gamma(4.0, 1.0, 60), resamples=400, seed=trial)
        covered += interval.low <= 4.0 <= interval.high
    assert abs(covered / 200 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 200)


def test_the_interval_agrees_with_the_normal_one_where_that_holds():
    """For many values the two are the same thing."""
    values = np.random.default_rng(1).normal(3.0, 2.0, 2000)
    interval = bootstrap_interval(values)
    assert interval.method == "BCa"
    half = 1.96 * standard_error(values)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_equal_differences_have_an_interval_of_one_point():
    """There is nothing to resample, and no warning to give."""
    assert bootstrap_interval(np.full(8, 2.5)) == (2.5, 2.5, "exact")


def test_a_single_tape_has_no_interval():
    """One value says nothing about the spread."""
    interval = bootstrap_interval(np.array([1.0]))
    assert math.isnan(interval.low) and interval.method == "none"
    assert math.isnan(standard_error(np.array([1.0])))


def test_the_best_comes_first_and_is_the_measure():
    """Without a named rival, all are compared with the best."""
    rows = compare(
        {
            "constant": evaluate(Constant(), SPEC, num_tapes=32),
            "perfect": evaluate(Perfect(), SPEC, num_tapes=32),
        }
    )
    assert [row.name for row in rows] == ["perfect", "constant"]
    assert {row.against for row in rows} == {"perfect"}
    assert rows[0].interval == (0.0, 0.0, "exact")
    assert rows[1].difference < 0 and rows[1].interval.high < 0
    assert rows[1].share_better == 0.0


def test_a_pair_is_compared_tape_by_tape():
    """What both have in common falls out: the paired error is the smaller one."""
    near = {
        "five": evaluate(Constant(5.0), SPEC, num_tapes=64),
        "a bit more": evaluate(Constant(5.1), SPEC, num_tapes=64),
    }
    row = compare(near, against="five")[-1 if compare(near)[0].name == "five" else 0]
    assert row.name == "a bit more"
    assert row.interval.high - row.interval.low < row.standard_error


def test_different_tapes_are_not_compared():
    """A difference of luck is not a difference of policies."""
    with pytest.raises(ValueError, match="not the same tapes"):
        compare(
            {
                "a": evaluate(Constant(), SPEC, num_tapes=4),
                "b": evaluate(Constant(), SPEC, num_tapes=4, seed=9),
            }
        )


def test_an_unknown_rival_is_named():
    """The message lists who was evaluated."""
    with pytest.raises(ValueError, match="'nobody' was not evaluated; known: a"):
        compare({"a": evaluate(Constant(), SPEC, num_tapes=2)}, against="nobody")


def test_the_table_holds_every_policy_and_its_interval():
    """The table is what a person reads."""
    rows = compare(
        {
            "constant": evaluate(Constant(), SPEC, num_tapes=8),
            "perfect": evaluate(Perfect(), SPEC, num_tapes=8),
        }
    )
    console = Console(width=160, file=io.StringIO())
    console.print(render(rows, title="both"))
    text = console.file.getvalue()
    assert "constant" in text and "perfect" in text and " to -" in text and "in stock rate" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (12345.6, "12,346"), (12.345, "12.35"), (0.5, "0.500"), (1e-9, "1.00e-09")],
)
def test_numbers_have_four_figures(value, text):
    """Columns of figures are read by their length."""
    assert number(value) == text


def test_a_failed_write_leaves_the_old_file(tmp_path):
    """Half a file is worse than an old one."""
    path = tmp_path / "result.json"
    write_json_atomic(path, {"value": np.float64(1.5), "array": np.arange(2), "nan": math.nan})
    assert json.loads(path.read_text()) == {"value": 1.5, "array": [0, 1], "nan": None}
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        write_json_atomic(path, {"value": object()})
    assert json.loads(path.read_text())["value"] == 1.5
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_bytes_are_written_whole(tmp_path):
    """The folder of a file is made when it is missing."""
    write_bytes_atomic(tmp_path / "new" / "file.bin", b"abc")
    assert (tmp_path / "new" / "file.bin").read_bytes() == b"abc"
