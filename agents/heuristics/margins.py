"""What a unit more or less is worth in a retail world: margin, holding, volume, and its dock."""

from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.agents.heuristics.base import Facts, Floats, Observation
from stockyard.agents.heuristics.stocking_points import StockingPoints
from stockyard.envs.network.economics import handling_values

DAYS_A_YEAR = 365.0

LEAST_MARGIN = 0.01
"""USD. What loses money with every unit is still ordered, if there is room for everything."""


class Margins:
    """Costs of being a unit short or a unit over, from the observation and what is public."""

    def __init__(self, facts: Facts, points: StockingPoints) -> None:
        """Works out what a sale costs to handle.

        Args:
            facts: a retail world.
            points: its products.
        """
        network, economics = facts.world.network, facts.world.economics
        rate = facts.world.source.demand.mean_rate(network)  # (R, P)
        share = rate / np.maximum(rate.sum(axis=0), 1e-12)
        first = network.ranks()[0]
        moved, _ = handling_values(network, economics)
        lane_tariff = {
            (int(n), int(r)): float(cost)
            for n, r, cost in zip(
                network.outbound.node,
                network.outbound.region,
                np.broadcast_to(network.outbound.tariff, len(network.outbound.node)),
                strict=True,
            )
        }
        tariff = np.array([lane_tariff[int(n), r] for r, n in enumerate(first.node)])
        per_sale = np.asarray(moved)[first.node] @ share  # (P,) at first choices
        per_sale = per_sale + np.asarray(network.products.tariff_weight) * (tariff @ share)
        self._per_sale = (
            per_sale
            + economics.pick_pack_per_unit
            + economics.last_mile_per_unit
            - economics.goodwill_per_lost_unit
        )
        self._capital_per_day = economics.capital_rate_per_year / DAYS_A_YEAR
        self._rent_per_day = economics.storage_rent_per_ft3_day
        dock = np.asarray(network.inbound.head)[points.lane]
        lanes = np.asarray(network.inbound.supplier)
        of = np.broadcast_to(lanes, network.carries.shape)[points.lane, points.product]
        self.suppliers: npt.NDArray[np.int64]
        self.suppliers, maker = np.unique(of, return_inverse=True)
        self.at_supplier: Floats = np.eye(len(self.suppliers))[maker.ravel()]  # (P, V)
        self.docks: npt.NDArray[np.int64]
        self.docks, own = np.unique(dock, return_inverse=True)  # nodes that orders arrive at
        self.at_dock: Floats = np.eye(len(self.docks))[own.ravel()]  # (P, D) 1: arrives there

    def short(self, observation: Observation) -> Floats:
        """USD lost with a unit of demand, margin and goodwill, (B, P); > 0."""
        margin = _floats(observation["price"]) - _floats(observation["unit_cost"])
        return np.asarray(np.maximum(margin - self._per_sale, LEAST_MARGIN))

    def over_per_day(self, observation: Observation) -> Floats:
        """USD a day for a unit left, capital and rent, (B, P)."""
        rent = self._rent_per_day * _floats(observation["volume"])
        return self._capital_per_day * _floats(observation["unit_cost"]) + rent

    def receiving_capacity(self, observation: Observation) -> Floats:
        """What the docks can receive a day, now and one to four weeks ahead, (B, D, 5) ft3."""
        return _floats(observation["receiving_capacity"])[:, self.docks]

    def supplier_capacity(self, observation: Observation) -> Floats:
        """Units a day that suppliers can ship, now and one to four weeks ahead, (B, V, 5)."""
        first = self.at_supplier.argmax(axis=0)  # a product of each; it shows its supplier's
        return _floats(observation["supplier_capacity"])[:, first]

    def in_yards(self, observation: Observation) -> Floats:
        """Units that have arrived at a dock and wait, (B, P)."""
        return np.asarray(_floats(observation["yard"])[:, :, self.docks].sum(axis=-1))


def days_lost(capacity: Floats) -> Floats:
    """Days of a capacity (B, K, 5) that the weeks announced will lose against today, (B, K)."""
    now = np.maximum(capacity[..., :1], 1e-9)
    return np.asarray(7.0 * np.maximum(1.0 - capacity / now, 0.0).sum(axis=-1))


def weeks_of(capacity: Floats, days: Floats) -> Floats:
    """What a daily capacity adds up to from now on.

    Args:
        capacity: (B, D, 5) a day, now and one to four weeks ahead; later it stays.
        days: (B,) how long.

    Returns:
        (B, D) capacity times days.
    """
    begun = 7.0 * np.arange(capacity.shape[-1])
    in_week = np.clip(days[:, None] - begun, 0.0, 7.0)
    in_week[:, -1] = np.maximum(days - begun[-1], 0.0)
    return np.asarray((capacity * in_week[:, None]).sum(axis=-1))


def _floats(values: npt.NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float64)
