"""`stockyard-headroom` at a small size: its stages run, and go on where they were interrupted."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from composing import composed

from stockyard.scripts import (
    command_line,
    headroom,
    headroom_contest,
    headroom_page,
    headroom_summary,
    headroom_work,
)
from stockyard.scripts.headroom_contest import Contest

SPACE = {
    "env": {"id": "stockyard/RestockLimits-v0", "size": "small", "horizon": 56},
    "bounds": "space",
    "naive": "no_limit",
    "frontier": ["surplus_retailer", "surplus_sellers", "surplus_customers"],
    "slow": [],
    "costly": [],
    "learners": {},
}
SMALL = {
    "replenishment": {
        "env": {"id": "stockyard/Replenishment-v0", "size": "small", "horizon": 28},
        "naive": "naive",
        "rules": ["constant_order", "newsvendor"],
        "slow": ["base_stock"],
        "costly": ["base_stock"],
        "learners": {"pupil": {"experiment": "replenishment_peak_event_hindsight", "seeds": [0]}},
    },
    "visited": {
        "env": {"id": "stockyard/Replenishment-v0", "size": "small", "horizon": 42},
        "scenarios": ["demand_drop"],
        "naive": "naive",
        "rules": [],
        "slow": [],
        "costly": [],
        "learners": {},
        "guests": {"visitor": "replenishment/pupil_s0"},
        "guarded": "abandon_rate",
    },
    "caps": {**SPACE, "rules": ["uniform"]},
    "prices": {**SPACE, "rules": ["constant_price"]},
}
QUICK = [
    "env.horizon=28",
    "agent.n_envs=2",
    "agent.width=4",
    "total_steps=208",
    "eval.tapes=2",
    "eval.every=104",
]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A contest of its own, and folders of its own for what is kept."""
    contests = tmp_path / "contests"
    contests.mkdir()
    for task, data in SMALL.items():
        (contests / f"{task}.yaml").write_text(yaml.safe_dump(data))
    monkeypatch.setattr(headroom_contest, "CONTESTS", contests)
    for name in ("TUNED", "WEIGHTS", "BOUNDS"):
        monkeypatch.setattr(headroom_contest, name, tmp_path / name.lower())
    return tmp_path


def run(folder: Path, stage: str, **changes: Any) -> Any:
    """Runs a stage."""
    settings = {
        "stage": stage,
        "scenarios": ["steady", "peak_event"],
        "runs": folder / "runs",
        "tapes": 6,
        "slow_tapes": 3,
        "validation_tapes": 4,
        "tuning_tapes": 4,
        **changes,
    }
    overrides = [
        f"{k}={json.dumps(str(v) if isinstance(v, Path) else v)}" for k, v in settings.items()
    ]
    return headroom.run(composed(*overrides, name="headroom"))


