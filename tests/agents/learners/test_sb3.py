"""Training, from the first step to a loaded policy, on a problem that is learned in seconds."""

import json
import os
import signal

import numpy as np
import pytest
import tiny_network
from stable_baselines3.common.callbacks import BaseCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_network import Constant

from stockyard.agents import evaluate, load
from stockyard.agents.learners.run_folder import RunFolder
from stockyard.agents.learners.sb3 import Learner
from stockyard.agents.learners.sb3_policy import ALGORITHMS

SPEC = {"id": tiny_network.ID, "horizon": 16}
ON_POLICY = {"n_envs": 32, "n_steps": 16, "learning_rate": 3e-3, "gamma": 0.0}
OFF_POLICY = {
    "n_envs": 8,
    "learning_starts": 200,
    "buffer_size": 4000,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "gamma": 0.0,
}
SETTINGS = {
    "PPO": {**ON_POLICY, "batch_size": 128, "n_epochs": 5},
    "A2C": {**ON_POLICY, "n_steps": 8},
    "RecurrentPPO": {**ON_POLICY, "batch_size": 128, "policy": "MlpLstmPolicy", "net_arch": [16]},
    "SAC": OFF_POLICY,
    "TD3": OFF_POLICY,
    "TQC": OFF_POLICY,
}


def learner(algorithm="PPO", **changes):
    """A small learner."""
    arguments = {"net_arch": [32], **SETTINGS[algorithm], **changes}
    if algorithm == "RecurrentPPO":
        arguments["policy_kwargs"] = {"lstm_hidden_size": 16}
    return Learner(algorithm, **arguments)


