"""`stockyard-tune`: studies of rules and of learners, which go on where they stopped."""

import functools
import json
from pathlib import Path

import pytest
import tiny_network

from stockyard import agents
from stockyard.scripts import tune

SUPPORT = Path(tiny_network.__file__).parent
RULE = ["env=textbook/newsvendor", "policy=base_stock", "method=tpe", "tapes=4", "trials=10"]
LEARNER = [
    "env=tiny",
    "seed=1",
    "trials=2",
    "train=['agent=ppo','agent.n_steps=16','n_envs=128','total_steps=2048','eval.tapes=4',"
    "'eval.every=2048']",
    "space={agent.learning_rate: {low: 1e-4, high: 1e-2, log: true}}",
]


@pytest.fixture
def command(place, command, monkeypatch):
    """Runs the command in an empty folder, where the tiny network is one more environment."""
    monkeypatch.setenv("STOCKYARD_CONF", str(SUPPORT / "user_conf"))
    return functools.partial(command, tune)


def written(out: str) -> Path:
    """The path in the last line."""
    return Path(out.strip().rsplit("written: ", 1)[1])


def test_a_study_of_a_rule_is_kept_and_gone_on_with(command):
    """The same command finds its study; its folder holds nothing else."""
    code, out, err = command(*RULE)
    assert code == 0, err
    path = written(out)
    found = json.loads(path.read_text())
    assert path.with_suffix(".db").is_file() and len(list(path.parent.iterdir())) == 2
    assert {"parameters", "score", "on_edge", "at_limit", "seconds", "trials", "seed"} <= set(found)
    assert found["method"] == "tpe" and found["trials"] == len(found["history"])
    code, again, _ = command(*RULE)
    assert code == 0 and written(again) == path and "10 trials" not in again
    assert json.loads(path.read_text())["parameters"] == found["parameters"]
    _, other, _ = command(*RULE, "seed=1")
    assert written(other) != path


def test_a_learner_is_tuned_by_short_trainings(command):
    """Only the study and what it found are left."""
    code, out, err = command(*LEARNER)
    assert code == 0, err
    path = written(out)
    found = json.loads(path.read_text())
    assert found["trials"] == 2 and 1e-4 <= found["parameters"]["agent.learning_rate"] <= 1e-2
    assert found["history"][0]["agent.learning_rate"] == pytest.approx(1e-3)
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".db", ".json"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["env=textbook/newsvendor", "method=grid"], "known: coordinate, tpe"),
        (["env=textbook/newsvendor", "space={x: {low: 0, high: 1}}"], "belongs to train"),
        (["env=tiny", "train=['agent=ppo']"], "space: train needs settings"),
        (["env=tiny", "train=['agent=ppo']", "space={seed: {low: 1}}"], "space.seed: takes"),
        (["env=tiny", "train=['agent=ppo']", "space={seed: {low: 1, high: 0}}"], "space.seed"),
        (["env=tiny", "policy=naive", "train=['agent=ppo']"], "policy: a heuristic"),
    ],
)
def test_mistakes_end_in_one_line(command, arguments, match):
    """What cannot be tuned is said before anything is drawn or trained."""
    code, _, err = command(*arguments)
    assert code == 1 and match in err


def test_a_misspelt_setting_of_a_learner_is_told(command):
    """Hydra refuses the key before the first training."""
    code, _, err = command(*LEARNER[:-1], "space={agent.learning_rat: {low: 1e-4, high: 1e-2}}")
    assert code == 1 and "learning_rat" in err
    assert agents.registered()
