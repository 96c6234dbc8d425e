"""Helpers that let one source run on NumPy and on torch.

Axis letters, used in every docstring of the project:

====== =========================================================
letter axis
====== =========================================================
B      batch: independent replicas, always the first axis
P      product, always the LAST axis inside `stockyard.envs.network`
N      node (cross-dock, fulfilment centre, store)
R      demand region
E      lane: inbound (supplier to node), transfer, or outbound
V      supplier
O      owner of a product: 0 the retailer, 1.. the sellers
T      period
K      slack of a parcel, in periods to its last on-time dispatch
M      part shipment of an order
====== =========================================================

Products stand last because almost every sum of the step runs over products: at 256 x 4 x 12 a
volume-weighted sum takes 14 us with products last and 41 us with nodes last. Observations and
actions, which people read, put the product first (rows per product); tasks do that transposition.
"""

import functools
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""A numpy.ndarray or a torch.Tensor; both sides of an operation are of the same kind."""

UNLIMITED = 1e15
"""A capacity that never binds; finite, so that gradients through ratios stay finite."""

SMALLEST = 1e-9
"""Quantities below a billionth of a unit count as nothing where a ratio is formed."""


def namespace(array: Array) -> Any:
    """Returns the array namespace (NumPy itself, or array-api-compat's torch) of `array`."""
    if isinstance(array, np.ndarray):
        return np
    import array_api_compat

    return array_api_compat.array_namespace(array)


def at_least(array: Array, low: float) -> Array:
    """Elementwise maximum with a number; quicker than `clip` on small NumPy arrays."""
    return np.maximum(array, low) if isinstance(array, np.ndarray) else array.clamp(min=low)


def at_most(array: Array, high: float) -> Array:
    """Elementwise minimum with a number; quicker than `clip` on small NumPy arrays."""
    return np.minimum(array, high) if isinstance(array, np.ndarray) else array.clamp(max=high)


def as_like(values: Any, array: Array) -> Array:
    """Constants `values` in the namespace, precision and place of `array`."""
    return namespace(array).asarray(np.array(values), dtype=array.dtype, device=array.device)


def fill_share(available: Array, wanted: Array) -> Array:
    """Share of `wanted` that `available` can serve, clamped to [0, 1].

    Both clamps matter: a rounding error that leaves `available` a hair below zero over a wanted
    amount of zero would otherwise explode. `available` must be finite (see `UNLIMITED`), else the
    gradient is not.
    """
    return at_most(at_least(available / at_least(wanted, SMALLEST), 0.0), 1.0)


def weighted_sum(array: Array, weight: Array) -> Array:
    """Sum over the last axis of `array * weight`, with `weight` of shape (P,).

    Row b of a batch gives the same bits as the row alone: no contraction runs over the batch.
    """
    if array.shape[-1] == 1:
        return array[..., 0] * weight[0]
    if isinstance(array, np.ndarray):
        return np.vecdot(array, weight)
    return (array * weight).sum(-1)


def product_sum(array: Array) -> Array:
    """Sum over the last axis. In NumPy as a dot product, which takes half the time of `sum`."""
    if array.shape[-1] == 1:
        return array[..., 0]
    if isinstance(array, np.ndarray):
        return np.vecdot(array, _ones(array.shape[-1], array.dtype))
    return array.sum(-1)


@functools.lru_cache(maxsize=64)
def _ones(size: int, dtype: Any) -> Array:
    return np.ones(size, dtype)


def round_straight_through(array: Array) -> Array:
    """Rounds to whole units (half to even); its gradient in torch is that of the identity."""
    xp = namespace(array)
    if xp is np:
        return np.rint(array)
    return array + (xp.round(array) - array).detach()


def floor_straight_through(array: Array) -> Array:
    """Rounds down to whole units; its gradient in torch is that of the identity.

    A millionth of a unit is forgiven, so that 2.9999999 (a rounding error of 3) gives 3.
    """
    xp = namespace(array)
    if xp is np:
        return np.floor(array + 1e-6)
    return array + (xp.floor(array + 1e-6) - array).detach()


class SumPlan(NamedTuple):
    """How entries of axis 1 (lanes, regions) add up to groups (nodes), for `gather_sum`."""

    members: tuple[tuple[int, ...], ...]  # per group, its entries
    group_of: tuple[int, ...]  # per entry, its group; -1 for none

    @classmethod
    def of(cls, group_of: Any, num_groups: int) -> "SumPlan":
        """The plan for entries whose groups are `group_of`; -1 leaves an entry out."""
        groups = [int(g) for g in group_of]
        members = tuple(
            tuple(e for e, g in enumerate(groups) if g == group) for group in range(num_groups)
        )
        return cls(members, tuple(groups))


def gather_sum(array: Array, plan: SumPlan) -> Array:
    """Sums axis 1 of `array` (B, E, ...) into groups, (B, G, ...), in the order of entries."""
    if plan.group_of == tuple(range(len(plan.members))):
        return array
    if isinstance(array, np.ndarray):
        total = np.empty((array.shape[0], len(plan.members), *array.shape[2:]), array.dtype)
        for group, entries in enumerate(plan.members):
            total[:, group] = array[:, entries[0]] if entries else 0.0
            for entry in entries[1:]:
                total[:, group] += array[:, entry]
        return total
    nothing = array[:, :1] * 0.0
    parts = [
        sum((array[:, e : e + 1] for e in entries[1:]), start=array[:, entries[0] : entries[0] + 1])
        if entries
        else nothing
        for entries in plan.members
    ]
    return namespace(array).concat(parts, axis=1)


def spread(units: Array, slot: Array, num_slots: int) -> Array:
    """Puts part shipments into their slots: (B, M, ...) to (B, S, ...), adding what coincides.

    Args:
        units: (B, M, ...) amounts.
        slot: (B, M, ...) whole numbers from 0 to `num_slots` - 1.
        num_slots: S.
    """
    shape = (units.shape[0], num_slots, *units.shape[2:])
    if not isinstance(units, np.ndarray):
        return units.new_zeros(shape).scatter_add(1, slot.long(), units)
    total = np.zeros(shape, units.dtype)
    index = slot.astype(np.intp)
    for m in range(units.shape[1]):
        at = index[:, m : m + 1]
        had = np.take_along_axis(total, at, 1)
        np.put_along_axis(total, at, had + units[:, m : m + 1], 1)
    return total


def take(array: Array, index: Any) -> Array:
    """Entries `index` of axis 1."""
    return array.take(index, 1) if isinstance(array, np.ndarray) else array.index_select(1, index)


def sum_entries(array: Array) -> Array:
    """Sum over axis 1; by slices where it is short, which is several times quicker in NumPy."""
    entries = array.shape[1]
    if entries > 8:
        return array.sum(1)
    total = array[:, 0]
    for k in range(1, entries):
        total = total + array[:, k]
    return total


def with_entry(array: Array, entry: int, values: Array) -> Array:
    """A copy of `array` (B, E, ...) whose entry `entry` of axis 1 is `values`."""
    copy = array.copy() if isinstance(array, np.ndarray) else array.clone()
    copy[:, entry] = values
    return copy
