"""The perfect-information bound: no policy beats it, and it is what it says it is."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard import agents
from stockyard.agents.oracles.perfect_information import perfect_information, program
from stockyard.agents.oracles.perfect_information.facts import Facts, read
from stockyard.agents.oracles.perfect_information.linear_program import (
    LinearProgram,
    solve,
    solve_by_block,
)
from stockyard.agents.oracles.perfect_information.model import program_of
from stockyard.envs import textbook
from stockyard.envs.network.capacities import Capacities
from stockyard.envs.network.economics import PARTIES, Economics
from stockyard.envs.network.processes import DemandPath
from stockyard.envs.network.state import Decisions, Flows
from stockyard.envs.network.tapes import TapeSource
from stockyard.envs.network.topology import (
    InboundLanes,
    Network,
    OutboundLanes,
    Products,
    TransferLanes,
)
from stockyard.envs.network.world import Opening, World, outlook_at, simulate, value_of

ID = "stockyard/Replenishment-v0"
PLACEMENT = "stockyard/Placement-v0"
CENT = 0.01  # USD; returns are sums of some hundred thousand


def made(num_envs: int = 1, horizon: int = 21, **changes: Any) -> Any:
    """A batch of a small world on test tapes, reset."""
    given = {"id": ID, "scenario": "steady", "split": "test", **changes}
    env = gym.make_vec(num_envs=num_envs, horizon=horizon, **given).unwrapped
    env.reset(seed=0)
    return env


def play(env: Any, orders: Any, transfers: Any) -> tuple[list[Flows], float]:
    """Plays an episode of one replica and returns its flows and return, USD.

    `orders` and `transfers` give the slots' decisions by period of the tape, None the rule's.
    """
    world, params, tape, state = env.world, env.params, env.tape, env.state
    start, flows, total = world.burn_in, [], 0.0
    for t in range(start, start + env.horizon):
        decisions = Decisions(orders=orders(t), transfers=transfers(t))
        state, stretch = simulate(world, params, state, tape, t, 1, decisions)
        flows += stretch.flows
        own = (v for account, v in stretch.ledger.items() if "retailer" in PARTIES[account])
        total += float(sum(np.asarray(v)[0] for v in own))
    first = value_of(params, env.state, outlook_at(world, tape, start))
    last = value_of(params, state, outlook_at(world, tape, start + env.horizon))
    if first is not None and last is not None:
        total += float(last[0] - first[0])
    return flows, total


def wild(env: Any, seed: int, lanes: str, split: bool = False) -> Any:
    """Decisions that no rule would take: much, little, everywhere; for `play`."""
    rng = np.random.default_rng(seed)
    network, epoch = env.world.network, env.tape.epoch_periods
    rate = env.world.source.demand.mean_rate(network).sum(axis=0)
    count = len(getattr(network, lanes).head)

    def decide(t: int) -> Any:
        if lanes == "transfers":
            return rng.gamma(0.3, 3.0, (1, count, len(rate))) * rate
        if t % epoch:
            return None
        if split:
            recorded = env.tape.recorded[t // epoch][:, None]
            return recorded * rng.dirichlet(np.ones(count), len(rate)).T
        return rng.gamma(0.5, 2.0, (1, count, len(rate))) * rate * epoch * 3.0 * rng.random()

    return decide


def nothing(t: int) -> None:
    """Leaves a slot to its standing rule."""
    return


def with_decisions_of(model: LinearProgram, env: Any, flows: list[Flows]) -> LinearProgram:
    """The program with orders, transfers and sales fixed to what happened, up to rounding."""
    lower, upper = model.lower.copy(), model.upper.copy()
    network, start = env.world.network, env.world.burn_in
    reviews = [t for t in range(len(flows)) if (start + t) % env.tape.epoch_periods == 0]
    sold = np.zeros(model.columns["sold"].shape)
    for t, flow in enumerate(flows):
        for rank, served in zip(network.ranks(flow.promise), flow.served, strict=True):
            there = rank.lane >= 0
            sold[t, rank.lane[there]] += served[0][there]
    happened = {
        "ordered": np.stack([flows[t].ordered[0] for t in reviews]),
        "moved": np.stack([flow.transferred[0] for flow in flows]),
        "sold": sold,
    }
    for name, units in happened.items():
        index = model.columns[name]
        assert (units[index < 0] == 0.0).all()
        index, units = index[index >= 0], units[index >= 0]
        slack = 1e-5 * (1.0 + units)
        assert (units <= upper[index] + slack).all(), name
        lower[index] = np.maximum(units - slack, lower[index])
        upper[index] = units + slack
    return dataclasses.replace(model, lower=lower, upper=upper)


@dataclasses.dataclass(frozen=True)
class Known:
    """A demand path that everybody can read: (T, R) units of one product."""

    path: Any

    def draw(self, streams: Any, network: Any, periods: int) -> DemandPath:
        """Repeats the last period as needed."""
        path = np.asarray(self.path, dtype=np.float64)
        rows = np.minimum(np.arange(periods), len(path) - 1)
        return DemandPath(path[rows][:, :, None], {})

    def mean_rate(self, network: Any) -> Any:
        """Mean demand."""
        return np.asarray(self.path, dtype=np.float64).mean(axis=0)[:, None]


@dataclasses.dataclass(frozen=True)
class ByHand:
    """A dock, a centre with 3 units, one product: cost 4, price 10, moved at .50, tariff 1.

    Orders reach the dock's shelf in a day, the centre's in two. Lost units cost 1 of goodwill.
    """

    demand: Any
    capacities: Capacities = dataclasses.field(default_factory=Capacities)

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size."""
        free = {
            field.name: 0.0
            for field in dataclasses.fields(Economics)
            if field.name.endswith(("_per_unit", "_day", "_per_ft3", "_per_year"))
        }
        network = Network(
            nodes=("dock", "centre"),
            regions=("customers",),
            products=Products(("product",), price=10.0, unit_cost=4.0),
            inbound=InboundLanes(head=[0], lead_time=1, unit_cost=4.0),
            transfers=TransferLanes(tail=[0], head=[1], transit=1, cost_per_unit=0.5),
            outbound=OutboundLanes(node=[1], region=[0], tariff=1.0),
        )
        return World(
            network=network,
            economics=Economics(**{**free, "goodwill_per_lost_unit": 1.0}),
            source=TapeSource(network, Known(self.demand), capacities=self.capacities),
            opening=Opening(np.array([[0.0], [3.0]])),
            rules={},
            periods_per_step=1,
            horizon=4,
            max_order=np.array([100.0]),
            shows_history=False,
        )


