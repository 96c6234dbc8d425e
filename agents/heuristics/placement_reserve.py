"""Placement with a pooled reserve: fair base covers, and stock that waits where it can go anywhere.

Written after what earns money in the placement worlds. Serving a region from its own centre is
worth its tariff more than its speed; a regional centre that runs dry costs more than a local one,
for others ask it next; and stock at a dock can still go anywhere, while shelf there is needed by
what arrives.
"""

from typing import Any, NamedTuple

import numpy as np

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.centres import PlacementRule, Stocks
from stockyard.agents.heuristics.rationing import filled, in_room, volume_of
from stockyard.envs.network.arrays import Array, as_like, at_least, at_most


class Sizes(NamedTuple):
    """What the steps of the rule go by; a learner may choose others, decision by decision."""

    base: Array  # (B, P, F) units that centres are lifted to first
    most: Array  # (B, P, F) units up to which local centres take what the dock cannot keep
    reserve: Array  # (B, P) units in proportion to which products share the dock's shelf
    fill: Array  # (B,) share of the dock's shelf that reserves may fill
    density: Array  # (B, P, F) gain per ft3 over the centre's mean: who is served first


class PooledReserve(PlacementRule):
    """Fills all centres fairly to a base, keeps a reserve, and sends on what will sell soonest."""

    def __init__(
        self,
        facts: Facts,
        local_days: float,
        regional_days: float,
        most_days: float,
        dock_fill: float,
        inbound_weight: float,
        power: float,
    ) -> None:
        """Takes covers; see `pooled_reserve`."""
        super().__init__(facts, "pooled_reserve")
        self._local, self._regional, self._most = local_days, regional_days, most_days
        self._fill, self._inbound, self._power = dock_fill, inbound_weight, power

    def transfers(self, stocks: Stocks, state: Any, episode_start: Starts) -> tuple[Floats, Any]:
        """Base, reserve, overflow."""
        return self.placed(stocks, self.sizes(stocks)), state

    def sizes(self, stocks: Stocks) -> Sizes:
        """What the rule's parameters come to in NumPy observations."""
        centres = self.centres
        density = self._density(stocks)
        local = ~centres.regional * centres.reached
        # demand of local centres' home regions, weighted by what serving it there earns
        wanted = density**self._power * stocks.nearby * ~centres.regional
        caught = stocks.daily @ centres.catchment.T
        # a product that is due again needs a smaller reserve
        arrives = stocks.arrivals > 0
        due = np.where(arrives.any(-1), arrives.argmax(-1) + 1.0, arrives.shape[-1] + 1.0)
        return Sizes(
            base=(self._local * wanted + self._regional * caught) * centres.reached,
            most=self._most * stocks.nearby * local,
            reserve=wanted.sum(axis=-1) * due,
            fill=np.full(len(density), self._fill),
            density=density,
        )

    def placed(self, stocks: Stocks, sizes: Sizes) -> Array:
        """Units to move (B, P, F) by the steps of the rule; gradients pass through it.

        Args:
            stocks: the observation, NumPy or tensors.
            sizes: the same kind.
        """
        position, base = stocks.position, sizes.base
        volume = as_like(self.centres.volume, position)
        moved = filled(position, base, stocks.dock)
        missing = 1.0 - at_most(position / at_least(base, 1e-9), 1.0)
        moved = in_room(moved, volume, stocks.room, sizes.density * missing)
        left = at_least(stocks.dock - moved.sum(-1), 0.0)
        away = left - self.kept_at_dock(stocks, left, sizes.fill, sizes.reserve, self._inbound)
        room = stocks.room - volume_of(moved, volume)
        more = in_room(filled(position + moved, sizes.most, away), volume, room, sizes.density)
        rest = at_least(away - more.sum(-1), 0.0)
        return self.possible(stocks, moved + more + rest[..., None] * self.regional_shares(stocks))

    def levels(self, stocks: Stocks) -> Floats:
        """The base covers."""
        return np.asarray(self.sizes(stocks).base)

    def _density(self, stocks: Stocks) -> Floats:
        """Gain per ft3 over its geometric mean at the centre, weighted by volume, (B, P, F)."""
        gain, _ = self.centres.gains(stocks)
        volume = self.centres.volume[:, None]
        density = np.maximum(gain / volume + 0.0 * stocks.nearby, 1e-6)
        cubic = stocks.nearby * volume
        total = np.maximum(cubic.sum(axis=1, keepdims=True), 1e-9)
        mean = np.exp((np.log(density) * cubic).sum(axis=1, keepdims=True) / total)
        return np.asarray(density / mean)


def _reserve_space(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("local_days", 2.0, 10.0, least=0.0, most=90.0),
        Parameter("regional_days", 1.0, 7.0, least=0.0, most=90.0),
        Parameter("most_days", 6.0, 22.0, least=0.0, most=120.0),
        Parameter("dock_fill", 0.4, 1.2, least=0.0, most=3.0),
        Parameter("inbound_weight", 0.0, 0.4, least=-1.0, most=2.0),
        Parameter("power", 0.0, 0.6, least=-2.0, most=2.0),
    )


@tuned_by(_reserve_space)
def pooled_reserve(
    env: Any,
    local_days: float | None = None,
    regional_days: float = 3.5,
    most_days: float = 14.0,
    dock_fill: float = 0.85,
    inbound_weight: float = 0.2,
    power: float = 0.3,
) -> PooledReserve:
    """Fair base covers, a reserve at the dock that makes room for arrivals, then local overflow.

    1. All centres, the regional ones too, are lifted to the same share of a base cover, the
       emptiest first (the balanced allocation of Clark & Scarf, Management Science 6, 1960).
    2. What is left waits at the dock, where it is pooled (Eppen & Schrage, in Multi-Level
       Production/Inventory Control Systems, 1981), as far as the shelf allows that arrivals need
       soon; products keep days of local demand in proportion to the days until they are due again.
    3. What the dock cannot keep goes to local centres as long as it sells there within a
       longer cover, and then to the regional ones.

    Covers and reserves of a product grow with a power of what its home service earns per ft3.

    Args:
        env: a built environment in which transfers are decided.
        local_days: base cover of a local centre, days of its home regions' demand.
        regional_days: base cover of a regional centre, days of its catchment's demand.
        most_days: cover of a local centre up to which it takes what the dock cannot keep.
        dock_fill: share of the dock's shelf that reserves may fill.
        inbound_weight: part of soon arriving goods that the shelf is kept free for.
        power: of the gain per ft3, relative to the centre's mean.
    """
    facts = Facts(env)
    if local_days is None:
        PooledReserve(facts, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        return pooled_reserve(env, **tuned("pooled_reserve", facts))
    return PooledReserve(
        facts, local_days, regional_days, most_days, dock_fill, inbound_weight, power
    )
