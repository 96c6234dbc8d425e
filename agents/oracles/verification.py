"""Compares the oracles with recorded facts: what tests and a validation run loop over.

A fact is a mapping, as JSON holds it: `problem`, the name of a textbook function; `arguments`, its
keyword arguments, distributions as mappings with a `name`; and `figures`, a list of

- `{"optimal_cost": value}`, with `discount` or `periods` beside it where the fact is about those;
- `{"parameters": {...}}` of the optimal policy, where it has the form of a rule;
- `{"rule": name, "parameters": {...}, "cost": value}`; with `"is_best": true` the neighbours in
  whole parameters, one unit each way, must not cost less;
- `{"observation": {...}, "action": [...]}` of the optimal policy.

`tolerance` is relative (absolute below 1); a figure may have its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stockyard.agents import oracles
from stockyard.envs import textbook
from stockyard.envs.network.distributions import named


@dataclass(frozen=True)
class Comparison:
    """One recorded figure beside the computed one."""

    fact: str
    figure: str
    expected: Any
    computed: Any
    tolerance: float  # relative, absolute below 1
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether they are equal within the tolerance."""
        expected = np.asarray(self.expected, dtype=np.float64)
        computed = np.asarray(self.computed, dtype=np.float64)
        if expected.shape != computed.shape:
            return False
        bound = self.tolerance * np.maximum(np.abs(expected), 1.0)
        return bool((np.abs(computed - expected) <= bound).all())


def instance_of(fact: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the textbook instance of a fact."""
    arguments = {name: _value(value) for name, value in fact["arguments"].items()}
    instance: dict[str, Any] = textbook.PROBLEMS[fact["problem"]](**arguments)
    return instance


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        parameters = dict(value)
        return named(parameters.pop("name"), **parameters)
    if isinstance(value, list):
        return tuple(_value(entry) for entry in value)
    return value


def compare(fact: Mapping[str, Any]) -> Iterator[Comparison]:
    """Computes every figure of a fact."""
    instance = instance_of(fact)
    for figure in fact["figures"]:
        started = time.perf_counter()
        name, expected, computed = _computed(instance, figure)
        yield Comparison(
            fact["name"],
            name,
            expected,
            computed,
            float(figure.get("tolerance", fact["tolerance"])),
            time.perf_counter() - started,
        )


def _computed(instance: Mapping[str, Any], figure: Mapping[str, Any]) -> tuple[str, Any, Any]:
    if "optimal_cost" in figure:
        options = {key: figure[key] for key in ("discount", "periods") if key in figure}
        label = ", ".join(["optimal cost", *(f"{k} {v}" for k, v in options.items())])
        return label, figure["optimal_cost"], oracles.optimal_cost(instance, **options)
    if "rule" in figure:
        label = f"{figure['rule']}({', '.join(f'{k}={v}' for k, v in _given(figure).items())})"
        cost = oracles.policy_cost(instance, figure["rule"], **_given(figure))
        if figure.get("is_best") and _least_around(instance, figure) < cost * (1.0 - 1e-8):
            return f"{label} is best", figure["cost"], float("nan")
        return label, figure["cost"], cost
    solution = oracles.solve(instance)
    if "action" in figure:
        seen = {name: np.asarray(values) for name, values in figure["observation"].items()}
        action, _ = solution.policy.predict(seen)
        return f"action at {figure['observation']}", figure["action"], action.tolist()
    wanted = figure["parameters"]
    return (
        f"parameters {', '.join(wanted)}",
        list(wanted.values()),
        [solution.parameters[name] for name in wanted],
    )


def _given(figure: Mapping[str, Any]) -> dict[str, Any]:
    return dict(figure.get("parameters", {}))


def _least_around(instance: Mapping[str, Any], figure: Mapping[str, Any]) -> float:
    """The least cost at the neighbours in whole parameters; inf where a rule has none there."""
    names, values = list(_given(figure)), [np.asarray(v) for v in _given(figure).values()]
    flat = np.concatenate([v.ravel() for v in values])
    least = np.inf
    for step in itertools.product((-1, 0, 1), repeat=len(flat)):
        if not any(step):
            continue
        moved, parameters, at = flat + np.array(step), {}, 0
        for name, value in zip(names, values, strict=True):
            part = moved[at : at + value.size].reshape(value.shape)
            parameters[name] = part.tolist()
            at += value.size
        try:
            cost = oracles.policy_cost(instance, figure["rule"], **parameters)
        except ValueError:  # out of the rule's range
            continue
        least = min(least, cost)
    return least
