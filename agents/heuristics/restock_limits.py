"""Rules that limit sellers: the mechanism `caps`.

Capacity in these rules is a multiple of the storage, for what limits count is on the way for two
weeks before it takes up space, and not all sellers use all they may.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from stockyard.agents.heuristics.allocation import (
    linear_allocation,
    proportional_allocation,
    uniform_allocation,
)
from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Observation,
    Parameter,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.terms import (
    MONTH_DAYS,
    Offer,
    Seen,
    TermsRule,
    within_total,
)

TOTAL = Parameter("total", 0.3, 1.5, least=0.0, most=20.0)
DAYS = Parameter("days", 14.0, 42.0, least=0.0, most=400.0)

Limits = Callable[[Seen, Observation], Offer]


class LimitRule(TermsRule):
    """A rule of the mechanism `caps` from a function that sets limits."""

    def __init__(self, facts: Facts, name: str, limits: Limits) -> None:
        """Takes the function."""
        super().__init__(facts, name)
        self._limits = limits

    def offer(self, seen: Seen, observation: Observation) -> Offer:
        """What sellers are offered."""
        return self._limits(seen, observation)


def no_limit(env: Any) -> LimitRule:
    """Lets everybody send in what they like, storage at the base price: the zero of the scores."""
    return LimitRule(Facts(env), "no_limit", lambda seen, observation: Offer())


@tuned_by(lambda facts: (TOTAL,))
def equal_split(env: Any, total: float | None = None) -> LimitRule:
    """Gives every seller the same space.

    Args:
        env: a built environment in which terms are decided.
        total: all limits together over the storage of the month.
    """
    facts = Facts(env)
    if total is None:
        LimitRule(facts, "equal_split", lambda seen, observation: Offer())
        return equal_split(env, **tuned("equal_split", facts))

    def limits(seen: Seen, observation: Observation) -> Offer:
        each = total * seen.storage / seen.request.shape[1]
        return Offer(limit=np.repeat(each[:, None], seen.request.shape[1], axis=1))

    return LimitRule(facts, "equal_split", limits)


def _shared(
    name: str, allocate: Callable[[Floats, Floats], Floats]
) -> Callable[[Any, float | None], LimitRule]:
    """A rule that shares the storage by what sellers ask for."""

    def build(env: Any, total: float | None) -> LimitRule:
        facts = Facts(env)
        if total is None:
            LimitRule(facts, name, lambda seen, observation: Offer())
            return build(env, **tuned(name, facts))

        def limits(seen: Seen, observation: Observation) -> Offer:
            return Offer(limit=allocate(seen.request, total * seen.storage))

        return LimitRule(facts, name, limits)

    return build


@tuned_by(lambda facts: (TOTAL,))
def proportional(env: Any, total: float | None = None) -> LimitRule:
    """Shares space in proportion to requests (Cachon & Lariviere, Management Science 45, 1999).

    Args:
        env: a built environment in which terms are decided.
        total: all limits together over the storage of the month, where requests exceed it.
    """
    return _shared("proportional", proportional_allocation)(env, total)


@tuned_by(lambda facts: (TOTAL,))
def linear(env: Any, total: float | None = None) -> LimitRule:
    """Cuts all requests by the same volume (Cachon & Lariviere, Management Science 45, 1999).

    Args:
        env: a built environment in which terms are decided.
        total: all limits together over the storage of the month, where requests exceed it.
    """
    return _shared("linear", linear_allocation)(env, total)


@tuned_by(lambda facts: (TOTAL,))
def uniform(env: Any, total: float | None = None) -> LimitRule:
    """Grants requests up to a common level (Sprumont 1991; Cachon & Lariviere 1999).

    Args:
        env: a built environment in which terms are decided.
        total: all limits together over the storage of the month, where requests exceed it.
    """
    return _shared("uniform", uniform_allocation)(env, total)


@tuned_by(
    lambda facts: (
        Parameter("earned_days", 10.0, 50.0, least=0.0, most=365.0),
        Parameter("least_days", 0.0, 20.0, least=0.0, most=365.0),
    )
)
def turn_and_earn(
    env: Any, earned_days: float | None = None, least_days: float = 10.0
) -> LimitRule:
    """Limits that past sales earn (Cachon & Lariviere, RAND Journal of Economics 30, 1999).

    Sellers know it, and some cut prices to earn space. Past sales are what shelves allowed: without
    a floor by the forecast such limits spiral down.

    Args:
        env: a built environment in which terms are decided.
        earned_days: days of a seller's past sales.
        least_days: floor of the rest, days of its forecast.
    """
    facts = Facts(env)
    if earned_days is None:
        LimitRule(facts, "turn_and_earn", lambda seen, observation: Offer())
        return turn_and_earn(env, **tuned("turn_and_earn", facts))

    def limits(seen: Seen, observation: Observation) -> Offer:
        floor = least_days * seen.forecast
        return Offer(
            limit=floor[:, :, 0],
            outlook=floor[:, :, 1:] + (earned_days * seen.past)[:, :, None],
            earned_days=np.full(len(seen.past), earned_days),
        )

    return LimitRule(facts, "turn_and_earn", limits)


@tuned_by(
    lambda facts: (
        Parameter("low_days", 7.0, 30.0, least=0.0, most=400.0),
        Parameter("high_days", 20.0, 45.0, least=0.0, most=400.0),
        Parameter("threshold", 550.0, 850.0, least=0.0, most=1000.0),
    )
)
def index_tiers(
    env: Any,
    low_days: float | None = None,
    high_days: float = 30.0,
    threshold: float = 700.0,
) -> LimitRule:
    """Two tiers by the inventory index, as the index that inspired it was used to limit sellers.

    Args:
        env: a built environment in which terms are decided.
        low_days: limit of sellers below the threshold, days of forecast.
        high_days: limit of the others.
        threshold: of the index, 0 to 1000.
    """
    facts = Facts(env)
    if low_days is None:
        LimitRule(facts, "index_tiers", lambda seen, observation: Offer())
        return index_tiers(env, **tuned("index_tiers", facts))

    def limits(seen: Seen, observation: Observation) -> Offer:
        days = (
            np.where(seen.inventory_index >= threshold, high_days, low_days)[:, :, None]
            * seen.forecast
        )
        return Offer(limit=days[:, :, 0], outlook=days[:, :, 1:])

    return LimitRule(facts, "index_tiers", limits)


@tuned_by(lambda facts: (DAYS, TOTAL))
def forecast_need(env: Any, days: float | None = None, total: float = 10.0) -> LimitRule:
    """Limits by what the platform forecasts, scaled down together where space is short.

    Args:
        env: a built environment in which terms are decided.
        days: of a seller's forecast.
        total: most that all limits come to, over the storage of the month.
    """
    facts = Facts(env)
    if days is None:
        LimitRule(facts, "forecast_need", lambda seen, observation: Offer())
        return forecast_need(env, **tuned("forecast_need", facts))

    def limits(seen: Seen, observation: Observation) -> Offer:
        wanted = days * seen.forecast
        return within_total(wanted[:, :, 0], wanted[:, :, 1:], total * seen.storage)

    return LimitRule(facts, "forecast_need", limits)


@tuned_by(
    lambda facts: (
        DAYS,
        TOTAL,
        Parameter("power", -0.2, 0.8, least=-3.0, most=3.0),
        Parameter("new_boost", 0.0, 1.0, least=-1.0, most=20.0),
    )
)
def density_caps(
    env: Any,
    days: float | None = None,
    total: float = 10.0,
    power: float = 0.3,
    new_boost: float = 0.0,
) -> LimitRule:
    """Limits by forecast that favour sellers whose goods are worth more per ft3.

    Space of equal marginal value to all is the optimum of one shared capacity (Hadley & Whitin,
    1963); a power of the relative value per ft3 is what a platform that sees no margins can do.

    Args:
        env: a built environment in which terms are decided.
        days: of a seller's forecast.
        total: most that all limits come to, over the storage of the month.
        power: of the value of sales per ft3 over its mean.
        new_boost: share by which limits of sellers with launches are raised.
    """
    facts = Facts(env)
    if days is None:
        LimitRule(facts, "density_caps", lambda seen, observation: Offer())
        return density_caps(env, **tuned("density_caps", facts))

    def limits(seen: Seen, observation: Observation) -> Offer:
        wanted = days * seen.forecast * _favour(observation, seen, power, new_boost)[:, :, None]
        return within_total(wanted[:, :, 0], wanted[:, :, 1:], total * seen.storage)

    return LimitRule(facts, "density_caps", limits)


def _favour(observation: Observation, seen: Seen, power: float, new_boost: float) -> Floats:
    """Multiple of a seller's limit: value per ft3 over its mean to a power; more for launches."""
    seller = np.rint(np.asarray(observation["product_seller"], dtype=np.float64)).astype(int)
    month = np.asarray(observation["forecast_mean"], dtype=np.float64)[:, :, 2]
    price = np.asarray(observation["product_price"], dtype=np.float64)
    volume = np.asarray(observation["product_volume"], dtype=np.float64)
    sellers = np.arange(1, seen.request.shape[1] + 1)
    theirs = seller[:, None] == sellers[:, None]  # (B, S, P)
    worth = (theirs * (month * price)[:, None]).sum(axis=2)
    space = (theirs * (month * volume)[:, None]).sum(axis=2)
    density = (worth + 1e-6) / (space + 1e-6)
    mean = (worth.sum(axis=1) + 1e-6) / (space.sum(axis=1) + 1e-6)
    favour: Floats = (density / mean[:, None]) ** power * (1.0 + new_boost * seen.new)
    return favour


