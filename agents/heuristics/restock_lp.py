"""Limits by a linear program on the forecast, solved anew every month."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Observation,
    Parameter,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.terms import Offer, Seen, TermsRule
from stockyard.envs.network.capacities import AHEAD_WEEKS
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.tasks.restock_modes import NO_LIMIT

WEEKS = 12
"""Weeks that the program looks ahead."""

LEAD_WEEKS = 2
"""Weeks from an order to the shelf, about what suppliers quote."""

VALUE_SHARE = 0.5
"""Of the price, what a sale is worth to all parties together: the platform sees no margins."""

SHORT_SHARE = 0.1
"""Of that, what a week's lack of a unit of safety stock costs."""


class Program:
    """The matrix, which never changes.

    Variables by product p and week k, in this order: q[k] units ordered that reach the shelf in
    week k, s[k] sold, x[k] left at the end of the week, z[k] by which safety stock falls short.
    Constraints: x[k] = x[k-1] + q[k] + under way - s[k]; s[k] at most the forecast; x[k] + z[k] at
    least the safety stock; the volume of all x[k] within storage; that of all q[k] within docks.
    """

    def __init__(self, num_products: int) -> None:
        """Builds it for P products."""
        p, k = num_products, WEEKS
        self.shape = (p, k)
        size = p * k
        self.q, self.s, self.x, self.z = (
            np.arange(size).reshape(p, k) + part * size for part in range(4)
        )
        rows = np.arange(size).reshape(p, k)
        entries = [(rows, self.x, 1.0), (rows[:, 1:], self.x[:, :-1], -1.0)]
        entries += [(rows, self.q, -1.0), (rows, self.s, 1.0)]
        self.equations = _matrix(entries, size, 4 * size)
        self.safety = _matrix([(rows, self.x, -1.0), (rows, self.z, -1.0)], size, 4 * size)
        self._rows = np.tile(np.arange(k), (p, 1))

    def space(self, volume: Floats) -> Any:
        """Rows of storage and docks by week, (2 K, variables)."""
        k = WEEKS
        per_unit = np.repeat(volume[:, None], k, axis=1)
        entries = [(self._rows, self.x, per_unit), (self._rows + k, self.q, per_unit)]
        return _matrix(entries, 2 * k, 4 * self.shape[0] * k)


def _matrix(entries: Any, rows: int, columns: int) -> Any:
    parts = [np.broadcast_arrays(*entry) for entry in entries]
    row, column, value = (np.concatenate([p[i].ravel() for p in parts]) for i in range(3))
    return sparse.csr_array((value.astype(np.float64), (row, column)), shape=(rows, columns))


