"""Placement by what the next unit earns: greedily, and with spillover.

The next unit of a product at a centre that holds x serves a home customer with the probability that
demand over a horizon exceeds x. It earns there what home service is worth over the next best
regional centre. Demand over the horizon is lognormal around the forecast.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.centres import PlacementRule, Stocks, log_deviation
from stockyard.agents.heuristics.rationing import in_room

HALVINGS = 12
"""Halvings of a bracket of prices: to a 4,000th of the dearest."""

Quantile = Callable[[Floats], Floats]
"""Probability (B, P, F) of being exceeded -> units; falls as the probability rises."""


def marginal_allocation(
    quantile: Quantile,
    gain: Floats,
    bonus: Floats,
    position: Floats,
    available: Floats,
    volume: Floats,
    room: Floats,
    space_price: Floats | None = None,
    halvings: int = HALVINGS,
) -> Floats:
    """Gives units to the centres where the next one earns most.

    The next unit at a centre earns gain * P(demand > stock) + bonus. A product's stock is given out
    unit by unit to where that is most, which a price on its stock does at once: every centre
    is filled until the next unit earns no more. Where that overfills a centre, a price on its space
    takes back what earns least per ft3; those units stay where they are, for what they would have
    earned elsewhere they earn later. Both prices are found by bisection.

    Args:
        quantile: stock level at which the probability of more demand is the argument.
        gain: (B, P, F) USD of serving a home customer.
        bonus: (B, P, F) USD that a unit earns whatever the home demand.
        position: (B, P, F) units already there.
        available: (B, P) units to give.
        volume: (P,) ft3 of a unit.
        room: (B, F) ft3.
        space_price: (B, F) USD per ft3, where it is known beforehand.
        halvings: of each bracket of prices.

    Returns:
        (B, P, F) units.
    """
    gain, bonus = np.broadcast_arrays(np.maximum(gain, 1e-9), bonus)
    dearest = np.broadcast_to((gain + bonus).max(axis=-1), available.shape)
    per_volume = np.broadcast_to((dearest / volume).max(axis=-1)[:, None], room.shape)
    given = np.zeros_like(per_volume) if space_price is None else space_price

    def wanted(stock_price: Floats, space_price: Floats) -> Floats:
        needed = stock_price[..., None] + volume[:, None] * space_price[:, None] - bonus
        level = quantile(np.clip(needed / gain, 1e-9, 1.0 - 1e-12))
        return np.where(needed < gain, np.maximum(level - position, 0.0), 0.0)

    def used(space_price: Floats) -> Floats:
        return np.asarray(np.einsum("bpf,p->bf", wanted(stock_price, space_price), volume))

    stock_price = _least(
        dearest, lambda price: wanted(price, given).sum(axis=-1) <= available, halvings
    )
    if space_price is not None:
        return np.asarray(in_room(wanted(stock_price, given), volume, room, None))
    return wanted(stock_price, _least(per_volume, lambda price: used(price) <= room, halvings))


def _least(top: Floats, fits: Callable[[Floats], npt.NDArray[np.bool_]], halvings: int) -> Floats:
    """The least prices between 0 and `top` that fit, each by bisection of its own bracket."""
    low, high = np.zeros_like(top), top
    for _ in range(halvings):
        middle = (low + high) / 2.0
        enough = fits(middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(fits(np.zeros_like(top)), 0.0, high)


class MarginalProfit(PlacementRule):
    """Gives each unit to the centre where it earns most."""

    def __init__(
        self, facts: Facts, name: str, horizon_days: float, dock_fill: float, spills: bool = False
    ) -> None:
        """Takes the horizon over which a unit should sell.

        Args:
            facts: the environment.
            name: of the rule, for errors.
            horizon_days: of demand that stock at a centre is meant for.
            dock_fill: share of the dock's shelf below which what is left stays there.
            spills: whether a unit also earns by serving the regions of others.
        """
        super().__init__(facts, name)
        self._horizon, self._fill, self._spills = horizon_days, dock_fill, spills

    def transfers(self, stocks: Stocks, state: Any, episode_start: Starts) -> tuple[Floats, Any]:
        """Solves for the prices of stock and space of the day."""
        return self.allocate(stocks, None), state

    def allocate(self, stocks: Stocks, space_price: Floats | None) -> Floats:
        """Units to move (B, P, F); see `marginal_allocation`."""
        centres = self.centres
        gain, spill = centres.gains(stocks)
        deviation = log_deviation(stocks.observation)
        scale = stocks.nearby * self._horizon
        home = np.maximum(stocks.nearby, 1e-9)
        s = (deviation * stocks.daily) @ centres.home.T / home

        def quantile(probability: Floats) -> Floats:
            return np.asarray(scale * np.exp(-ndtri(probability) * s - s**2 / 2.0))

        gain = np.where((stocks.nearby > 0) & (centres.reached > 0), gain, 0.0)
        bonus = np.zeros_like(gain)
        if self._spills:
            bonus = spill * self._scarcity(stocks, deviation)[..., None] * centres.reached
        moved = marginal_allocation(
            quantile,
            gain,
            bonus,
            stocks.position,
            stocks.dock,
            centres.volume,
            stocks.room,
            space_price,
        )
        local = (stocks.nearby * ~centres.regional).sum(axis=-1)
        return np.asarray(self.overflow(stocks, moved, self._fill, local))

    def _scarcity(self, stocks: Stocks, deviation: Floats) -> Floats:
        """Probability that all regions together want more than there is anywhere, (B, P)."""
        everywhere = stocks.dock + stocks.position.sum(axis=-1)
        total = np.maximum(stocks.daily.sum(axis=-1), 1e-9)
        spread = np.sqrt(((deviation * stocks.daily) ** 2).sum(axis=-1)) / total
        pooled = np.maximum(spread, 0.01)  # nothing is wanted of what is not sold yet
        ratio = np.maximum(everywhere, 1e-9) / (total * self._horizon)
        return np.asarray(ndtr(-np.log(ratio) / pooled - pooled / 2.0))


def _space(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("horizon_days", 1.0, 5.0, least=0.1, most=90.0),
        Parameter("dock_fill", 0.3, 1.1, least=0.0, most=2.0),
    )


@tuned_by(_space)
def marginal_profit_greedy(
    env: Any, horizon_days: float | None = None, dock_fill: float = 0.6
) -> MarginalProfit:
    """Greedy by marginal expected profit, per ft3 where a centre is full.

    Expected profit is concave in the stock of a centre and submodular in sets of units, so that the
    greedy choice is near-optimal (Nemhauser, Wolsey & Fisher, Mathematical Programming 14, 1978);
    per product it is the newsvendor allocation that equalises the chance of a stock-out times the
    margin. A home customer is worth what acceptance and tariff of the next best regional centre
    would take.

    Args:
        env: a built environment in which transfers are decided.
        horizon_days: days of demand that stock at a centre is meant for.
        dock_fill: share of the dock's shelf below which what is left stays there.
    """
    facts = Facts(env)
    name = "marginal_profit_greedy"
    if horizon_days is None:
        MarginalProfit(facts, name, 1.0, dock_fill)
        return marginal_profit_greedy(env, **tuned(name, facts))
    return MarginalProfit(facts, name, horizon_days, dock_fill)


@tuned_by(_space)
def spillover_aware(
    env: Any, horizon_days: float | None = None, dock_fill: float = 0.6
) -> MarginalProfit:
    """Greedy by marginal profit that counts what a centre's stock earns in other regions.

    A unit that no home customer wants still serves another region, slower and dearer, if all
    regions together want more than there is: the value of fulfilment flexibility that DeValve, Wei,
    Wu & Yuan study (Understanding the value of fulfillment flexibility in an online retailing
    environment, Manufacturing & Service Operations Management 25, 2023). With one lot, ample room
    and one value of spillover the allocation is the optimum of their two-stage problem for one
    period, for then all customers are served by the pool and only where is left to decide.

    Args:
        env: a built environment in which transfers are decided.
        horizon_days: days of demand that stock at a centre is meant for.
        dock_fill: share of the dock's shelf below which what is left stays there.
    """
    facts = Facts(env)
    if horizon_days is None:
        MarginalProfit(facts, "spillover_aware", 1.0, dock_fill)
        return spillover_aware(env, **tuned("spillover_aware", facts))
    return MarginalProfit(facts, "spillover_aware", horizon_days, dock_fill, spills=True)
