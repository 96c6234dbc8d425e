"""Laws of whole episodes: the books, what is known when, and what orders and metrics count."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import law
from random_networks import draw_case

import stockyard.envs  # noqa: F401
from stockyard.envs.network.arrays import Array
from stockyard.envs.network.economics import party_balances
from stockyard.envs.network.forecast import MartingaleForecaster
from stockyard.envs.network.martingale import MartingaleDemand
from stockyard.envs.network.params import Params
from stockyard.envs.network.processes import DemandPath, TwoPartArrivals
from stockyard.envs.network.standing_rules import CoverOrder, ForecastSharePush
from stockyard.envs.network.state import Decisions, Revealed, State
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.tapes import TapeSource
from stockyard.envs.network.topology import Network
from stockyard.envs.network.world import Opening, World, outlook_at, simulate, value_of
from stockyard.envs.scenarios import BENCHMARK, build_world

ID = "stockyard/Replenishment-v0"


def make(num_envs: int = 2, **changes: Any) -> Any:
    """A batch of the small steady world, or as told."""
    return gym.make_vec(ID, num_envs=num_envs, **{"scenario": "steady", **changes}).unwrapped


def value(env: Any, period: int) -> Any:
    """Value of the stock at the environment's present state, (B,) USD."""
    return value_of(env.params, env.state, outlook_at(env.world, env.tape, period))


@pytest.mark.parametrize("scenario", ["steady", "real"])
def test_rewards_sum_to_cash_and_the_change_in_value(scenario: str) -> None:
    """L5: nothing is earned by revaluing, and opening stock is no gift (trap E2)."""
    env = make(scenario=scenario)
    env.reset(seed=3)
    env.action_space.seed(3)
    start, period = value(env, env.world.burn_in), env.world.burn_in
    assert (start > 0).all()
    total, cash = np.zeros(2), np.zeros(2)
    for _ in range(env.steps_per_episode):
        _, reward, _, _, info = env.step(env.action_space.sample())
        period += env.periods_per_step
        total += reward
        cash += sum(v for k, v in info["ledger"].items() if k != "inventory_value")
        net = sum(party_balances(info["ledger"]).values())
        assert (np.abs(net) <= 1e-6).all()
    size = np.abs(cash) + start
    assert (np.abs(total - cash - (value(env, period) - start)) <= 1e-9 * size).all()


