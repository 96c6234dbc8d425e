"""The table of decisions, and the network that takes them: what an untrained one does."""

import numpy as np
import pytest
import torch

from stockyard import agents
from stockyard.agents.evaluation.rollout import build
from stockyard.agents.learners.hindsight import TrainedPolicy
from stockyard.agents.learners.layout import POSITION, Layout
from stockyard.agents.learners.networks import HINTS_OF, STRUCTURES, Actor
from stockyard.envs import textbook
from stockyard.envs.tasks.task import shaped
from stockyard.envs.textbook import Normal, Poisson, Uniform

ALONE = tuple(name for name in STRUCTURES if name not in HINTS_OF)  # the others: see test_around
LOST_SALES = textbook.lost_sales(
    demand=Poisson(5), lead_time=3, holding_cost=1, penalty_cost=9, horizon=30
)
SERIAL = textbook.serial(
    demand=Poisson(5),
    lead_times=[2, 3, 2],
    holding_costs=[3, 2, 1],
    penalty_cost=20,
    horizon=30,
)
DUAL = textbook.dual_sourcing(
    demand=Uniform(0, 4),
    regular_lead_time=3,
    expedited_lead_time=1,
    regular_cost=100,
    expedited_cost=110,
    holding_cost=5,
    penalty_cost=495,
    horizon=30,
)
STORES = textbook.one_warehouse(
    demand=(Poisson(2), Poisson(3), Poisson(4)),
    warehouse_lead_time=2,
    store_lead_times=(1, 2, 2),
    warehouse_holding_cost=0.5,
    store_holding_costs=1,
    penalty_costs=9,
    horizon=30,
)
SHARED = textbook.shared_capacity(
    demand=(Poisson(3), Poisson(5), Poisson(8)),
    capacity=18,
    holding_costs=1,
    penalty_costs=(4, 9, 5),
    horizon=30,
)
SPILLOVER = textbook.spillover(
    demand=(Poisson(4), Poisson(6)), holding_cost=1, penalty_cost=9, cross_cost=2, horizon=30
)
SETUP = textbook.setup_cost(
    demand=Poisson(5),
    lead_time=1,
    holding_cost=1,
    penalty_cost=9,
    fixed_order_cost=20,
    horizon=30,
)
PROBLEMS = {
    "lost_sales": LOST_SALES,
    "serial": SERIAL,
    "dual_sourcing": DUAL,
    "one_warehouse": STORES,
    "shared_capacity": SHARED,
    "spillover": SPILLOVER,
    "setup_cost": SETUP,
    "steady": {"id": "stockyard/Replenishment-v0", "scenario": "steady", "horizon": 28},
    "steady_quantity": {
        "id": "stockyard/Replenishment-v0",
        "scenario": "steady",
        "horizon": 28,
        "action": "quantity",
    },
    "steady_network": {
        "id": "stockyard/Network-v0",
        "slots": ("replenish", "place"),
        "scenario": "steady",
        "horizon": 28,
    },
}


def built(spec, num_envs=4):
    """A batch of a problem."""
    return build(spec, num_envs=num_envs, split="test")


def untrained(spec, structure="quantity", width=8, spread=0.0):
    """A policy as training begins, or with random last weights."""
    env = built(spec, 1)
    actor = Actor(Layout.of(env), structure, width)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        for weights in actor.network.last.parameters():
            weights.copy_(spread * torch.randn(weights.shape, generator=generator))
    return TrainedPolicy(actor)


def tensors(spec, **fields):
    """A batch of one observation with the fields of that shape, all else zero."""
    env = built(spec, 1)
    shapes = env.unwrapped.field_shapes
    assert set(fields) <= set(shapes)
    return {
        name: torch.tensor(
            np.broadcast_to(np.asarray(fields.get(name, 0.0), dtype=np.float32), (1, *shape)).copy()
        )
        for name, shape in shapes.items()
    }


def assert_decides_as(rule, policy, spec):
    """The policy decides as the rule in every state that the rule leads to."""
    env = built(spec, 8)
    observation, _ = env.reset(seed=0)
    for _ in range(env.unwrapped.steps_per_episode):
        action, _ = rule.predict(observation)
        decided, _ = policy.predict(observation)
        np.testing.assert_allclose(decided, action, atol=1e-4)
        observation = env.step(action)[0]


