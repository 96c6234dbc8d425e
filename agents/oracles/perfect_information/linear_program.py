"""Linear programs of blocks joined by a few rows, and bounds that do not trust a solver.

For any multipliers y (>= 0 on rows `<=`, free on rows `=`) the Lagrangian

    b'y + sum over columns of max over [lower, largest] of (profit - A'y) x

is at least the optimum. Every bound of this module is such a number, evaluated from the multipliers
a solver hands over: its tolerances, a missing crossover or a time limit can make a bound looser,
never wrong.
"""

import dataclasses
import time
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, OptimizeWarning, linprog, milp

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

JOINING = -1
"""Block of the rows and columns that belong to no block alone."""

OPTIMALITY = 1e-6
"""Relative gap at which the interior-point method stops; what is left is in the bound."""

WHOLE_GAP = 1e-3
"""Relative gap at which branch and bound stops."""


@dataclasses.dataclass(frozen=True, eq=False)
class LinearProgram:
    """Maximise profit'x + constant over the rows, lower <= x <= upper."""

    matrix: sp.csc_array  # (rows, columns)
    right: Floats  # (rows,)
    is_equality: npt.NDArray[np.bool_]  # (rows,); the others are <=
    row_block: Ints  # (rows,) block, or JOINING
    profit: Floats  # (columns,)
    lower: Floats  # (columns,) finite
    upper: Floats  # (columns,) may be infinite
    largest: Floats  # (columns,) finite; some optimum stays below it
    column_block: Ints  # (columns,) block, or JOINING
    constant: float
    # name -> indices of columns, -1 where there is none: ordered (K, E_in, P), moved (T, E_tr, P),
    # sold (T, E_out, P), left (T, N, P)
    columns: Mapping[str, Ints] = dataclasses.field(default_factory=dict)
    whole: npt.NDArray[np.bool_] | None = None  # (columns,) which are whole numbers; None: none

    def bound(self, multipliers: Floats) -> float:
        """An upper bound on the optimum, valid for any multipliers (rows,)."""
        y = np.where(self.is_equality, multipliers, np.maximum(multipliers, 0.0))
        slope = self.profit - self.matrix.T @ y
        ceiling = np.minimum(self.upper, self.largest)
        best = np.where(slope > 0.0, slope * ceiling, slope * self.lower)
        return float(self.right @ y + best.sum() + self.constant)


class Solved(NamedTuple):
    """What came of a program."""

    bound: float  # USD, never below the optimum
    gap: float  # USD by which the bound may be too large, as far as is known; inf: unknown
    multipliers: Floats | None  # (rows,); None where the solver ran out of time
    is_optimal: bool


def solve(program: LinearProgram, time_limit: float | None = None) -> Solved:
    """Solves a program by HiGHS's interior-point method, without crossover.

    Where that ends without an answer, as it may on a program whose interior is next to empty, the
    dual simplex method follows.

    Args:
        program: must have a feasible point.
        time_limit: seconds; None: as long as it takes.

    Returns:
        The bound. Where the time ran out, `multipliers` is None and the bound infinite.

    Raises:
        RuntimeError: if the program is infeasible or the solver fails, with its message.
    """
    begun = time.perf_counter()
    if time_limit is not None and time_limit <= 0.0:
        return Solved(np.inf, np.inf, None, False)
    interior = {"run_crossover": "off", "ipm_optimality_tolerance": OPTIMALITY}
    result = _linprog(program, "highs-ipm", interior, time_limit)
    if result.status == 4:
        left = None if time_limit is None else time_limit - (time.perf_counter() - begun)
        if left is None or left > 0.0:
            result = _linprog(program, "highs-ds", {}, left)
    if result.status == 1 or (result.status == 4 and time_limit is not None):
        return Solved(np.inf, np.inf, None, False)
    if result.status != 0:
        raise RuntimeError(f"the linear program was not solved: {result.message}")
    equal = program.is_equality
    multipliers = np.empty(len(equal))
    multipliers[~equal] = -result.ineqlin.marginals
    multipliers[equal] = -result.eqlin.marginals
    bound = program.bound(multipliers)
    gap = max(bound - (program.constant - float(result.fun)), 0.0)
    return Solved(bound, gap, multipliers, True)