def bound_by_hand(demand: Any, **capacities: Any) -> float:
    """The bound of `ByHand` over four days."""
    limits = {field: np.asarray(value, dtype=float) for field, value in capacities.items()}
    world = ByHand([[units] for units in demand], Capacities(**limits))
    spec = {"id": ID, "scenario": world, "action": "quantity"}
    return float(perfect_information(spec, [0]).total[0])


def test_the_bound_of_a_tiny_network_is_its_optimum_by_hand() -> None:
    """Four days of 5: 3 opening units earn 9 each, 10 bought in time 4.50, 7 lost cost 1."""
    assert bound_by_hand([5] * 4) == pytest.approx(3 * 9 + 10 * 4.5 - 7, abs=1e-3)
    # picking 4 a day: day 0 sells the stock, days 2 and 3 sell 4 each
    assert bound_by_hand([5] * 4, outbound=[9, 4]) == pytest.approx(27 + 36 - 9, abs=1e-3)
    # the dock receives 3 a day, in time for days 2 and 3
    assert bound_by_hand([5] * 4, receiving=[3, 99]) == pytest.approx(27 + 27 - 11, abs=1e-3)
    # a supplier of 2 a day: what is ordered on days 0 and 1 is sold on days 2 and 3
    assert bound_by_hand([5] * 4, supplier=[2]) == pytest.approx(27 + 18 - 13, abs=1e-3)


def test_the_optimum_by_hand_can_be_played() -> None:
    """The bound is not only above: the decisions that it names earn it."""
    env = made(scenario=ByHand([[5.0]] * 4), horizon=4, action="quantity")
    orders = [5.0, 5.0, 0.0, 0.0]
    moves = [0.0, 5.0, 5.0, 0.0]
    _, earned = play(
        env, lambda t: np.full((1, 1, 1), orders[t]), lambda t: np.full((1, 1, 1), moves[t])
    )
    assert earned == pytest.approx(solve(program(env)).bound, abs=1e-3)


WORLDS: dict[str, dict[str, Any]] = {
    "steady": {},
    "rented": {"scenario": "seasonal"},
    "substitutes": {"scenario": "substitutes"},
    "substitutes whole": {"scenario": "substitutes", "integer": True},
    "promise": {"scenario": "one_day_rollout"},
    "packs": {"scenario": "case_packs"},
    "outage": {"scenario": "fc_outage"},
    "replayed": {"scenario": "real", "integer": True},
    "both slots": {"id": "stockyard/Network-v0", "slots": ("replenish", "place")},
}


