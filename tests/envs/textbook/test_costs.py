"""The reward of every textbook problem is minus its cost, recomputed here by a few lines.

Each recursion is written from the problem's description alone: it knows the parameters, the
actions and the demand, keeps its own stocks, and must agree with rewards and observations in every
period of a random policy. Its stocks are net of what is owed.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.envs import textbook

PERIODS = 40
GAMMA = {"demand": "gamma", "demand_mean": 5, "demand_sd": 3}
POISSON = {"demand": "poisson", "demand_mean": 5}

Books = Callable[..., tuple[float, dict[str, Any]]]
"""(own stocks, action, demand of the period) -> cost, and what must be observed next."""


class SingleNode:
    """Newsvendor, setup costs and lost sales: `stock` is net, so that it may be negative."""

    def __init__(self, given: dict[str, Any], *, owed: bool) -> None:
        self.given, self.owed = given, owed
        self.stock, self.pipe = 0.0, [0.0] * max(given.get("lead_time", 0) - 1, 0)

    def __call__(self, action: Any, demand: Any) -> tuple[float, dict[str, Any]]:
        """One period."""
        given, (order,), (wanted,) = self.given, action, demand.ravel()
        if given.get("lead_time", 0):
            self.pipe.append(order)
        else:
            self.stock += order
        left = self.stock - wanted
        cost = given["holding_cost"] * max(left, 0) + given["penalty_cost"] * max(-left, 0)
        cost += given.get("fixed_order_cost", 0) * (order > 0)
        self.stock = left if self.owed else max(left, 0.0)
        self.stock += self.pipe.pop(0) if self.pipe else 0.0
        position = self.stock + sum(self.pipe)
        return cost, {"on_hand": [self.stock], "inventory_position": [position]}


class DualSourcing:
    """Two pipelines; both orders are paid."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.stock = given, 0.0
        names = ("regular_lead_time", "expedited_lead_time")
        self.pipes = [[0.0] * max(given[name] - 1, 0) for name in names]

    def __call__(self, action: Any, demand: Any) -> tuple[float, dict[str, Any]]:
        """One period."""
        given = self.given
        cost = given["regular_cost"] * action[0] + given["expedited_cost"] * action[1]
        for order, pipe, name in zip(action, self.pipes, ("regular", "expedited"), strict=True):
            if given[f"{name}_lead_time"]:
                pipe.append(order)
            else:
                self.stock += order
        self.stock -= demand.item()
        cost += given["holding_cost"] * max(self.stock, 0)
        cost += given["penalty_cost"] * max(-self.stock, 0)
        self.stock += sum(pipe.pop(0) for pipe in self.pipes if pipe)
        position = self.stock + sum(map(sum, self.pipes))
        return cost, {"on_hand": [self.stock], "inventory_position": [position]}


