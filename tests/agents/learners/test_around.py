"""Learning around a rule, or to steer one: it starts where the rule stands, and what it changes."""

import numpy as np
import pytest
import torch

from stockyard import agents
from stockyard.agents.evaluation.rollout import build, rollout
from stockyard.agents.learners import hindsight, shared_ppo
from stockyard.agents.learners.around import HINTS, AimingRule, Aims
from stockyard.agents.learners.hindsight import TrainedPolicy
from stockyard.agents.learners.layout import Layout
from stockyard.agents.learners.networks import Actor, rule_of
from stockyard.agents.learners.run_folder import RunFolder
from stockyard.agents.learners.steered import OUTPUTS
from stockyard.envs.tasks.task import shaped

BUY = {
    "id": "stockyard/Replenishment-v0",
    "scenario": "peak_event",
    "horizon": 28,
    "action": "quantity",
}
PLACE = {**BUY, "id": "stockyard/Placement-v0", "horizon": 14}
PRICED = {"name": "space_priced_newsvendor", "space_use": 0.9, "slack_days": 14.0}
RESERVE = {"name": "pooled_reserve", "local_days": 5.0}
CASES = {
    "space_priced_newsvendor": (BUY, PRICED),
    "prebuilding_newsvendor": (
        BUY,
        {
            "name": "prebuilding_newsvendor",
            "space_use": 0.9,
            "receiving_use": 1.0,
            "dock_ahead": 0.5,
        },
    ),
    "capped_base_stock": (
        BUY,
        {"name": "capped_base_stock", "safety_factor": 1.0, "cap_reviews": 1.2},
    ),
    "smoothed_base_stock": (BUY, {"name": "smoothed_base_stock", "safety_factor": 1.0}),
    "naive": (BUY, {"name": "naive"}),
    "pooled_reserve": (PLACE, RESERVE),
    "local_first_with_reserve": (PLACE, {"name": "local_first_with_reserve", "local_days": 6.0}),
    "hub_only": (PLACE, {"name": "hub_only"}),
}
QUICK = {
    "n_envs": 2,
    "width": 8,
    "segment_steps": 2,
    "lookahead_steps": 1,
    "burn_in_steps": 0,
    "tape_steps": 4,
    "device": "cpu",
}
LEARNED = [
    ("space_priced_newsvendor", "around"),
    ("pooled_reserve", "around"),
    ("pooled_reserve", "steered"),
]


