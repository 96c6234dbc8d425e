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
L      truck lane: transfer, outbound, hub lanes and linehauls, in this order
F      parcel lane, with bins by slack: outbound, hub and (with pallets) transfer lanes
G      pool of trucks and drivers
V      supplier
O      owner of a product: 0 the retailer, 1.. the sellers
T      period
K      slack of a parcel, in periods to its last on-time dispatch
M      part shipment of an order
====== =========================================================

In memory the batch runs fastest: a NumPy array (B, N, P) is a view of a contiguous (N, P, B). Sums
over products then add whole rows of replicas (6 us at 256 x 4 x 12, against 16 to 30 us with the
products contiguous), and the slice of a node is one block. Ufuncs keep the order of their
operands; what makes arrays afresh goes through `batch_fastest`, `empty`, `stack`, `concat` and
`take`. Only speed depends on it. Observations and actions, which people read, put the product first
(rows per product); tasks do that transposition.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

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


def to_numpy(array: Array) -> npt.NDArray[Any]:
    """The array itself, or a tensor's values without its gradient."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def at_least(array: Array, low: float) -> Array:
    """Elementwise maximum with a number; quicker than `clip` on small NumPy arrays."""
    return np.maximum(array, low) if isinstance(array, np.ndarray) else array.clamp(min=low)


def at_most(array: Array, high: float) -> Array:
    """Elementwise minimum with a number; quicker than `clip` on small NumPy arrays."""
    return np.minimum(array, high) if isinstance(array, np.ndarray) else array.clamp(max=high)


def anywhere(condition: Array) -> bool:
    """Whether a condition holds for any entry; in NumPy ten times quicker than `any` if small."""
    if isinstance(condition, np.ndarray):
        return bool(np.count_nonzero(condition))
    return bool(condition.any())


def all_sum(array: Array) -> Array:
    """Sum over all axes but the first, products first, so that a row sums alike in any batch."""
    while array.ndim > 1:
        array = product_sum(array)
    return array


def as_like(values: Any, array: Array) -> Array:
    """Constants `values` in the namespace, precision and place of `array`."""
    if isinstance(array, np.ndarray):
        return np.asarray(values, array.dtype)
    return namespace(array).asarray(np.array(values), dtype=array.dtype, device=array.device)


def fill_share(available: Array, wanted: Array) -> Array:
    """Share of `wanted` that `available` can serve, clamped to [0, 1].

    Both clamps matter: a rounding error that leaves `available` a hair below zero over a wanted
    amount of zero would otherwise explode. `available` must be finite (see `UNLIMITED`), else the
    gradient is not.
    """
    return at_most(at_least(available / at_least(wanted, SMALLEST), 0.0), 1.0)


def weighted_sum(array: Array, weight: Array) -> Array:
    """Sum over the last axis of `array * weight`, with `weight` of shape (P,)."""
    return product_sum(array * weight)


def product_sum(array: Array) -> Array:
    """Sum over the last axis, term after term, so that a row gives the same bits in any batch."""
    if array.shape[-1] == 1:
        return array[..., 0]
    if not isinstance(array, np.ndarray):
        return array.sum(-1)
    if array.shape[0] > 1 and array.strides[0] < array.strides[-1]:
        return np.add.reduce(array, -1)  # the batch is fastest: adds row after row
    return np.add.accumulate(array, -1)[..., -1]  # where `reduce` would add in pairs


def batch_fastest(values: Any, dtype: Any) -> Array:
    """A NumPy copy whose first axis runs fastest in memory."""
    values = np.asarray(values)
    copy = empty(values.shape, dtype)
    copy[...] = values
    return copy


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised NumPy array whose first axis runs fastest in memory."""
    if len(shape) < 2 or shape[0] == 1:
        return np.empty(shape, dtype)
    last = len(shape) - 1
    return np.empty((*shape[1:], shape[0]), dtype).transpose((last, *range(last)))


def stack(arrays: Sequence[Array], axis: int) -> Array:
    """Arrays (B, ...) side by side along a new axis (not the first)."""
    first = arrays[0]
    if not isinstance(first, np.ndarray):
        return namespace(first).stack(list(arrays), axis=axis)
    joined = empty((*first.shape[:axis], len(arrays), *first.shape[axis:]), first.dtype)
    if axis == 1:
        for k, array in enumerate(arrays):
            joined[:, k] = array
        return joined
    before = (slice(None),) * axis
    for k, array in enumerate(arrays):
        joined[(*before, k)] = array
    return joined


def concat(arrays: Sequence[Array], axis: int = 1) -> Array:
    """Arrays (B, ...) joined along an axis (not the first)."""
    first = arrays[0]
    if not isinstance(first, np.ndarray):
        return namespace(first).concat(tuple(arrays), axis=axis)
    length = sum(array.shape[axis] for array in arrays)
    joined = empty((*first.shape[:axis], length, *first.shape[axis + 1 :]), first.dtype)
    before, start = (slice(None),) * axis, 0
    for array in arrays:
        stop = start + array.shape[axis]
        joined[(*before, slice(start, stop))] = array
        start = stop
    return joined


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