def altered(env: Any, now: int, rng: Any) -> None:
    """Changes all of the tape that is not revealed at period `now`: a random other future."""
    tape, epoch = env.tape, now // env.tape.epoch_periods

    def after(values: Any, first: int) -> Any:
        changed = np.array(values)
        changed[first:] *= rng.uniform(1.5, 3.0, changed[first:].shape)
        return changed

    changes: dict[str, Any] = {
        "demand": after(tape.demand, now),
    }
    if tape.outlook is not None:
        changes["outlook"] = after(tape.outlook, now // tape.outlook_periods + 1)
    if tape.forecast_daily is not None:
        changes["forecast_daily"] = after(tape.forecast_daily, now + 1)
    if tape.lead is not None:
        lead = np.array(tape.lead)
        lead[epoch:] = rng.integers(1, 30, lead[epoch:].shape)
        changes["lead"] = lead
        changes["fraction"] = np.array(tape.fraction)
        changes["fraction"][epoch:] = rng.uniform(0.1, 0.5, tape.fraction[epoch:].shape)
        changes["quoted"] = after(tape.quoted, epoch + 1)
    if tape.outlook_extra is not None:
        extra = np.array(tape.outlook_extra)
        extra[now // tape.outlook_periods + 1 :] += 0.1
        changes["outlook_extra"] = extra
    # what holds from the next period on is known only as far as it was announced
    changes["limits"] = {
        field: after(values, now + 1) if field in tape.announced else values
        for field, values in tape.limits.items()
    }
    changes["announced"] = {
        field: np.moveaxis(after(np.moveaxis(values, 1, 0), now + 1), 0, 1)
        for field, values in tape.announced.items()
    }
    if len(tape.event_days) > 1:
        changes["event_days"] = after(tape.event_days, now + 1)
    env._view = env._view._replace(tape=dataclasses.replace(tape, **changes))


@pytest.mark.parametrize("scenario", BENCHMARK)
@pytest.mark.parametrize("steps", [0, 1, 6])
def test_an_observation_does_not_know_the_future(scenario: str, steps: int) -> None:
    """L12: another future from now on leaves what is seen now and earned so far as it was."""
    env, other = make(scenario=scenario), make(scenario=scenario)
    seen, theirs = env.reset(seed=5)[0], other.reset(seed=5)[0]
    now = env.world.burn_in + steps * env.periods_per_step
    altered(other, now, np.random.default_rng(0))
    env.action_space.seed(5)
    for _ in range(steps):
        actions = env.action_space.sample()
        seen, reward, *_ = env.step(actions)
        theirs, other_reward, *_ = other.step(actions)
        np.testing.assert_array_equal(reward, other_reward)
    expected = env.task.observe(env.params, env._view)
    got = other.task.observe(other.params, other._view)
    for field in seen:
        np.testing.assert_array_equal(seen[field], theirs[field], err_msg=field)
        np.testing.assert_array_equal(expected[field], got[field], err_msg=field)
    actions = env.action_space.sample()
    assert (env.step(actions)[1] != other.step(actions)[1]).all(), "the other future is no other"


@pytest.mark.parametrize("action", ["cover", "residual", "quantity"])
@pytest.mark.parametrize("ordered_at", [-1, 2])
def test_a_fill_is_not_known_before_it_is_reported(action: str, ordered_at: int) -> None:
    """L12: an order counts in full until its first part lands, and its fill until its last."""
    env, other = make(action=action), make(action=action)
    seen, theirs = env.reset(seed=5)[0], other.reset(seed=5)[0]
    review = env.periods_per_step
    epoch = env.world.burn_in // review + ordered_at
    lead = np.array(env.tape.lead)
    lead[epoch, :, 0], lead[epoch, :, 1] = 2 * review, 4 * review - 3
    little = np.array(env.tape.fraction)
    little[epoch] *= 0.1
    for one, fraction in ((env, env.tape.fraction), (other, little)):
        tape = dataclasses.replace(one.tape, lead=lead, fraction=fraction)
        one._tape = (one._tape[0], tape)
        seen, theirs = theirs, one.reset(seed=5)[0]
        assert one.tape is tape
    differs = []
    for step in range(ordered_at + 8):
        same = all(np.array_equal(seen[field], theirs[field]) for field in seen)
        if step < max(ordered_at + 2, 0):
            for field in seen:
                np.testing.assert_array_equal(seen[field], theirs[field], err_msg=field)
        differs.append(not same)
        actions = np.full(env.action_space.shape, 150.0 if action == "quantity" else 0.3)
        seen, theirs = env.step(actions)[0], other.step(actions)[0]
    assert differs[-1], "what arrived is seen in the end"


@pytest.mark.parametrize("whole", [False, True])
def test_a_shortfall_is_reported_when_the_last_part_is_due(whole: bool) -> None:
    """Until then on hand, on order and sold add up to what was ordered; then the rest is gone."""
    # Of the two replicas, a full yard sends some of the second one's goods back on order.
    env = make(action="quantity", integer=whole)
    env.reset(seed=5)
    review, epoch = env.periods_per_step, env.world.burn_in // env.periods_per_step
    lead, fraction = np.array(env.tape.lead), np.array(env.tape.fraction)
    lead[:], fraction[:], fraction[epoch] = 1, 0.5, 0.25
    lead[epoch, :, 0], lead[epoch, :, 1] = review, 3 * review - 2
    env._tape = (env._tape[0], dataclasses.replace(env.tape, lead=lead, fraction=fraction))
    seen, _ = env.reset(seed=5)
    for reviews in (1, 2, 3, 4):
        before = seen["inventory_position"]
        order = np.full(env.action_space.shape, 40.0 if reviews == 1 else 0.0)
        seen, *_ = env.step(order)
        sold = seen["sales_history"].reshape(2, 12, -1)[..., 0]
        change = seen["inventory_position"] - before + sold
        expected = {1: 40.0, 3: -20.0}.get(reviews, 0.0)
        np.testing.assert_allclose(change, expected, atol=1e-2)
        if reviews == 2:
            np.testing.assert_allclose(seen["on_order"][0], 30.0, atol=1e-2)
        if reviews >= 3:
            np.testing.assert_allclose(seen["on_order"][0], 0.0, atol=1e-2)


class RandomWorld:
    """A random small network with drifting demand and orders that come in parts."""

    def __init__(self, seed: int) -> None:
        """Remembers the seed."""
        self.seed = seed

    def build(self, size: str, task: str) -> World:
        """Builds it."""
        case = draw_case(self.seed, parcels=False, transfer_trucks=False, textbook=False)
        network = case.network
        rng = np.random.default_rng(self.seed)
        shares = rng.dirichlet(np.ones(network.num_regions))
        process = MartingaleDemand(rng.uniform(0.5, 4.0, (400, network.num_products)), shares)
        h = network.periods_per_day
        source = TapeSource(
            network=network,
            demand=process,
            arrivals=TwoPartArrivals(fixed_days=2.0, variable_days=2.0),
            forecaster=MartingaleForecaster(process, h),
            epoch_periods=4,
        )
        stock = rng.uniform(0.0, 10.0, (network.num_nodes, network.num_products))
        return World(
            network=network,
            economics=case.economics,
            source=source,
            opening=Opening(stock),
            rules={"replenish": CoverOrder(1.0), "place": ForecastSharePush(2.0)},
            periods_per_step=4,
            horizon=24,
            max_order=np.full(network.num_products, 50.0),
            burn_in=8,
        )


@law(15)
@given(seed=st.integers(0, 10**6), steps=st.integers(0, 5))
def test_no_network_shows_the_future(seed: int, steps: int) -> None:
    """L12 on random networks, economics and epochs."""
    env, other = make(scenario=RandomWorld(seed)), make(scenario=RandomWorld(seed))
    seen, theirs = env.reset(seed=seed)[0], other.reset(seed=seed)[0]
    now = env.world.burn_in + steps * env.periods_per_step
    altered(other, now, np.random.default_rng(seed))
    env.action_space.seed(seed)
    for _ in range(steps):
        actions = env.action_space.sample()
        seen, reward, *_ = env.step(actions)
        theirs, other_reward, *_ = other.step(actions)
        np.testing.assert_array_equal(reward, other_reward)
    for field in seen:
        np.testing.assert_array_equal(seen[field], theirs[field], err_msg=field)


class Scatter:
    """A placement rule that sends nothing."""

    def __call__(self, params: Params, state: State, revealed: Revealed) -> Array | None:
        """Returns transfers (B, E_tr, P)."""
        shape = (len(state.on_hand), len(params.network.transfers.tail), state.on_hand.shape[2])
        return np.zeros(shape)


def test_two_rules_meet_the_same_tape() -> None:
    """L11: what anybody decides draws no random number, so rules can be compared in pairs."""
    hashes = []
    rewards = []
    for rules in (None, {"place": "idle"}, {"place": Scatter()}):
        env = make(rules=rules)
        hashes.append(env.reset(seed=8)[1]["tape_hash"])
        rewards.append(env.step(np.zeros((2, 12)))[1])
        for _ in range(3):
            env.step(np.ones((2, 12)))
        np.testing.assert_array_equal(env.tape.digests(), hashes[-1])
    np.testing.assert_array_equal(hashes[0], hashes[1])
    np.testing.assert_array_equal(hashes[0], hashes[2])
    np.testing.assert_array_equal(rewards[1], rewards[2])
    assert (rewards[0] != rewards[1]).all()


def test_a_longer_episode_begins_with_the_shorter() -> None:
    """L11: the horizon is not a part of what happens."""
    short, long = make(horizon=21), make(horizon=70)
    seen, theirs = short.reset(seed=8)[0], long.reset(seed=8)[0]
    for _ in range(3):
        for field in seen:
            np.testing.assert_array_equal(seen[field], theirs[field], err_msg=field)
        seen, reward, *_ = short.step(np.zeros((2, 12)))
        theirs, other_reward, *_ = long.step(np.zeros((2, 12)))
        np.testing.assert_array_equal(reward, other_reward)


def test_splits_have_other_tapes() -> None:
    """Trap E15: tapes of a test are none that was learned on."""
    hashes = [make(split=split).reset(seed=1)[1]["tape_hash"] for split in ("train", "test")]
    assert (hashes[0] != hashes[1]).all()


# what is owed, dated, moved and used


class Owed:
    """The steady world, but customers wait for what is not there."""

    def build(self, size: str, task: str) -> World:
        """Builds it."""
        world = build_world("steady", size, task)
        economics = dataclasses.replace(world.economics, unmet="backorder")
        network = dataclasses.replace(world.network, acceptance_by_tier=(1.0, 1.0, 1.0))
        source = dataclasses.replace(world.source, network=network)
        return dataclasses.replace(world, economics=economics, network=network, source=source)


@pytest.mark.parametrize("action", ["cover", "residual"])
def test_an_order_counts_what_is_owed(action: str) -> None:
    """What customers wait for is sold already; orders are measured against what is shown."""
    env = make(scenario=Owed(), action=action)
    seen, _ = env.reset(seed=2)
    for _ in range(8):  # orders so little that a backlog builds up
        seen, *_ = env.step(np.full(env.action_space.shape, -0.95))
    assert (seen["backlog"].sum(axis=1) > 0).all()
    flat = np.zeros(env.action_space.shape)
    known = env.tape.known(env._view.period)
    rule = env.world.rules["replenish"]
    level = rule.level(env.params, env.state, known)
    if action == "cover":
        mean = seen["forecast_mean"].reshape(2, 12, -1)
        level = mean[..., 2] + (45 - 28) / 28 * (mean[..., 3] - mean[..., 2])
    wanted = np.maximum(level - seen["inventory_position"], 0.0)
    decoded = env.task.decode(env.params, action, flat, env._view)
    np.testing.assert_allclose(decoded.decisions.orders.sum(axis=1), wanted, rtol=1e-4, atol=1e-3)
    owing = env.state._replace(backlog=env.state.backlog + 1.0)
    more = rule(env.params, owing, known) - rule(env.params, env.state, known)
    assert (more.sum(axis=1) <= 3.0 + 1e-9).all() and (more.sum(axis=(1, 2)) > 0).all()


class Changed:
    """The steady world with something of it changed."""

    def __init__(self, **changes: Any) -> None:
        """Remembers `demand`, a process, or `capacities`, from a source to changed limits."""
        self.changes = changes

    def build(self, size: str, task: str) -> World:
        """Builds it."""
        world = build_world("steady", size, task, demand=self.changes.get("demand"))
        source = world.source
        if "capacities" in self.changes:
            limits = dataclasses.replace(source.capacities, **self.changes["capacities"](source))
            source = dataclasses.replace(source, capacities=limits)
        return dataclasses.replace(world, source=source)


@dataclasses.dataclass(frozen=True)
class Seasonal:
    """Demand that depends on the date."""

    amount: float = 5.0
    has_calendar: bool = True

    def draw(self, streams: Streams, network: Network, periods: int) -> DemandPath:
        """Draws one replica's demand."""
        day = np.arange(periods)[:, None, None] * (2.0 * np.pi / 365.0)
        shape = np.ones((1, network.num_regions, network.num_products))
        return DemandPath(self.amount * (1.0 + np.sin(day)) * shape, {})

    def mean_rate(self, network: Network) -> Any:
        """Mean demand."""
        return np.full((network.num_regions, network.num_products), max(self.amount, 1e-3))


def test_a_season_is_that_of_demand() -> None:
    """Where demand has a calendar the date shown is its own; elsewhere it is any, and says so."""
    env = make(8, scenario=Changed(demand=Seasonal()))
    seen, _ = env.reset(seed=1)
    angle = env.world.burn_in * 2.0 * np.pi / 365.0
    np.testing.assert_allclose(seen["season"], [[np.sin(angle), np.cos(angle)]] * 8, atol=1e-6)
    env = make(8, scenario=Changed(demand=Seasonal(has_calendar=False)))
    assert len(np.unique(env.reset(seed=1)[0]["season"][:, 0])) > 1


def test_before_the_beginning_everything_was_in_stock() -> None:
    """No stock-out has happened yet: zeros would tell of thirteen weeks of empty shelves."""
    env = make()
    seen, _ = env.reset(seed=1)
    shown = seen["in_stock_history"].reshape(2, 12, -1)
    past = env.world.burn_in // env.periods_per_step
    assert (shown[..., past:] == 1.0).all()
    assert (seen["sales_history"].reshape(2, 12, -1)[..., past:] == 0.0).all()


def test_opening_orders_are_quoted_for_the_review_at_which_they_are_there() -> None:
    """Due in 6 days is there at the next weekly review, due in 13 days at the one after."""
    env = make()
    env.reset(seed=1)
    first, second, *rest = env.task.remember(env.params, None, None, None, 2).quoted
    inbound = env.world.opening.inbound
    np.testing.assert_array_equal(first[0], inbound[5].sum(axis=0))
    np.testing.assert_array_equal(second[0], inbound[12].sum(axis=0))
    assert not any(slot.any() for slot in rest)


def test_a_transfer_is_made_once() -> None:
    """What an agent asks to move in a decision is not moved again on each day of the week."""
    env = make()
    env.reset(seed=1)
    asked = np.full((2, len(env.world.network.transfers.tail), 12), 0.5)
    _, stretch = simulate(
        env.world, env.params, env.state, env.tape, 28, 7, Decisions(transfers=asked)
    )
    first, *others = (flows.transferred for flows in stretch.flows)
    assert (first <= asked).all() and (first[0] == 0.5).all()
    assert all(moved is None for moved in others)


def test_utilisation_is_of_the_capacity_there_was() -> None:
    """A capacity that changes after a step says nothing of how well the step used its own."""

    def limits(last: float) -> Any:
        def changed(source: Any) -> dict[str, Any]:
            rows = np.repeat(source.capacities.receiving[None], 400, axis=0)
            rows[35:] *= last
            return {"receiving": rows}

        return changed

    used = []
    for last in (1.0, 0.5):
        env = make(scenario=Changed(capacities=limits(last)))
        env.reset(seed=1)
        used.append(env.step(np.zeros((2, 12)))[-1]["metrics"]["utilisation_receiving"])
    np.testing.assert_array_equal(used[0], used[1])


def test_days_of_cover_are_finite_without_demand() -> None:
    """Stock that nobody wants lasts long, not for ever."""
    env = make(scenario=Changed(demand=Seasonal(0.0)))
    env.reset(seed=1)
    metrics = env.step(-np.ones((2, 12)))[-1]["metrics"]
    np.testing.assert_array_equal(metrics["days_of_cover"], 365.0)