@pytest.fixture
def no_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page tells the command line; here there is none."""
    monkeypatch.setattr(command_line, "chosen_overrides", lambda: ["task=replenishment"])


def test_all_stages_run_and_resume(folders: Path, no_hydra: None, monkeypatch: Any) -> None:
    """Tuned parameters, bounds and results are kept, and what is known is not done again."""
    with pytest.raises(command_line.UserError, match="not tuned: steady: constant_order"):
        run(folders, "evaluate")
    run(folders, "tune")
    tuned = yaml.safe_load((folders / "tuned/replenishment/steady.yaml").read_text())
    assert set(tuned) == {"constant_order", "base_stock"}
    assert len(tuned["constant_order"]["parameters"]["quantity"]) == 12
    run(folders, "bound")
    page = folders / "page.md"
    run(folders, "evaluate", page=page)
    told = json.loads(page.with_suffix(".json").read_text())
    steady = told["scenarios"]["steady"]
    assert steady["best_rival"] in ("constant_order", "newsvendor", "base_stock")
    assert steady["tapes"] == {"naive": 6, "constant_order": 6, "newsvendor": 6, "base_stock": 3}
    assert steady["bound"]["tapes"] == 3 and steady["beaten"] == []
    assert steady["gap_closed"]["naive"] == 0.0
    assert max(steady["gap_closed"].values()) < 1.0
    assert page.with_suffix(".png").stat().st_size > 10_000
    for heading in ("Gap closed", "Profit, USD a day", "What the best rule leaves", "Time"):
        assert f"## {heading}" in page.read_text()

    def never(*cell: Any) -> Any:
        raise AssertionError("done before")

    monkeypatch.setattr(headroom_work, "tune_cell", never)
    run(folders, "tune")
    from stockyard.agents.evaluation import rollout

    monkeypatch.setattr(rollout, "rollout", never)
    run(folders, "evaluate", page=page)  # all from the results that are kept
    again = json.loads(page.with_suffix(".json").read_text())
    assert again["scenarios"] == told["scenarios"]


def test_a_learner_is_trained_once_and_is_a_guest_elsewhere(
    folders: Path, no_hydra: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was trained for one contest is judged in another, which does not train it."""
    run(folders, "train", overrides=QUICK)
    kept = {path.name for path in (folders / "weights/replenishment/pupil_s0").iterdir()}
    assert kept == {"run.json", "config.yaml", "evaluations.json", "best_model.zip"}
    run(folders, "train", overrides=QUICK)
    assert "1 trainings, 0 of them to do" in capsys.readouterr().out
    run(folders, "train", task="visited", scenarios=None)
    assert "0 trainings" in capsys.readouterr().out
    contest = Contest.from_config(composed("task=visited", name="headroom"))
    assert contest.missing_guests() == {}
    page = folders / "page.md"
    run(folders, "evaluate", task="visited", scenarios=None, page=page)
    told = json.loads(page.with_suffix(".json").read_text())
    assert set(told["scenarios"]) == {"demand_drop"}
    assert set(told["scenarios"]["demand_drop"]["profit"]) == {"naive", "visitor"}
    assert told["training"]["visitor"]["steps"] >= 208
    duel, transfer = "Best learner against best tuned rule", "Transfer: difference to the best"
    for heading in (duel, transfer, "Abandon rate"):
        assert f"## {heading}" in page.read_text()
    guarded = told["scenarios"]["demand_drop"]["guarded_against_best_rival"]["visitor"]
    assert guarded["low"] <= guarded["own"] - guarded["rival"] <= guarded["high"]