@tuned_by(
    lambda facts: (
        DAYS,
        Parameter("power", -0.2, 0.8, least=-3.0, most=3.0),
        Parameter("target", 0.4, 0.8, least=0.05, most=5.0),
        Parameter("reaction", 0.0, 1.0, least=-2.0, most=5.0),
        Parameter("foresight", 0.0, 1.0, least=-2.0, most=5.0),
    )
)
def adaptive_need(
    env: Any,
    days: float | None = None,
    power: float = 0.2,
    target: float = 0.6,
    reaction: float = 0.3,
    foresight: float = 0.5,
) -> LimitRule:
    """Forecast limits that shrink where buildings are crowded and where storage will be short.

    The cover is `days` * (target / crowding)^reaction * (storage to come / storage)^foresight: a
    proportional controller on what is seen, and a feedforward term on what is announced.

    Args:
        env: a built environment in which terms are decided.
        days: of a seller's forecast.
        power: of the value of sales per ft3 over its mean.
        target: crowding at which limits are the `days`.
        reaction: power of target over crowding.
        foresight: power of the least storage announced over its long-run mean.
    """
    facts = Facts(env)
    if days is None:
        LimitRule(facts, "adaptive_need", lambda seen, observation: Offer())
        return adaptive_need(env, **tuned("adaptive_need", facts))
    usual = usual_storage(facts)

    def limits(seen: Seen, observation: Observation) -> Offer:
        crowded = target / np.maximum(0.5 * (seen.crowding + seen.crowding_now), 0.05)
        short = seen.storage / usual
        cover = days * crowded**reaction * short**foresight
        wanted = cover[:, None, None] * seen.forecast
        wanted = wanted * _favour(observation, seen, power, 0.0)[:, :, None]
        return Offer(limit=wanted[:, :, 0], outlook=wanted[:, :, 1:])

    return LimitRule(facts, "adaptive_need", limits)


def usual_storage(facts: Facts) -> float:
    """ft3 of storage of all nodes, long-run mean."""
    storage = np.atleast_2d(np.asarray(facts.world.source.capacities.storage, dtype=np.float64))
    return float(storage.mean(axis=0).sum())


def month_need(seen: Seen) -> Floats:
    """ft3 that sellers and platform are forecast to sell in the coming month, (B,)."""
    daily = seen.forecast[:, :, 0].sum(axis=1) + seen.own_forecast[:, 0]
    return np.asarray(MONTH_DAYS * daily)
