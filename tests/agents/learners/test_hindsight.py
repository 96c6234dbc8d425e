"""The trainer: its gradient, its walk against the environment, its runs, and that it learns."""

import json
import os
import signal

import numpy as np
import pytest
import torch

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
from stockyard.envs.textbook import Normal, Poisson, Uniform

LOST_SALES = textbook.lost_sales(
    demand=Poisson(5), lead_time=1, holding_cost=1, penalty_cost=4, horizon=60
)
NEWSVENDOR = textbook.newsvendor(demand=Normal(50, 10), holding_cost=1, penalty_cost=9, horizon=60)
SMOOTH_SERIAL = textbook.serial(
    demand=Normal(5, 1), lead_times=[1, 2], holding_costs=[2, 1], penalty_cost=9, horizon=60
)
SMOOTH_DUAL = textbook.dual_sourcing(
    demand=Normal(5, 1),
    regular_lead_time=2,
    expedited_lead_time=0,
    regular_cost=0,
    expedited_cost=2,
    holding_cost=1,
    penalty_cost=9,
    horizon=60,
)
SHARED = textbook.shared_capacity(
    demand=(Poisson(3), Poisson(5), Poisson(8)),
    capacity=18,
    holding_costs=1,
    penalty_costs=(4, 9, 5),
    horizon=60,
)
STEADY = {"id": "stockyard/Replenishment-v0", "scenario": "steady", "size": "small"}
WALKED = {
    "newsvendor": NEWSVENDOR,
    "lost_sales": LOST_SALES,
    "setup_cost": textbook.setup_cost(
        demand=Poisson(5), lead_time=1, holding_cost=1, penalty_cost=9, fixed_order_cost=20
    ),
    "serial": textbook.serial(
        demand=Poisson(5), lead_times=[1, 2, 3], holding_costs=[3, 2, 1], penalty_cost=20
    ),
    "dual_sourcing": textbook.dual_sourcing(
        demand=Uniform(0, 4),
        regular_lead_time=3,
        expedited_lead_time=1,
        regular_cost=100,
        expedited_cost=110,
        holding_cost=5,
        penalty_cost=495,
    ),
    "one_warehouse": textbook.one_warehouse(
        demand=(Poisson(2), Poisson(3)),
        warehouse_lead_time=2,
        store_lead_times=(1, 2),
        warehouse_holding_cost=0.5,
        store_holding_costs=1,
        penalty_costs=9,
    ),
    "spillover": textbook.spillover(
        demand=(Poisson(4), Poisson(6)), holding_cost=1, penalty_cost=9, cross_cost=2
    ),
    "shared_capacity": SHARED,
    "steady": STEADY,
    "steady_quantity": {**STEADY, "action": "quantity"},
    "steady_residual": {**STEADY, "action": "residual"},
    "steady_network": {
        "id": "stockyard/Network-v0",
        "slots": ("replenish", "place"),
        "scenario": "steady",
    },
    "real": {**STEADY, "scenario": "real"},
    "peak_event": {**STEADY, "scenario": "peak_event"},
    "placement": {"id": "stockyard/Placement-v0", "scenario": "steady"},
    "placement_residual": {
        "id": "stockyard/Placement-v0",
        "scenario": "one_day_rollout",
        "action": "residual",
    },
}
QUICK = {
    "n_envs": 16,
    "width": 8,
    "segment_steps": 10,
    "lookahead_steps": 4,
    "burn_in_steps": 4,
    "tape_steps": 60,
    "device": "cpu",
}
SMALLER = {"segment_steps": 5, "lookahead_steps": 2, "burn_in_steps": 2}
STEPS = 160  # of one update with these settings


def walk(spec, settings, *, batch=3, seed=5, spread=0.05, dtype="float64"):
    """A walk of the trainer with random weights in double precision."""
    env = build({**spec, "backend": "torch", "dtype": dtype}, num_envs=1, split="train")
    torch.manual_seed(1)
    actor = Actor(Layout.of(env), settings.structure, settings.width).to(getattr(torch, dtype))
    with torch.no_grad():
        for weights in actor.network.last.parameters():
            weights.copy_(spread * torch.randn_like(weights))
    return Walk(env.unwrapped, settings, actor, batch, seed, "cpu")


