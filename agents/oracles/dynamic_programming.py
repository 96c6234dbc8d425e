"""Exact optima and exact costs of rules on finite chains.

Two forms: a Bellman operator on an array of values (`value_iteration`), for problems that have a
fast one of their own, and tables of transitions (`Process`, `Chain`) for the others. Average costs
come with bounds: whatever the values v are, the average cost lies between the smallest and the
largest entry of T v - v (Odoni 1969; Puterman 1994, section 8.5); iterations stop when these
meet. A relative value iteration that does not get there raises `NotConverged`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from stockyard.agents.oracles.demand import Floats, Ints

TOLERANCE = 1e-9
"""Width of the bounds on an average cost, relative to the cost (absolute below 1)."""

MOST_ENTRIES = 60_000_000
"""States times actions times outcomes that a table holds at most."""

MOST_STATES = 200_000_000
"""Entries of an array of states, or of states and actions, that are held at once at most."""

MOST_PRODUCTS = 4_000_000_000
"""Multiplications of one matrix product at most."""

STAY = 0.02
"""Probability with which an iteration stays where it is; it makes every chain aperiodic."""


class NotConverged(RuntimeError):
    """The bounds did not meet within the iterations allowed."""


@dataclass(frozen=True)
class Average:
    """An average cost per period between bounds, and relative values."""

    lower: float
    upper: float
    values: Floats

    @property
    def cost(self) -> float:
        """The middle of the bounds."""
        return 0.5 * (self.lower + self.upper)

    @property
    def error(self) -> float:
        """Half the width of the bounds."""
        return 0.5 * (self.upper - self.lower)


def value_iteration(
    operator: Callable[[Floats], Floats],
    values: Floats,
    tolerance: float = TOLERANCE,
    max_iterations: int = 100_000,
) -> Average:
    """Relative value iteration (White 1963) with a damped operator.

    Args:
        operator: T: one period of costs plus the expected values after it, at its best.
        values: where to start, one number per state.
        tolerance: width of the bounds, relative to the cost.
        max_iterations: before giving up.

    Raises:
        NotConverged: if the bounds have not met; a chain with two recurrent classes never does.
    """
    for _ in range(max_iterations):
        change = operator(values) - values
        lower, upper = float(change.min()), float(change.max())
        if upper - lower <= tolerance * max(abs(upper), 1.0):
            return Average(lower, upper, values)
        values = values + (1.0 - STAY) * (change - change.flat[0])
    raise NotConverged(f"bounds {lower:.6g} and {upper:.6g} after {max_iterations} iterations")


def discounted_iteration(
    operator: Callable[[Floats], Floats],
    values: Floats,
    discount: float,
    tolerance: float = TOLERANCE,
    max_iterations: int = 1_000_000,
) -> Average:
    """Values of the discounted problem; `lower` and `upper` bound the first state's.

    Bounds of MacQueen 1966: T v + discount / (1 - discount) times the extremes of T v - v.

    Args:
        operator: T, discount included.
        values: where to start.
        discount: per period, in (0, 1).
        tolerance: width of the bounds, relative to the value.
        max_iterations: before giving up.
    """
    if not 0 < discount < 1:
        raise ValueError(f"discount: must lie between 0 and 1, got {discount!r}")
    factor = discount / (1.0 - discount)
    for _ in range(max_iterations):
        after = operator(values)
        change = after - values
        lower, upper = factor * float(change.min()), factor * float(change.max())
        values = after + 0.5 * (lower + upper)
        first = float(after.flat[0])
        if upper - lower <= tolerance * max(abs(first), 1.0):
            return Average(first + lower, first + upper, values)
    raise NotConverged(f"discounted values after {max_iterations} iterations")


def check_size(entries: int) -> None:
    """Refuses what would not fit into memory.

    Raises:
        ValueError: if there are more than `MOST_STATES` entries.
    """
    if entries > MOST_STATES:
        raise ValueError(f"the instance is too large for an exact oracle: {entries:.1e} entries")


def grid(limits: Ints) -> Ints:
    """All whole vectors from zero to the limits, (number, n), the last entry fastest."""
    axes = [np.arange(limit + 1) for limit in limits]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


def sum_of_discounts(discount: float | None, periods: int | None) -> float:
    """What a cost of 1 in every period amounts to."""
    if periods is None:
        return 1.0 if discount is None else 1.0 / (1.0 - discount)
    factor = 1.0 if discount is None else discount
    return float(sum(factor**t for t in range(periods)))


class DecisionProcess(abc.ABC):
    """A finite Markov decision process: what follows from the costs of state and action."""

    cost: Floats  # (S, A) expected cost of the period, USD; inf where the action is not allowed

    @abc.abstractmethod
    def expected(self, values: Floats) -> Floats:
        """Expected values after the period, (S, A)."""

    @abc.abstractmethod
    def transitions(self, states: Ints, actions: Ints) -> tuple[Ints, Floats]:
        """Next states of pairs (n,) of state and action, and their probabilities, both (n, W)."""

    def action_values(self, values: Floats, discount: float = 1.0) -> Floats:
        """Cost of the period plus the expected values after it, (S, A)."""
        return np.asarray(self.cost + discount * self.expected(values))

    def best(self, values: Floats, discount: float = 1.0) -> Ints:
        """The best action of each state, (S,); among equals the first."""
        q = self.action_values(values, discount)
        slack = 1e-9 * np.maximum(np.abs(q.min(axis=1, keepdims=True)), 1.0)
        return np.asarray(np.argmax(q <= q.min(axis=1, keepdims=True) + slack, axis=1))

    def average(self, tolerance: float = TOLERANCE) -> Average:
        """The smallest average cost."""
        start = np.zeros(len(self.cost))
        return value_iteration(lambda v: self.action_values(v).min(axis=1), start, tolerance)

    def discounted(self, discount: float, tolerance: float = TOLERANCE) -> Average:
        """The smallest discounted costs."""
        start = np.zeros(len(self.cost))
        return discounted_iteration(
            lambda v: self.action_values(v, discount).min(axis=1), start, discount, tolerance
        )

    def over(self, periods: int, discount: float = 1.0) -> Floats:
        """The smallest costs of so many periods, (S,), with nothing owed at the end."""
        values = np.zeros(len(self.cost))
        for _ in range(periods):
            values = self.action_values(values, discount).min(axis=1)
        return np.asarray(values)

    def solve(
        self,
        discount: float | None = None,
        periods: int | None = None,
        tolerance: float = TOLERANCE,
    ) -> tuple[Average, Ints]:
        """The optimum and the best actions (S,).

        Average cost by default; the total from state 0 with `discount`, or over `periods`, where
        the actions are those of the first period.
        """
        factor = 1.0 if discount is None else discount
        if periods is not None:
            later = self.over(periods - 1, factor)
            first = float(self.action_values(later, factor)[0].min())
            return Average(first, first, later), self.best(later, factor)
        if discount is None:
            found = self.average(tolerance)
        else:
            found = self.discounted(discount, tolerance)
        return found, self.best(found.values, factor)

    def chain(self, actions: Ints, start: int = 0) -> Chain:
        """The chain of a stationary rule, actions (S,), on what it reaches from `start`."""
        costs = self.cost[np.arange(len(actions)), actions]
        chain = explore(
            lambda states: self.transitions(states, actions[states]),
            lambda states: costs[states],
            np.array([start]),
            len(actions),
        )
        if not np.isfinite(chain.cost).all():
            raise ValueError("the rule takes an action that is not allowed")
        return chain


@dataclass(frozen=True)
class Process(DecisionProcess):
    """Tabulated noise that does not depend on state and action."""

    successor: Ints  # (S, A, W) state after action and noise
    probability: Floats  # (W,) of the noise
    cost: Floats

    def expected(self, values: Floats) -> Floats:
        """Expected values after the period, (S, A)."""
        return np.asarray(values[self.successor] @ self.probability)

    def transitions(self, states: Ints, actions: Ints) -> tuple[Ints, Floats]:
        """Next states of pairs of state and action, and their probabilities."""
        after = self.successor[states, actions]
        return after, np.broadcast_to(self.probability, after.shape)


@dataclass(frozen=True)
class DemandFirst(DecisionProcess):
    """Demand takes stock s to a leftover m, then what was ordered or sent is added.

    Next states are a function of leftover and action, so the expectation is a matrix product.
    """

    leftover: Floats  # (S, S) probability that s is m after demand
    successor: Ints  # (S, A) next state by m and action; any where no s allows the action
    cost: Floats

    def __post_init__(self) -> None:
        """Checks the size.

        Raises:
            ValueError: if an iteration would take minutes.
        """
        states, actions = self.cost.shape
        if states * states * actions > MOST_PRODUCTS:
            raise ValueError(
                f"the instance is too large for an exact oracle: {states} states, {actions} actions"
            )

    def expected(self, values: Floats) -> Floats:
        """Expected values after the period, (S, A)."""
        return np.asarray(self.leftover @ values[self.successor])

    def transitions(self, states: Ints, actions: Ints) -> tuple[Ints, Floats]:
        """Next states of pairs of state and action, and their probabilities."""
        return self.successor[:, actions].T, self.leftover[states]


def leftover_matrix(left: Ints, probability: Floats) -> Floats:
    """The matrix of `DemandFirst`.

    Args:
        left: (S, W) state after each outcome of the demand, before anything is added.
        probability: (W,) of the outcomes.
    """
    size = len(left)
    matrix = np.zeros(size * size)
    rows = np.repeat(np.arange(size) * size, left.shape[1])
    np.add.at(matrix, rows + left.ravel(), np.tile(probability, size))
    return matrix.reshape(size, size)


@dataclass(frozen=True)
class Chain:
    """A finite Markov chain with costs."""

    states: Ints  # (n,) codes of the states, in the problem's own numbering
    transition: sparse.csr_array  # (n, n)
    cost: Floats  # (n,) expected cost of the period, USD

    def average(self, tolerance: float = TOLERANCE) -> Average:
        """Average cost per period, between bounds."""
        start = np.zeros(len(self.cost))
        return value_iteration(
            lambda v: np.asarray(self.cost + self.transition @ v), start, tolerance
        )

    def stationary(self, tolerance: float = 1e-13, max_iterations: int = 200_000) -> Floats:
        """Long-run share of time in each state, (n,), by damped power iteration."""
        share = np.full(len(self.cost), 1.0 / len(self.cost))
        backward = self.transition.T.tocsr()
        for _ in range(max_iterations):
            after = np.asarray(backward @ share)
            if float(np.abs(after - share).sum()) <= tolerance:
                return np.asarray(after / after.sum())
            share = share + (1.0 - STAY) * (after - share)
        raise NotConverged(f"stationary distribution after {max_iterations} iterations")


def explore(
    step: Callable[[Ints], tuple[Ints, Floats]],
    cost: Callable[[Ints], Floats],
    start: Ints,
    num_codes: int,
    chunk: int = 20_000,
) -> Chain:
    """Follows a rule from `start` to every state that it can reach.

    Args:
        step: codes (n,) to the codes after one period (n, W) and their probabilities (n, W);
            entries of probability zero are not followed.
        cost: codes (n,) to expected costs of the period (n,), USD.
        start: codes (k,).
        num_codes: codes are 0, ..., num_codes - 1.
        chunk: states that are expanded at once.
    """
    check_size(num_codes)
    number = np.full(num_codes, -1, dtype=np.int64)
    start = np.unique(start)
    number[start] = np.arange(len(start))
    found = [start]
    count = len(start)
    rows, columns, weights = [], [], []
    at = 0
    while at < len(found):
        batch = found[at]
        at += 1
        for low in range(0, len(batch), chunk):
            codes = batch[low : low + chunk]
            after, probability = step(codes)
            live = probability > 0
            row = np.broadcast_to(number[codes][:, None], after.shape)[live]
            target = after[live]
            if target.size and (target.min() < 0 or target.max() >= num_codes):
                raise ValueError("the rule leaves the states that were numbered")
            new = np.unique(target[number[target] < 0])
            if len(new):
                number[new] = count + np.arange(len(new))
                count += len(new)
                found.append(new)
            rows.append(row)
            columns.append(target)
            weights.append(probability[live])
    states = np.concatenate(found)
    transition = sparse.csr_array(
        (
            np.concatenate(weights),
            (np.concatenate(rows), number[np.concatenate(columns)]),
        ),
        shape=(count, count),
    )
    return Chain(states, transition, np.asarray(cost(states), dtype=np.float64))
