"""Prices on what products share, space and work at the docks, and the fractiles that pay them.

A unit more of a product takes up space until it is sold, and a part of a day's receiving. Where
both are scarce, the critical fractile of each product must pay for them: with margin m, holding
cost h over a review, volume v, a price s of space (USD per ft3 and review) and a price w of
receiving (USD per ft3), the fractile is

    (m - v w - a v s) / (m - v w + h + (1 - a) v s),

where a is the part of the space's price that is paid by units that sell within the cover too, for
space is shortest just after an arrival. The products with the least margin for their volume give
way first. The prices are multipliers of a relaxed capacity (Hadley & Whitin, Analysis of Inventory
Systems, 1963, chapter 6).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stockyard.agents.heuristics.base import Floats

LEAST_PRICE = 1e-3
"""USD per ft3: where bisection begins, below which a price moves nothing."""

HALVINGS = 14
"""Steps of a bisection between logarithms of prices: the price is then within a thousandth."""


def priced_fractile(
    margin: Floats,
    holding: Floats,
    volume: Floats,
    space_price: Floats,
    receiving_price: Floats,
    entry_share: float = 0.0,
) -> Floats:
    """Critical fractile under prices; 0 where a unit does not pay for its space and its receiving.

    Args:
        margin: USD per unit short.
        holding: USD per unit left over a review period.
        volume: ft3 per unit.
        space_price: USD per ft3 and review period.
        receiving_price: USD per ft3 received.
        entry_share: part of the price of space that units pay that are sold within the cover.
    """
    margin = margin - volume * receiving_price
    won = np.maximum(margin - entry_share * volume * space_price, 0.0)
    total = margin + holding + (1.0 - entry_share) * volume * space_price
    return np.asarray(np.where(won > 0.0, won / np.where(won > 0.0, total, 1.0), 0.0))


def least_price(
    exceeds: Callable[[Floats], npt.NDArray[np.bool_]], shape: tuple[int, ...], top: float
) -> Floats:
    """The least price at which nothing exceeds its capacity, entry by entry.

    Args:
        exceeds: prices -> whether too much is wanted; True to False as its own price rises.
        shape: of the prices.
        top: USD, highest price that is tried.
    """
    free = np.zeros(shape)
    short = exceeds(free)
    if not short.any():
        return free
    low, high = np.full(shape, np.log(LEAST_PRICE)), np.full(shape, np.log(max(top, LEAST_PRICE)))
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        still = exceeds(np.where(short, np.exp(middle), 0.0))
        low, high = np.where(still, middle, low), np.where(still, high, middle)
    return np.where(short, np.exp(high), 0.0)