def round_in_turn(array: Array, axis: int) -> Array:
    """Rounds along an axis so that every running total is rounded: what one loses, the next gains.

    An entry moves by less than a unit, and a whole upper bound of an entry stays one. The gradient
    in torch is that of the identity.
    """
    xp = namespace(array)
    upto = xp.floor(xp.cumulative_sum(array, axis=axis, include_initial=True) + 0.5)
    last = xp.moveaxis(upto, axis, -1)
    whole = xp.moveaxis(last[..., 1:] - last[..., :-1], -1, axis)
    return whole if xp is np else array + (whole - array).detach()


class SumPlan(NamedTuple):
    """How entries of axis 1 (lanes, regions) add up to groups (nodes), for `gather_sum`."""

    num_groups: int
    is_identity: bool  # every group has one entry, its own
    first: tuple[tuple[slice, slice], ...]  # runs (groups, entries): the first entry of each group
    more: tuple[tuple[slice, slice], ...]  # runs of the others, each to be added
    idle: tuple[slice, ...]  # runs of groups without an entry

    @classmethod
    def of(cls, group_of: Any, num_groups: int) -> "SumPlan":
        """The plan for entries whose groups are `group_of`; -1 leaves an entry out."""
        groups = [int(g) for g in group_of]
        entries = [e for e, g in enumerate(groups) if g >= 0]
        first = [e for e in entries if groups[e] not in groups[:e]]
        return cls(
            num_groups,
            groups == list(range(num_groups)),
            _runs([(groups[e], e) for e in first]),
            _runs([(groups[e], e) for e in entries if e not in first]),
            tuple(run for run, _ in _runs([(g, g) for g in range(num_groups) if g not in groups])),
        )


def _runs(pairs: list[tuple[int, int]]) -> tuple[tuple[slice, slice], ...]:
    """Joins pairs (group, entry) whose numbers both go up by one into pairs of slices."""
    runs: list[list[int]] = []
    for group, entry in pairs:
        if runs and (group, entry) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            runs[-1][2] += 1
        else:
            runs.append([group, entry, 1])
    return tuple((slice(g, g + size), slice(e, e + size)) for g, e, size in runs)


def gather_sum(array: Array, plan: SumPlan) -> Array:
    """Sums axis 1 of `array` (B, E, ...) into groups, (B, G, ...), in the order of entries."""
    if plan.is_identity:
        return array
    shape = (array.shape[0], plan.num_groups, *array.shape[2:])
    total = empty(shape, array.dtype) if isinstance(array, np.ndarray) else array.new_empty(shape)
    for run in plan.idle:
        total[:, run] = 0.0
    for groups, entries in plan.first:
        total[:, groups] = array[:, entries]
    for groups, entries in plan.more:
        total[:, groups] += array[:, entries]
    return total


def plus_gathered(base: Array, array: Array, plan: SumPlan) -> Array:
    """`base + gather_sum(array, plan)`, touching only the groups that have entries."""
    if plan.is_identity:
        return base + array
    total = copy_of(base)
    for groups, entries in (*plan.first, *plan.more):
        total[:, groups] += array[:, entries]
    return total


def minus_gathered(base: Array, array: Array, plan: SumPlan) -> Array:
    """`base - gather_sum(array, plan)`, touching only the groups that have entries."""
    if plan.is_identity:
        return base - array
    total = copy_of(base)
    for groups, entries in (*plan.first, *plan.more):
        total[:, groups] -= array[:, entries]
    return total


def copy_of(array: Array) -> Array:
    """A copy that may be written to, in the same order in memory."""
    return array.copy("K") if isinstance(array, np.ndarray) else array.clone()


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
    total = empty(shape, units.dtype)
    total[...] = 0.0
    index = slot.astype(np.intp)
    for m in range(units.shape[1]):
        at = index[:, m : m + 1]
        had = np.take_along_axis(total, at, 1)
        np.put_along_axis(total, at, had + units[:, m : m + 1], 1)
    return total


def ascending_order(array: Array) -> Array:
    """Indices that sort the last axis, ties in their order."""
    if isinstance(array, np.ndarray):
        return np.argsort(array, axis=-1, kind="stable")
    return array.argsort(dim=-1, stable=True)


def take_along(array: Array, index: Array, axis: int) -> Array:
    """Entries of an axis, by indices of their own for every row."""
    if isinstance(array, np.ndarray):
        return np.take_along_axis(array, index, axis)
    return array.take_along_dim(index, axis)


def index_of(values: Any) -> Any:
    """Whole numbers as an index for `take`: a slice, which copies nothing, where they are a run."""
    index = np.asarray(values, dtype=np.intp)
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def take(array: Array, index: Any) -> Array:
    """Entries `index` of axis 1."""
    if isinstance(index, slice):
        return array[:, index]
    if not isinstance(array, np.ndarray):
        return array.index_select(1, index)
    if array.shape[0] == 1:
        return array.take(index, 1)
    if array.ndim == 2:
        return array.T.take(index, 0).T
    return array.transpose(1, 2, 0).take(index, 0).transpose(2, 0, 1)


def sum_entries(array: Array) -> Array:
    """Sum over axis 1, entry after entry, so that a row gives the same bits in any batch."""
    entries = array.shape[1]
    if isinstance(array, np.ndarray) and entries > 2:
        if array.shape[0] == 1:
            return np.add.accumulate(array, 1)[:, -1]
        if entries > 8 and array.strides[0] < array.strides[1]:
            return np.add.reduce(array, 1)
    total = array[:, 0]
    for k in range(1, entries):
        total = total + array[:, k]
    return total