class Serial:
    """Stages, downstream first; shipments come from the stock at the start of the period."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, n = given, len(given["lead_times"])
        self.stock = [0.0] * n  # stage 1 net
        self.pipes = [[0.0] * max(lead - 1, 0) for lead in given["lead_times"]]

    def __call__(self, action: Any, demand: Any) -> tuple[float, dict[str, Any]]:
        """One period."""
        given, n = self.given, len(self.stock)
        holding = given["holding_costs"]
        sent = [min(action[1 + k], self.stock[k + 1]) for k in range(n - 1)] + [action[0]]
        for k in range(n):
            if k < n - 1:
                self.stock[k + 1] -= sent[k]
        for k in range(n):
            if given["lead_times"][k]:
                self.pipes[k].append(sent[k])
            else:
                self.stock[k] += sent[k]
        self.stock[0] -= demand.item()
        cost = sum(h * max(x, 0) for h, x in zip(holding, self.stock, strict=True))
        cost += given["penalty_cost"] * max(-self.stock[0], 0)
        if given.get("charge_in_transit", True):
            cost += sum(holding[k + 1] * sum(self.pipes[k]) for k in range(n - 1))
        for k in range(n):
            self.stock[k] += self.pipes[k].pop(0) if self.pipes[k] else 0.0
        position = sum(self.stock) + sum(map(sum, self.pipes))
        return cost, {"on_hand": self.stock, "inventory_position": [position]}


class OneWarehouse:
    """A warehouse that shares in proportion what it is short of; units under way are free."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, n = given, given["num_stores"]
        self.warehouse, self.stores = 0.0, np.zeros(n)
        self.inbound = [0.0] * max(given["warehouse_lead_time"] - 1, 0)
        self.pipes = [[0.0] * max(lead - 1, 0) for lead in given["store_lead_times"]]

    def __call__(self, action: Any, demand: Any) -> tuple[float, dict[str, Any]]:
        """One period."""
        given, asked = self.given, np.array(action[1:], dtype=float)
        sent = asked * min(1.0, self.warehouse / max(asked.sum(), 1e-12))
        self.warehouse -= sent.sum()
        if given["warehouse_lead_time"]:
            self.inbound.append(action[0])
        else:
            self.warehouse += action[0]
        for k, pipe in enumerate(self.pipes):
            if given["store_lead_times"][k]:
                pipe.append(sent[k])
            else:
                self.stores[k] += sent[k]
        left = self.stores - demand.ravel()
        owed = given.get("unmet") == "backorder"
        cost = given["warehouse_holding_cost"] * self.warehouse
        cost += given["store_holding_costs"] @ np.maximum(left, 0)
        cost += given["penalty_costs"] @ np.maximum(-left, 0)
        self.stores = left if owed else np.maximum(left, 0)
        self.warehouse += self.inbound.pop(0) if self.inbound else 0.0
        self.stores = self.stores + [pipe.pop(0) if pipe else 0.0 for pipe in self.pipes]
        return cost, {"on_hand": [self.warehouse, *self.stores]}


class Locations:
    """Own customers first, then the others' in rank; stock in demand is shared in proportion."""

    def __init__(self, given: dict[str, Any], *, owed: bool) -> None:
        self.given, self.owed, n = given, owed, given["num_locations"]
        self.stock, self.backlog = np.zeros(n), np.zeros(n)
        self.pipe = [np.zeros(n)] * max(given.get("lead_time", 0) - 1, 0)
        others = [[k for k in range(n) if k != r] for r in range(n)]
        self.ranks = [list(range(n)), *[list(column) for column in zip(*others, strict=True)]]

    def __call__(self, action: Any, demand: Any) -> tuple[float, dict[str, Any]]:
        """One period."""
        given, order = self.given, np.array(action, dtype=float)
        if given.get("stock_limit") is not None:
            room = given["stock_limit"] - self.stock - sum(self.pipe, np.zeros(len(order)))
            order = np.minimum(order, np.maximum(room, 0))
        if given.get("lead_time", 0):
            self.pipe = [*self.pipe, order]
        else:
            self.stock = self.stock + order
        need, cost = self.backlog + demand.ravel(), 0.0
        for rank, sources in enumerate(self.ranks if given.get("spills", True) else self.ranks[:1]):
            price = given.get("cross_cost", given.get("transshipment_cost"))
            price = price if rank else given.get("local_cost", 0.0)
            for node in set(sources):
                asking = [r for r, source in enumerate(sources) if source == node]
                asked = need[asking]
                served = asked * min(1.0, self.stock[node] / max(asked.sum(), 1e-12))
                need[asking] -= served
                self.stock[node] -= served.sum()
                cost += price * served.sum()
        cost += given["holding_cost"] * self.stock.sum() + given["penalty_cost"] * need.sum()
        self.backlog = need if self.owed else np.zeros_like(need)
        if self.pipe:
            self.stock, self.pipe = self.stock + self.pipe[0], self.pipe[1:]
        return cost, {"on_hand": self.stock - self.backlog}