def test_a_guest_without_weights_is_named(
    folders: Path, no_hydra: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page without it would look as if it had not been invited."""
    run(folders, "evaluate", task="visited", scenarios=None, page=folders / "page.md")
    told = "guests without weights, left out: visitor (replenishment/pupil_s0)\n"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(("tapes", "kept"), [(4, 9.0), (64, 5.0)])
def test_scores_are_compared_on_equally_many_tapes(
    folders: Path, monkeypatch: pytest.MonkeyPatch, tapes: int, kept: float
) -> None:
    """What was better on other tapes may be worse on these."""
    from stockyard import agents

    found = SimpleNamespace(
        parameters={}, score=5.0, on_edge=False, at_limit=(), method="tpe", history=[]
    )
    monkeypatch.setattr(agents, "tune", lambda *cell, **options: found)
    contest = Contest.from_config(composed(name="headroom"))
    entry = {"parameters": {}, "score": 9.0, "on_edge": True, "attempts": 1, "tapes": tapes}
    contest.keep_tuned("steady", "newsvendor", entry)
    done = headroom_work.tune_cell(contest, "steady", "newsvendor", 4)
    assert done["entry"]["score"] == kept and done["entry"]["attempts"] == 2


def test_an_interruption_keeps_what_was_known(
    folders: Path, no_hydra: None, monkeypatch: Any
) -> None:
    """Results of policies after the one at hand stay, and so do those that `only` leaves out."""
    few = {"scenarios": ["steady"], "page": folders / "page.md"}
    run(folders, "tune", scenarios=["steady"])
    run(folders, "evaluate", **few)
    results = folders / "runs" / "replenishment" / "steady.json"
    everybody = set(json.loads(results.read_text())["policies"])
    assert everybody == {"naive", "constant_order", "newsvendor", "base_stock"}
    from stockyard.agents.evaluation import rollout

    def interrupted(*cell: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rollout, "rollout", interrupted)
        with pytest.raises(SystemExit, match="interrupted; the same command goes on"):
            run(folders, "evaluate", **few, tapes=5)
    assert set(json.loads(results.read_text())["policies"]) == everybody
    run(folders, "evaluate", **few, tapes=5, only=["newsvendor"])
    assert "No verdict: not evaluated" in (folders / "page.md").read_text()
    assert set(json.loads(results.read_text())["policies"]) == everybody


def test_a_search_that_ended_on_an_edge_is_made_wider(folders: Path) -> None:
    """Three times at most; then the edge is that of a ridge, and the page tells."""
    contest = Contest.from_config(composed(f"runs={folders}", name="headroom"))
    entry = {"parameters": {}, "score": 1.0, "on_edge": True, "attempts": 1}
    contest.keep_tuned("steady", "base_stock", entry)
    assert not contest.is_searched("steady", "base_stock")
    contest.keep_tuned("steady", "base_stock", {**entry, "attempts": 3})
    assert contest.is_searched("steady", "base_stock") and contest.on_edge("steady", "base_stock")
    contest.keep_tuned("steady", "base_stock", {**entry, "on_edge": False})
    assert contest.is_searched("steady", "base_stock")


def test_other_parameters_are_evaluated_again(folders: Path) -> None:
    """A result belongs to the parameters, weights and environment that it was found with."""
    run(folders, "tune", scenarios=["steady"])
    contest = Contest.from_config(composed(f"runs={folders}", name="headroom"))
    before = contest.fingerprint("steady", "base_stock")
    assert contest.fingerprint("peak_event", "base_stock") != before
    contest.keep_tuned("steady", "base_stock", {"parameters": {"safety_factor": 1.0}})
    assert contest.fingerprint("steady", "base_stock") != before


def test_a_contest_has_scenarios_of_its_own(folders: Path) -> None:
    """A variant is a scenario beside the named ones, and results are known by what it changes."""
    path = folders / "contests" / "prices.yaml"
    data = yaml.safe_load(path.read_text())
    crowded = {"like": "steady", "retail": {"storage_days": 5.0}}
    path.write_text(yaml.safe_dump({**data, "variants": {"crowded": crowded}}))
    contest = headroom_contest.Contest.read("prices", ["crowded", "steady"])
    assert contest.spec("crowded")["scenario"] == {"name": "crowded", **crowded}
    assert contest.spec("steady")["scenario"] == "steady"
    before = contest.fingerprint("crowded", "constant_price")
    crowded["retail"] = {"storage_days": 6.0}
    path.write_text(yaml.safe_dump({**data, "variants": {"crowded": crowded}}))
    contest = headroom_contest.Contest.read("prices", "crowded")
    assert contest.fingerprint("crowded", "constant_price") != before


def test_the_best_is_chosen_on_validation_tapes() -> None:
    """Who ran on fewer tapes is compared on those, and test results do not count."""

    def entry(validation: list[float], test: float) -> dict[str, Any]:
        return {"validation": {"returns": validation}, "test": {"returns": [test] * 4}}

    policies = {
        "a": entry([1.0, 1.0, 5.0, 5.0], 0.0),
        "b": entry([2.0, 2.0, 3.0, 3.0], 9.0),
        "slow": entry([1.5, 1.5], 0.0),
        "poor": entry([0.5, 0.5], 99.0),
    }
    assert headroom_summary.best_of(policies, ["a", "b"]) == "a"
    assert headroom_summary.best_of(policies, ["a", "b", "slow", "poor"]) == "slow"


def test_differences_are_paired_on_common_tapes() -> None:
    """A slow rule is compared on the first tapes, which both met."""
    rival = np.array([1.0, 2.0, 3.0, 100.0])
    told = headroom_summary.difference(np.array([2.0, 3.0, 4.0]), rival)
    assert told["mean"] == 1.0 and told["tapes"] == 3 and told["low"] == told["high"] == 1.0
    assert told["percent"] == pytest.approx(50.0)
    bound = np.array([11.0, 12.0])
    assert headroom_summary.gap_closed(rival + 5.0, rival, bound) == pytest.approx(0.5)


def test_who_earns_more_by_guarding_less_is_told() -> None:
    """Profit that is bought with late parcels is no victory, and the page says where it is so."""
    more = headroom_summary.excess(np.array([0.2, 0.4]), np.array([0.1, 0.2, 9.0]))
    assert more["own"] == pytest.approx(0.3) and more["rival"] == pytest.approx(0.15)
    assert more["low"] > 0.0
    fewer = headroom_summary.excess(np.zeros(2), np.array([0.1, 0.2]))
    summary = {
        scenario: {"best_learner": "pupil", "guarded_against_best_rival": {"pupil": found}}
        for scenario, found in (("storm", more), ("calm", fewer))
    }
    told = headroom_page._verdict_on_guarded("late_share", summary, ["storm", "calm"])
    assert "more parcels late than under the rule in storm; with an interval" in told
    assert "none of them" in headroom_page._verdict_on_guarded("late_share", summary, ["calm"])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"task": "nothing"}, "task: unknown 'nothing'; known: caps, prices, replenishment"),
        ({"stage": "nothing"}, "stage: unknown 'nothing'; known: tune, train, bound, evaluate"),
        ({"scenarios": ["doom"]}, "scenarios: unknown 'doom'; known: .*steady"),
        ({"workers": 0}, "workers: must be >= 1"),
        ({"tapes": 0}, "tapes: must be >= 1"),
        ({"only": "nobdy"}, "only: matches nobody; known: .*base_stock"),
    ],
)
def test_a_mistake_is_told_by_its_key(
    folders: Path, settings: dict[str, Any], problem: str
) -> None:
    """One clear line that names the key."""
    with pytest.raises(command_line.UserError, match=problem):
        run(folders, **{"stage": "tune", **settings})


@pytest.mark.usefixtures("no_hydra")
def test_contests_of_one_environment_share_a_frontier(folders: Path) -> None:
    """Every policy is on it once; nobody efficient is surpassed; others are refused."""
    for task, rule, parameters in (
        ("caps", "uniform", {"total": 0.6}),
        ("prices", "constant_price", {"price": 6.0}),
    ):
        contest = Contest.read(task)
        for scenario in ("steady", "peak_event"):
            contest.keep_tuned(scenario, rule, {"parameters": parameters})
    run(folders, "evaluate", task="caps")
    page = folders / "frontier.md"
    run(folders, "frontier", task="prices", page=page)  # of those that have results
    assert list(json.loads(page.with_suffix(".json").read_text())["contests"]) == ["caps"]
    run(folders, "evaluate", task="prices")
    run(folders, "frontier", task="caps", page=page)
    told = json.loads(page.with_suffix(".json").read_text())
    assert page.with_suffix(".png").stat().st_size > 1000
    assert list(told["contests"]["caps"]) == ["no_limit", "uniform"]
    assert list(told["contests"]["prices"]) == ["no_limit", "constant_price"]
    points = [one for rows in told["contests"].values() for one in rows.values()]
    for one in points:
        better = [
            all(other[m] >= one[m] for m in told["metrics"])
            and any(other[m] > one[m] for m in told["metrics"])
            for other in points
        ]
        assert one["efficient"] == (not any(better))
    with pytest.raises(command_line.UserError, match="names no frontier"):
        run(folders, "frontier", task="replenishment")
