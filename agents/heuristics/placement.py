"""Placement by push: to the regional centres, by forecast share, to equal cover, local first.

All decide once a day how much of a product's stock at its dock leaves for each centre. Demand is
the forecast of the coming week; cover is in days of the demand of a centre's home regions.
"""

from typing import Any

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
from stockyard.agents.heuristics.rationing import fair_cover, in_room, rationed


class HubOnly(PlacementRule):
    """All that a dock has goes to the regional centres, nothing to the local ones."""

    def __init__(self, facts: Facts) -> None:
        """Takes no parameters."""
        super().__init__(facts, "hub_only")

    def transfers(self, stocks: Stocks, state: Any, episode_start: Starts) -> tuple[Floats, Any]:
        """Shares the stock by forecast."""
        return stocks.dock[..., None] * self.regional_shares(stocks), state


class Push(PlacementRule):
    """Fills the local centres, then the regional ones, and keeps a reserve at the dock."""

    def __init__(
        self,
        facts: Facts,
        name: str,
        local_days: float,
        regional_days: float,
        dock_fill: float | None = None,
        reserve_days: float = 0.0,
        local_first: bool = True,
    ) -> None:
        """Takes covers.

        Args:
            facts: the environment.
            name: of the rule, for errors.
            local_days: cover of a local centre, days.
            regional_days: cover of a regional centre, days of its catchment.
            dock_fill: the dock keeps the rest while its shelf is no fuller than this share; None:
                the reserve decides.
            reserve_days: of all demand, that a dock keeps of a product.
            local_first: whether local centres are served first when a dock is short.
        """
        super().__init__(facts, name)
        self._local, self._regional = local_days, regional_days
        self._fill, self._reserve, self._local_first = dock_fill, reserve_days, local_first

    def transfers(self, stocks: Stocks, state: Any, episode_start: Starts) -> tuple[Floats, Any]:
        """Shares a short dock in proportion to the needs."""
        centres = self.centres
        regional = centres.regional
        need = np.maximum(self.levels(stocks) - stocks.position, 0.0) * centres.reached
        if self._local_first:
            local = rationed(need * ~regional, stocks.dock)
            rest = stocks.dock - local.sum(axis=-1)
            moved = local + rationed(need * regional, rest)
        else:
            moved = rationed(need, stocks.dock)
        moved = in_room(moved, centres.volume, stocks.room, None)
        if self._fill is not None:
            return self.overflow(stocks, moved, self._fill, None), state
        reserve = self._reserve * stocks.daily.sum(axis=-1)
        rest = np.maximum(stocks.dock - moved.sum(axis=-1) - reserve, 0.0)
        return moved + rest[..., None] * self.regional_shares(stocks), state

    def levels(self, stocks: Stocks) -> Floats:
        """The covers."""
        caught = stocks.daily @ self.centres.catchment.T
        local = self._local * stocks.nearby
        return np.where(self.centres.regional, self._regional * caught, local)


class CoverEqualisation(PlacementRule):
    """Lifts the centres with the fewest days of cover, all to the same."""

    def __init__(self, facts: Facts, most_days: float, dock_fill: float) -> None:
        """Takes the most cover of a centre, and the share of its shelf that a dock may fill."""
        super().__init__(facts, "cover_equalisation")
        self._most, self._fill = most_days, dock_fill

    def transfers(self, stocks: Stocks, state: Any, episode_start: Starts) -> tuple[Floats, Any]:
        """The emptiest first; the rest waits at the dock while there is room."""
        reached = stocks.nearby * self.centres.reached
        cover = np.minimum(fair_cover(stocks.position, reached, stocks.dock), self._most)
        moved = rationed(np.maximum(reached * cover - stocks.position, 0.0), stocks.dock)
        moved = in_room(moved, self.centres.volume, stocks.room, None)
        return self.overflow(stocks, moved, self._fill, None), state


def hub_only(env: Any) -> HubOnly:
    """All stock to the regional centres, by forecast share of the regions that ask each first.

    The zero of the scores. The dock keeps nothing but what the regional centres have no room for,
    and no local centre is ever sent anything: what it held at first sells out.
    """
    return HubOnly(Facts(env))


