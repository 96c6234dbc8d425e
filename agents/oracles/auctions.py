"""Auctions of identical units among bidders with falling marginal values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stockyard.agents.oracles.demand import Floats, Ints


@dataclass(frozen=True)
class Outcome:
    """Who gets how much, and pays what."""

    units: Ints  # (n,)
    payments: Floats  # (n,) USD

    def gains(self, values: npt.ArrayLike) -> Floats:
        """What each bidder gains at marginal values (n, m), USD."""
        worth = np.asarray(values, dtype=np.float64)
        counted = np.arange(worth.shape[1]) < self.units[:, None]
        return np.asarray((worth * counted).sum(axis=1) - self.payments)


def _checked(bids: npt.ArrayLike, supply: int) -> Floats:
    marginal = np.asarray(bids, dtype=np.float64)
    if marginal.ndim != 2 or not (np.diff(marginal, axis=1) <= 1e-12).all():
        raise ValueError("bids: must be (bidders, units), falling from unit to unit")
    if int(supply) != supply or supply < 1:
        raise ValueError(f"supply: must be a whole number >= 1, got {supply!r}")
    return marginal


def _best(marginal: Floats, supply: int) -> tuple[Ints, float]:
    """The units with the highest bids > 0, earlier bidders first among equals; their sum."""
    order = np.argsort(-marginal.ravel(), kind="stable")[:supply]
    chosen = order[marginal.ravel()[order] > 0.0]
    units = np.bincount(chosen // marginal.shape[1], minlength=len(marginal))
    return units.astype(np.int64), float(marginal.ravel()[chosen].sum())


def uniform_price_auction(bids: npt.ArrayLike, supply: int) -> Outcome:
    """The highest bids win, and all pay the highest that lost.

    Who wants several units gains by asking for fewer (Ausubel & Cramton, Demand Reduction and
    Inefficiency in Multi-Unit Auctions, 2002).

    Args:
        bids: (n, m) USD for each bidder's first, second, ... unit.
        supply: units.
    """
    marginal = _checked(bids, supply)
    units, _ = _best(marginal, supply)
    ordered = np.sort(marginal.ravel())[::-1]
    price = max(float(ordered[supply]), 0.0) if supply < len(ordered) else 0.0
    return Outcome(units, price * units.astype(np.float64))


def vickrey_auction(bids: npt.ArrayLike, supply: int) -> Outcome:
    """The highest bids win; each pays what the others lose by its presence.

    Nobody gains by misreporting (Vickrey, Journal of Finance 16, 1961). Arguments as of
    `uniform_price_auction`.
    """
    marginal = _checked(bids, supply)
    units, total = _best(marginal, supply)
    counted = np.arange(marginal.shape[1]) < units[:, None]
    own = (marginal * counted).sum(axis=1)
    payments = np.empty(len(marginal))
    for k in range(len(marginal)):
        without = marginal.copy()
        without[k] = 0.0
        payments[k] = _best(without, supply)[1] - (total - own[k])
    return Outcome(units, payments)