class RollingProgram(TermsRule):
    """Solves the program at the start of every month, and limits sellers to what it stocks."""

    def __init__(
        self, facts: Facts, fill: float, safety_days: float, slack: float, receiving: float
    ) -> None:
        """Takes the hedges of the program.

        Args:
            facts: the environment.
            fill: share of the storage that the program may plan to fill.
            safety_days: of forecast, stock that it is charged for lacking.
            slack: multiple of the planned position that a seller may have.
            receiving: share of the docks' capacity that it may plan with.
        """
        super().__init__(facts, "rolling_lp")
        self._fill, self._safety, self._slack, self._docks = fill, safety_days, slack, receiving
        products = facts.world.network.products
        self._volume = np.asarray(products.volume)
        self._owner = np.asarray(products.owner)
        self._program = Program(len(self._volume))
        self._space = self._program.space(self._volume)
        worth = VALUE_SHARE * np.asarray(products.price)
        program = self._program
        cost = np.zeros(4 * len(worth) * WEEKS)
        cost[program.s] = -worth[:, None] * (1.0 - 1e-3 * np.arange(WEEKS))  # rather sooner
        cost[program.x] = 1e-3 * self._volume[:, None]
        cost[program.z] = SHORT_SHARE * worth[:, None] / max(safety_days, 1.0) * 7.0
        self._cost = cost

    def offer(self, seen: Seen, observation: Observation) -> Offer:
        """What sellers are offered: one program a replica."""
        limits, outlooks = [], []
        for row in range(len(seen.own)):
            position = self._planned({k: np.asarray(v[row]) for k, v in observation.items()})
            by_week = np.stack(
                [position[self._owner == s + 1].sum(axis=0) for s in range(self.num_sellers)]
            )
            months = [by_week[:, 4 * k : 4 * k + 4].max(axis=1) for k in range(3)]
            limits.append(self._slack * months[0])
            outlooks.append(self._slack * np.stack(months[1:], axis=1))
        return Offer(
            limit=np.minimum(np.stack(limits), NO_LIMIT),
            outlook=np.minimum(np.stack(outlooks), NO_LIMIT),
        )

    def _planned(self, observation: dict[str, Floats]) -> Floats:
        """ft3 (P, K) on hand and on the way at the start of each week."""
        program, k = self._program, WEEKS
        daily = _weekly(np.asarray(observation["forecast_mean"], dtype=np.float64)) / 7.0
        on_hand = np.asarray(observation["on_hand"], dtype=np.float64)
        coming = np.maximum(observation["inventory_position"] - on_hand, 0.0)
        right = np.zeros((len(on_hand), k))
        right[:, 0] = on_hand
        right[:, :LEAD_WEEKS] += (coming / LEAD_WEEKS)[:, None]
        storage = np.interp(np.arange(k), AHEAD_WEEKS, observation["storage_capacity"])
        docks = np.interp(np.arange(k), AHEAD_WEEKS, observation["receiving_capacity"])
        most = np.concatenate((self._fill * storage, 7.0 * self._docks * docks))
        bounds = np.zeros((4 * on_hand.size * k, 2))
        bounds[:, 1] = np.inf
        bounds[program.s.ravel(), 1] = (7.0 * daily).ravel()
        bounds[program.q[:, :LEAD_WEEKS].ravel(), 1] = 0.0  # what comes so soon is under way
        limits = sparse.vstack((self._space, program.safety))
        # stock that is there already may exceed the space planned for, though all of it sells
        least = np.zeros(len(on_hand))
        for week in range(k):
            least = np.maximum(least + right[:, week] - 7.0 * daily[:, week], 0.0)
            most[week] = max(most[week], float(least @ self._volume) * (1.0 + 1e-9))
        found = linprog(
            self._cost,
            A_ub=limits,
            b_ub=np.concatenate((most, -(self._safety * daily).ravel())),
            A_eq=program.equations,
            b_eq=right.ravel(),
            bounds=bounds,
            method="highs",
        )
        if found.x is None:
            raise RuntimeError(f"rolling_lp: {found.message}")
        stock, orders = found.x[program.x], found.x[program.q]
        way = np.zeros_like(stock)
        for ahead in range(1, LEAD_WEEKS + 1):
            way[:, : k - ahead] += orders[:, ahead:]
            way[:, : k - ahead] += right[:, ahead:]
        position: Floats = (stock + way) * self._volume[:, None]
        # in the last weeks nothing is ordered for later ones
        position[:, k - LEAD_WEEKS :] = position[:, k - LEAD_WEEKS - 1 : k - LEAD_WEEKS]
        return position


def _weekly(means: Floats) -> Floats:
    """Units expected in each of the next `WEEKS` weeks, (P, K), from means over horizons."""
    ends = np.array([0, *HORIZONS_DAYS], dtype=np.float64)
    total = np.concatenate((np.zeros((len(means), 1)), means), axis=1)
    days = 7.0 * np.arange(WEEKS + 1)
    upto = np.stack([np.interp(days, ends, row) for row in total])
    return np.maximum(np.diff(upto, axis=1), 0.0)


def _space(facts: Facts) -> tuple[Parameter, ...]:
    return (
        Parameter("fill", 0.3, 0.9, least=0.0, most=10.0),
        Parameter("safety_days", 4.0, 18.0, least=0.0, most=200.0),
        Parameter("slack", 0.8, 1.6, least=0.0, most=20.0),
    )


@tuned_by(_space)
def rolling_lp(
    env: Any, fill: float | None = None, safety_days: float = 10.0, slack: float = 1.1
) -> RollingProgram:
    """Limits to the stock that a linear program on the forecast holds, solved anew every month.

    A rolling-horizon deterministic equivalent, as certainty-equivalent control (Bertsekas, Dynamic
    Programming and Optimal Control, volume I, chapter 6), with three tuned hedges.

    Args:
        env: a built environment in which terms are decided.
        fill: share of the storage that the program may plan to fill.
        safety_days: of forecast, stock that it is charged for lacking.
        slack: multiple of the planned position that a seller may have.
    """
    facts = Facts(env)
    if fill is None:
        RollingProgram(facts, 0.5, 10.0, 1.1, 1.0)
        return rolling_lp(env, **tuned("rolling_lp", facts))
    return RollingProgram(facts, fill, safety_days, slack, 1.0)