def recorded(walking):
    """Notes the actions and the money of every step of a walk."""
    actions, money = [], []
    decide, step = walking._decide, walking._step

    def deciding(view, **how):
        action = decide(view, **how)
        actions.append(action.detach().numpy().copy())
        return action

    def stepping(view, action):
        after, earned = step(view, action)
        if action is not None:  # the standing rules' part comes before the episode
            money.append((np.zeros(walking.batch) + np.asarray(earned.detach())).copy())
        return after, earned

    walking._decide, walking._step = deciding, stepping
    return actions, money


def played(spec, tape, actions):
    """Rewards, and their part that is money, of the environment on a tape, (T, B)."""
    arguments = {**spec, "backend": "torch"}
    per_step = build(arguments, num_envs=1, split="train").unwrapped.periods_per_step
    arguments["horizon"] = len(actions) * per_step
    env = build(arguments, num_envs=len(actions[0]), split="train")
    env.unwrapped._draw = lambda: tape
    env.reset(seed=0)
    rewards, money = [], []
    for action in actions:
        _, reward, _, _, info = env.step(action)
        rewards.append(reward)
        money.append(reward - info["ledger"].get("inventory_value", 0.0))
    return np.array(rewards), np.array(money)


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("name", sorted(WALKED))
def test_the_walk_is_the_environment(name, lookahead):
    """The stripped loop must earn, step by step, what NetworkVectorEnv pays for the same actions.

    Two segments of three steps: the second begins where the first one ended, after two steps of
    burn-in; look-ahead counts in each. Rounding, valuation of stock, burn-in under the standing
    rules and unreported orders are all in it.
    """
    settings = Learner(
        segment_steps=3,
        lookahead_steps=lookahead,
        burn_in_steps=2,
        tape_steps=10,
        width=8,
        dither=0.0 if lookahead else 1.0,  # look-ahead is walked again, with other noise
        device="cpu",
    )
    walking = walk(WALKED[name], settings)
    actions, money = recorded(walking)
    losses = [walking.segment(is_fluid=False).item() for _ in range(2)]
    again = slice(5, 5 + lookahead)  # steps of the first look-ahead, which the second repeats
    for repeated in (actions, money):
        del repeated[again]
    assert len(actions) == len(money) == 8 + lookahead
    rewards, paid = played(WALKED[name], walking._view.tape, actions)
    np.testing.assert_allclose(money, paid, rtol=1e-9, atol=1e-9)
    for first, loss in zip((2, 5), losses, strict=True):
        earned = rewards[first : first + 3 + lookahead].sum(axis=0).mean()
        assert -loss * (3 + lookahead) * walking.scale == pytest.approx(earned, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["newsvendor", "lost_sales", "steady"])
def test_training_tapes_are_those_of_the_environment(name):
    """Row i of the walk is episode i of its seed, of the training split."""
    settings = Learner(segment_steps=3, lookahead_steps=0, burn_in_steps=0, tape_steps=4)
    walking = walk(WALKED[name], settings)
    walking.segment(is_fluid=False)
    env = build(WALKED[name], num_envs=1, split="train")
    for row in range(3):
        env.reset(seed=5 if row == 0 else None)
        mine = walking._view.tape.demand[:, row]
        theirs = env.unwrapped.tape.demand[: len(mine), 0]
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_training_tapes_are_drawn_afresh():
    """When a batch of tapes ends, the next one holds the next episodes of the seed."""
    settings = Learner(
        segment_steps=4, lookahead_steps=0, burn_in_steps=0, tape_steps=4, width=8, device="cpu"
    )
    walking = walk(LOST_SALES, settings)
    digests = set()
    for _ in range(3):
        walking.segment(is_fluid=False)
        digests |= set(walking._view.tape.digests())
    assert len(digests) == 3 * 3


def flat_gradient(actor):
    """The gradient of all weights as one vector."""
    return torch.cat([weights.grad.flatten() for weights in actor.parameters()])


def moved(actor, direction, length):
    """Moves all weights along a direction, in place."""
    start = 0
    with torch.no_grad():
        for weights in actor.parameters():
            part = direction[start : start + weights.numel()].reshape(weights.shape)
            weights.add_(length * part)
            start += weights.numel()


