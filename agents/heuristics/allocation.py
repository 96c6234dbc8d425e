"""Rules that share a scarce quantity among those who ask for it."""

import numpy as np
import numpy.typing as npt

from stockyard.agents.heuristics.base import Floats


def proportional_allocation(orders: npt.ArrayLike, capacity: npt.ArrayLike) -> Floats:
    """Everybody gets the same share of the order (Cachon & Lariviere 1999).

    Args:
        orders: (..., S) asked for, >= 0.
        capacity: (...) to be shared.
    """
    asked = np.asarray(orders, dtype=np.float64)
    there = np.asarray(capacity, dtype=np.float64)[..., None]
    total = asked.sum(axis=-1, keepdims=True)
    return np.asarray(asked * np.where(total <= there, 1.0, there / np.maximum(total, 1e-300)))


def linear_allocation(orders: npt.ArrayLike, capacity: npt.ArrayLike) -> Floats:
    """Everybody gets the order less the same amount; who would get less than nothing gets none.

    Cachon & Lariviere, Capacity choice and allocation, Management Science 45, 1999. Arguments as
    of `proportional_allocation`.
    """
    asked = np.asarray(orders, dtype=np.float64)
    there = np.asarray(capacity, dtype=np.float64)[..., None]
    descending = -np.sort(-asked, axis=-1)
    served = np.arange(1, asked.shape[-1] + 1)
    cuts = (np.cumsum(descending, axis=-1) - there) / served
    # of those served, the last still gets something
    last = np.where(descending >= cuts - 1e-12, served, 0).max(axis=-1, keepdims=True)
    cut = np.take_along_axis(cuts, np.maximum(last - 1, 0), axis=-1)
    return np.maximum(asked - np.maximum(cut, 0.0), 0.0)


def uniform_allocation(orders: npt.ArrayLike, capacity: npt.ArrayLike) -> Floats:
    """Everybody gets the order or a common level, whichever is less (Sprumont 1991).

    The only one of the three that nobody gains from misreporting to (Cachon & Lariviere 1999).
    Arguments as of `proportional_allocation`.
    """
    asked = np.asarray(orders, dtype=np.float64)
    there = np.asarray(capacity, dtype=np.float64)[..., None]
    ascending = np.sort(asked, axis=-1)
    before = np.cumsum(ascending, axis=-1) - ascending
    levels = (there - before) / np.arange(asked.shape[-1], 0, -1)
    binds = levels <= ascending + 1e-12
    first = np.argmax(binds, axis=-1)[..., None]
    level = np.take_along_axis(levels, first, axis=-1)
    level = np.where(binds.any(axis=-1, keepdims=True), level, np.inf)
    return np.minimum(asked, np.maximum(level, 0.0))