def train(folder, algorithm="PPO", total_steps=2048, **arguments):
    """A short training."""
    arguments = {"eval_tapes": 16, "eval_every": 1024, "checkpoint_every": 1024, **arguments}
    return learner(algorithm).train(SPEC, folder, total_steps=total_steps, **arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of PPO that most tests only read."""
    folder = tmp_path_factory.mktemp("run")
    result = train(folder, total_steps=24_576, eval_every=8192, against={"middle": -8.5})
    return result, RunFolder(folder)


def test_a_learner_improves_on_a_trivial_problem(trained):
    """It starts no better than a constant and ends near the optimum, which is zero."""
    constant = evaluate(Constant(5.0), SPEC, num_tapes=64)
    learned = evaluate(load(trained[1].path), SPEC, num_tapes=64)
    assert trained[1].read_evaluations()[0]["mean_per_period"] < 0.5 * constant.mean
    assert learned.mean > 0.1 * constant.mean


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"MaskablePPO"}))  # see test_trucks
def test_every_algorithm_trains_saves_and_loads(algorithm, tmp_path):
    """The table of algorithms holds none that does not run on the native batch."""
    steps = 1024 if algorithm in ("PPO", "A2C", "RecurrentPPO") else 400
    result = train(tmp_path, algorithm, total_steps=steps, eval_every=0)
    assert result.steps >= steps
    best, last = load(tmp_path), load(tmp_path, "last")
    for policy in (best, last):
        evaluation = evaluate(policy, SPEC, num_tapes=4)
        assert np.isfinite(evaluation.returns).all()
    batch = {"target": np.array([[1.0], [7.0]], np.float32), "elapsed": np.ones((2, 1), np.float32)}
    joint, _ = best.predict(batch, None, np.array([True, True]))
    for i in range(2):
        row = {field: values[i] for field, values in batch.items()}
        alone, state = best.predict(row, None, np.array([True]))
        assert alone.shape == (1,), "a single observation gives an unbatched action"
        np.testing.assert_allclose(alone, joint[i], rtol=1e-5)
        assert best.predict(row, state, np.array(False))[0].shape == (1,)
    assert (algorithm == "RecurrentPPO") == (
        best.predict({"target": np.ones((2, 1)), "elapsed": np.ones((2, 1))})[1] is not None
    )


def test_a_loaded_policy_does_what_was_validated(trained):
    """The best model, loaded, earns on the validation tapes what the record says."""
    result, folder = trained
    again = evaluate(load(folder.path), SPEC, num_tapes=16, split="validation")
    assert again.mean == pytest.approx(result.best_validation["mean_per_period"], rel=1e-5)
    curve = [entry["mean_per_period"] for entry in folder.read_evaluations()]
    assert max(curve) == result.best_validation["mean_per_period"]


def test_a_loaded_policy_speaks_the_units_of_the_environment(tmp_path):
    """The model acts on [-1, 1]; the environment was asked for quantities."""
    train(tmp_path, total_steps=512, eval_tapes=0)
    spec = {**SPEC, "action": "quantity"}
    learner().train(spec, tmp_path / "units", total_steps=512, eval_tapes=4)
    policy = load(tmp_path / "units")
    assert policy.action_mode == "quantity"
    observation = {"target": np.array([[0.0], [10.0]], np.float32), "elapsed": np.zeros((2, 1))}
    action, _ = policy.predict(observation)
    assert action.shape == (2, 1) and (action >= 0).all() and (action <= 10).all()
    raw, _ = policy.model.predict(policy.transform(observation), deterministic=True)
    np.testing.assert_allclose(action, 5.0 * (raw + 1.0), rtol=1e-6)
    assert load(tmp_path).action_mode == "unit"


def test_a_run_folder_holds_what_it_takes_to_make_the_run_again(trained):
    """Versions, seed, environment, transform, and no machine's paths but the command."""
    _, folder = trained
    record = folder.read_record()
    assert record["kind"] == "sb3"
    assert record["environment"]["id"] == tiny_network.ID
    assert record["versions"]["stockyard"] and record["versions"]["stable-baselines3"]
    assert {"seed", "git_commit", "command", "transform", "reward_scale", "steps"} <= set(record)
    assert record["steps"] == 24_576 and record["interrupted"] is False
    card = folder.model_card.read_text()
    assert "24,576" in card and "middle" in card and "pickle" in card
    assert not list(folder.path.rglob(".*")), "a temporary file was left"


def test_the_suite_s_own_figures_are_in_tensorboard(trained):
    """Reward alone does not say what a policy does."""
    events = EventAccumulator(str(trained[1].tensorboard))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {
        "rollout/in_stock_rate",
        "rollout/fill_rate",
        "rollout/ep_rew_mean",
        "rollout_ledger/holding",
        "rollout_ledger/shortage",
        "eval/in_stock_rate",
        "eval/mean_per_period",
        "eval_ledger/shortage",
        "eval/gap_to_middle",
        "eval/gap_to_best_heuristic",
        "train/loss",
    } <= tags
    last = trained[1].read_evaluations()[-1]
    assert last["best_heuristic"] == "middle"
    assert last["gap_to_best_heuristic"] == pytest.approx(last["mean_per_period"] + 8.5)


def test_training_is_the_same_twice(tmp_path):
    """Equal seeds give equal weights."""
    train(tmp_path / "a", seed=3)
    train(tmp_path / "b", seed=3)
    train(tmp_path / "c", seed=4)
    a, b, c = (
        [entry["mean_per_period"] for entry in RunFolder(tmp_path / name).read_evaluations()]
        for name in "abc"
    )
    assert a == b != c


@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_a_resumed_run_goes_on_to_the_total(algorithm, tmp_path):
    """It takes up the weights, the step count, the replay buffer and the learning curve."""
    steps = {"PPO": (1024, 2048), "SAC": (400, 640)}[algorithm]
    train(tmp_path, algorithm, total_steps=steps[0], eval_every=0)
    folder = RunFolder(tmp_path)
    first = folder.read_evaluations()
    assert folder.checkpoint_steps()[-1] == steps[0]
    assert folder.replay_buffer(steps[0]).is_file() == (algorithm == "SAC")
    result = train(tmp_path, algorithm, total_steps=steps[1], eval_every=0, resume=True)
    assert result.steps == steps[1]
    curve = folder.read_evaluations()
    assert curve[: len(first)] == first
    assert [entry["steps"] for entry in curve] == [0, *steps]
    assert train(tmp_path, algorithm, total_steps=steps[1], resume=True).steps == steps[1]


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    """A long run must not fill the disk."""
    train(tmp_path, total_steps=4096, checkpoint_every=512, checkpoint_keep=2, eval_tapes=0)
    assert RunFolder(tmp_path).checkpoint_steps() == [3584, 4096]


class Signal(BaseCallback):
    """Sends a signal to this process, or raises as Ctrl-C would, after some steps."""

    def __init__(self, number=None):
        super().__init__()
        self.number = number

    def _on_step(self):
        if self.n_calls == 20:
            if self.number is None:
                raise KeyboardInterrupt
            os.kill(os.getpid(), self.number)
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None])
def test_an_interrupted_run_leaves_a_checkpoint_and_can_go_on(number, tmp_path):
    """Nobody should lose a night's training to Ctrl-C or a batch system."""
    handler = signal.getsignal(signal.SIGINT)
    result = train(tmp_path, total_steps=2048, callbacks=(Signal(number),))
    assert result.interrupted
    assert 20 * 32 <= result.steps < 2048
    folder = RunFolder(tmp_path)
    assert folder.latest_checkpoint()[0] == result.steps
    assert folder.read_record()["interrupted"] is True
    assert signal.getsignal(signal.SIGINT) is handler
    assert not train(tmp_path, total_steps=2048, resume=True).interrupted
    assert folder.read_record()["steps"] >= 2048