class SharedStock:
    """Products whose orders are cut in proportion where they exceed a common limit."""

    def __init__(self, given: dict[str, Any], limit: float, lead_time: int) -> None:
        self.given, self.limit, self.lead_time = given, limit, lead_time
        self.volumes = np.array(given["volumes"], dtype=float)
        self.stock = np.zeros(len(self.volumes))
        self.pipe = [np.zeros(len(self.volumes))] * max(lead_time - 1, 0)

    def __call__(self, action: Any, demand: Any) -> tuple[float, dict[str, Any]]:
        """One period."""
        order = np.array(action, dtype=float)
        used = self.volumes @ (self.stock + sum(self.pipe, np.zeros(len(order))))
        order *= min(1.0, max(self.limit - used, 0.0) / max(self.volumes @ order, 1e-12))
        if self.lead_time:
            self.pipe = [*self.pipe, order]
        else:
            self.stock = self.stock + order
        left = self.stock - demand.ravel()
        cost = np.array(self.given["holding_costs"]) @ np.maximum(left, 0)
        cost += np.array(self.given["penalty_costs"]) @ np.maximum(-left, 0)
        self.stock = np.maximum(left, 0)
        if self.pipe:
            self.stock, self.pipe = self.stock + self.pipe[0], self.pipe[1:]
        return float(cost), {"on_hand": self.stock}


