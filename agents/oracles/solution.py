"""What an oracle returns, and the optimal policies as policies that play.

Optimal policies are table look-ups from the observed whole units to an action. A state beyond the
table takes the action at the table's edge: under the policy itself that happens with a probability
that the solution's `truncation` states, from an unusual opening it may happen for some periods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.oracles.demand import Floats, Ints
from stockyard.agents.policy import Policy

Observation = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Truncation:
    """What an oracle left out, and by how much the cost can be wrong for it."""

    bounds: Mapping[str, float]  # largest value considered of each unbounded quantity, units
    error: float  # bound on the error of the cost, USD
    rule: str  # how the bounds were checked


@dataclass(frozen=True)
class Solution:
    """An exact optimum."""

    cost: float  # average per period; total where `discount` or `periods` was given; USD
    policy: Policy
    truncation: Truncation
    parameters: Mapping[str, Any]  # of the policy, where it has the form of a classical rule


EXACT = Truncation({}, 0.0, "closed form, or all states")


class ExactPolicy:
    """A stationary policy in whole units, in mode `quantity`."""

    action_mode = "quantity"

    def __init__(self, decide: Callable[[Observation], Floats], marker: str = "on_hand") -> None:
        """Remembers the rule.

        Args:
            decide: observation with batch axis to actions (B, ...), units.
            marker: a field whose number of axes tells whether there is a batch.
        """
        self._decide = decide
        self._marker = marker

    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Decides; see `stockyard.agents.policy.Policy`. Takes a single observation too."""
        is_single = np.asarray(observation[self._marker]).ndim == 1
        if is_single:
            observation = {name: np.asarray(values)[None] for name, values in observation.items()}
        action = self._decide(observation)
        return (action[0] if is_single else action), state


def look_up(
    table: Ints, lowest: tuple[int, ...], read: Callable[[Observation], Ints], marker: str
) -> ExactPolicy:
    """A policy from a table.

    Args:
        table: (*states, A) units.
        lowest: the state at index zero of each axis.
        read: observation to states (B, k).
        marker: see `ExactPolicy`.
    """
    shape = np.array(table.shape[:-1])

    def decide(observation: Observation) -> Floats:
        index = np.clip(read(observation) - np.array(lowest), 0, shape - 1)
        return np.asarray(table[tuple(index.T)], dtype=np.float64)

    return ExactPolicy(decide, marker)


def units(observation: Observation, field: str, columns: int) -> Ints:
    """The first `columns` entries of a field in whole units, (B, columns); absent ones are zero."""
    if columns == 0 or field not in observation:
        size = len(next(iter(observation.values())))
        return np.zeros((size, columns), dtype=np.int64)
    given = np.rint(np.asarray(observation[field], dtype=np.float64)).astype(np.int64)
    given = given.reshape(len(given), -1)[:, :columns]
    return np.pad(given, ((0, 0), (0, columns - given.shape[1])))
