"""The hindsight trainer: its runs, what it leaves in their folders, and that it learns."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from learnable import LOST_SALES, NEWSVENDOR, QUICK, SHARED, STEADY

from stockyard import agents
from stockyard.agents import oracles
from stockyard.agents.evaluation.rollout import build
from stockyard.agents.learners import hindsight
from stockyard.agents.learners.hindsight import Learner, TrainedPolicy
from stockyard.agents.learners.layout import Layout
from stockyard.agents.learners.networks import Actor
from stockyard.agents.learners.run_folder import RunFolder
from stockyard.agents.learners.walk import Walk
from stockyard.envs import textbook
from stockyard.envs.textbook import Poisson

SMALLER = {"segment_steps": 5, "lookahead_steps": 2, "burn_in_steps": 2}
STEPS = 160  # of one update with `QUICK`


def train(folder, spec=LOST_SALES, total_steps=4 * STEPS, settings=None, **arguments):
    """A short training."""
    arguments = {"eval_tapes": 8, "eval_every": 2 * STEPS, "checkpoint_every": STEPS, **arguments}
    learner = Learner(**{**QUICK, **(settings or {})})
    return learner.train(spec, folder, total_steps=total_steps, **arguments)


def weights_of(folder, name="model"):
    """The weights that a run left."""
    path = {"model": folder.model, "best": folder.best_model}[name]
    return torch.load(path, weights_only=True)["actor"]


def are_equal(first, second):
    """Whether two sets of weights are equal bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("spec", [LOST_SALES, {**STEADY, "horizon": 420}], ids=["book", "retail"])
def test_training_is_the_same_twice(spec, tmp_path):
    """Equal seeds give equal weights, bit for bit, whatever torch's own generator has done."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.rand(seed)
        train(tmp_path / name, spec, 2 * STEPS, SMALLER, seed=seed, eval_tapes=2, eval_every=0)
    a, b, c = (weights_of(RunFolder(tmp_path / name)) for name in "abc")
    assert are_equal(a, b)
    assert not are_equal(a, c)


def test_training_leaves_torch_s_generator_alone(tmp_path):
    """A user's own random numbers must not depend on whether something was trained before."""
    torch.manual_seed(0)
    train(tmp_path, total_steps=STEPS, eval_tapes=0)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run that several tests read."""
    path = tmp_path_factory.mktemp("run")
    result = train(path, against={"base_stock": -6.0}, name="short run")
    return result, RunFolder(path)


def test_a_run_folder_is_complete(trained):
    """The same files as any other learner's, but for the configuration, which the command adds."""
    result, folder = trained
    assert {path.name for path in folder.path.iterdir()} == {
        "best_model.zip",
        "checkpoints",
        "evaluations.json",
        "model.zip",
        "model_card.md",
        "run.json",
        "tensorboard",
    }
    assert folder.checkpoint_steps() == [3 * STEPS, 4 * STEPS]
    record = json.loads(folder.record.read_text(), parse_constant=pytest.fail)
    assert record["kind"] == record["algorithm"] == "hindsight"
    assert record["settings"]["segment_steps"] == 10
    assert record["steps"] == result.steps == 4 * STEPS
    assert record["interrupted"] is False
    assert record["versions"]["torch"]
    curve = json.loads(folder.evaluations.read_text(), parse_constant=pytest.fail)
    assert [entry["steps"] for entry in curve] == [0, 2 * STEPS, 4 * STEPS]
    assert curve[-1]["gap_to_best_heuristic"] == pytest.approx(curve[-1]["mean_per_period"] + 6.0)
    assert (
        max(entry["mean_per_period"] for entry in curve)
        == (result.best_validation["mean_per_period"])
    )
    card = folder.model_card.read_text()
    assert "short run" in card and "runs no code" in card
    assert not list(folder.path.rglob(".*")), "a temporary file was left"