def test_a_run_without_checkpoint_cannot_be_resumed(tmp_path):
    """One clear line, not a traceback out of a zip file."""
    with pytest.raises(FileNotFoundError, match="has no checkpoint to resume from"):
        train(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "PPG"}, "unknown algorithm 'PPG'; known: A2C, PPO"),
        ({"algorithm": "PPO", "activation": "step"}, "unknown activation 'step'"),
        ({"algorithm": "PPO", "schedule": "cosine"}, "schedule must be"),
        ({"algorithm": "PPO", "initial_action": 3.0}, "initial_action must lie in"),
        ({"algorithm": "SAC", "initial_action": 0.0}, "initial_action is for A2C, PPO"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    """The message lists the known ones."""
    with pytest.raises(ValueError, match=message):
        Learner(**arguments)


def test_a_setting_of_another_algorithm_is_named():
    """A setting that is ignored would be taken for one that was used."""
    with pytest.raises(ValueError, match="PPO has no setting 'train_freq'; it takes: batch_size"):
        learner("PPO", train_freq=4)


def test_a_policy_starts_where_it_is_told(tmp_path):
    """In the middle of wide bounds every order is far too large."""
    starting = learner("PPO", initial_action=-0.8)
    starting.train(SPEC, tmp_path, total_steps=512, eval_tapes=4, eval_every=0)
    first = RunFolder(tmp_path).read_evaluations()[0]["mean_per_period"]
    constant = evaluate(Constant(1.0), SPEC, num_tapes=4, split="validation")
    assert first == pytest.approx(constant.mean, rel=0.2)


def test_training_starts_from_the_weights_of_another_run(trained, tmp_path):
    """A specialist begins where a generalist ended, and sees what that one saw."""
    before = trained[1].path
    start = learner(start_from=str(before))
    start.train(SPEC, tmp_path, total_steps=1, eval_every=1, eval_tapes=16)
    first = RunFolder(tmp_path).read_evaluations()[0]
    best = trained[0].best_validation
    assert first["steps"] == 0 and first["mean_per_period"] == best["mean_per_period"]


def test_weights_that_do_not_fit_are_refused(trained, tmp_path):
    """The message names the setting."""
    with pytest.raises(ValueError, match="start_from: neither nowhere nor"):
        learner(start_from="nowhere")
    wider = learner(start_from=str(trained[1].path), net_arch=(48, 48))
    with pytest.raises(ValueError, match="start_from: .* does not fit"):
        wider.train(SPEC, tmp_path, total_steps=1, eval_tapes=0)


def test_a_record_is_json_without_nan(trained):
    """Any reader must be able to open it."""
    json.loads(trained[1].record.read_text(), parse_constant=pytest.fail)
    json.loads(trained[1].evaluations.read_text(), parse_constant=pytest.fail)
