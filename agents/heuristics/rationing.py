"""Who gets how much of what is short: stock among centres, space among products.

Axes: B batch, P product, F fulfilment centre. One source serves NumPy and torch, so that gradients
pass through a rule made of these: all are piecewise rational in units, weights and space. They are
continuous but where the order of `worth` changes, where all that is shared by vanishes, and for
products of zero weight in `level_share`, which keep nothing until everything fits.
"""

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import Array, as_like, at_least, at_most, namespace

NOTHING = 1e-12
"""Amounts below count as nothing where a ratio is formed."""


def volume_of(moved: Array, volume: Array) -> Array:
    """ft3 of units (B, P, F) by centre, (B, F); a unit has `volume` (P,) ft3."""
    return (moved * volume[:, None]).sum(1)


def rationed(need: Array, available: Array) -> Array:
    """Needs (B, P, F), cut in proportion to what there is (B, P)."""
    total = at_least(need.sum(-1), NOTHING)
    return need * at_most(at_least(available, 0.0) / total, 1.0)[..., None]


def shares(weight: Array, among: npt.NDArray[np.bool_]) -> Array:
    """Weights (..., F) as parts of one over the centres `among`; equal parts where all are 0."""
    xp, inside = namespace(weight), as_like(among, weight)
    weight = weight * inside
    total = weight.sum(-1)[..., None]
    return xp.where(total > 0, weight / at_least(total, NOTHING), inside / inside.sum())


def filled(position: Array, target: Array, available: Array) -> Array:
    """Units that lift the emptiest centres, all to the same share of their targets, (B, P, F).

    Where target and position are 0 the need stays 0, but torch's subgradient of it by the position
    is -1.
    """
    level = at_most(fair_cover(position, target, available), 1.0)
    return rationed(at_least(level * target - position, 0.0), available)


def fair_cover(position: Array, daily: Array, available: Array) -> Array:
    """The days of cover up to which a lot lifts the emptiest centres, (..., 1).

    The t with sum_f max(t daily_f - position_f, 0) = available: over the centres in order of their
    cover, the least of (available + their stock) / their demand. 0 where nowhere is demand.

    Args:
        position: (..., F) units.
        daily: (..., F) units per day; centres without demand get nothing.
        available: (...,) units to share.
    """
    xp = namespace(position)
    needed = daily > 0
    nothing = position * 0.0
    cover = xp.where(needed, position / at_least(daily, NOTHING), nothing + np.inf)
    order = _order(cover, -1)
    demand = _taken(daily, order, -1).cumsum(-1)
    stock = _taken(xp.where(needed, position, nothing), order, -1).cumsum(-1)
    reached = (available[..., None] + stock) / at_least(demand, NOTHING)
    least = xp.min(xp.where(demand > 0, reached, nothing + np.inf), axis=-1)
    return xp.where(xp.isfinite(least), least, available * 0.0)[..., None]


def level_share(units: Array, weight: Array, volume: Array, space: Array) -> Array:
    """As many units (B, P) as fit a space (B,) ft3, each product up to one level times its weight.

    min(units, level * weight) with the highest level that fits. With the products in order of the
    level that takes all of them, what a level takes is concave and piecewise linear; the line of
    each piece lies above it, so that the level sought is the highest at which one meets the space.
    """
    xp = namespace(units)
    nothing = units * 0.0
    order = _order(xp.where(units > 0, units / at_least(weight, NOTHING), nothing), 1)
    full = _taken(units * volume, order, 1)
    slope = _taken(weight * volume, order, 1)
    below = full.cumsum(1) - full  # ft3 of the products that a level takes whole
    rising = xp.flip(xp.flip(slope, axis=1).cumsum(1), axis=1)  # ft3 per level of the others
    space = at_least(space, 0.0)[:, None]
    level = xp.max((space - below) / at_least(rising, NOTHING), axis=1)[:, None]
    some = xp.minimum(units, at_least(level, 0.0) * weight)
    return xp.where((units * volume).sum(1)[:, None] <= space, units, some)


def within(units: Array, volume: Array, space: Array, worth: Array) -> Array:
    """As many of the units as fit a space, those of most worth first.

    Args:
        units: (B, P, ...) of products.
        volume: (P, ...) ft3 per unit.
        space: (B, 1, ...) ft3.
        worth: like units; it counts as given.
    """
    order = _order(-worth, 1)
    claimed = _taken(units * volume, order, 1)
    before = claimed.cumsum(1) - claimed
    fits = at_most(at_least((space - before) / at_least(claimed, NOTHING), 0.0), 1.0)
    return units * _taken(fits, _order(order, 1), 1)


def in_room(units: Array, volume: Array, room: Array, worth: Array | None) -> Array:
    """Cuts transfers (B, P, F) to the centres' room (B, F) ft3.

    Where `worth` (B, P, F), USD per ft3, is given, what is worth most goes first; else all products
    are cut alike, as the network itself would do.
    """
    room = at_least(room, 0.0)
    if worth is None:
        wanted = at_least(volume_of(units, volume), NOTHING)
        return units * at_most(room / wanted, 1.0)[:, None]
    return within(units, volume[:, None], room[:, None], worth)


def _order(values: Array, axis: int) -> Array:
    """Indices in ascending order; what is equal stays in its order."""
    if isinstance(values, np.ndarray):
        return values.argsort(axis=axis, kind="stable")
    return values.argsort(dim=axis, stable=True)


def _taken(values: Array, index: Array, axis: int) -> Array:
    if isinstance(values, np.ndarray):
        return np.take_along_axis(values, index, axis=axis)
    return values.take_along_dim(index, dim=axis)
