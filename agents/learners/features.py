"""What shared networks see of a retail world: a row of features per decision, and pooled ones.

A feature is a ratio: stock in weeks of forecast demand, forecasts in multiples of mean demand,
volumes in shares of the space or the labour that all products share. So one set of weights reads
worlds of any size. One source serves NumPy and torch, and gradients pass through it.

The pooled features say what no row can: how full docks and shelves are, and what is on its way to
them. Without them a network orders each product as if it were alone.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stockyard.envs.network.arrays import Array, as_like, at_least, at_most, namespace
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.network.world import World
from stockyard.envs.tasks.replenishment import MAX_COVER_DAYS

Floats = NDArray[np.float64]
Observation = Mapping[str, Array]

KINDS = ("dock", "regional", "local")
"""Kinds of nodes over which features are pooled; a world need not have all."""

MOST = 4.0
"""Ratios are cut here: an outage divides by a capacity of zero."""

QUOTED_SLOTS = 4
"""Review periods of quoted arrivals that are told apart; the last one holds all later ones."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What does not change of a retail world, as far as features need it."""

    rate: Floats  # (P,) mean demand, units per day
    volume: Floats  # (P,) ft3 per unit
    static: Floats  # (P, S) features of the products
    kinds: Floats  # (3, N) 1 where a node is of a kind of `KINDS`
    storage: Floats  # (N,) usual ft3
    receiving: Floats  # (N,) usual ft3 per day
    supply: Floats  # (P,) usual units per day that a product's supplier ships at most
    review_days: float  # between two decisions

    @classmethod
    def of(cls, world: World, **more: Any) -> Self:
        """Reads a world; `more` are the fields of a subclass."""
        network, limits = world.network, world.source.capacities
        h = network.periods_per_day
        rate = np.asarray(world.source.demand.mean_rate(network), dtype=np.float64).sum(axis=0) * h
        nodes = np.ones(network.num_nodes)
        return cls(
            rate=np.maximum(rate, 1e-3),
            volume=np.asarray(network.products.volume, dtype=np.float64),
            static=_static(world, np.maximum(rate, 1e-3)),
            kinds=_kinds(world),
            storage=_usual(limits.storage, nodes),
            receiving=_usual(limits.receiving, nodes) * h,
            supply=_usual_supply(world) * h,
            review_days=world.periods_per_step / h,
            **more,
        )

    def to_dict(self) -> dict[str, Any]:
        """What run.json keeps, to six digits."""
        return recorded(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Rebuilds facts from `to_dict`."""
        values = {name: np.asarray(entry, dtype=np.float64) for name, entry in record.items()}
        return cls(**{**values, "review_days": float(values["review_days"])})  # type: ignore[arg-type]


def recorded(facts: Any) -> dict[str, Any]:
    """The fields of a dataclass of arrays as JSON holds them, to six digits."""
    return {
        field.name: _rounded(np.asarray(getattr(facts, field.name)).tolist())
        for field in dataclasses.fields(facts)
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}")


class Table(ABC):
    """Features of a task: observations in, rows and pooled features out."""

    name: str
    facts_type: type[Any]

    def __init__(self, facts: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Takes the facts of the world, and field -> shape of an observation."""
        self.facts = facts
        self.shapes = dict(shapes)
        self._cached: dict[Any, Any] = {}
        self._constants: dict[str, Any] = {}
        self.features: dict[str, int] = {}
        self.global_features: dict[str, int] = {}

    @classmethod
    def of(cls, base: Any, shapes: Mapping[str, tuple[int, ...]]) -> Table:
        """The table of a built environment."""
        return cls(cls.facts_type.of(base.world), shapes)

    @property
    def lanes(self) -> int:
        """Decisions per row, K."""
        return 1

    @property
    def served(self) -> Floats:
        """(P, K) mean demand that a decision serves, per day."""
        return np.asarray(self.facts.rate[:, None])

    @abstractmethod
    def __call__(self, observation: Observation) -> tuple[Array, Array]:
        """Features of a batch.

        Args:
            observation: field -> (B, *shape).

        Returns:
            (B, P, K, F) rows of decisions and (B, G) features of no decision.
        """

    @abstractmethod
    def start(self, observation: Observation) -> Array:
        """Where a plain rule would stand in the range of actions, (B, P, K) in (0, 1)."""

    def position(self, observation: Observation) -> Array:
        """Stock that a decision's level is compared with, (B, P, K)."""
        return observation["inventory_position"][:, :, None]

    def _like(self, name: str, array: Array) -> Array:
        """A constant in the namespace, precision and place of `array`, made once for each."""
        key = (name, type(array), array.dtype, getattr(array, "device", None))
        if key not in self._cached:
            if isinstance(array, np.ndarray):
                self._cached[key] = as_like(self._constants[name], array)
            else:
                import torch

                with torch.inference_mode(False):  # training may use it next
                    self._cached[key] = as_like(self._constants[name], array)
        return self._cached[key]


class RetailTable(Table):
    """Features of a task of the retailer: a row for each product."""

    facts_type: type[Facts] = Facts

    def __init__(self, facts: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Takes the facts of the world, and field -> shape of an observation."""
        super().__init__(facts, shapes)
        dock = (facts.kinds[0] > 0) * 1.0
        days = np.array(HORIZONS_DAYS, dtype=np.float64)
        self._of_kind = [np.flatnonzero(row) for row in facts.kinds]
        self._constants |= {
            "rate": facts.rate[:, None],
            "volume": facts.volume[:, None],
            "static": facts.static,
            "kinds": facts.kinds.T,
            "usual_storage": np.maximum(facts.kinds @ facts.storage, 1e-9),
            "usual_receiving": np.maximum(facts.kinds @ facts.receiving, 1e-9),
            "dock_labour": float(max(dock @ facts.receiving, 1e-9)),
            "days": days,
            "stretch": np.diff(days, prepend=0.0),
        }

    def _levels(self, xp: Any, see: Observation) -> Array:
        """Forecast per day of each stretch between two horizons, so that an event stands out.

        (B, P, 5) multiples of mean demand.
        """
        forecast = see["forecast_mean"]
        stretches = joined(xp, forecast[:, :, :1], forecast[:, :, 1:] - forecast[:, :, :-1])
        daily = at_least(stretches / self._like("stretch", forecast), 0.0)
        return daily / self._like("rate", forecast)

    def _fullness(self, xp: Any, see: Observation) -> list[Array]:
        """Space and labour in use by kind of node, in all and where it is worst, (B, 9)."""
        volume, kinds = self._like("volume", see["on_hand"]), self._like("kinds", see["on_hand"])
        stored = (see["on_hand"] * volume).sum(1)  # (B, N) ft3
        waiting = (see["yard"] * volume).sum(1)
        storage, receiving = see["storage_capacity"][:, :, 0], see["receiving_capacity"][:, :, 0]
        used = share_of(stored, storage)
        fullest = [
            (used[:, index].max(1) if xp is np else used[:, index].amax(1))
            if len(index)
            else used[:, 0] * 0.0
            for index in self._of_kind
        ]
        return [
            share_of(stored @ kinds, at_most(storage, 1e12) @ kinds),
            share_of(waiting @ kinds, 7.0 * at_most(receiving, 1e12) @ kinds),
            xp.stack(fullest, -1),
        ]

    def _calendar(self, xp: Any, see: Observation) -> list[Array]:
        """Announced limits, season, events and the promise, (B, 41)."""
        return [
            self._announced(see["storage_capacity"], "usual_storage"),
            self._announced(see["receiving_capacity"], "usual_receiving"),
            see["season"],
            xp.exp(-see["days_to_event"] / 7.0),
            xp.exp(-see["days_to_event"] / 28.0),
            see["offered_tier"],
        ]

    _CALENDAR = {
        "storage_capacity": 5 * len(KINDS),
        "receiving_capacity": 5 * len(KINDS),
        "season": 2,
        "days_to_event": 4,
        "offered_tier": 5,
    }

    def _announced(self, capacity: Array, usual: str) -> Array:
        """Capacities (B, N, 5) by kind, in multiples of the usual, (B, 15); no limit is 1."""
        kinds = self._like("kinds", capacity)
        by_kind = at_most(capacity, 1e12).swapaxes(1, 2) @ kinds  # (B, 5, 3)
        ratio = at_most(by_kind / self._like(usual, capacity), MOST)
        return ratio.reshape(len(capacity), -1)


class ReplenishmentTable(RetailTable):
    """One row per product: `stockyard/Replenishment-v0` in retail worlds."""

    name = "replenishment"

    def __init__(self, facts: Facts, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Builds the functionals: which entries of the fields are summed to what."""
        super().__init__(facts, shapes)
        n, slots = facts.kinds.shape[1], shapes["on_order_quoted"][1]
        kinds = len(KINDS)
        # columns: on hand by kind, yard, in transfer, on order, position, quoted arrivals, receipts
        own = np.zeros((2 * n + 3 + slots + 1, kinds + 4 + QUOTED_SLOTS + 1))
        own[:n, :kinds] = facts.kinds.T
        own[n : 2 * n, kinds] = 1.0
        own[2 * n + np.arange(3), kinds + 1 + np.arange(3)] = 1.0
        first = kinds + 4
        own[2 * n + 3 + np.arange(slots), first + np.minimum(range(slots), QUOTED_SLOTS - 1)] = 1.0
        own[-1, -1] = 1.0
        self._constants |= {"own": own, "supply": facts.supply[:, None]}
        self.features = {
            "stock": own.shape[1],
            "forecast": len(HORIZONS_DAYS) + 2,
            "supplier_capacity": 5,
            "spread": 2,
            "in_stock": 2,
            "quoted_lead_time": 1,
            "static": facts.static.shape[1],
        }
        self.global_features = {
            "full": 3 * kinds,
            "under way": QUOTED_SLOTS + 3,
            "expected": len(HORIZONS_DAYS) + 1,
            **self._CALENDAR,
        }

    def __call__(self, observation: Observation) -> tuple[Array, Array]:
        """See `Table`; K = 1."""
        see = observation
        like = see["on_hand"]
        xp = namespace(like)
        forecast, sales = see["forecast_mean"], see["sales_history"]
        rate = self._like("rate", like)
        ones = like[:, :, :1] * 0.0 + 1.0
        entries = joined(
            xp,
            see["on_hand"],
            see["yard"],
            see["in_transfer"][:, :, None],
            see["on_order"][:, :, None],
            see["inventory_position"][:, :, None],
            see["on_order_quoted"],
            see["received_history"][:, :, :1],
        )
        units = at_least(entries @ self._like("own", like), 0.0)  # (B, P, M)
        # weeks of the demand that the coming four weeks expect; a tenth of the mean at least
        weekly = xp.maximum(forecast[:, :, 2:3] / 4.0, 0.7 * rate)
        stock = xp.log1p(units / weekly)
        sold = joined(xp, sales[:, :, :1] / 7.0, sales[:, :, :4].sum(-1)[:, :, None] / 28.0)
        level = joined(xp, self._levels(xp, see), sold / rate)
        quantiles = see["forecast_quantiles"]
        spread = (quantiles[:, :, 1:3, 2] - quantiles[:, :, 1:3, 0]) / (forecast[:, :, 1:3] + rate)
        available = see["in_stock_history"]
        rows = joined(
            xp,
            stock,
            xp.log(level + 0.1),
            at_most(see["supplier_capacity"] / self._like("supply", like), MOST),
            spread,
            available[:, :, :1],
            available[:, :, :4].mean(-1)[:, :, None],
            see["quoted_lead_time"][:, :, None] / 14.0,
            ones * self._like("static", like),
        )
        return rows[:, :, None], self._pooled(xp, see, units)

    def start(self, observation: Observation) -> Array:
        """A cover of the quoted lead time, the review and a week."""
        days = observation["quoted_lead_time"] + self.facts.review_days + 7.0
        return at_most(days / MAX_COVER_DAYS, 0.95)[:, :, None]

    def _pooled(self, xp: Any, see: Observation, units: Array) -> Array:
        """Features of no product, (B, G)."""
        like = see["on_hand"]
        volume, kinds = self._like("volume", like), self._like("kinds", like)
        held = (units * volume).sum(1)  # (B, M) ft3
        expected = (see["forecast_mean"] * volume).sum(1) / self._like("days", like)
        space = (at_most(see["storage_capacity"][:, :, 0], 1e12) @ kinds).sum(1)[:, None]
        labour = (at_most(see["receiving_capacity"][:, :, 0], 1e12) @ kinds)[:, :1]
        usual, first = self._like("dock_labour", like), len(KINDS)
        return joined(
            xp,
            *self._fullness(xp, see),
            share_of(held[:, first + 1 : first + 2], space),
            share_of(held[:, first + 2 : first + 3], 7.0 * labour),
            share_of(held[:, first + 3 : first + 4], space),
            at_most(held[:, first + 4 : first + 4 + QUOTED_SLOTS] / (7.0 * usual), MOST),
            at_most(expected / usual, MOST),
            see["in_stock_history"][:, :, 0].mean(1)[:, None],
            *self._calendar(xp, see),
        )


def joined(xp: Any, *parts: Array) -> Array:
    """Parts side by side along the last axis."""
    return np.concatenate(parts, axis=-1) if xp is np else xp.concat(list(parts), axis=-1)


def share_of(use: Array, capacity: Array) -> Array:
    """Use of a capacity, 0 to `MOST`."""
    return at_most(use / at_least(capacity, 1e-6), MOST)


def _usual(limit: Any, nodes: Floats) -> Floats:
    """A limit (N,) or (T, N) at its usual level; 1e12 where there is none."""
    if limit is None:
        return nodes * 1e12
    return np.minimum(np.median(np.atleast_2d(np.asarray(limit, np.float64)), axis=0), 1e12)


def _usual_supply(world: World) -> Floats:
    """(P,) units per period; 1e12 where there is no limit."""
    network, supply = world.network, world.source.capacities.supplier
    if supply is None:
        return np.full(network.num_products, 1e12)
    lane = network.carries.argmax(axis=0)
    supplier = network.inbound.supplier[lane, np.arange(network.num_products)]
    usual = np.median(np.atleast_2d(np.asarray(supply, dtype=np.float64)), axis=0)
    return np.asarray(np.clip(usual[supplier], 1e-3, 1e12))


def _kinds(world: World) -> Floats:
    """(3, N): docks send to others; of the centres, regional ones serve more than their own place.

    A local centre is no region's second choice or later one.
    """
    network = world.network
    n = network.num_nodes
    dock = np.zeros(n, dtype=bool)
    dock[np.setdiff1d(network.transfers.tail, network.transfers.head)] = True
    local = np.array([name.startswith("FC-local") for name in network.nodes])
    return np.stack((dock, ~dock & ~local, ~dock & local)).astype(np.float64)


def _static(world: World, rate: Floats) -> Floats:
    """Features (P, S) of products, of order one."""
    products, economics = world.network.products, world.economics
    price, cost = (np.asarray(x, dtype=np.float64) for x in (products.price, products.unit_cost))
    volume = np.asarray(products.volume, dtype=np.float64)
    handling = (
        economics.pick_pack_per_unit
        + economics.last_mile_per_unit
        + 2.0 * economics.receive_per_unit
        + economics.goodwill_per_lost_unit * -1.0
    )
    margin = np.maximum(price - cost - handling, 0.1)  # USD that a lost unit forgoes
    density = np.log(margin / volume)
    flow = rate * volume
    order = np.argsort(-density, kind="stable")
    ahead = np.empty(len(rate))
    # share of the network's volume that earns more per cubic foot: who gives way first
    ahead[order] = (np.cumsum(flow[order]) - 0.5 * flow[order]) / flow.sum()
    return np.stack(
        (
            np.log(rate / rate.mean()),
            np.log(volume / 0.25),
            density - (flow @ density) / flow.sum(),
            2.0 * ahead - 1.0,
            margin / price * 4.0 - 1.0,
            np.log(margin / cost) + 0.5,
            np.log(price / 30.0),
            np.log(flow / flow.mean()) / 2.0,
        ),
        axis=1,
    )
