"""Turns the changes of a scenario, told in shares and days, into those of a world's processes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.capacities import CapacityChange, RentSeason
from stockyard.envs.network.processes import LeadChange
from stockyard.envs.network.shocks import DemandShock, Launches, Season
from stockyard.envs.network.topology import Network, Promise
from stockyard.envs.network.windows import Window
from stockyard.envs.scenarios.catalogue import between_ranks
from stockyard.envs.scenarios.checks import POOL_LIMITS
from stockyard.envs.scenarios.presets import Retail, Size
from stockyard.envs.scenarios.scenario import Change, LimitChange, Scenario, span

Floats = npt.NDArray[np.float64]


def _days(start: Any, dims: Size, retail: Retail) -> tuple[int, int]:
    """First and last day of the tape on which something may begin."""
    low, high = span(start)
    horizon, burn_in = dims.horizon_days, retail.burn_in_days
    return burn_in + round(low * horizon), burn_in + round(high * horizon)


def window_of(change: Change, dims: Size, retail: Retail) -> Window:
    """The window of a change."""
    first, last = _days(change.start, dims, retail)
    return Window(
        key=change.key,
        first_day=first,
        last_day=last,
        days=change.days,
        offset_days=change.offset_days,
        ramp_days=change.ramp_days,
        recovery_days=change.recovery_days,
        announced_days=change.announced_days,
    )


def demand_parts(
    scenario: Scenario, names: tuple[str, ...], dims: Size, retail: Retail
) -> dict[str, Any]:
    """What a scenario adds to `MartingaleDemand`: season, shocks, launches, and plain fields."""
    shocks = [
        DemandShock(
            window=window_of(change, dims, retail),
            lift=change.factor,
            affected=between_ranks(change.key, names, *span(change.products)),
            common_sd=change.common_sd,
            product_sd=change.product_sd,
            is_event=change.is_event,
        )
        for change in scenario.demand_changes
    ]
    parts: dict[str, Any] = {"shocks": tuple(shocks), **scenario.demand}
    if scenario.season is not None:
        parts["season"] = Season(**scenario.season)
    if scenario.launches is not None:
        settings = dict(scenario.launches)
        first, last = _days(settings.pop("start", 0.1), dims, retail)
        share = float(settings.pop("share", 0.3))
        affected = between_ranks("launch", names, 0.0, share)
        parts["launches"] = Launches(affected, first, last, **settings)
    return parts


def lead_changes(
    scenario: Scenario, network: Network, dims: Size, retail: Retail
) -> tuple[LeadChange, ...]:
    """Changes of lead times."""
    return tuple(
        LeadChange(
            window_of(change, dims, retail),
            change.factor,
            _share_of(len(network.suppliers), change.suppliers),
        )
        for change in scenario.lead_changes
    )


def _share_of(count: int, shares: tuple[float, float]) -> Floats:
    """(count,) 1 from one share of the entries to another; at least one."""
    low, high = span(shares)
    first = round(low * count)
    last = max(round(high * count), first + 1)
    index = np.arange(count)
    return np.asarray((index >= first) & (index < last), dtype=np.float64)


def limit_changes(
    scenario: Scenario, network: Network, dims: Size, retail: Retail
) -> tuple[CapacityChange, ...]:
    """Changes of limits."""
    return tuple(
        CapacityChange(
            field=change.limit,
            window=window_of(change, dims, retail),
            factor=change.factor,
            affected=_whom(change, network, dims),
            one_of_affected=change.limit != "supplier" and change.nodes == "one_centre",
        )
        for change in scenario.limit_changes
        if change.limit not in POOL_LIMITS
    )


def _whom(change: LimitChange, network: Network, dims: Size) -> Floats:
    """(E,) 1 for the nodes or suppliers whose limit changes; rent has one entry."""
    if change.limit == "storage_rent":
        return np.ones(1)
    if change.limit == "supplier":
        return _share_of(len(network.suppliers), change.suppliers)
    docks, regional = dims.num_crossdocks, dims.num_crossdocks + dims.num_regional_centres
    node = np.arange(network.num_nodes)
    chosen = {
        "all": node >= 0,
        "docks": node < docks,
        "centres": node >= docks,
        "one_centre": node >= docks,
        "regional": (node >= docks) & (node < regional),
        "local": node >= regional,
    }
    return chosen[change.nodes].astype(np.float64)


def rent_season(scenario: Scenario) -> RentSeason | None:
    """The course of storage rent over the year."""
    return None if scenario.rent_season is None else RentSeason(**scenario.rent_season)


def promises(
    scenario: Scenario, network: Network, dims: Size, retail: Retail
) -> tuple[Promise, ...]:
    """What customers are promised by period; () where it never changes.

    A change says all of what is offered (`min_offered_tier` left out is 0, all tiers) and, where it
    gives `acceptance_by_tier`, what is accepted from then on.
    """
    if not scenario.promise_changes:
        return ()
    current, course = network.promise, []
    begins = [
        (retail.burn_in_days + round(c.start * dims.horizon_days) if c.start else 0, c)
        for c in scenario.promise_changes
    ]
    for day in range(retail.burn_in_days + dims.horizon_days):
        for begin, change in begins:
            if begin == day:
                accepted = change.acceptance_by_tier or current.acceptance_by_tier
                current = Promise(change.min_offered_tier, tuple(float(a) for a in accepted))
        course += [current] * network.periods_per_day
    return tuple(course)