def _linprog(
    program: LinearProgram, method: str, options: dict[str, Any], time_limit: float | None
) -> Any:
    """SciPy's answer; `status` is 0 for optimal, 1 for out of time, 4 for trouble."""
    equal = program.is_equality
    rows = program.matrix.tocsr()
    if time_limit is not None:
        options = {**options, "time_limit": time_limit}
    with warnings.catch_warnings():
        # SciPy passes options it does not know to HiGHS, and says so.
        warnings.simplefilter("ignore", OptimizeWarning)
        return linprog(
            -program.profit,
            rows[~equal] if not equal.all() else None,
            program.right[~equal] if not equal.all() else None,
            rows[equal] if equal.any() else None,
            program.right[equal] if equal.any() else None,
            bounds=np.stack((program.lower, program.upper), axis=1),
            method=method,
            options=options,
        )


def solve_whole(
    program: LinearProgram, time_limit: float, relative_gap: float = WHOLE_GAP
) -> float:
    """The bound of HiGHS's branch and bound with whole columns, inf if it has none in time.

    Unlike the others it trusts the solver, to its tolerances of about 1e-6 of the objective.

    Args:
        program: with columns that are `whole`.
        time_limit: seconds.
        relative_gap: at which it may stop.
    """
    equal = program.is_equality
    found = milp(
        -program.profit,
        integrality=program.whole,
        bounds=Bounds(program.lower, program.upper),
        constraints=LinearConstraint(
            program.matrix, np.where(equal, program.right, -np.inf), program.right
        ),
        options={"time_limit": time_limit, "mip_rel_gap": relative_gap},
    )
    if found.mip_dual_bound is None or not np.isfinite(found.mip_dual_bound):
        return float(np.inf)
    bound = program.constant - float(found.mip_dual_bound)
    return bound + OPTIMALITY * abs(float(found.mip_dual_bound))


def solve_by_block(program: LinearProgram, prices: Floats) -> Solved:
    """A bound from prices on the joining rows: each block is solved alone, which is fast.

    Args:
        program: the whole.
        prices: (rows,) multipliers, of which those of the joining rows count.

    Returns:
        The Lagrangian bound, which is the optimum if the prices are right.
    """
    joining = program.row_block == JOINING
    multipliers = np.where(joining, prices, 0.0)
    multipliers[joining & ~program.is_equality] = np.maximum(
        multipliers[joining & ~program.is_equality], 0.0
    )
    profit = program.profit - program.matrix.T @ multipliers
    by_row = program.matrix.tocsr()
    for block in np.unique(program.column_block[program.column_block != JOINING]):
        columns = np.flatnonzero(program.column_block == block)
        rows = np.flatnonzero(program.row_block == block)
        part = dataclasses.replace(
            program,
            matrix=sp.csc_array(by_row[rows][:, columns]),
            right=program.right[rows],
            is_equality=program.is_equality[rows],
            row_block=program.row_block[rows],
            profit=profit[columns],
            lower=program.lower[columns],
            upper=program.upper[columns],
            largest=program.largest[columns],
            column_block=program.column_block[columns],
            constant=0.0,
        )
        found = solve(part).multipliers
        assert found is not None  # there was no time limit
        multipliers[rows] = found
    return Solved(program.bound(multipliers), np.inf, multipliers, False)