def untrained(env, rule, structure="around", spread=0.0):
    """A network around a rule, with a last layer of some spread."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        actor = Actor(Layout.of(env), structure, 8, rule=rule_of(rule, structure, env))
        torch.nn.init.normal_(actor.network.last.weight, std=spread)
    return TrainedPolicy(actor)


def tensors(env):
    """The first observation of an environment, in its shapes."""
    observation, _ = env.reset(seed=0)
    fields = {name: torch.from_numpy(values) for name, values in observation.items()}
    return shaped(fields, Layout.of(env).shapes)


@pytest.mark.parametrize(
    ("case", "structure"), [*((case, "around") for case in CASES), ("pooled_reserve", "steered")]
)
def test_an_untrained_network_is_the_rule(case, structure):
    """Training starts at what the rule earns, whether or not the rule has levels of its own."""
    spec, rule = CASES[case]
    env = build(spec, num_envs=3, split="test")
    policies = untrained(env, rule, structure), agents.make(env=env, **rule)
    mine, theirs = (rollout(policy, env, seed=0).returns for policy in policies)
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_gradients_pass_through_the_steps_of_a_steered_rule():
    """Each of the four factors moves stock as its gradient says, by differences in float64."""
    env = build({**PLACE, "scenario": "steady"}, num_envs=4, split="test")
    rule = rule_of(RESERVE, "steered", env)
    fields = {name: values.double() for name, values in tensors(env).items()}
    # a dock that is fuller than usual: all steps of the rule have something to do
    fields["on_hand"][:, :, 0] += 12.0
    steering = rule.guide(fields)
    rate = torch.ones(steering.sizes.base.shape[1:], dtype=torch.float64)
    weight = torch.rand(steering.sizes.base.shape, generator=torch.Generator().manual_seed(0))

    def moved(out):
        return (steering.times(out, steering.stocks.position, rate, rate) * weight).sum()

    out = torch.zeros((*steering.sizes.base.shape, OUTPUTS), dtype=torch.float64)
    out.requires_grad_()
    moved(out).backward()
    for k in range(OUTPUTS):
        step = torch.zeros_like(out)
        step[..., k] = weight  # not all alike: reserves are proportions
        difference = (moved(out + 1e-6 * step) - moved(out - 1e-6 * step)).item() / 2e-6
        assert abs(difference) > 1e-3, k
        assert (out.grad * step).sum().item() == pytest.approx(difference, rel=1e-4)


def test_a_steered_rule_never_moves_more_than_there_is():
    """Whatever the network says: stock of the dock, along lanes that are there."""
    env = build(PLACE, num_envs=4, split="test")
    rule, fields = rule_of(RESERVE, "steered", env), tensors(env)
    centres = rule._policy.centres
    centres.reached[0, centres.regional] = 0.0  # shipped worlds have lanes to everywhere
    centres.reached[1, ~centres.regional] = 0.0
    fields["on_hand"][:, :, 0] += 99.0  # more than the dock can keep
    steering = rule.guide(fields)
    shape, rate = steering.sizes.base.shape, torch.ones(steering.sizes.base.shape[1:])
    for seed in range(4):
        out = 4.0 * torch.randn((*shape, OUTPUTS), generator=torch.Generator().manual_seed(seed))
        units = steering.times(out, steering.stocks.position, rate, rate)
        assert (units >= 0.0).all() and units.sum() > 0.0
        assert (units[:, centres.reached == 0.0] == 0.0).all()
        assert (units.sum(-1) <= steering.stocks.dock * (1.0 + 1e-5)).all()


def test_what_is_aimed_at_is_multiplied():
    """By hand: level 10, position 8, lift 2; doubled at most, halved at least."""
    aims = Aims(*(torch.full((1, 1, 1), value) for value in (10.0, 3.0, 0.0)))
    position, rate, lift = (torch.full((1, 1, 1), value) for value in (8.0, 7.0, 2.0))
    offsets = {0.0: 2.0 + 3.0, 50.0: 20.0 - 8.0 + 2.0 + 6.0, -50.0: 0.0 + 1.5}
    for offset, expected in offsets.items():
        units = aims.times(torch.full((1, 1, 1, 1), offset), position, rate[0], lift[0])
        assert units.item() == pytest.approx(expected, rel=1e-5)


def test_an_order_that_is_not_placed_is_learned_too():
    """A level just below the position: the order is zero, its gradient is not."""
    aims = Aims(*(torch.full((1, 1, 1), value) for value in (9.0, 0.0, 0.0)))
    position, rate, lift = (torch.full((1, 1, 1), value) for value in (10.0, 7.0, 2.0))
    offset = torch.zeros((1, 1, 1, 1), requires_grad=True)
    units = aims.times(offset, position, rate[0], lift[0])
    units.sum().backward()
    assert units.item() == 0.0
    assert offset.grad.item() > 0.0


def test_a_product_that_the_rule_gives_up_can_be_ordered():
    """Its level is zero, so no factor alone would start it."""
    aims = Aims(*(torch.zeros((1, 1, 1)) for _ in range(3)))
    rate = lift = torch.ones((1, 1))
    assert aims.times(torch.ones((1, 1, 1, 1)), torch.zeros((1, 1, 1)), rate, lift).item() > 0.0


def test_levels_say_what_the_rule_orders():
    """Levels less positions are the orders, of every rule that fills up to levels."""
    for case in ("space_priced_newsvendor", "capped_base_stock", "smoothed_base_stock"):
        spec, rule = CASES[case]
        env = build(spec, num_envs=2, split="test")
        observation, _ = env.reset(seed=0)
        heuristic = agents.make(env=env, **rule)
        fields = shaped(observation, Layout.of(env).shapes)
        orders = np.maximum(heuristic.levels(fields) - fields["inventory_position"], 0.0)
        np.testing.assert_allclose(orders, heuristic.predict(observation)[0], rtol=1e-9, atol=1e-9)


def test_the_network_sees_the_rules_level_and_price():
    """A scarcer space raises the price and lowers the level; both are features."""
    env = build({**BUY, "scenario": "steady"}, num_envs=2, split="test")
    fields = tensors(env)
    tight = {**fields, "storage_capacity": fields["storage_capacity"] * 0.5}
    actor = untrained(env, PRICED).actor
    wide, narrow = (actor.seen(each).rows[..., -HINTS:] for each in (fields, tight))
    assert wide.shape == (2, env.unwrapped.world.network.num_products, 1, HINTS)
    assert (narrow[..., 3] > wide[..., 3]).all()
    assert (narrow[..., 0] <= wide[..., 0]).all()
    assert (narrow[..., 0] < wide[..., 0]).any()


@pytest.mark.parametrize(("case", "structure"), LEARNED)
def test_hindsight_keeps_the_rule_in_the_run_folder(case, structure, tmp_path):
    """The rule is built anew for every environment that the weights are asked to play."""
    spec, rule = CASES[case]
    learner = hindsight.Learner(**QUICK, structure=structure, rule=rule)
    mixture = {**spec, "mixture": ["steady", "peak_event"]}
    # as the command tells it
    told = {
        "_target_": "builtins.dict",
        **mixture,
        "scenario": {"name": spec["scenario"]},
        "rules": None,
    }
    learner.train(mixture, tmp_path, total_steps=8, eval_tapes=2, eval_every=4, description=told)
    assert RunFolder(tmp_path).read_record()["settings"]["rule"] == rule
    policy = agents.load(tmp_path)
    assert policy.action_mode == "quantity"
    for other in (spec, {**spec, "scenario": "real"}, {**spec, "size": "medium", "horizon": 7}):
        assert np.isfinite(agents.evaluate(policy, other, num_tapes=2).returns).all()
    env = build(spec, num_envs=2, split="test")
    observation, _ = env.reset(seed=0)
    # in single precision: a product of matrices adds in another order where memory lies otherwise
    np.testing.assert_allclose(
        policy.predict(observation)[0],
        policy.for_env(env).predict(observation)[0],
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize(("case", "structure"), LEARNED)
def test_ppo_learns_around_a_rule(case, structure, tmp_path):
    """Before its first update its mean is the rule; what it leaves plays."""
    spec, rule = CASES[case]
    learner = shared_ppo.Learner(
        n_envs=2,
        n_steps=2,
        batch_size=64,
        n_epochs=1,
        width=8,
        structure=structure,
        rule=rule,
        initial_log_std=-3.0,
    )
    learner.check(spec)
    told = {
        "_target_": "builtins.dict",
        **spec,
        "scenario": {"name": spec["scenario"]},
        "rules": None,
    }
    learner.train(spec, tmp_path, total_steps=300, eval_tapes=2, eval_every=200, description=told)
    first = RunFolder(tmp_path).read_evaluations()[0]
    assert first["steps"] == 0
    env = build(spec, num_envs=2, split="validation")
    expected = rollout(agents.make(env=env, **rule), env, seed=0)
    assert first["mean_per_period"] == pytest.approx(expected.mean, rel=1e-6)
    policy = agents.load(tmp_path)
    assert np.isfinite(agents.evaluate(policy, spec, num_tapes=2).returns).all()


def test_a_rule_is_named_where_it_is_needed():
    """Every message says what is missing."""
    env = build(BUY, num_envs=1, split="test")
    with pytest.raises(ValueError, match="rule: must be given for the structures around"):
        hindsight.Learner(structure="around")
    with pytest.raises(ValueError, match="rule: needs the name of a heuristic"):
        AimingRule({"space_use": 0.9}, env)
    with pytest.raises(ValueError, match="rule: space_priced_newsvendor has no steps to steer"):
        rule_of(PRICED, "steered", env)
    with pytest.raises(ValueError, match="rule: must be given for the structures around"):
        Actor(Layout.of(env), "quantity", 8, rule=AimingRule(PRICED, env))
    cover = build({**BUY, "action": "cover"}, num_envs=1, split="test")
    with pytest.raises(ValueError, match="'around' is for retail tasks in mode 'quantity'"):
        Actor(Layout.of(cover), "around", 8)
    with pytest.raises(ValueError, match="rule: not built"):
        Actor(Layout.of(env), "around", 8)(tensors(env))
