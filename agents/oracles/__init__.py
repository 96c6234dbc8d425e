"""Exact optima of the textbook problems, and the exact costs of the classical rules on them.

>>> from stockyard.agents import oracles
>>> from stockyard.envs import textbook
>>> problem = textbook.lost_sales(
...     demand=textbook.Poisson(5), lead_time=2, holding_cost=1, penalty_cost=4
... )
>>> round(oracles.optimal_cost(problem), 3)
4.395
>>> round(oracles.policy_cost(problem, "base_stock", order_up_to=16), 3)
4.639

Costs are averages per period over an infinite horizon, whatever the horizon of the instance; with
lead time 0 and no fixed cost those of a single period are the same. `solve` also takes `discount`
or `periods` where they exist, and then counts from nothing on hand.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stockyard.agents.oracles import (
    backorders,
    capacity,
    dispatch,
    dual_sourcing,
    echelons,
    locations,
    lost_sales,
    one_warehouse,
)
from stockyard.agents.oracles.dynamic_programming import NotConverged
from stockyard.agents.oracles.solution import Solution, Truncation
from stockyard.envs import textbook

__all__ = [
    "NotConverged",
    "Solution",
    "Truncation",
    "known_rules",
    "optimal_cost",
    "policy_cost",
    "solve",
]


@dataclass(frozen=True)
class _Oracle:
    solve: Callable[..., Solution]
    rules: Mapping[str, Callable[..., float]]


_ORACLES: dict[tuple[type, str | None], _Oracle] = {
    (textbook.SingleNode, "lost"): _Oracle(lost_sales.solve, lost_sales.RULES),
    (textbook.SingleNode, "backorder"): _Oracle(backorders.solve, backorders.RULES),
    (textbook.DualSourcing, None): _Oracle(dual_sourcing.solve, dual_sourcing.RULES),
    (textbook.Serial, None): _Oracle(echelons.solve, echelons.RULES),
    (textbook.OneWarehouse, None): _Oracle(one_warehouse.solve, one_warehouse.RULES),
    (textbook.Locations, None): _Oracle(locations.solve, locations.RULES),
    (textbook.SharedStock, None): _Oracle(capacity.solve, capacity.RULES),
    (textbook.DispatchLane, None): _Oracle(dispatch.solve, dispatch.RULES),
}
"""By the scenario's class, and for one node by what becomes of unmet demand."""


def _oracle(instance: Mapping[str, Any]) -> _Oracle:
    if not isinstance(instance, Mapping):
        raise ValueError(f"instance: pass what textbook.<name>(...) returned, got {instance!r}")
    scenario = instance.get("scenario")
    kind = type(scenario)
    for key in ((kind, None), (kind, getattr(scenario, "unmet", None))):
        if key in _ORACLES:
            return _ORACLES[key]
    known = ", ".join(sorted({known.__name__ for known, _ in _ORACLES}))
    raise ValueError(f"no exact oracle for {scenario!r}; there are some for: {known}")


def solve(
    instance: Mapping[str, Any],
    *,
    discount: float | None = None,
    periods: int | None = None,
) -> Solution:
    """Solves a textbook instance exactly.

    Args:
        instance: what `stockyard.envs.textbook.<name>(...)` returned.
        discount: per period, for the total discounted cost from nothing on hand and on order.
        periods: for the total cost of so many periods from there; the policy is then that of the
            first period.

    Returns:
        The optimal cost, a policy that attains it, and what was cut on the way.

    Raises:
        ValueError: if no exact oracle exists, saying why.
    """
    oracle = _oracle(instance)
    if discount is not None and not 0 < discount < 1:
        raise ValueError(f"discount: must lie between 0 and 1, got {discount!r}")
    if periods is not None and not (periods == int(periods) and periods >= 1):
        raise ValueError(f"periods: must be a whole number >= 1, got {periods!r}")
    given = {"discount": discount, "periods": None if periods is None else int(periods)}
    wanted = {name: value for name, value in given.items() if value is not None}
    accepted = inspect.signature(oracle.solve).parameters
    for name in wanted:
        if name not in accepted:
            kind = type(instance["scenario"]).__name__
            raise ValueError(f"{name}: the exact oracle of {kind} does not take it")
    return oracle.solve(instance["scenario"], **wanted)


def optimal_cost(
    instance: Mapping[str, Any],
    *,
    discount: float | None = None,
    periods: int | None = None,
) -> float:
    """The optimal cost of a textbook instance, USD; see `solve`."""
    return solve(instance, discount=discount, periods=periods).cost


def known_rules(instance: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the rules that `policy_cost` knows for an instance."""
    return tuple(sorted(_oracle(instance).rules))


def policy_cost(instance: Mapping[str, Any], name: str, **parameters: Any) -> float:
    """The exact average cost per period of a classical rule, USD.

    Args:
        instance: what `stockyard.envs.textbook.<name>(...)` returned.
        name: of the rule, as `stockyard.agents.make` takes it.
        **parameters: of the rule, likewise; whole where demand is on whole units.

    Raises:
        ValueError: if the rule or a parameter is not known for the instance; known ones are listed.
    """
    rules = _oracle(instance).rules
    if name not in rules:
        kind = type(instance["scenario"]).__name__
        raise ValueError(f"{kind}: unknown rule {name!r}; known: {', '.join(sorted(rules))}")
    try:
        inspect.signature(rules[name]).bind(instance["scenario"], **parameters)
    except TypeError:
        accepted = list(inspect.signature(rules[name]).parameters)[1:]
        given = ", ".join(parameters) or "none"
        raise ValueError(
            f"{name} takes {', '.join(accepted) or 'no parameters'}; given: {given}"
        ) from None
    return float(rules[name](instance["scenario"], **parameters))
