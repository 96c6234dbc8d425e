"""Loading: bin packing offline and online, and the knapsack."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import optimize, sparse

MOST_PATTERNS = 200_000


def _decreasing(items: Sequence[int], capacity: int, best_fit: bool) -> int:
    room: list[int] = []
    for item in sorted(items, reverse=True):
        if item > capacity:
            raise ValueError(f"items: {item} exceeds the capacity {capacity}")
        fits = [k for k, free in enumerate(room) if free >= item]
        if not fits:
            room.append(capacity - item)
        else:
            k = min(fits, key=lambda k: room[k]) if best_fit else fits[0]
            room[k] -= item
    return len(room)


def first_fit_decreasing(items: Sequence[int], capacity: int) -> int:
    """Number of bins; at most 11/9 of the optimum + 6/9 (Johnson 1973; Dosa 2007)."""
    return _decreasing(items, capacity, best_fit=False)


def best_fit_decreasing(items: Sequence[int], capacity: int) -> int:
    """Number of bins: each item goes where the least room is left."""
    return _decreasing(items, capacity, best_fit=True)


def fewest_bins(items: Sequence[int], capacity: int) -> int:
    """The exact number of bins: a set covering of all patterns (Gilmore & Gomory 1961), by HiGHS.

    Raises:
        ValueError: if an item does not fit, or there are too many patterns.
    """
    counts = Counter(items)
    sizes = sorted(counts, reverse=True)
    if sizes[0] > capacity:
        raise ValueError(f"items: {sizes[0]} exceeds the capacity {capacity}")
    bound = math.ceil(sum(items) / capacity)
    if first_fit_decreasing(items, capacity) == bound:
        return bound
    patterns = _maximal_patterns(sizes, [counts[size] for size in sizes], capacity)
    columns = sparse.csc_array(np.array(patterns).T)
    demand = np.array([counts[size] for size in sizes])
    found = optimize.milp(
        np.ones(len(patterns)),
        constraints=optimize.LinearConstraint(columns, lb=demand),
        integrality=np.ones(len(patterns)),
        bounds=optimize.Bounds(0, max(counts.values())),
    )
    if not found.success:
        raise RuntimeError(f"bin packing: {found.message}")
    return int(round(found.fun))


def _maximal_patterns(sizes: list[int], most: list[int], capacity: int) -> list[list[int]]:
    """All loads of a bin to which no further item can be added."""
    patterns: list[list[int]] = []

    def extend(k: int, room: int, load: list[int]) -> None:
        if len(patterns) > MOST_PATTERNS:
            raise ValueError("bin packing: too many patterns for the exact oracle")
        if k == len(sizes):
            spare = [s for s, n, m in zip(sizes, load, most, strict=True) if n < m]
            if not spare or min(spare) > room:
                patterns.append(load)
            return
        for n in range(min(most[k], room // sizes[k]), -1, -1):
            extend(k + 1, room - n * sizes[k], [*load, n])

    extend(0, capacity, [])
    return patterns


def knapsack(values: Sequence[float], weights: Sequence[int], capacity: int) -> float:
    """The best value of a 0-1 knapsack, by dynamic programming (Bellman 1957)."""
    best = np.zeros(capacity + 1)
    for value, weight in zip(values, weights, strict=True):
        if weight <= capacity:
            best[weight:] = np.maximum(best[weight:], best[: capacity + 1 - weight] + value)
    return float(best[-1])


def waste_per_item(sizes: Sequence[int], probabilities: Sequence[float], capacity: int) -> float:
    """w(F): the least long-run waste per item that any packing of random items can reach.

    The flow formulation of the pattern LP: item j lifts bins from level h to h + s_j, each item is
    packed, bins may stop at any level and waste the rest (Csirik et al., On the sum-of-squares
    algorithm for bin packing, Journal of the ACM 53, 2006).
    """
    arcs = [(h, j) for h in range(capacity) for j, size in enumerate(sizes) if h + size <= capacity]
    cost = np.zeros(len(arcs))
    rows, columns, entries = [], [], []
    for k, (h, j) in enumerate(arcs):
        # a bin that stops at h + s wastes the rest; one that goes on from h does not stop at h
        cost[k] = (capacity - h - sizes[j]) - (capacity - h if h > 0 else 0)
        if h > 0:
            rows.append(h - 1)
            columns.append(k)
            entries.append(1.0)
        if h + sizes[j] < capacity:
            rows.append(h + sizes[j] - 1)
            columns.append(k)
            entries.append(-1.0)
    flow = sparse.csr_array((entries, (rows, columns)), shape=(capacity - 1, len(arcs)))
    item = np.array([j for _, j in arcs])
    packed = sparse.csr_array((np.ones(len(arcs)), (item, np.arange(len(arcs)))))
    keep = [j for j, p in enumerate(probabilities) if p > 0]
    found = optimize.linprog(
        cost,
        A_ub=flow,
        b_ub=np.zeros(capacity - 1),
        A_eq=packed[keep],
        b_eq=np.asarray(probabilities)[keep],
        bounds=[(0, None if probabilities[j] > 0 else 0) for j in item],
    )
    if not found.success:
        raise RuntimeError(f"waste per item: {found.message}")
    return max(float(found.fun), 0.0)


def online_waste(items: Sequence[int], capacity: int, rule: str = "sum_of_squares") -> int:
    """Room left in bins that were opened and are not full, after packing items as they come.

    Args:
        items: sizes in the order of arrival, whole units of at most the capacity.
        capacity: of a bin.
        rule: "sum_of_squares" keeps the sum over levels of (number of bins)^2 least, opening a bin
            being one of the choices (Csirik et al. 2006); "best_fit" takes the fullest bin that
            has room.

    Returns:
        Units of room.
    """
    if rule not in ("sum_of_squares", "best_fit"):
        raise ValueError(f"rule: unknown {rule!r}; known: best_fit, sum_of_squares")
    bins = [0] * (capacity + 1)  # by level; level 0 stands for a new bin, full ones are closed
    for size in items:
        if not 0 < size <= capacity:
            raise ValueError(f"items: sizes must lie within the capacity, got {size}")
        levels = [h for h in range(capacity - size, 0, -1) if bins[h]]
        if rule == "best_fit":
            chosen = levels[0] if levels else 0
        else:
            # change of the sum of squares: 2 (N(h + s) - N(h)) + 2, without the terms that are
            # not counted (new bins, full bins)
            chosen, least = -1, math.inf
            for h in (*levels, 0):
                change = (2 * bins[h + size] + 1) if h + size < capacity else 0
                change -= (2 * bins[h] - 1) if h > 0 else 0
                if change < least:
                    chosen, least = h, change
        if chosen > 0:
            bins[chosen] -= 1
        if chosen + size < capacity:
            bins[chosen + size] += 1
    return sum((capacity - h) * n for h, n in enumerate(bins) if 0 < h < capacity)


__all__ = [
    "best_fit_decreasing",
    "fewest_bins",
    "first_fit_decreasing",
    "knapsack",
    "online_waste",
    "waste_per_item",
]
