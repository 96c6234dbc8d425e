"""Studies find optima, widen their ranges, end hopeless trials, and survive an interruption."""

import subprocess
import sys

import pytest

from stockyard.agents import studies
from stockyard.agents.studies import Range, search

RANGES = {"x": Range(0.0, 1.0), "y": Range(-1.0, 1.0)}


def hill(values, report):
    """The top is beyond the range of x."""
    return -((values["x"] - 1.6) ** 2) - (values["y"] - 0.3) ** 2


def test_the_first_trial_is_the_middle():
    """A study of one trial is the default that theory gives."""
    found = search(hill, RANGES, trials=1)
    assert found.values == {"x": 0.5, "y": 0.0}
    assert Range(1e-4, 1e-2, log=True).middle == pytest.approx(1e-3)
    assert Range(1, 4, integer=True).middle in (2, 3)


def test_a_range_widens_towards_a_best_beyond_it():
    """A tuned rule may not sit on the edge of its grid."""
    found = search(hill, RANGES, trials=50)
    assert found.values["x"] == pytest.approx(1.6, abs=0.25)
    assert found.values["y"] == pytest.approx(0.3, abs=0.25)
    assert "x" not in found.near_edge and len(found.trials) == 50


def test_a_limit_is_not_passed_and_is_no_edge():
    """A cap on orders cannot be negative."""
    found = search(lambda v, _: -v["x"], {"x": Range(0.0, 1.0, least=0.0)}, trials=25)
    assert 0.0 <= found.values["x"] < 0.1 and not found.near_edge
    given = Range(0.0, 1.0, least=-0.2)
    assert given.widened(0.01).low == -0.2 and given.widened(0.5) == given
    assert Range(1e-4, 1e-2, log=True).widened(9e-3).high == pytest.approx(1e-1)


def test_an_interrupted_study_ends_as_if_it_had_not_been(tmp_path):
    """Ctrl-C in the eighth trial of 14; the same call goes on."""
    straight = search(hill, RANGES, trials=14, seed=3, storage=tmp_path / "straight.db")
    count = 0

    def stopped(values, report):
        nonlocal count
        count += 1
        if count == 8:
            raise KeyboardInterrupt
        return hill(values, report)

    with pytest.raises(KeyboardInterrupt):
        search(stopped, RANGES, trials=14, seed=3, storage=tmp_path / "stopped.db")
    gone_on = search(stopped, RANGES, trials=14, seed=3, storage=tmp_path / "stopped.db")
    assert count == 15 and gone_on == straight


def test_a_finished_study_tries_no_more(tmp_path):
    """The same command again shows the result at once."""
    first = search(hill, RANGES, trials=9, storage=tmp_path / "study.db")

    def never(values, report):
        raise AssertionError

    assert search(never, RANGES, trials=9, storage=tmp_path / "study.db") == first


def test_a_study_of_something_else_is_refused(tmp_path):
    """Scores of other tapes or other ranges must not be mixed."""
    search(hill, RANGES, trials=2, storage=tmp_path / "study.db", about={"tapes": 8})
    with pytest.raises(ValueError, match="something else"):
        search(hill, RANGES, trials=2, storage=tmp_path / "study.db", about={"tapes": 9})


def test_hopeless_trials_end_early():
    """What is below the median of the others after a batch is not run to its end."""
    ran_through = []

    def batched(values, report):
        for _ in range(3):
            report(hill(values, report=None))
        ran_through.append(values)
        return hill(values, report=None)

    found = search(batched, RANGES, trials=40)
    early = [trial for trial in found.trials if trial.score is None]
    assert len(early) == 40 - len(ran_through) >= 3
    assert found.score == max(trial.score for trial in found.trials if trial.score is not None)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"low": 1.0, "high": 1.0}, "low < high"),
        ({"low": -1.0, "high": 1.0, "least": 0.0}, "least <= low"),
        ({"low": 0.0, "high": 1.0, "log": True}, "log"),
    ],
)
def test_wrong_ranges_are_refused(arguments, match):
    """An empty range has no middle."""
    with pytest.raises(ValueError, match=match):
        Range(**arguments)


def test_optuna_is_imported_when_a_search_begins():
    """It is no dependency of those who only play."""
    code = "import sys, stockyard.agents.studies as s, stockyard.agents.tuning; "
    code += "assert 'optuna' not in sys.modules and s.Range"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert studies.FIRST_AT_RANDOM > 1
