"""The oracles compared with the table of known answers: exact figures beside recorded ones."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stockyard.agents import oracles
from stockyard.agents.oracles.known_answers import Answer, Instance
from stockyard.agents.oracles.oracle_only import ORACLE_ONLY, RandomFigure, Value

GAP_ERROR = 0.01  # percentage points


@dataclass(frozen=True)
class Comparison:
    """One recorded figure beside the computed one."""

    instance: str
    figure: str
    expected: Any
    computed: Any
    tolerance: float  # relative, absolute below 1
    error: float | None  # absolute, instead of it
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether they are equal within the tolerance."""
        expected = np.asarray(self.expected, dtype=np.float64)
        computed = np.asarray(self.computed, dtype=np.float64)
        if expected.shape != computed.shape:
            return False
        bound: Any = self.error
        if bound is None:
            bound = self.tolerance * np.maximum(np.abs(expected), 1.0)
        return bool((np.abs(computed - expected) <= bound + 1e-12).all())


class Exact:
    """The exact figures of an instance; its optimum is computed once."""

    def __init__(self, instance: Instance) -> None:
        """Builds the problem."""
        self.instance = instance
        self.spec: dict[str, Any] = instance.build() if instance.is_textbook else {}
        self._solved: dict[tuple[Any, Any], oracles.Solution] = {}

    def solution(self, answer: Answer | None = None) -> oracles.Solution:
        """The optimum, of the long run or as the answer says."""
        given = (None, None) if answer is None else (answer.discount, answer.periods)
        if given not in self._solved:
            discount, periods = given
            self._solved[given] = oracles.solve(self.spec, discount=discount, periods=periods)
        return self._solved[given]

    def cost(self, answer: Answer) -> Any:
        """The exact figure of an answer.

        Raises:
            ValueError: if there is none, saying why.
        """
        if not self.instance.is_textbook:
            return _by_oracle(self.instance, answer)[0]
        if answer.policy == "optimal":
            return self.solution(answer).cost
        return oracles.policy_cost(self.spec, answer.policy, **answer.parameters)

    def levels(self, answer: Answer) -> Mapping[str, Any]:
        """The parameters of the optimal policy that the answer names."""
        found = (
            self.solution(answer).parameters
            if self.instance.is_textbook
            else _by_oracle(self.instance, answer)[1]
        )
        return {name: found[name] for name in answer.parameters if name in found}

    def gap(self, answer: Answer) -> float:
        """How much the answer's policy costs above the optimum, %."""
        return float(100.0 * (self.cost(answer) / self.solution().cost - 1.0))

    def compare(self, answer: Answer) -> Iterator[Comparison]:
        """Computes every recorded figure of an answer but whether it is best."""
        started = time.perf_counter()

        def made(what: str, expected: Any, computed: Any, error: float | None = None) -> Comparison:
            tolerance = self.instance.tolerance_of(answer)
            seconds = time.perf_counter() - started
            label = f"{what} of {answer.label}"
            return Comparison(
                self.instance.id, label, expected, computed, tolerance, error, seconds
            )

        if answer.recorded is not None:
            try:
                computed = self.cost(answer)
            except RandomFigure:
                computed = None
            if computed is not None:
                yield made("cost", answer.recorded, computed)
        if answer.recorded_gap is not None:
            gap = self.gap(answer)
            yield made("gap", answer.recorded_gap, gap, 0.1 * GAP_ERROR)
            if answer.published_gap is not None:
                yield made("published gap", float(answer.published_gap), gap, GAP_ERROR)
        is_optimal = answer.policy == "optimal" or not self.instance.is_textbook
        if is_optimal and answer.parameters:
            for name, value in self.levels(answer).items():
                yield made(name, answer.parameters[name], value, answer.level_error)
        for named in answer.actions:
            seen = {k: np.asarray(values) for k, values in named["observation"].items()}
            action, _ = self.solution(answer).policy.predict(seen)
            yield made(f"action at {named['observation']}", named["action"], action.tolist(), 0.0)

    def least_around(self, answer: Answer) -> float:
        """The least cost at the neighbours in whole parameters; inf where a rule has none there."""
        names = list(answer.parameters)
        values = [np.asarray(value) for value in answer.parameters.values()]
        flat = np.concatenate([value.ravel() for value in values])
        least = np.inf
        for step in itertools.product((-1, 0, 1), repeat=len(flat)):
            if not any(step):
                continue
            moved, parameters, at = flat + np.array(step), {}, 0
            for name, value in zip(names, values, strict=True):
                parameters[name] = moved[at : at + value.size].reshape(value.shape).tolist()
                at += value.size
            try:
                cost = self.cost(Answer(answer.policy, parameters))
            except ValueError:  # out of the rule's range
                continue
            least = min(least, cost)
        return float(least)


def compare(instance: Instance) -> Iterator[Comparison]:
    """Computes every recorded figure of an instance."""
    exact = Exact(instance)
    for answer in instance.answers:
        yield from exact.compare(answer)


def _by_oracle(instance: Instance, answer: Answer) -> Value:
    return ORACLE_ONLY[instance.problem][0](dict(instance.parameters), answer)
