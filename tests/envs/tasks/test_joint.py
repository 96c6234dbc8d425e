"""`stockyard/Network-v0`: any subset of the slots, its action layout and what is observed.

What it shares with every environment is tested in `tests/envs/test_contract.py`.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.envs import textbook
from stockyard.envs.network.arrays import Array
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.world import simulate
from stockyard.envs.tasks.joint import Joint
from stockyard.envs.tasks.task import View, shaped

ID = "stockyard/Network-v0"
LAW = textbook.Poisson(5)
SERIAL = textbook.serial(LAW, (0, 2, 3), (7, 4, 2), 37, horizon=30)
STORES = textbook.one_warehouse(LAW, 2, [1, 3], 0.5, 1, 9, horizon=30)
SPILL = textbook.spillover(LAW, 1, 8, 2, lead_time=3, num_locations=2, horizon=30)
BATCH = textbook.batch_dispatch(LAW, 6, 12, 1, max_trucks=3, horizon=30)
DUE = textbook.deadline_dispatch(LAW, 2, 6, 12, 1, 9, horizon=30)
DUAL = {**textbook.dual_sourcing(LAW, 3, 1, 10, 12, 1, 9, horizon=30), "id": ID}
RETAIL = {"id": ID, "scenario": "steady", "horizon": 14, "action": "quantity"}


def make(spec: dict[str, Any], num_envs: int = 2, **changes: Any) -> Any:
    """A batch, without wrappers."""
    return gym.make_vec(**{"num_envs": num_envs, **spec, **changes}).unwrapped


def play(envs: Any, steps: int, seed: int = 3, share: float = 0.3) -> Any:
    """Yields observation, reward and info of seeded random actions."""
    envs.reset(seed=seed)
    envs.action_space.seed(seed)
    for _ in range(steps):
        observation, reward, _, _, info = envs.step(share * envs.action_space.sample())
        yield observation, reward, info


# slots


@pytest.mark.parametrize(
    ("spec", "slots", "message"),
    [
        (SERIAL, ("cook",), "^slots: unknown 'cook'; known: replenish, place, dispatch$"),
        (SERIAL, ("replenish", "dispatch"), "^slots: this world has no lanes for 'dispatch'"),
        (SPILL, ("place",), "^slots: this world has no lanes for 'place'"),
        (SERIAL, ("place", "place"), "^slots: each may be named once, got "),
        (SERIAL, "place", "^slots: must be a sequence of replenish, place, dispatch, got 'place'"),
        (SERIAL, (), "^slots: must be a sequence of replenish, place, dispatch, got "),
    ],
)
def test_wrong_slots_are_refused(spec: dict[str, Any], slots: Any, message: str) -> None:
    """Known names are listed."""
    with pytest.raises(ValueError, match=message):
        make(spec, slots=slots)


def test_other_ids_leave_no_choice_of_slots() -> None:
    """Replenishment decides orders."""
    problem = textbook.lost_sales(LAW, 2, 1, 9)
    with pytest.raises(ValueError, match="^slots: only stockyard/Network-v0"):
        make(problem, slots=("replenish",))


@pytest.mark.parametrize("spec", [SERIAL, STORES, SPILL, BATCH, DUE, DUAL, RETAIL])
def test_no_slots_named_are_all_that_there_are(spec: dict[str, Any]) -> None:
    """In the order of the entries, whatever order they are named in."""
    envs = make(spec, slots=None)
    network = envs.world.network
    every = ["replenish"] + ["place"] * bool(len(network.transfers.tail))
    every += ["dispatch"] * bool(network.has_parcels or network.has_transfer_trucks)
    assert envs.task.slots == tuple(every)
    turned = make(spec, slots=tuple(reversed(every)))
    assert turned.task.slots == envs.task.slots
    assert turned.single_action_space == envs.single_action_space


@pytest.mark.parametrize("scenario", ["steady", "real"])
def test_rules_decide_what_the_agent_does_not(scenario: str) -> None:
    """A slot that is not taken follows the standing rule."""
    both = make(RETAIL, scenario=scenario, slots=("replenish", "place"))
    alone = make(RETAIL, scenario=scenario, slots=("replenish",))
    moved = {}
    for envs in (both, alone):
        envs.reset(seed=1)
        sent = 0.0
        for _ in range(7):
            envs.step(np.zeros(envs.action_space.shape))
            sent += sum(float(slot.sum()) for slot in envs.state.transfers)
        moved[envs] = sent
    assert moved[both] < moved[alone]


# actions


def test_an_action_is_its_slots_one_after_the_other() -> None:
    """Orders product by product, then transfers; each with its own bound."""
    envs = make(RETAIL, slots=None)
    task: Joint = envs.task
    network = envs.world.network
    p, inbound, lanes = network.num_products, len(network.inbound.head), len(network.transfers.tail)
    parts = task.action_parts
    assert parts["replenish"] == (slice(0, p * inbound), (p, inbound))
    assert parts["place"] == (slice(p * inbound, p * (inbound + lanes)), (p, lanes))
    assert envs.single_action_space.shape == (p * (inbound + lanes),)
    high = envs.single_action_space.high
    orders = high[parts["replenish"][0]].reshape(p, inbound)
    carries = network.carries.T
    assert (orders[~carries] == 0).all() and (orders[carries] > 0).all()
    largest = envs.world.max_order.astype(np.float32)
    assert (orders == np.where(carries, largest[:, None], 0)).all()
    assert (high[parts["place"][0]].reshape(p, lanes) == largest[:, None]).all()
    assert (envs.single_action_space.low == 0).all()


def test_trucks_are_bounded_by_what_the_lane_runs() -> None:
    """With a dispatch slot alone, an action is the trucks."""
    envs = make(BATCH, slots=("dispatch",))
    assert envs.task.action_parts == {"dispatch": (slice(0, 1), (1,))}
    assert envs.single_action_space.high == 3
    every = make(BATCH, slots=None)
    assert every.task.action_parts["dispatch"] == (slice(1, 2), (1,))


def test_orders_and_transfers_go_where_the_layout_says() -> None:
    """Entry 0 is the supplier's, entry k sends to stage k of a chain."""
    envs = make(SERIAL, 1)
    envs.reset(seed=0)
    observation = envs.step(np.array([[9.0, 0.0, 0.0]]))[0]
    seen = shaped(observation, envs.field_shapes)
    assert seen["inbound"].ravel().tolist() == [0, 9]
    for _ in range(2):
        observation = envs.step(np.zeros((1, 3)))[0]
    assert observation["on_hand"].ravel()[2] == 9
    observation = envs.step(np.array([[0.0, 0.0, 4.0]]))[0]
    seen = shaped(observation, envs.field_shapes)
    assert seen["on_hand"].ravel().tolist() == [0, 0, 5]
    assert seen["in_transit"][0, 0].tolist() == [[0], [4]]  # lane 1 runs from stage 3 to stage 2
    envs.step(np.zeros((1, 3)))
    observation = envs.step(np.array([[0.0, 3.0, 0.0]]))[0]
    assert observation["on_hand"].ravel()[1] == 1


