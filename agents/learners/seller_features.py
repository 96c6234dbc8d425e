"""What a shared network sees when it sets terms: a row for each seller, and what all share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stockyard.agents.learners.features import (
    MOST,
    Floats,
    Observation,
    Table,
    joined,
    recorded,
    share_of,
)
from stockyard.envs.network.arrays import Array, at_least, at_most, namespace
from stockyard.envs.network.capacities import AHEAD_WEEKS
from stockyard.envs.network.world import MONTH_DAYS, World

MOST_LOG = 3.0
"""Logarithms of ratios are cut here: a seller may have no limit."""


@dataclass(frozen=True, eq=False)
class SellerFacts:
    """What does not change of a world with sellers, as far as features need it."""

    rate: Floats  # (S,) mean demand for a seller's products, ft3 per day
    static: Floats  # (S, 3) features of the sellers
    storage: Floats  # () ft3 of all nodes, usual
    receiving: Floats  # () ft3 per day of the nodes that suppliers deliver to, usual
    own: Floats  # () ft3 per day, mean demand for the platform's own products

    @classmethod
    def of(cls, world: World) -> SellerFacts:
        """Reads a world."""
        network, limits = world.network, world.source.capacities
        products, h = network.products, network.periods_per_day
        daily = world.source.demand.mean_rate(network).sum(axis=0) * h
        flow = daily * products.volume
        owner = products.owner
        sellers = range(1, products.num_owners)

        def total(values: Floats, seller: int) -> float:
            return max(float(values[owner == seller].sum()), 1e-6)

        rate = np.array([total(flow, s) for s in sellers])
        worth = np.array([total(daily * products.price, s) for s in sellers])
        units = np.array([total(daily, s) for s in sellers])
        density = np.log(worth / rate)
        heads = sorted(set(network.inbound.head.tolist()))

        def usual(limit: Any) -> Floats:
            return np.median(np.atleast_2d(np.asarray(limit, dtype=np.float64)), axis=0)

        return cls(
            rate=rate,
            static=np.stack(
                (
                    np.log(rate / rate.mean()),
                    density - (rate @ density) / rate.sum(),
                    np.log(rate / units / 0.25),
                ),
                axis=1,
            ),
            storage=np.asarray(usual(limits.storage).sum()),
            receiving=np.asarray(usual(limits.receiving)[heads].sum() * h),
            own=np.asarray(total(flow, 0)),
        )

    def to_dict(self) -> dict[str, Any]:
        """What run.json keeps."""
        return recorded(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> SellerFacts:
        """Rebuilds facts from `to_dict`."""
        return cls(**{name: np.asarray(entry, np.float64) for name, entry in record.items()})


class SellerTable(Table):
    """One row per seller: `stockyard/RestockLimits-v0`."""

    name = "restocklimits"
    facts_type = SellerFacts

    def __init__(self, facts: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Builds the constants."""
        super().__init__(facts, shapes)
        self._constants |= {
            "month": MONTH_DAYS * facts.rate,
            "rate": facts.rate,
            "static": facts.static,
            "storage": facts.storage,
            "receiving": facts.receiving,
            "own": facts.own,
            "everything": facts.rate.sum() + facts.own,
        }
        self.features = {
            "stock": 2,
            "sales": 2,
            "forecast": 3,
            "shares": 5,
            "terms": 5,
            "static": facts.static.shape[1],
        }
        self.global_features = {
            "storage_capacity": len(AHEAD_WEEKS),
            "receiving_capacity": len(AHEAD_WEEKS),
            "crowding": 2,
            "waiting": 2,
            "own": 4,
            "prices": 2,
            "need": 6,
            "season": 2,
            "days_to_event": 4,
        }

    def __call__(self, observation: Observation) -> tuple[Array, Array]:
        """See `Table`; K = 1."""
        see = observation
        xp = namespace(see["request"])
        forecast = see["seller_forecast_volume"]
        rate = self._like("rate", forecast)[:, None]
        # a month of the demand that is expected; a tenth of the mean at least
        month = MONTH_DAYS * xp.maximum(forecast[:, :, 0], 0.1 * rate[:, 0])

        def log_ratio(values: Array) -> Array:
            return at_most(xp.log(values / month + 0.05), MOST_LOG)[:, :, None]

        rows = joined(
            xp,
            log_ratio(see["seller_stored_volume"]),
            log_ratio(see["seller_inbound_volume"]),
            xp.log(see["seller_sales_volume"] / rate + 0.1),
            xp.log(forecast / rate + 0.1),
            see["seller_in_stock"][:, :, None],
            see["seller_sell_through"][:, :, None] / 3.0,
            see["seller_excess"][:, :, None],
            see["seller_index"][:, :, None] / 1000.0,
            see["seller_new_share"][:, :, None],
            log_ratio(see["limit"]),
            log_ratio(see["outlook"][:, :, 0]),
            log_ratio(see["outlook"][:, :, 1]),
            log_ratio(see["request"]),
            see["granted_share"][:, :, None],
            see["request"][:, :, None] * 0.0 + self._like("static", forecast),
        )
        return rows[:, :, None], self._shared(xp, see)

    def _shared(self, xp: Any, see: Observation) -> Array:
        """Features of no seller, (B, G)."""
        like = see["request"]
        everything, storage = self._like("everything", like), self._like("storage", like)
        need = see["seller_forecast_volume"].sum(1) + see["own_forecast_volume"]  # (B, 3)
        space = at_most(see["storage_capacity"][:, (0, 5, 6)], 1e12)
        return joined(
            xp,
            at_most(see["storage_capacity"] / storage, MOST),
            at_most(see["receiving_capacity"] / self._like("receiving", like), MOST),
            at_most(see["crowding"], MOST),
            at_most(see["yard_volume"] / (7.0 * everything), MOST),
            at_most(see["refused_volume"] / everything, MOST),
            at_most(see["own_volume"] / (MONTH_DAYS * self._like("own", like)), MOST),
            at_most(see["own_forecast_volume"] / self._like("own", like), MOST),
            at_most(see["price"].mean(1)[:, None] / 10.0, MOST),
            at_most(see["clearing_price"] / 10.0, MOST),
            at_most(need / everything, MOST),
            share_of(MONTH_DAYS * need, 2.0 * space),
            see["season"],
            xp.exp(-see["days_to_event"] / 7.0),
            xp.exp(-see["days_to_event"] / 28.0),
        )

    def position(self, observation: Observation) -> Array:
        """ft3 of a seller, on hand and inbound, (B, S, 1)."""
        both = observation["seller_stored_volume"] + observation["seller_inbound_volume"]
        return at_least(both, 0.0)[:, :, None]

    def start(self, observation: Observation) -> Array:
        """The middle of the range; networks that set terms begin at a rule."""
        return observation["request"][:, :, None] * 0.0 + 0.5
