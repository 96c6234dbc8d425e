"""The hindsight trainer's walk: it is the environment, and its gradient is that of the loss."""

import numpy as np
import pytest
import torch
from learnable import LOST_SALES, NEWSVENDOR, QUICK, SHARED, STEADY

from stockyard.agents.evaluation.rollout import build
from stockyard.agents.learners.hindsight import Learner
from stockyard.agents.learners.layout import Layout
from stockyard.agents.learners.networks import Actor
from stockyard.agents.learners.walk import Walk
from stockyard.envs import textbook
from stockyard.envs.textbook import Normal, Poisson, Uniform

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
