"""Orders of several items from several fulfilment centres with a fixed cost per package.

One order arrives per period. Each of its items ships from a centre that has it, or is lost; every
centre that ships anything sends one package. The optimum over a finite horizon is a dynamic program
on the stocks; the deterministic linear program bounds it from below (Jasin & Sinha, An LP-based
correlated rounding scheme for multi-item ecommerce order fulfillment, Operations Research 63,
2015).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

Stock = tuple[int, ...]
"""Units by centre and item: all items of the first centre, then of the second, ..."""


@dataclass(frozen=True)
class OrderStream:
    """Orders by kind, and what they cost to ship."""

    orders: Mapping[tuple[int, ...], float]  # items of an order -> probability
    num_items: int
    package_costs: Sequence[float]  # per centre, USD
    lost_cost: float  # per item that is not shipped, USD

    def choices(self, order: tuple[int, ...]) -> list[tuple[float, Stock]]:
        """Every way to serve an order: its cost, and the stock that it takes."""
        found = []
        centres = len(self.package_costs)
        for sources in itertools.product((*range(centres), None), repeat=len(order)):
            used = [0] * (centres * self.num_items)
            cost = sum(self.package_costs[c] for c in {s for s in sources if s is not None})
            for item, source in zip(order, sources, strict=True):
                if source is None:
                    cost += self.lost_cost
                else:
                    used[source * self.num_items + item] += 1
            found.append((cost, tuple(used)))
        return found


def _after(stock: Stock, used: Stock) -> Stock | None:
    left = tuple(a - b for a, b in zip(stock, used, strict=True))
    return left if min(left) >= 0 else None


def least_cost(stream: OrderStream, stock: Stock, periods: int) -> float:
    """Expected cost of serving so many orders at best, USD."""
    choices = {order: stream.choices(order) for order in stream.orders}

    @functools.cache
    def value(left: Stock, periods_to_go: int) -> float:
        if periods_to_go == 0:
            return 0.0
        total = 0.0
        for order, probability in stream.orders.items():
            total += probability * min(
                cost + value(after, periods_to_go - 1)
                for cost, used in choices[order]
                if (after := _after(left, used)) is not None
            )
        return total

    return value(tuple(stock), periods)


def myopic_cost(stream: OrderStream, stock: Stock, periods: int) -> float:
    """Expected cost of serving every order as cheaply as it can be now, USD.

    Among equals the choice that leaves the lexicographically smallest stock.
    """
    choices = {order: stream.choices(order) for order in stream.orders}

    @functools.cache
    def value(left: Stock, periods_to_go: int) -> float:
        if periods_to_go == 0:
            return 0.0
        total = 0.0
        for order, probability in stream.orders.items():
            cost, after = min(
                (cost, after)
                for cost, used in choices[order]
                if (after := _after(left, used)) is not None
            )
            total += probability * (cost + value(after, periods_to_go - 1))
        return total

    return value(tuple(stock), periods)


def linear_program_bound(stream: OrderStream, stock: Stock, periods: int) -> float:
    """Cost of the mean orders served in fractions, USD: never above `least_cost`."""
    costs, uses, kinds = [], [], []
    for kind, order in enumerate(stream.orders):
        for cost, used in stream.choices(order):
            costs.append(cost)
            uses.append(used)
            kinds.append(kind)
    served = np.array(kinds)[None, :] == np.arange(len(stream.orders))[:, None]
    found = optimize.linprog(
        costs,
        A_ub=np.array(uses).T,
        b_ub=np.array(stock),
        A_eq=served.astype(np.float64),
        b_eq=periods * np.array(list(stream.orders.values())),
    )
    if not found.success:
        raise RuntimeError(f"order split: {found.message}")
    return float(found.fun)