@pytest.mark.parametrize(
    ("spec", "structure"),
    [
        (NEWSVENDOR, "quantity"),
        (LOST_SALES, "quantity"),
        (LOST_SALES, "capped"),
        (SMOOTH_SERIAL, "order_up_to"),
        (SMOOTH_DUAL, "order_up_to"),
        (SHARED, "quantity"),
        ({**STEADY, "horizon": 84}, "quantity"),
    ],
    ids=["newsvendor", "lost_sales", "capped", "serial", "dual_sourcing", "shared", "steady"],
)
def test_the_gradient_is_that_of_the_loss(spec, structure):
    """In real units the loss is smooth almost everywhere, so finite differences must agree."""
    settings = Learner(
        structure=structure,
        segment_steps=12,
        lookahead_steps=0,  # its decisions do not learn: see the next test
        burn_in_steps=0,
        tape_steps=12,
        width=6,
        device="cpu",
    )

    walking = walk(spec, settings, batch=4)
    actor = walking.actor
    walking.segment(is_fluid=True).backward()
    gradient = flat_gradient(actor)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = torch.randn(len(gradient), generator=generator, dtype=torch.float64)
        losses = []
        for length in (1e-6, -2e-6):
            moved(actor, direction, length)
            twin = Walk(_base(spec), settings, actor, 4, 5, "cpu")
            losses.append(twin.segment(is_fluid=True).item())
        moved(actor, direction, 1e-6)
        measured = (losses[0] - losses[1]) / 2e-6
        assert measured == pytest.approx(float(gradient @ direction), rel=1e-4, abs=1e-7)
    assert gradient.abs().max() > 1e-4


def _base(spec):
    return build(
        {**spec, "backend": "torch", "dtype": "float64"}, num_envs=1, split="train"
    ).unwrapped


def test_look_ahead_counts_but_does_not_learn():
    """Its costs are in the loss; its decisions react to the stock, with weights as constants."""
    settings = Learner(
        segment_steps=6, lookahead_steps=5, burn_in_steps=2, tape_steps=13, width=6, device="cpu"
    )
    walking = walk(LOST_SALES, settings, batch=4)
    actor = walking.actor
    first = {name: weights.detach().clone() for name, weights in actor.named_parameters()}
    walking.segment(is_fluid=True).backward()
    gradient = flat_gradient(actor)
    direction = torch.randn(
        len(gradient), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    losses = []
    for length in (1e-6, -2e-6):
        moved(actor, direction, length)
        twin = walk(LOST_SALES, settings, batch=4)
        twin.actor = actor
        decide, steps = twin._decide, iter(range(13))

        def deciding(view, frozen=None, decide=decide, steps=steps):
            return decide(view, frozen=None if 2 <= next(steps) < 8 else first)

        twin._decide = deciding
        losses.append(twin.segment(is_fluid=True).item())
    measured = (losses[0] - losses[1]) / 2e-6
    assert measured == pytest.approx(float(gradient @ direction), rel=1e-4)
    shorter = Learner(
        segment_steps=6, lookahead_steps=0, burn_in_steps=2, tape_steps=13, width=6, device="cpu"
    )
    alone = walk(LOST_SALES, shorter, batch=4)
    alone.segment(is_fluid=True).backward()
    assert not torch.allclose(flat_gradient(alone.actor), gradient)


@pytest.mark.parametrize("is_fluid", [True, False])
@pytest.mark.parametrize("name", ["lost_sales", "serial", "steady"])
def test_gradients_change_no_value(name, is_fluid):
    """What is trained on must be what is played."""
    settings = Learner(**QUICK)
    spec = WALKED[name]
    with_gradient = walk(spec, settings).segment(is_fluid)
    with torch.inference_mode():
        without = walk(spec, settings).segment(is_fluid)
    assert with_gradient.requires_grad
    assert with_gradient.item() == without.item()


def test_rounded_training_still_learns():
    """The gradient passes straight through the rounding, near that of the fluid problem."""
    settings = Learner(**{**QUICK, "dither": 1.0})
    gradients = []
    for is_fluid in (True, False):
        walking = walk(LOST_SALES, settings, batch=512)
        walking.segment(is_fluid).backward()
        gradients.append(flat_gradient(walking.actor))
    fluid, rounded = gradients
    assert torch.nn.functional.cosine_similarity(fluid, rounded, dim=0) > 0.9


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