def _push_space(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("local_days", 2.0, 14.0, least=0.0, most=90.0),
        Parameter("regional_days", 2.0, 14.0, least=0.0, most=90.0),
        Parameter("reserve_days", 0.0, 4.0, least=0.0, most=90.0),
    )


@tuned_by(_push_space)
def forecast_share_push(
    env: Any,
    local_days: float | None = None,
    regional_days: float | None = None,
    reserve_days: float | None = None,
) -> Push:
    """Push by forecast share: every centre is filled to a cover of forecast, alike when short.

    The placement that follows the regional forecast, which the literature on placement starts from
    (Acimovic & Graves, Manufacturing & Service Operations Management 17, 2015). What a dock has
    above a reserve goes to the regional centres, for cross-docks do not store.

    Args:
        env: a built environment in which transfers are decided.
        local_days: cover of a local centre, days of its home regions' demand.
        regional_days: cover of a regional centre, days of its catchment's demand.
        reserve_days: of all demand, that a dock keeps of a product.
    """
    facts = Facts(env)
    if local_days is None or regional_days is None:
        Push(facts, "forecast_share_push", 0.0, 0.0)
        return forecast_share_push(env, **tuned("forecast_share_push", facts))
    reserve = 0.0 if reserve_days is None else reserve_days
    return Push(
        facts,
        "forecast_share_push",
        local_days,
        regional_days,
        reserve_days=reserve,
        local_first=False,
    )


def _equal_space(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("most_days", 2.0, 14.0, least=0.0, most=90.0),
        Parameter("dock_fill", 0.1, 0.9, least=0.0, most=2.0),
    )


@tuned_by(_equal_space)
def cover_equalisation(
    env: Any, most_days: float | None = None, dock_fill: float = 0.5
) -> CoverEqualisation:
    """Fair share: a lot goes to the centres of least cover, until all have the same days.

    Equal run-out times are the balanced allocation under which the echelons of Clark & Scarf
    (Management Science 6, 1960) decouple, and optimal for the myopic allocation problem of
    Federgruen & Zipkin (Management Science 30, 1984) where demands differ in scale alone. What
    would lift all centres above a longest cover waits at the dock.

    Args:
        env: a built environment in which transfers are decided.
        most_days: longest cover of a centre, days of its home regions' demand.
        dock_fill: share of the dock's shelf below which the rest stays there; above, it goes to
            the regional centres.
    """
    facts = Facts(env)
    if most_days is None:
        CoverEqualisation(facts, 0.0, 0.0)
        return cover_equalisation(env, **tuned("cover_equalisation", facts))
    return CoverEqualisation(facts, most_days, dock_fill)


def _local_first_space(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("local_days", 2.0, 14.0, least=0.0, most=90.0),
        Parameter("regional_days", 1.0, 9.0, least=0.0, most=90.0),
        Parameter("dock_fill", 0.1, 0.9, least=0.0, most=2.0),
    )


@tuned_by(_local_first_space)
def local_first_with_reserve(
    env: Any,
    local_days: float | None = None,
    regional_days: float = 6.0,
    dock_fill: float = 0.3,
) -> Push:
    """Local centres first, then the regional ones to a cover; the dock keeps the rest.

    A dock's stock can still go anywhere, a centre's cannot be sent on: so the rest waits at the
    dock while it fills no more than a share of its shelf, and goes to the regional centres above
    that, all products alike. Written after what a trained placement policy did.

    Args:
        env: a built environment in which transfers are decided.
        local_days: cover of a local centre, days of its home regions' demand.
        regional_days: cover of a regional centre, days of its catchment's demand.
        dock_fill: share of the dock's shelf below which the rest stays there.
    """
    facts = Facts(env)
    if local_days is None:
        Push(facts, "local_first_with_reserve", 0.0, 0.0)
        return local_first_with_reserve(env, **tuned("local_first_with_reserve", facts))
    return Push(facts, "local_first_with_reserve", local_days, regional_days, dock_fill)
