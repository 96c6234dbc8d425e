"""What a buyer orders for: a product in the whole network, or a product at each location."""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from stockyard.agents.heuristics.base import (
    Aims,
    Facts,
    Floats,
    Heuristic,
    Levels,
    Observation,
    Parameter,
    Starts,
)
from stockyard.envs.network.distributions import Distribution
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.standing_rules import FixedLimit

Integers = npt.NDArray[np.int64]


class StockingPoints:
    """The K positions that orders are measured against, and where their orders go.

    Where the agent orders for several locations that no transfer connects (spillover,
    transshipment), each product at each location is a point: its stock and orders there, less what
    is owed to the regions that ask there first. Elsewhere each product is one point, wherever its
    stock is, and is ordered on its first lane (of two suppliers, the regular one).
    """

    def __init__(self, facts: Facts, rule: str) -> None:
        """Finds the points of an environment in which only orders are decided.

        Args:
            facts: the environment.
            rule: its name, for errors.

        Raises:
            ValueError: if the environment asks for more than orders, or for something else.
        """
        facts.require_slots(rule, "replenish")
        self._facts, self._rule = facts, rule
        network = facts.world.network
        carries = network.carries  # (E_in, P)
        heads = np.asarray(network.inbound.head)
        self.is_located = (
            facts.action_parts is not None
            and not facts.has_forecast
            and len(network.transfers.tail) == 0
            and 1 < len(heads) == len(set(heads.tolist()))
        )
        if self.is_located:
            self.product, self.lane = (np.asarray(k) for k in np.nonzero(carries.T))
        else:
            self.product = np.arange(network.num_products)
            self.lane = np.asarray(carries.argmax(axis=0))
        self.node: Integers = heads[self.lane]
        self.lead_time: Integers = np.asarray(
            np.broadcast_to(network.inbound.lead_time, carries.shape)[self.lane, self.product],
            dtype=np.int64,
        )
        self.largest_order: Floats = facts.largest_order[self.product]
        nearest = network.ranks()[0].node  # (R,)
        every = np.arange(network.num_regions)
        self._regions = [
            np.flatnonzero(nearest == node) if self.is_located else every for node in self.node
        ]
        rate = facts.world.source.demand.mean_rate(network) * facts.review_periods
        self.mean_per_review: Floats = np.array(
            [rate[own, p].sum() for own, p in zip(self._regions, self.product, strict=True)]
        )
        self._lanes = len(heads) if (carries.sum(axis=0) > 1).any() else 1

    @property
    def count(self) -> int:
        """Number of points, K."""
        return len(self.product)

    def law(self, point: int) -> Distribution:
        """The demand of a point, units per period.

        Raises:
            ValueError: if several regions add up to it, or it depends on the past.
        """
        regions = self._regions[point]
        if len(regions) != 1:
            raise ValueError(f"{self._rule}: needs demand from one region, or a forecast")
        return self._facts.law(int(regions[0]), int(self.product[point]))

    @property
    def sd(self) -> Floats:
        """(K,) standard deviation of demand, units per period; 1 at least, for searches."""
        if not isinstance(self._facts.world.source.demand, IidDemand):
            return np.maximum(np.sqrt(self.mean_per_review), 1.0)
        total = [
            sum(self._facts.law(int(r), int(p)).sd ** 2 for r in own)
            for own, p in zip(self._regions, self.product, strict=True)
        ]
        return np.asarray(np.maximum(np.sqrt(np.array(total)), 1.0))

    @property
    def holding_costs(self) -> Floats:
        """(K,) USD per unit and period."""
        return self._facts.holding_costs[self.node, self.product]

    @property
    def penalty_costs(self) -> Floats:
        """(K,) USD per unit lost or owed, mean over the point's regions."""
        costs = self._facts.penalty_costs
        return np.array(
            [
                costs[own, p].mean() if len(own) else 0.0
                for own, p in zip(self._regions, self.product, strict=True)
            ]
        )

    def position(self, observation: Observation) -> Floats:
        """Inventory positions, (B, K) units: on hand and on order, less backlog."""
        if not self.is_located:
            return np.asarray(observation["inventory_position"], dtype=np.float64)
        units = np.asarray(observation["on_hand"], dtype=np.float64)[:, self.product, self.node]
        if "inbound" in observation:
            units = units + observation["inbound"][:, self.product, self.lane].sum(axis=-1)
        if "backlog_by_region" in observation:
            owed = observation["backlog_by_region"]
            units = units - np.stack(
                [
                    owed[:, p, own].sum(axis=-1)
                    for own, p in zip(self._regions, self.product, strict=True)
                ],
                axis=1,
            )
        return units

    def action(self, observation: Observation, orders: Floats) -> Floats:
        """Puts orders (B, K) on their lanes; nothing between reviews, when orders are void."""
        if "periods_to_review" in observation:
            orders = orders * (observation["periods_to_review"] <= 0)
        facts = self._facts
        if facts.action_parts is None and self._lanes == 1:
            return orders
        network = facts.world.network
        lanes = np.zeros((len(orders), network.num_products, len(network.inbound.head)))
        lanes[:, self.product, self.lane] = orders
        return lanes if facts.action_parts is None else lanes.reshape(len(orders), -1)

    def levels(self, value: Levels, name: str) -> Floats:
        """A number, or one for each point, as (K,).

        Raises:
            ValueError: naming the parameter.
        """
        array = np.asarray(value, dtype=np.float64)
        if array.shape not in ((), (1,), (self.count,)) or not np.isfinite(array).all():
            what = "locations" if self.is_located else "products"
            raise ValueError(
                f"{name}: must be a finite number, or one for each of {self.count} {what}"
            )
        return np.broadcast_to(array, (self.count,))

    # What follows serves searches.

    def groups(self) -> list[Integers]:
        """Points that are alike, and share what is tuned: the same demand, lead time and costs."""
        facts = np.column_stack(
            (
                self.mean_per_review,
                self.sd,
                self.lead_time,
                self.holding_costs,
                self.penalty_costs,
                self._facts.world.network.products.volume[self.product],
            )
        )
        _, first, member = np.unique(facts, axis=0, return_index=True, return_inverse=True)
        return [np.flatnonzero(member.ravel() == member.ravel()[k]) for k in np.sort(first)]

    def newsvendor_levels(self) -> Floats:
        """(K,) normal newsvendor levels over lead time and review, within a limit on stock."""
        cover = self.lead_time + 1.0
        holding, penalty = self.holding_costs, self.penalty_costs
        fractile = penalty / np.maximum(holding + penalty, 1e-9)
        safety = ndtri(np.clip(fractile, 0.1, 0.995)) * self.sd * np.sqrt(cover)
        levels: Floats = cover * self.mean_per_review + safety
        rule = self._facts.world.rules.get("restock")
        if isinstance(rule, FixedLimit):
            network = self._facts.world.network
            room = np.broadcast_to(np.asarray(rule.volume, dtype=np.float64), network.num_nodes)
            volume = network.products.volume[self.product] * levels
            taken = np.bincount(self.node, volume, network.num_nodes)
            levels = levels * np.minimum(room / np.maximum(taken, 1e-9), 1.0)[self.node]
        return levels

    def level_parameters(self, name: str, levels: Floats | None = None) -> tuple[Parameter, ...]:
        """One coordinate for each group of points, 1.5 deviations of demand around a level.

        Args:
            name: of the parameter; several coordinates are numbered from 1.
            levels: (K,) units; None: newsvendor levels.
        """
        levels, groups = self.newsvendor_levels() if levels is None else levels, self.groups()
        half = np.maximum(1.5 * self.sd * np.sqrt(self.lead_time + 1.0), 2.0)
        return tuple(
            Parameter(
                label,
                float(np.floor(levels[own[0]] - half[own[0]])),
                float(np.ceil(levels[own[0]] + half[own[0]])),
                self._facts.world.whole_units,
            )
            for own, label in zip(groups, _labels(name, len(groups)), strict=True)
        )

    def from_groups(self, name: str, values: Mapping[str, float]) -> float | list[float]:
        """A parameter of all points from the coordinates of their groups."""
        groups = self.groups()
        if len(groups) == 1:
            return values[name]
        filled = [0.0] * self.count
        for own, label in zip(groups, _labels(name, len(groups)), strict=True):
            for point in own:
                filled[point] = values[label]
        return filled


def _labels(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}_{k + 1}" for k in range(count)]


class OrderingRule(Heuristic):
    """A rule that decides orders, one for each stocking point."""

    def __init__(self, facts: Facts, name: str) -> None:
        """Finds the stocking points.

        Args:
            facts: the environment.
            name: of the rule, for errors.
        """
        super().__init__(facts)
        self.points = StockingPoints(facts, name)

    def decide(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        """Puts the orders on their lanes."""
        orders, state = self.orders(observation, state, episode_start)
        return self.points.action(observation, orders), state

    @abc.abstractmethod
    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Orders (B, K) in units, and the next state; the observation is in its shapes."""

    def levels(self, observation: Observation) -> Floats:
        """Positions (B, K) that the rule orders up to; the observation is in its shapes.

        A rule without levels of its own aims at what it has after its order.
        """
        orders, _ = self.orders(observation, None, None)
        return self.points.position(observation) + orders

    def aims(self, observation: Observation) -> Aims:
        """What the rule aims at; the observation is in its shapes."""
        level = self.levels(observation)[..., None]
        return Aims(level, np.zeros_like(level), np.zeros_like(level))