class Builder:
    """Collects columns and rows in blocks of arrays; an index of -1 is an entry that is not there.

    Nothing loops over single variables: a block of columns is an array of indices, and a block of
    coefficients is a broadcast of rows, columns and values.
    """

    def __init__(self) -> None:
        """Begins with nothing."""
        self._columns: dict[str, list[Floats]] = {
            name: [] for name in ("lower", "upper", "largest", "block")
        }
        self._rows: dict[str, list[Any]] = {name: [] for name in ("right", "equal", "block")}
        self._entries: list[tuple[Ints, Ints, Floats]] = []
        self._profit: list[tuple[Ints, Floats]] = []
        self._tightened: list[tuple[Ints, Floats]] = []
        self._raised: list[tuple[Ints, Floats]] = []
        self.num_columns = 0
        self.num_rows = 0
        self.constant = 0.0

    def columns(
        self,
        where: npt.NDArray[np.bool_],
        largest: Any,
        *,
        lower: Any = 0.0,
        upper: Any = np.inf,
        block: Any = JOINING,
    ) -> Ints:
        """Adds a column for every True of `where`; returns their indices in its shape."""
        index = _numbered(where, self.num_columns)
        self.num_columns += int(where.sum())
        for name, value in (
            ("lower", lower),
            ("upper", upper),
            ("largest", largest),
            ("block", block),
        ):
            self._columns[name].append(np.broadcast_to(value, where.shape)[where])
        return index

    def rows(
        self,
        where: npt.NDArray[np.bool_],
        right: Any,
        *,
        equal: bool = False,
        block: Any = JOINING,
    ) -> Ints:
        """Adds a row for every True of `where`, `=` or `<=` its right side; returns indices."""
        where = where & np.isfinite(np.broadcast_to(right, where.shape))  # no limit: no row
        index = _numbered(where, self.num_rows)
        self.num_rows += int(where.sum())
        for name, value in (("right", right), ("equal", equal), ("block", block)):
            self._rows[name].append(np.broadcast_to(value, where.shape)[where])
        return index

    def add(self, rows: Any, columns: Any, values: Any) -> None:
        """Adds coefficients; the three are broadcast against each other."""
        r, c, v = np.broadcast_arrays(rows, columns, np.asarray(values, dtype=np.float64))
        keep = (r >= 0) & (c >= 0) & (v != 0.0)
        self._entries.append((r[keep], c[keep], v[keep]))

    def pay(self, columns: Any, profit: Any) -> None:
        """Adds to the profit of columns."""
        c, v = np.broadcast_arrays(columns, np.asarray(profit, dtype=np.float64))
        keep = c >= 0
        self._profit.append((c[keep], v[keep]))

    def at_most(self, columns: Any, upper: Any) -> None:
        """Tightens the upper bounds of columns."""
        c, v = np.broadcast_arrays(columns, np.asarray(upper, dtype=np.float64))
        keep = c >= 0
        self._tightened.append((c[keep], v[keep]))

    def raise_right(self, rows: Any, amount: Any) -> None:
        """Adds to the right sides of rows."""
        r, v = np.broadcast_arrays(rows, np.asarray(amount, dtype=np.float64))
        keep = r >= 0
        self._raised.append((r[keep], v[keep]))

    def build(
        self, columns: Mapping[str, Ints], whole: npt.NDArray[np.bool_] | None = None
    ) -> LinearProgram:
        """Puts the parts together; `columns` names some of them, `whole` are whole numbers."""
        entries = [np.concatenate(parts) for parts in zip(*self._entries, strict=True)]
        profit = np.zeros(self.num_columns)
        for index, amount in self._profit:
            np.add.at(profit, index, amount)
        fields = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        for index, value in self._tightened:
            np.minimum.at(fields["upper"], index, value)
        rows = {name: np.concatenate(parts) for name, parts in self._rows.items()}
        rows["right"] = rows["right"].astype(np.float64)
        for index, value in self._raised:
            np.add.at(rows["right"], index, value)
        return LinearProgram(
            matrix=sp.csc_array(
                (entries[2], (entries[0], entries[1])), shape=(self.num_rows, self.num_columns)
            ),
            right=rows["right"],
            is_equality=rows["equal"].astype(np.bool_),
            row_block=rows["block"].astype(np.int64),
            profit=profit,
            lower=fields["lower"].astype(np.float64),
            upper=fields["upper"].astype(np.float64),
            largest=fields["largest"].astype(np.float64),
            column_block=fields["block"].astype(np.int64),
            constant=self.constant,
            columns=columns,
            whole=whole,
        )


def _numbered(where: npt.NDArray[np.bool_], start: int) -> Ints:
    index = np.full(where.shape, -1, dtype=np.int64)
    index[where] = start + np.arange(int(where.sum()))
    return index
