"""Problems of the table of known answers that an oracle solves and no environment plays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stockyard.agents.heuristics.allocation import (
    linear_allocation,
    proportional_allocation,
    uniform_allocation,
)
from stockyard.agents.oracles import allocation, dispatch, echelons, locations, order_split, packing
from stockyard.envs.textbook.base import distribution, distributions

if TYPE_CHECKING:
    from stockyard.agents.oracles.known_answers import Answer, Instance


class RandomFigure(ValueError):
    """The figure is a mean of random draws and has no exact value."""


Value = tuple[Any, Mapping[str, Any]]
"""A figure, and the parameters of the optimum."""


def _laws(given: dict[str, Any]) -> tuple[Any, ...]:
    drawn = {name: given.pop(name) for name in [*given] if name.startswith("demand_")}
    return distributions(given.pop("demand"), drawn, None, "demand")


def _continuous_serial(given: dict[str, Any], answer: Answer) -> Value:
    drawn = {name: given.pop(name) for name in [*given] if name.startswith("demand_")}
    law = distribution(given.pop("demand"), drawn)
    found = echelons.clark_scarf(
        law, given["lead_times"], given["echelon_holding_costs"], given["penalty_cost"]
    )
    return found.cost, {"order_up_to": list(found.order_up_to)}


def _lot_split(given: dict[str, Any], answer: Answer) -> Value:
    laws = _laws(given)
    costs = {name: given[name] for name in ("local_cost", "cross_cost", "penalty_cost")}
    if answer.policy == "optimal":
        split, cost = locations.fixed_lot_split(laws, given["num_units"], **costs)
        return cost, {"split": list(split)}
    period = locations.OnePeriod(
        laws, 0.0, costs["penalty_cost"], costs["local_cost"], costs["cross_cost"]
    )
    return period(tuple(answer.parameters["split"])), {}


def _order_split(given: dict[str, Any], answer: Answer) -> Value:
    kinds = {tuple(o): p for o, p in zip(given["orders"], given["probabilities"], strict=True)}
    stream = order_split.OrderStream(
        kinds, given["num_items"], tuple(given["package_costs"]), given["lost_cost"]
    )
    function: Callable[..., float] = {
        "optimal": order_split.least_cost,
        "myopic": order_split.myopic_cost,
        "linear_program_bound": order_split.linear_program_bound,
    }[answer.policy]
    return function(stream, tuple(given["stock"]), given["periods"]), {}


def _allocation(given: dict[str, Any], answer: Answer) -> Value:
    rule = {
        "proportional": proportional_allocation,
        "linear": linear_allocation,
        "uniform": uniform_allocation,
    }[answer.policy]
    return rule(given["orders"], given["capacity"]).tolist(), {}


def _market(given: dict[str, Any], answer: Answer) -> Value:
    found = allocation.proportional_share_market([1.0] + [0.5] * (given["users"] - 1))
    return found.efficiency, {"price": found.price, "share": found.shares[0]}


def _consolidation(given: dict[str, Any], answer: Answer) -> Value:
    numbers = (given["arrival_rate"], given["dispatch_cost"], given["waiting_cost"])
    found = dispatch.consolidation(*numbers)
    if answer.policy == "quantity":
        return found.quantity_cost, {"quantity": found.quantity}
    if answer.policy == "interval":
        return found.interval_cost, {"interval": found.interval}
    interval = answer.parameters["interval"]
    return dispatch.interval_policy_cost(*numbers, interval, charged_when_empty=False), {}


def _bin_packing(given: dict[str, Any], answer: Answer) -> Value:
    rule: Callable[..., float] = {
        "optimal": packing.fewest_bins,
        "first_fit_decreasing": packing.first_fit_decreasing,
        "best_fit_decreasing": packing.best_fit_decreasing,
    }[answer.policy]
    return rule(given["items"], given["capacity"]), {}


def _knapsack(given: dict[str, Any], answer: Answer) -> Value:
    return packing.knapsack(given["values"], given["weights"], given["capacity"]), {}


def _online_packing(given: dict[str, Any], answer: Answer) -> Value:
    if answer.policy != "optimal":
        raise RandomFigure("the waste of 1000 random items is a mean of draws")
    return packing.waste_per_item(given["sizes"], given["probabilities"], given["capacity"]), {}


def online_waste(instance: Instance, answer: Answer, sequences: int = 60) -> tuple[float, float]:
    """Mean waste of an online packing rule over 1000 random items, and its standard error."""
    given, generator = instance.parameters, np.random.default_rng(7)
    drawn = [
        generator.choice(given["sizes"], 1000, p=given["probabilities"]).tolist()
        for _ in range(sequences)
    ]
    waste = np.array([packing.online_waste(d, given["capacity"], answer.policy) for d in drawn])
    return float(waste.mean()), float(waste.std(ddof=1) / math.sqrt(sequences))


ORACLE_ONLY: dict[str, tuple[Callable[[dict[str, Any], Answer], Value], str]] = {
    "continuous_serial": (_continuous_serial, "continuous review; the step reviews by the period"),
    "lot_split": (_lot_split, "a formula of one period for a lot of fixed size"),
    "order_split": (_order_split, "orders of several items are no part of the step"),
    "consolidation": (_consolidation, "continuous time; the step counts periods"),
    "allocation": (_allocation, "an allocation rule, not a process"),
    "proportional_share_market": (_market, "a market equilibrium, not a process"),
    "bin_packing": (_bin_packing, "loading of single items is no part of the step"),
    "knapsack": (_knapsack, "loading of single items is no part of the step"),
    "online_packing": (_online_packing, "loading of single items is no part of the step"),
}
"""Problem -> what computes it, and why no environment plays it."""