def test_a_short_node_shares_its_stock() -> None:
    """What is asked beyond the stock is cut in proportion, and info says so."""
    law = textbook.Gamma(5, 2)
    envs = make(textbook.one_warehouse(law, 0, [2, 2], 0.5, 1, 9, horizon=9), 1)
    envs.reset(seed=0)
    *_, info = envs.step(np.array([[9.0, 0.0, 0.0]]))
    assert info["clip_fraction"] == 0
    observation, *_, info = envs.step(np.array([[0.0, 6.0, 12.0]]))
    sent = shaped(observation, envs.field_shapes)["in_transit"][0, 0, :, 0]
    np.testing.assert_allclose(sent, [3.0, 6.0])
    assert info["clip_fraction"] > 0


def test_orders_outside_a_review_are_void() -> None:
    """Retail worlds buy once a week; the day is observed."""
    never, daily = (make(RETAIL, slots=("replenish",), horizon=28) for _ in range(2))
    for envs in (never, daily):
        envs.reset(seed=2)
    zero = np.zeros(never.action_space.shape)
    full = np.broadcast_to(never.single_action_space.high, zero.shape) / 4
    epoch = never.world.source.epoch_periods
    assert epoch == 7
    for period in range(9):
        wanted = full if period % epoch else zero
        left, right = never.step(zero), daily.step(wanted)
        for field in left[0]:
            np.testing.assert_array_equal(left[0][field], right[0][field])
        np.testing.assert_array_equal(left[1], right[1])
        assert (right[0]["periods_to_review"] == -(period + 1) % epoch).all()
        assert ((right[4]["clip_fraction"] > 0) == (period % epoch > 0)).all()
    for envs in (never, daily):  # and in a review they count
        while envs._current.period % epoch:
            envs.step(zero)
    never.step(zero)
    daily.step(full)
    before, after = (sum(s.sum() for s in envs.state.inbound) for envs in (never, daily))
    assert after > before