@pytest.mark.parametrize("world", WORLDS)
def test_whatever_is_done_is_within_the_program(world: str) -> None:
    """L13, step by step: every trajectory is a feasible point that earns at least its return.

    This is stronger than comparing returns: it holds the program to each phase of the step, for
    orders and transfers that no rule would think of.
    """
    env = made(**WORLDS[world])
    model = program(env)
    for seed, mover in ((1, nothing), (2, wild(env, 2, "transfers"))):
        flows, earned = play(env, wild(env, seed, "inbound"), mover)
        fixed = solve(with_decisions_of(model, env, flows)).bound
        assert earned <= fixed + CENT
        assert fixed <= earned + 0.03 * abs(earned)  # what is relaxed is worth little


@pytest.mark.parametrize(
    ("scenario", "integer", "split"),
    [("steady", False, False), ("substitutes", False, True), ("case_packs", True, False)],
)
def test_no_placement_leaves_the_program(scenario: str, integer: bool, split: bool) -> None:
    """L13 with buying fixed, on the docks or on lanes of one's choice."""
    env = made(id=PLACEMENT, scenario=scenario, horizon=14, integer=integer)
    model = program(env, inbound_split=split)
    orders = wild(env, 3, "inbound", split=True) if split else nothing
    for mover in (nothing, wild(env, 4, "transfers")):
        flows, earned = play(env, orders, mover)
        fixed = solve(with_decisions_of(model, env, flows)).bound
        assert earned <= fixed + CENT


@pytest.mark.parametrize("scenario", ["steady", "supplier_disruption"])
def test_no_rule_beats_the_bound(scenario: str) -> None:
    """L13 as published: returns of the evaluator against bounds of the same seeds."""
    spec = {"id": ID, "scenario": scenario, "horizon": 28}
    bound = perfect_information(spec, range(2))
    assert bound.is_optimal.all() and bound.is_complete
    rules = [("naive", {}), *(("base_stock", {"safety_factor": z}) for z in (-0.5, 0.5, 1.5))]
    for name, parameters in rules:
        result = agents.evaluate(agents.make(name, spec, **parameters), spec, num_tapes=2)
        assert (result.returns <= bound.total).all()
        assert (result.per_period_mean <= bound.per_period).all()
    best = agents.evaluate(agents.make("base_stock", spec, safety_factor=0.5), spec, num_tapes=2)
    assert (best.returns > 0.6 * bound.total).all()  # and it is no empty word


def test_no_split_of_orders_beats_the_bound() -> None:
    """The action mode `cover_split` asks for the wider bound, and that is never the lower one."""
    spec = {"id": PLACEMENT, "scenario": "steady", "horizon": 14}
    wide = perfect_information({**spec, "action": "cover_split"}, [0])
    assert wide.total[0] >= perfect_information(spec, [0]).total[0] - CENT
    env = made(1, **{**spec, "action": "cover_split"})
    for cover in (-0.6, 0.0):
        env.reset(seed=0)
        action = np.full(env.action_space.shape, cover, dtype=np.float32)
        assert sum(env.step(action)[1][0] for _ in range(14)) <= wide.total[0]


def with_limit(facts: Facts, field: str, factor: float) -> Facts:
    """The same tape with one limit scaled."""
    if field == "supplier":
        orders = dataclasses.replace(facts.orders, most=facts.orders.most * factor)
        return dataclasses.replace(facts, orders=orders)
    return dataclasses.replace(facts, limits={**facts.limits, field: facts.limits[field] * factor})


def test_more_capacity_never_lowers_the_bound() -> None:
    """L10, and where it binds, more is worth something."""
    facts = read(made(), 0)
    found = solve(program_of(facts))
    before = found.bound - found.gap
    gains = {}
    for field in (
        "storage_capacity",
        "receiving_capacity",
        "outbound_capacity",
        "yard_capacity",
        "supplier",
    ):
        gains[field] = solve(program_of(with_limit(facts, field, 1.2))).bound - before
        assert gains[field] >= 0.0, field
    assert max(gains.values()) > 10.0


