"""Named worlds: a scenario and a size give a `World`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from stockyard.envs.network.forecast import MartingaleForecaster
from stockyard.envs.network.processes import MartingaleDemand
from stockyard.envs.network.standing_rules import Rule, resolve_rule
from stockyard.envs.network.world import Opening, World
from stockyard.envs.scenarios.presets import SIZES


class Scenario(Protocol):
    """Anything that builds a world; textbook problems and users' own scenarios are such objects."""

    def build(self, size: str, task: str) -> World:
        """Builds the world for a size and a task."""


def _steady(size: str, task: str, demand: Any) -> World:
    from stockyard.envs.scenarios.retail import build_retail

    return build_retail(size, task, demand)


def _real(size: str, task: str, demand: Any) -> World:
    from stockyard.envs.scenarios.retail import build_real

    return build_real(size, task, demand)


SCENARIOS: dict[str, Callable[[str, str, Any], World]] = {"steady": _steady, "real": _real}
"""Builders by name. `steady`: no season, drifting levels. `real`: the shipped demand panel."""


def build_world(
    scenario: str | Scenario,
    size: str = "small",
    task: str = "replenishment",
    *,
    demand: Any = None,
    rules: Mapping[str, str | Rule] | None = None,
    integer: bool | None = None,
) -> World:
    """Builds a world by name, or from an object with a `build` method.

    Args:
        scenario: a name of `SCENARIOS`, or a `Scenario`.
        size: a name of `presets.SIZES`; textbook problems have one size and ignore it.
        task: name of the task, which presets may depend on.
        demand: a `DemandPanel` to replay or a demand process, instead of the scenario's own.
        rules: slot -> standing rule, by name or callable.
        integer: whole units; None takes the scenario's choice.

    Raises:
        ValueError: for unknown names, where the known ones are listed, and for wrong values.
    """
    if size not in SIZES:
        raise ValueError(f"size: unknown {size!r}; known: {', '.join(SIZES)}")
    if isinstance(scenario, str):
        if scenario not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise ValueError(f"scenario: unknown {scenario!r}; known: {known}")
        world = SCENARIOS[scenario](size, task, demand)
    elif not hasattr(scenario, "build"):
        raise ValueError(f"scenario: must be a name or have a build method, got {scenario!r}")
    elif demand is not None:
        raise ValueError("demand: cannot be given beside a scenario object, which has its own")
    else:
        world = scenario.build(size, task)
    if task == "network" and world.periods_per_step > 1:  # placing and loading decide every period
        scale = world.reward_scale / world.periods_per_step
        world = dataclasses.replace(world, periods_per_step=1, reward_scale=scale)
    if rules is not None and not isinstance(rules, Mapping):
        raise ValueError(f"rules: must map slots to rules, got {rules!r}")
    if integer is not None and not isinstance(integer, bool):
        raise ValueError(f"integer: must be true, false or None, got {integer!r}")
    if rules:
        resolved = {slot: resolve_rule(slot, rule) for slot, rule in rules.items()}
        world = dataclasses.replace(world, rules={**world.rules, **resolved})
    if integer:
        return _in_whole_units(world)
    if integer is not None:
        world = dataclasses.replace(world, whole_units=False)
    return world


def _in_whole_units(world: World) -> World:
    """The same world with whole demand and whole opening stock.

    Raises:
        ValueError: if demand is not whole and cannot be made so.
    """
    source, opening = world.source, world.opening
    if isinstance(source.demand, MartingaleDemand):
        demand = dataclasses.replace(source.demand, whole_units=True)
        forecaster = source.forecaster
        if isinstance(forecaster, MartingaleForecaster):
            forecaster = dataclasses.replace(forecaster, demand=demand)
        source = dataclasses.replace(source, demand=demand, forecaster=forecaster)
    elif not getattr(source.demand, "is_integer", False):
        raise ValueError(
            "integer: demand must come in whole units (its process says `is_integer = True`), "
            f"got {source.demand!r}"
        )
    opening = Opening(np.rint(opening.on_hand), tuple(np.rint(u) for u in opening.inbound))
    return dataclasses.replace(world, source=source, opening=opening, whole_units=True)