@pytest.mark.parametrize("spec", [SERIAL, BATCH, RETAIL], ids=["serial", "batch", "retail"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_entry_that_is_no_number_is_refused(spec: dict[str, Any], bad: float) -> None:
    """Named by replica and entry."""
    envs = make(spec)
    envs.reset(seed=1)
    actions = np.zeros(envs.action_space.shape)
    last = actions.shape[1] - 1
    actions[1, last] = bad
    with pytest.raises(ValueError, match=rf"^action: entry \[1, {last}\] is"):
        envs.step(actions)
    with pytest.raises(ValueError, match=r"^action: must have shape \(2, "):
        envs.step(np.zeros((2, last + 2)))
    envs.step(np.zeros(envs.action_space.shape))


def test_unknown_modes_are_refused() -> None:
    """The joint task has one."""
    with pytest.raises(ValueError, match="^action: unknown mode 'cover'; known: quantity"):
        make(SERIAL, action="cover")


# observations


@pytest.mark.parametrize(
    "spec", [SERIAL, STORES, SPILL, DUAL], ids=["serial", "stores", "spill", "dual"]
)
def test_the_parts_of_the_position_are_all_observed(spec: dict[str, Any]) -> None:
    """On hand, on order and between nodes, less what is owed, are the inventory position."""
    envs = make(spec, 3)
    for flat, _, _ in play(envs, 25):
        seen = shaped(flat, envs.field_shapes)
        parts = seen["on_hand"].sum(axis=2)
        for field in ("inbound", "in_transit"):
            if field in seen:
                parts = parts + seen[field].sum(axis=(2, 3))
        if "backlog" in seen:
            parts = parts - seen["backlog"]
            owed = seen["backlog_by_region"].sum(axis=2)
            np.testing.assert_allclose(owed, seen["backlog"], atol=1e-4)
        np.testing.assert_allclose(parts, seen["inventory_position"], rtol=1e-6, atol=1e-4)


def test_retail_pipelines_add_up() -> None:
    """What is on its way between nodes, lane by lane, is what the buyer sees in all."""
    envs = make(RETAIL, slots=("replenish", "place"))
    for flat, _, _ in play(envs, 14, share=0.05):
        seen = shaped(flat, envs.field_shapes)
        parts = sum(
            seen[field].sum(axis=axes)
            for field, axes in (("in_transit", (2, 3)), ("staged", (2,)))
            if field in seen
        )
        np.testing.assert_allclose(parts, seen["in_transfer"], rtol=1e-5, atol=1e-3)
        assert envs.observation_space.contains(flat)


@pytest.mark.parametrize("spec", [SERIAL, STORES, SPILL, BATCH, DUE, DUAL, RETAIL])
def test_every_field_has_its_shape_and_scale(spec: dict[str, Any]) -> None:
    """Learners divide by the scale and give fields their shapes back."""
    envs = make(spec)
    observation, _ = envs.reset(seed=1)
    assert observation.keys() == envs.field_shapes.keys() == envs.observation_scale.keys()
    for field, values in shaped(observation, envs.field_shapes).items():
        scale = np.broadcast_to(envs.observation_scale[field], values.shape[1:])
        assert (scale > 0).all() and np.isfinite(scale).all()


def test_parcels_are_seen_by_their_slack() -> None:
    """Late, slack 0 to K, no deadline."""
    envs = make(DUE, 1)
    envs.reset(seed=4)
    demand = envs.tape.demand[:, 0].ravel()
    observation = envs.step(np.zeros((1, 1)))[0]
    assert observation["parcels"][0].tolist() == [0, 0, 0, demand[0], 0]
    observation = envs.step(np.zeros((1, 1)))[0]
    assert observation["parcels"][0].tolist() == [0, 0, demand[0], demand[1], 0]


def test_the_page_names_every_field_and_slot() -> None:
    """A table that forgets a field is worse than code."""
    page = Joint.__doc__ or ""
    fields = set()
    for spec in (SERIAL, STORES, SPILL, DUE, DUAL, RETAIL):
        task = make(spec).task
        fields |= task._own_shapes.keys() | set(task.slots)
    assert fields >= {"inbound", "in_transit", "parcels", "backlog_by_region", "periods_to_review"}
    for name in fields:
        assert f"`{name}`" in page


# gradients


def cost_of(envs: Any, actions: Array, steps: int) -> Array:
    """Cost of an episode under fixed actions, through the task's own decode and the step."""
    world, params, task = envs.world, envs.params, envs.task
    tape = world.source.draw(params, [Streams("test", 3, 0)], steps + 1)
    view = View(
        world.opening_state(params, 1), tape, 0, task.remember(params, None, None, None, 1), {}
    )
    cost: Any = 0.0
    for period in range(steps):
        decisions = task.decode(params, "quantity", actions[None, period], view).decisions
        state, stretch = simulate(
            world, params, view.state, tape, period, 1, decisions, task.unreported(view.memory)
        )
        memory = task.remember(params, view.memory, stretch, None, 1)
        view = View(state, tape, period + 1, memory, {})
        cost = cost - sum(amount.sum() for amount in stretch.ledger.values())
    return cost


@pytest.mark.parametrize(
    "spec",
    [
        textbook.serial(textbook.Gamma(5, 2), (1, 1), (4, 2), 20, horizon=12),
        textbook.one_warehouse(textbook.Gamma(5, 2), 1, [1, 2], 0.5, 1, 9, horizon=12),
        textbook.one_warehouse(
            textbook.Gamma(5, 2), 1, [1, 2], 0.5, 1, 9, unmet="backorder", horizon=12
        ),
    ],
    ids=["serial", "stores-lost", "stores-owed"],
)
def test_gradients_flow_through_decode_and_step(spec: dict[str, Any]) -> None:
    """In torch, equal to central differences, in orders and in transfers."""
    import torch

    envs, steps = make(spec, 1, backend="torch"), 8
    size = envs.single_action_space.shape[0]
    generator = torch.Generator().manual_seed(1)
    actions = 4.0 + 3.0 * torch.rand((steps, size), generator=generator, dtype=torch.float64)
    actions[0] = 20.0  # so that there is something to send
    actions.requires_grad_()
    cost = cost_of(envs, actions, steps)
    cost.backward()
    found = actions.grad
    assert found is not None and torch.isfinite(found).all()
    assert (found[: steps - 4].abs().sum(dim=0) > 0).all(), "no slot without a gradient"
    for period, entry in [(0, 0), (1, 0), (2, size - 1), (3, 1), (4, 0)]:
        step = torch.zeros_like(actions)
        step[period, entry] = 1e-5
        with torch.no_grad():
            ends = [cost_of(envs, actions + sign * step, steps) for sign in (1.0, -1.0)]
        assert float(found[period, entry]) == pytest.approx(
            float(ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-5
        )


def test_gradients_change_no_value() -> None:
    """The same cost in NumPy, and in torch with and without a gradient."""
    import torch

    spec = textbook.serial(textbook.Gamma(5, 2), (1, 1), (4, 2), 20, horizon=12)
    actions = np.random.default_rng(2).uniform(0, 9, (8, 2))
    plain = cost_of(make(spec, 1), actions, 8)
    for needed in (False, True):
        given = torch.tensor(actions, requires_grad=needed)
        cost = cost_of(make(spec, 1, backend="torch"), given, 8)
        assert cost.item() == pytest.approx(float(plain), rel=1e-12)