@pytest.mark.parametrize("name", sorted(PROBLEMS))
@pytest.mark.parametrize("structure", ALONE)
def test_every_problem_is_played_within_its_bounds(name, structure):
    """One network takes the decisions of every problem that orders or places."""
    env = built(PROBLEMS[name], 3)
    policy = untrained(PROBLEMS[name], structure, spread=0.3).for_env(env)
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        action, _ = policy.predict(observation)
        assert action.shape == env.action_space.shape
        assert np.isfinite(action).all() and (action >= env.action_space.low).all()
        observation = env.step(action)[0]


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_a_single_observation_is_row_zero_of_the_batch(name):
    """A user who plays one environment must get the decisions that were evaluated."""
    env = built(PROBLEMS[name], 3)
    policy = untrained(PROBLEMS[name], spread=0.3).for_env(env)
    observation, _ = env.reset(seed=0)
    joint, state = policy.predict(observation)
    alone, _ = policy.predict({field: values[0] for field, values in observation.items()})
    assert state is None
    assert alone.shape == env.single_action_space.shape
    np.testing.assert_allclose(alone, joint[0], rtol=1e-5)


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_a_layout_survives_its_record(name):
    """run.json must bring back the same table, or a loaded policy reads other features."""
    import json

    layout = Layout.of(built(PROBLEMS[name], 1))
    again = Layout.from_dict(json.loads(json.dumps(layout.to_dict())))
    assert again.features == layout.features
    assert again.global_features == layout.global_features
    observation = tensors(PROBLEMS[name], on_hand=3.0)
    torch.manual_seed(0)
    actor = Actor(layout, "order_up_to", 8)
    twin = Actor(again, "order_up_to", 8)
    twin.load_state_dict(actor.state_dict())
    torch.testing.assert_close(twin(observation), actor(observation), rtol=0, atol=0)


def test_orders_start_at_mean_demand():
    """The first policy is a plain one: the mean demand of a period, whatever is seen."""
    observation = tensors(LOST_SALES, on_hand=7.0)
    assert untrained(LOST_SALES).actor(observation).item() == pytest.approx(5.0, rel=1e-5)
    orders = untrained(SHARED).actor(tensors(SHARED, on_hand=2.0))
    np.testing.assert_allclose(orders.detach().numpy(), [[3.0, 5.0, 8.0]], rtol=1e-5)
    # the warehouse what all stores sell, each lane what its store sells
    orders = untrained(STORES).actor(tensors(STORES))
    np.testing.assert_allclose(orders.detach().numpy(), [[9.0, 2.0, 3.0, 4.0]], rtol=1e-5)
    # two suppliers of one product share its demand
    orders = untrained(DUAL).actor(tensors(DUAL))
    assert orders.sum().item() < 1.5 * 2.0 + 1e-6


def test_actions_that_are_no_quantities_start_where_they_are_told():
    """In the middle of wide bounds every cover is far too long."""
    spec = PROBLEMS["steady"]
    env = built(spec, 1)
    low, high = env.single_action_space.low, env.single_action_space.high
    for initial in (-0.8, 0.0, 0.5):
        actor = Actor(Layout.of(env), "quantity", 8, initial)
        action = actor(tensors(spec, on_hand=2.0)).detach().numpy()[0]
        np.testing.assert_allclose(action, low + (high - low) * (1 + initial) / 2, rtol=1e-4)


def test_order_up_to_starts_as_the_base_stock_of_lead_time_and_review():
    """It begins where theory begins: the mean demand of lead time and review."""
    base_stock = agents.make("base_stock", LOST_SALES, order_up_to=5 * (3 + 1))
    assert_decides_as(base_stock, untrained(LOST_SALES, "order_up_to"), LOST_SALES)


def test_order_up_to_starts_as_the_echelon_base_stock():
    """Each lane fills its head's echelon up to the mean demand of the way to the customers."""
    # demand is continuous: the environment rounds no shares of what the warehouse has
    stores = textbook.one_warehouse(
        demand=(Normal(6, 2), Normal(9, 3)),
        warehouse_lead_time=2,
        store_lead_times=(1, 2),
        warehouse_holding_cost=0.5,
        store_holding_costs=1,
        penalty_costs=9,
        horizon=30,
    )
    for spec, levels in (
        (SERIAL, [5 * 3, 5 * 6, 5 * 8]),
        (stores, [6 * 2, 9 * 3, 15 * 5]),
    ):
        rule = agents.make("echelon_base_stock", spec, order_up_to=levels)
        first, theirs = (
            agents.evaluate(policy, spec, num_tapes=8).returns
            for policy in (untrained(spec, "order_up_to"), rule)
        )
        np.testing.assert_allclose(first, theirs, rtol=1e-4)


def test_order_up_to_starts_as_the_dual_index():
    """The faster lane is decided first and counts for the slower one."""
    rule = agents.make("dual_index", DUAL, expedited_order_up_to=4, regular_order_up_to=8)
    assert_decides_as(rule, untrained(DUAL, "order_up_to"), DUAL)


def test_what_the_faster_lane_orders_counts_in_the_slower_lane_s_position():
    """By hand: levels 2 (1 + 1) = 4 expedited, 2 (3 + 1) = 8 regular."""
    actor = untrained(DUAL, "order_up_to").actor
    # one unit is owed, two come in a period, three in two: soon 1, in all 4
    shape = built(DUAL, 1).unwrapped.field_shapes["on_order_quoted"]
    due = np.zeros(shape)
    due[0, :2] = [2.0, 3.0]
    orders = actor(tensors(DUAL, backlog=1.0, on_order_quoted=due)).detach().numpy()
    expedited = 4 - (2 - 1)
    regular = 8 - (2 + 3 - 1) - expedited
    np.testing.assert_allclose(orders[0], [[regular, expedited]], rtol=1e-6)


