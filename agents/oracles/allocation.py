"""Rules that share a scarce quantity: capacity allocation and the proportional-share market."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from stockyard.agents.oracles.demand import Floats


def proportional_allocation(orders: npt.ArrayLike, capacity: float) -> Floats:
    """Everybody gets the same share of the order (Cachon & Lariviere 1999)."""
    asked = np.asarray(orders, dtype=np.float64)
    total = asked.sum()
    return asked if total <= capacity else np.asarray(asked * (capacity / total))


def linear_allocation(orders: npt.ArrayLike, capacity: float) -> Floats:
    """Everybody gets the order less the same amount; who would get less than nothing gets none.

    Cachon & Lariviere, Capacity choice and allocation, Management Science 45, 1999.
    """
    asked = np.asarray(orders, dtype=np.float64)
    if asked.sum() <= capacity:
        return asked
    descending = np.sort(asked)[::-1]
    cuts = (np.cumsum(descending) - capacity) / np.arange(1, len(asked) + 1)
    served = int(np.flatnonzero(descending >= cuts - 1e-12)[-1])
    return np.maximum(asked - max(float(cuts[served]), 0.0), 0.0)


def uniform_allocation(orders: npt.ArrayLike, capacity: float) -> Floats:
    """Everybody gets the order or a common level, whichever is less (Sprumont 1991).

    The only one of the three that nobody gains from misreporting to (Cachon & Lariviere 1999).
    """
    asked = np.asarray(orders, dtype=np.float64)
    if asked.sum() <= capacity:
        return asked
    ascending = np.sort(asked)
    filled = np.concatenate(([0.0], np.cumsum(ascending)))[:-1]
    levels = (capacity - filled) / np.arange(len(asked), 0, -1)
    level = float(levels[np.flatnonzero(levels <= ascending + 1e-12)[0]])
    return np.minimum(asked, level)


@dataclass(frozen=True)
class MarketEquilibrium:
    """The Nash equilibrium of a proportional-share market for one unit."""

    price: float
    shares: Floats  # (n,)
    efficiency: float  # total value over the best possible


def proportional_share_market(values: npt.ArrayLike) -> MarketEquilibrium:
    """Users with linear utilities bid and get shares in proportion (Kelly 1997).

    At the equilibrium of users who anticipate prices a_i (1 - x_i) = price where x_i > 0, and the
    efficiency is at least 3/4 (Johari & Tsitsiklis, Mathematics of Operations Research 29, 2004).

    Args:
        values: a_i, (n,) value of the whole unit to each user, n >= 2.
    """
    a = np.asarray(values, dtype=np.float64)
    if len(a) < 2 or not (a > 0).all():
        raise ValueError("values: at least two, all > 0")
    price = float(
        optimize.brentq(
            lambda x: np.maximum(1.0 - x / a, 0.0).sum() - 1.0, 0.0, a.max(), xtol=1e-15
        )
    )
    shares = np.maximum(1.0 - price / a, 0.0)
    return MarketEquilibrium(price, shares, float(shares @ a / a.max()))