def test_a_loaded_policy_is_the_one_that_was_trained(trained):
    """Bit for bit the same decisions as the weights in memory, and the validated result."""
    result, folder = trained
    again = agents.evaluate(agents.load(folder.path), LOST_SALES, num_tapes=8, split="validation")
    assert again.mean == result.best_validation["mean_per_period"]
    env = build(LOST_SALES, num_envs=8, split="test")
    settings = folder.read_record()["settings"]
    actor = Actor(Layout.of(env), settings["structure"], settings["width"])
    actor.load_state_dict(weights_of(folder))
    in_memory = agents.evaluate(TrainedPolicy(actor), LOST_SALES, num_tapes=8)
    loaded = agents.evaluate(agents.load(folder.path, "last"), LOST_SALES, num_tapes=8)
    np.testing.assert_array_equal(loaded.returns, in_memory.returns)
    assert np.std(loaded.returns) > 0


def test_a_missing_model_is_named(tmp_path):
    """A run that was cut off before its first model."""
    train(tmp_path, total_steps=STEPS, eval_tapes=0)
    RunFolder(tmp_path).best_model.unlink()
    with pytest.raises(FileNotFoundError, match="has no best_model.zip"):
        agents.load(tmp_path)
    assert agents.load(tmp_path, "last").action_mode == "quantity"


def test_a_resumed_run_goes_on_to_the_total(tmp_path):
    """It takes up weights, optimizer, step count, seconds and curve, on tapes of its own."""
    folder = RunFolder(tmp_path)
    train(tmp_path, total_steps=2 * STEPS)
    first, before = folder.read_evaluations(), folder.read_record()
    saved = weights_of(folder)
    assert folder.checkpoint_steps()[-1] == 2 * STEPS
    result = train(tmp_path, total_steps=5 * STEPS, resume=True)
    assert result.steps == 5 * STEPS
    curve, record = folder.read_evaluations(), folder.read_record()
    assert curve[: len(first)] == first
    assert [entry["steps"] for entry in curve] == [0, 2 * STEPS, 4 * STEPS, 5 * STEPS]
    assert record["steps"] == 5 * STEPS
    assert record["seconds"] > before["seconds"]
    assert record["training_seconds"] > before["training_seconds"]
    state = torch.load(folder.latest_checkpoint()[1], weights_only=True)["optimizer"]["state"]
    assert {int(entry["step"]) for entry in state.values()} == {5}, "Adam counts on"
    assert not are_equal(saved, weights_of(folder))
    # nothing is left to do: the run stays as it is
    weights = weights_of(folder)
    assert train(tmp_path, total_steps=5 * STEPS, resume=True).steps == 5 * STEPS
    assert are_equal(weights, weights_of(folder))


def test_a_killed_run_keeps_the_time_it_took(tmp_path, monkeypatch):
    """Every checkpoint notes it: without a proper end it would be lost."""

    def killed(self, steps):
        raise MemoryError

    monkeypatch.setattr(hindsight.Journal, "close", killed)
    with pytest.raises(MemoryError):
        train(tmp_path, total_steps=2 * STEPS, eval_tapes=0, checkpoint_every=STEPS)
    record = RunFolder(tmp_path).read_record()
    assert record["seconds"] >= record["training_seconds"] > 0.0


def test_a_resumed_run_draws_tapes_of_its_own(tmp_path, monkeypatch):
    """It must not go over those of its first part again."""
    draw, drawn = Walk._draw, []

    def noting(self):
        draw(self)
        drawn.append(set(self._view.tape.digests()))

    monkeypatch.setattr(Walk, "_draw", noting)
    train(tmp_path, total_steps=STEPS, eval_tapes=0)
    train(tmp_path, total_steps=2 * STEPS, eval_tapes=0, resume=True)
    assert len(drawn) == 2 and not drawn[0] & drawn[1]