class Dispatch:
    """Parcels by slack, 0 first; without deadlines all in one bin that never falls due."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.slack = given, given.get("slack")
        self.bins = np.zeros(1 if self.slack is None else self.slack + 1)

    def __call__(self, action: Any, demand: Any) -> tuple[float, dict[str, Any]]:
        """One period."""
        given, trucks = self.given, min(action[0], self.given["max_trucks"])
        room, left = trucks * given["truck_capacity"], self.bins.copy()
        for k in range(len(left)):
            loaded = min(left[k], room)
            left[k], room = left[k] - loaded, room - loaded
        cost = given["truck_cost"] * trucks
        if self.slack is None:
            cost += given["holding_cost"] * left[0]
            self.bins = left + demand.item()
            return cost, {"parcels": [*[0.0] * 2, *self.bins]}
        cost += given["expedite_cost"] * left[0] + given["holding_cost"] * left[1:].sum()
        self.bins = np.append(left[1:], demand.item())
        return cost, {"parcels": [0.0, *self.bins, 0.0]}


SERIAL = {"lead_times": (0, 2, 1), "holding_costs": (7, 4, 2), "penalty_cost": 37}
STORES = {
    "num_stores": 3,
    "warehouse_holding_cost": 0.5,
    "store_holding_costs": np.array([1.0, 2.0, 1.5]).tolist(),
    "penalty_costs": [9.0, 8.0, 7.0],
}
LANES = {"truck_capacity": 6, "truck_cost": 12.5, "holding_cost": 0.25, "max_trucks": 2}

CASES: dict[str, tuple[str, dict[str, Any], Callable[[dict[str, Any]], Any]]] = {}


def case(name: str, problem: str, books: Callable[[dict[str, Any]], Any], **given: Any) -> None:
    """Adds a case: a problem with parameters, and the books kept of it."""
    CASES[name] = (problem, given, books)


def owing(given: dict[str, Any]) -> Any:
    """Books of one node with backorders."""
    return SingleNode(given, owed=True)


def losing(given: dict[str, Any]) -> Any:
    """Books of one node with lost sales."""
    return SingleNode(given, owed=False)


PRICES = {"holding_cost": 1.5, "penalty_cost": 9}
case("newsvendor", "newsvendor", owing, **POISSON, **PRICES)
case(
    "newsvendor-normal-3",
    "newsvendor",
    owing,
    demand="normal",
    demand_mean=5,
    demand_sd=4,
    **PRICES,
    lead_time=3,
)
case("setup_cost", "setup_cost", owing, **POISSON, **PRICES, fixed_order_cost=11)
case("setup_cost-2", "setup_cost", owing, **GAMMA, **PRICES, fixed_order_cost=11, lead_time=2)
case("lost_sales", "lost_sales", losing, **POISSON, **PRICES, lead_time=0)
case("lost_sales-1", "lost_sales", losing, **GAMMA, **PRICES, lead_time=1)
case("lost_sales-4", "lost_sales", losing, **POISSON, **PRICES, lead_time=4, fixed_order_cost=3)
for regular, expedited in ((2, 0), (3, 1), (1, 1), (0, 0)):
    case(
        f"dual_sourcing-{regular}-{expedited}",
        "dual_sourcing",
        DualSourcing,
        **POISSON,
        regular_lead_time=regular,
        expedited_lead_time=expedited,
        regular_cost=100,
        expedited_cost=110,
        holding_cost=5,
        penalty_cost=495,
    )
case("serial", "serial", Serial, **POISSON, **SERIAL)
case("serial-on-hand", "serial", Serial, **GAMMA, **SERIAL, charge_in_transit=False)
case(
    "serial-one-stage",
    "serial",
    Serial,
    **GAMMA,
    lead_times=(2,),
    holding_costs=(1,),
    penalty_cost=9,
)
for unmet in ("lost", "backorder"):
    case(
        f"one_warehouse-{unmet}",
        "one_warehouse",
        OneWarehouse,
        **GAMMA,
        **STORES,
        unmet=unmet,
        warehouse_lead_time=1,
        store_lead_times=[1, 2, 0],
    )
case(
    "one_warehouse-0",
    "one_warehouse",
    OneWarehouse,
    **GAMMA,
    **STORES,
    warehouse_lead_time=0,
    store_lead_times=[0, 1, 3],
)
SPILL = {"num_locations": 3, "holding_cost": 1, "penalty_cost": 8, "cross_cost": 2}
for name, changes in {
    "": {},
    "-local": {"local_cost": 0.5, "lead_time": 0},
    "-limit": {"stock_limit": 9.0, "lead_time": 3},
    "-alone": {"spills": False, "lead_time": 2},
}.items():
    case(
        f"spillover{name}",
        "spillover",
        lambda given: Locations(given, owed=False),
        **GAMMA,
        **SPILL,
        **{"lead_time": 1, **changes},
    )
for lead in (0, 2):
    case(
        f"transshipment-{lead}",
        "transshipment",
        lambda given: Locations(given, owed=True),
        **GAMMA,
        num_locations=2,
        holding_cost=1,
        penalty_cost=4,
        transshipment_cost=0.5,
        lead_time=lead,
    )
SHARED = {
    "demand": "gamma",
    "demand_mean": [4, 6, 9],
    "demand_sd": 3,
    "volumes": [1.0, 2.0, 0.5],
    "holding_costs": [1, 2, 3],
    "penalty_costs": [5, 3, 4],
}
case(
    "shared_capacity",
    "shared_capacity",
    lambda g: SharedStock(g, g["capacity"], 0),
    **SHARED,
    capacity=22,
)
for lead in (1, 3):
    case(
        f"restock_limit-{lead}",
        "restock_limit",
        lambda g: SharedStock(g, g["limit"], g["lead_time"]),
        **SHARED,
        limit=30,
        lead_time=lead,
    )
case("batch_dispatch", "batch_dispatch", Dispatch, **POISSON, **LANES)
case(
    "deadline_dispatch",
    "deadline_dispatch",
    Dispatch,
    **POISSON,
    **LANES,
    slack=2,
    expedite_cost=10,
)
case(
    "deadline_dispatch-0",
    "deadline_dispatch",
    Dispatch,
    **GAMMA,
    **LANES,
    slack=0,
    expedite_cost=10,
)


def test_every_problem_has_a_case() -> None:
    """A problem that nobody recomputes is the one that is wrong."""
    assert {problem for problem, _, _ in CASES.values()} == set(textbook.PROBLEMS)


@pytest.mark.parametrize("name", CASES)
def test_the_reward_is_minus_the_textbook_cost(name: str) -> None:
    """For a random policy that orders too little at times and too much at others."""
    problem, given, books = CASES[name]
    spec = textbook.PROBLEMS[problem](**given, horizon=PERIODS)
    envs = gym.make_vec(num_envs=3, **spec)
    observation, _ = envs.reset(seed=8)
    demand = np.asarray(envs.unwrapped.tape.demand)  # (T, B, R, P)
    generator = np.random.default_rng(8)
    lanes = envs.unwrapped.world.network.outbound
    own_node = [lanes.node[list(lanes.region).index(r)] for r in range(demand.shape[2])]
    high = np.minimum(envs.single_action_space.high.ravel(), 14.0 if "serial" in name else 11.0)
    if "dispatch" in problem:
        high = np.array([2.0])
    own = [books(given) for _ in range(3)]
    whole = envs.unwrapped.params.whole_units
    for period in range(PERIODS):
        action = generator.uniform(0, high, (3, len(high))) * generator.integers(0, 2, (3, 1))
        if whole or "dispatch" in problem:
            action = np.rint(action)
        observation, reward, _, _, _ = envs.step(action.reshape(envs.action_space.shape))
        if "backlog" in observation:
            owed = observation.get("backlog_by_region", observation["backlog"])
            observation["on_hand"][:, own_node] -= owed
        for row in range(3):
            cost, seen = own[row](action[row].tolist(), demand[period, row])
            assert -reward[row] == pytest.approx(cost, rel=1e-6, abs=1e-6), (period, row)
            for field, values in seen.items():
                np.testing.assert_allclose(
                    observation[field][row], values, rtol=1e-5, atol=1e-4, err_msg=field
                )
    envs.close()


# the worked single steps that the conventions are told with, where the network is tested alone

SEQUENCE = {"demand": "deterministic"}


def played(spec: dict[str, Any], actions: list[list[float]]) -> tuple[float, dict[str, Any]]:
    """The cost of the last step, and the observation after it."""
    env = gym.make(**spec)
    env.reset(seed=0)
    for action in actions:
        given = np.array(action, dtype=float).reshape(env.action_space.shape)
        observation, reward, *_ = env.step(given)
    return -float(reward), observation


def test_dual_sourcing_step() -> None:
    """(8, 3, 1), 2 regular and 1 expedited, demand 4: 200 + 105 + 25, then (8, 1, 2)."""
    spec = textbook.dual_sourcing(**SEQUENCE, demand_values=[0, 0, 0, 4], regular_lead_time=3,
                                  expedited_lead_time=0, regular_cost=100, expedited_cost=105,
                                  holding_cost=5, penalty_cost=495)  # fmt: skip
    cost, seen = played(spec, [[0, 0], [3, 0], [1, 8], [2, 1]])
    assert cost == pytest.approx(330.0)
    assert seen["on_hand"] == 8
    assert seen["inventory_position"] == 11


def test_batch_dispatch_step() -> None:
    """14 wait, 4 come in, a truck of 15 goes: 20 for it, and 3 that stay."""
    spec = textbook.batch_dispatch(**SEQUENCE, demand_values=[14, 4, 0], truck_capacity=15,
                                   truck_cost=20, holding_cost=1)  # fmt: skip
    cost, seen = played(spec, [[0], [0], [1]])
    assert cost == pytest.approx(23.0)
    assert seen["parcels"].tolist() == [0, 0, 3]


def test_deadline_dispatch_step() -> None:
    """(1, 2, 2) by slack and one truck of 6: 12, and nothing stays but what comes in."""
    spec = textbook.deadline_dispatch(**SEQUENCE, demand_values=[1, 2, 2, 7], slack=2,
                                      truck_capacity=6, truck_cost=12, holding_cost=0.2,
                                      expedite_cost=10, max_trucks=2)  # fmt: skip
    cost, seen = played(spec, [[0], [0], [0], [1]])
    assert cost == pytest.approx(12.0)
    assert seen["parcels"].tolist() == [0, 0, 0, 7, 0]


def test_spillover_step() -> None:
    """(4, 1), demand (2, 3), no order: two units from the other location, nothing left."""
    laws = [textbook.Deterministic((0, 2)), textbook.Deterministic((0, 3))]
    spec = textbook.spillover(laws, 1, 8, 2, lead_time=1, stock_limit=6)
    cost, seen = played(spec, [[4, 1], [0, 0]])
    assert cost == pytest.approx(4.0)
    assert seen["on_hand"].tolist() == [0, 0]


def test_a_serial_system_pays_for_the_pipeline_between_stages() -> None:
    """Example 6.1: in the long run 10 USD a period for 5 units under way to stage 2."""
    given = {**SEQUENCE, "demand_values": [5], "lead_times": (0, 1, 2), "penalty_cost": 37.12,
             "holding_costs": (7, 4, 2)}  # fmt: skip
    costs = []
    for charged in (True, False):
        spec = textbook.serial(**given, charge_in_transit=charged)
        costs.append(played(spec, [[5.0, 5.0, 5.0]] * 12)[0])
    assert costs[0] - costs[1] == pytest.approx(10.0)