def test_more_demand_never_lowers_the_bound_before_goodwill() -> None:
    """L10: a customer more is a sale more if one likes, but a lost one costs goodwill."""
    facts = read(made(), 0)
    found = solve(program_of(facts))
    before = found.bound - found.gap
    goodwill = facts.world.economics.goodwill_per_lost_unit
    for factor in (1.1, 3.0):
        more = dataclasses.replace(facts, demand=facts.demand * factor)
        reproach = goodwill * float((more.demand - facts.demand).sum())
        assert solve(program_of(more)).bound >= before - reproach
    # Nothing can be bought in time for the first day, so that the plain form of the law is false.
    assert bound_by_hand([9, 5, 5, 5]) == pytest.approx(bound_by_hand([5] * 4) - 4, abs=1e-3)


def test_opening_stock_above_a_capacity_is_no_contradiction() -> None:
    """Stock stays when a capacity falls; it pays the overflow rent and stops receiving."""
    env = made()
    facts = read(env, 0)
    tight = solve(program_of(with_limit(facts, "storage_capacity", 0.1))).bound
    assert np.isfinite(tight) and tight < solve(program_of(facts)).bound


def test_any_multipliers_bound_the_optimum() -> None:
    """So a solver's tolerance can loosen a bound, and never breaks it."""
    model = program(made(horizon=14))
    found = solve(model)
    assert found.multipliers is not None
    rng = np.random.default_rng(0)
    for size in (0.0, 1e-6, 0.1):
        noise = 1.0 + size * rng.standard_normal(len(found.multipliers))
        assert model.bound(found.multipliers * noise) >= found.bound - found.gap - CENT
    assert found.gap <= 1e-5 * found.bound
    decomposed = solve_by_block(model, found.multipliers)
    assert decomposed.bound == pytest.approx(found.bound, rel=1e-4)
    assert decomposed.bound >= found.bound - found.gap - CENT


def test_a_time_limit_loosens_the_bound_and_says_so() -> None:
    """What is not solved in time is bounded product by product, with capacity for nothing."""
    spec = {"id": ID, "scenario": "steady", "horizon": 14}
    whole = perfect_information(spec, [0, 1])
    hurried = perfect_information(spec, [0, 1], time_limit=0.0)
    assert not hurried.is_optimal.any() and np.isinf(hurried.gap).all()
    assert (hurried.total >= whole.total - CENT).all()
    assert (hurried.total <= 2.0 * whole.total).all()


def test_the_cache_resumes_and_knows_another_world(tmp_path: Path) -> None:
    """A torn line is solved again; a changed world, horizon or tape finds nothing."""
    path = tmp_path / "bounds" / "replenishment.jsonl"
    spec = {"id": ID, "scenario": "steady", "horizon": 14}
    first = perfect_information(spec, [0, 1], cache=path)
    lines = path.read_text().splitlines(keepends=True)
    assert [json.loads(line)["seed"] for line in lines] == [0, 1]
    path.write_text(lines[0] + lines[1][:40])
    known = perfect_information(spec, [0, 1], cache=path, only_cached=True)
    assert known.total[0] == first.total[0] and np.isnan(known.total[1])
    assert not known.is_complete and known.tape_hash[0] == first.tape_hash[0]
    again = perfect_information(spec, [0, 1], cache=path)
    assert again.total[0] == first.total[0] and again.seconds[0] == first.seconds[0]
    assert again.total[1] == pytest.approx(first.total[1])
    dearer = {**spec, "scenario": {"name": "dearer", "economics": {"pick_pack_per_unit": 1.3}}}
    others = ({**spec, "horizon": 21}, dearer, {**spec, "integer": True})
    for other in others:
        told = perfect_information(other, [0], cache=path, only_cached=True)
        assert np.isnan(told.total).all()
    told = perfect_information(spec, [0], "train", cache=path, only_cached=True)
    assert np.isnan(told.total).all()


def test_what_is_not_covered_is_refused() -> None:
    """Backorders and trucks have oracles of their own."""
    backorders = textbook.newsvendor(textbook.Uniform(0, 4), 5, 495, 1)
    with pytest.raises(ValueError, match="backorders"):
        perfect_information(backorders, [0])
    with pytest.raises(ValueError, match="recorded"):
        program(made(id=PLACEMENT, rules={"replenish": "cover"}))


def test_lost_sales_of_a_textbook_are_covered() -> None:
    """Holding and shortage costs too: no order is early or short when demand is known."""
    spec = textbook.lost_sales(textbook.Poisson(5), lead_time=2, holding_cost=1, penalty_cost=4)
    env = gym.make_vec(**{**spec, "horizon": 20}, num_envs=1, split="test").unwrapped
    env.reset(seed=0)
    unmet = float(np.asarray(env.tape.demand)[:2].sum())  # nothing arrives before period 2
    assert solve(program(env)).bound == pytest.approx(-4.0 * unmet, abs=1e-3)