def test_a_run_without_a_checkpoint_cannot_be_resumed(tmp_path):
    """The message says what is missing."""
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        train(tmp_path, resume=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_a_checkpoint_and_can_go_on(number, tmp_path, monkeypatch):
    """Nobody should lose a night's training to Ctrl-C or a batch system."""
    handler = signal.getsignal(signal.SIGINT)
    segment, calls = Walk.segment, []

    def segment_with_signal(self, is_fluid):
        calls.append(is_fluid)
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return segment(self, is_fluid)

    monkeypatch.setattr(Walk, "segment", segment_with_signal)
    result = train(tmp_path, total_steps=50 * STEPS, checkpoint_every=0)
    assert result.interrupted and result.steps == 3 * STEPS
    folder = RunFolder(tmp_path)
    assert folder.latest_checkpoint()[0] == 3 * STEPS
    assert folder.read_record()["interrupted"] is True
    assert signal.getsignal(signal.SIGINT) is handler
    assert not train(tmp_path, total_steps=5 * STEPS, resume=True).interrupted
    assert folder.read_record()["steps"] == 5 * STEPS
    assert folder.read_record()["interrupted"] is False


def test_training_stops_when_it_has_long_been_no_better(tmp_path):
    """Patience counts evaluations since the best one, once the fluid part is over."""
    result = train(
        tmp_path,
        total_steps=40 * STEPS,
        settings={"patience": 2, "learning_rate": 1e-30, "fluid_share": 0.0},
        eval_every=STEPS,
    )
    assert result.steps == 2 * STEPS
    assert not result.interrupted


def test_whole_units_come_after_the_fluid_share(tmp_path, monkeypatch):
    """Real units first, then rounded ones."""
    calls, segment = [], Walk.segment
    monkeypatch.setattr(
        Walk, "segment", lambda self, is_fluid: calls.append(is_fluid) or segment(self, is_fluid)
    )
    train(tmp_path, total_steps=10 * STEPS, settings={"fluid_share": 0.3}, eval_tapes=0)
    assert calls == [True] * 3 + [False] * 7


def test_a_bad_batch_does_not_spoil_the_weights(tmp_path, monkeypatch):
    """A gradient that is not finite is left out."""
    segment, calls = Walk.segment, []

    def spoiled(self, is_fluid):
        calls.append(0)
        return segment(self, is_fluid) * (float("nan") if len(calls) == 2 else 1.0)

    monkeypatch.setattr(Walk, "segment", spoiled)
    train(tmp_path, total_steps=3 * STEPS)
    assert all(
        torch.isfinite(weights).all() for weights in weights_of(RunFolder(tmp_path)).values()
    )


def test_a_policy_of_three_products_plays_seven(tmp_path):
    """One set of weights serves any number of products."""
    train(tmp_path, SHARED, eval_tapes=4)
    policy = agents.load(tmp_path)
    seven = textbook.shared_capacity(
        demand=tuple(Poisson(m) for m in (2, 3, 4, 5, 6, 7, 8)),
        capacity=40,
        holding_costs=1,
        penalty_costs=5,
        horizon=20,
    )
    evaluation = agents.evaluate(policy, seven, num_tapes=4)
    nothing = agents.evaluate(agents.make("constant_order", seven, quantity=0), seven, num_tapes=4)
    assert evaluation.mean > nothing.mean
    assert policy.actor.layout.num_products == 3, "the loaded policy is as it was"


def test_a_policy_of_three_stores_plays_six(tmp_path):
    """One set of weights serves any number of lanes."""

    def stores(count):
        return textbook.one_warehouse(
            demand=Poisson(4),
            num_stores=count,
            warehouse_lead_time=2,
            store_lead_times=2,
            warehouse_holding_cost=0.5,
            store_holding_costs=1,
            penalty_costs=9,
            horizon=40,
        )

    train(tmp_path, stores(3), settings={"structure": "order_up_to"}, eval_tapes=4)
    evaluation = agents.evaluate(agents.load(tmp_path), stores(6), num_tapes=8)
    # the base stock with which it began sells most of the demand of 24 units a period
    assert evaluation.mean > -9 * 24 / 2


def test_a_policy_of_a_small_retailer_plays_a_medium_one(tmp_path):
    """12 products at 4 nodes, then 200 at 10."""
    spec = {**STEADY, "horizon": 84}
    settings = {"n_envs": 4, "segment_steps": 4, "lookahead_steps": 2, "burn_in_steps": 2}
    train(tmp_path, spec, total_steps=32, settings=settings, eval_tapes=2, eval_every=0)
    medium = {**STEADY, "size": "medium", "horizon": 14}
    evaluation = agents.evaluate(agents.load(tmp_path), medium, num_tapes=2)
    assert np.isfinite(evaluation.returns).all()
    assert evaluation.metrics["fill_rate"].mean() > 0.1


def test_a_policy_for_other_features_is_refused(trained):
    """The evaluator says which features differ, instead of an error about matrices."""
    longer = textbook.lost_sales(demand=Poisson(5), lead_time=6, holding_cost=1, penalty_cost=4)
    with pytest.raises(ValueError, match="other features .*: on_order_quoted"):
        agents.evaluate(agents.load(trained[1].path), longer, num_tapes=2)


def test_dispatch_is_refused(tmp_path):
    """Trucks are no quantities of products; no folder is begun."""
    spec = textbook.batch_dispatch(
        demand=Poisson(5), truck_capacity=10, truck_cost=10, holding_cost=1
    )
    with pytest.raises(ValueError, match="hindsight: decides replenish and place, not dispatch"):
        train(tmp_path / "run", spec)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_envs": 0}, "n_envs: must be a whole number >= 1"),
        ({"n_envs": 2.5}, "n_envs: must be a whole number >= 1"),
        ({"width": 0}, "width: must be"),
        ({"segment_steps": 0}, "segment_steps: must be"),
        ({"tape_steps": 0}, "tape_steps: must be"),
        ({"lookahead_steps": -1}, "lookahead_steps: must be a whole number >= 0"),
        ({"burn_in_steps": -1}, "burn_in_steps: must be"),
        ({"patience": -1}, "patience: must be"),
        ({"dither": -0.5}, "dither: must be >= 0"),
        ({"learning_rate": 0.0}, "learning_rate: must be > 0"),
        ({"learning_rate": float("nan")}, "learning_rate: must be > 0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm: must be > 0"),
        ({"fluid_share": 1.5}, r"fluid_share: must lie in \[0, 1\]"),
        ({"initial_action": 1.0}, r"initial_action: must lie in \(-1, 1\)"),
        ({"structure": "tree"}, "structure: unknown 'tree'; known: quantity, order_up_to, capped"),
        ({"device": "abacus"}, "device: unknown 'abacus'; known: cpu, cuda, auto"),
    ],
)
def test_a_bad_setting_is_named(setting, message):
    """Before anything is built."""
    with pytest.raises(ValueError, match=message):
        Learner(**setting)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    """A long run on the wrong device would be noticed late."""
    monkeypatch.setattr(hindsight.torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device: no CUDA device here"):
        Learner(device="cuda")
    assert hindsight._device("auto") == "cpu"


def test_it_learns_the_newsvendor(tmp_path):
    """From the mean demand to the critical fractile, in seconds."""
    result = train(
        tmp_path,
        NEWSVENDOR,
        total_steps=128 * 20 * 150,
        settings={
            "n_envs": 128,
            "width": 16,
            "segment_steps": 20,
            "lookahead_steps": 2,
            "patience": 0,
        },
        eval_tapes=256,
        eval_every=0,
        checkpoint_every=0,
    )
    optimum = oracles.optimal_cost(NEWSVENDOR)
    start = -RunFolder(tmp_path).read_evaluations()[0]["mean_per_period"]
    learned = -agents.evaluate(agents.load(tmp_path), NEWSVENDOR, num_tapes=512).mean
    assert result.seconds < 60
    assert start > 1.5 * optimum
    assert learned < 1.05 * optimum


def test_it_learns_lost_sales(tmp_path):
    """Whole units, a lead time, and no closed form for the optimum."""
    train(
        tmp_path,
        LOST_SALES,
        total_steps=128 * 20 * 150,
        settings={
            "n_envs": 128,
            "width": 16,
            "segment_steps": 20,
            "lookahead_steps": 5,
            "patience": 0,
        },
        eval_tapes=256,
        eval_every=0,
        checkpoint_every=0,
    )
    optimum = oracles.optimal_cost(LOST_SALES)
    start = -RunFolder(tmp_path).read_evaluations()[0]["mean_per_period"]
    spec = {**LOST_SALES, "horizon": 220}
    learned = -agents.evaluate(agents.load(tmp_path), spec, num_tapes=256, warmup=20).mean
    assert start > 1.3 * optimum
    assert learned < 1.03 * optimum
