"""The proportional-share market, in which users bid for a scarce quantity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from stockyard.agents.oracles.demand import Floats


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