def test_echelon_positions_of_a_series_are_those_computed_by_hand():
    """Stock at the stage and below it, under way to them, less what customers are owed."""
    layout = Layout.of(built(SERIAL, 1))
    shapes = layout.shapes
    on_hand = np.array([[1.0, 2.0, 4.0]])
    in_transit = np.zeros(shapes["in_transit"])  # lane 0 to stage 1, lane 1 to stage 2
    in_transit[0, 0, 0] = 8.0
    in_transit[0, 1, :2] = [16.0, 32.0]
    inbound = np.zeros(shapes["inbound"])
    inbound[0, 0, 0] = 64.0
    seen = {
        "on_hand": on_hand,
        "in_transit": in_transit,
        "inbound": inbound,
        "backlog_by_region": np.array([[0.5]]),
    }
    position = sum(
        seen[name].reshape(-1) @ weights[:, :, POSITION] for name, weights in layout.own.items()
    )
    first = 1.0 + 8.0 - 0.5
    second = first + 2.0 + 16.0 + 32.0
    third = second + 4.0 + 64.0
    np.testing.assert_allclose(position, [third, first, second])  # the supplier's lane first


def test_a_capped_order_never_exceeds_its_cap():
    """However far the position has fallen short."""
    for spec, rate in ((LOST_SALES, 5.0), (DUAL, 2.0)):
        actor = untrained(spec, "capped").actor
        orders = actor(tensors(spec, **({"backlog": 500.0} if spec is DUAL else {})))
        free = untrained(spec, "order_up_to").actor(
            tensors(spec, **({"backlog": 500.0} if spec is DUAL else {}))
        )
        caps = torch.nn.functional.softplus(actor._first_cap) * rate
        assert (orders <= caps + 1e-5).all() and (orders < free).any()
        plenty = actor(tensors(spec, on_hand=1e4, inventory_position=1e4))
        assert (plenty == 0).all()


def test_weights_fit_other_numbers_of_products_and_lanes():
    """What depends on the environment is in the layout."""
    other = textbook.one_warehouse(
        demand=tuple(Poisson(m) for m in (1, 2, 3, 4, 5, 6)),
        warehouse_lead_time=2,
        store_lead_times=2,
        warehouse_holding_cost=0.5,
        store_holding_costs=1,
        penalty_costs=9,
        horizon=30,
    )
    policy = untrained(STORES, "order_up_to")
    env = built(other)
    twin = policy.for_env(env)
    assert twin.predict(env.reset(seed=0)[0])[0].shape == (4, 7)
    assert policy.actor.layout.num_lanes == 4, "the first policy is as it was"
    assert all(
        torch.equal(a, b)
        for a, b in zip(twin.actor.parameters(), policy.actor.parameters(), strict=True)
    )


def test_other_features_are_refused_by_name():
    """A network that reads the wrong columns would play without a complaint."""
    longer = textbook.lost_sales(demand=Poisson(5), lead_time=5, holding_cost=1, penalty_cost=9)
    with pytest.raises(ValueError, match="other features .*: on_order_quoted 4 instead of 2"):
        untrained(LOST_SALES).for_env(built(longer))
    with pytest.raises(ValueError, match="other features .*: .*season 0 instead of 2"):
        untrained(PROBLEMS["steady"]).for_env(built(LOST_SALES))


def test_dispatch_is_refused():
    """Trucks are no quantities of products; the message says what can be decided."""
    spec = textbook.batch_dispatch(
        demand=Poisson(5), truck_capacity=10, truck_cost=10, holding_cost=1, horizon=30
    )
    with pytest.raises(ValueError, match="hindsight: decides replenish and place, not dispatch"):
        Layout.of(built(spec, 1))


def test_an_unknown_structure_is_refused():
    """The message lists the known ones."""
    with pytest.raises(ValueError, match="structure: unknown 'tree'; known: quantity, order_up_to"):
        Actor(Layout.of(built(LOST_SALES, 1)), "tree", 8)


def test_observations_may_be_shaped_by_hand():
    """The actor reads fields in their shapes, the policy flat ones, to the same effect."""
    env = built(STORES)
    policy = untrained(STORES, spread=0.3).for_env(env)
    observation, _ = env.reset(seed=0)
    fields = shaped(
        {name: torch.from_numpy(values) for name, values in observation.items()},
        env.unwrapped.field_shapes,
    )
    np.testing.assert_array_equal(
        policy.actor(fields).detach().numpy(), policy.predict(observation)[0]
    )
