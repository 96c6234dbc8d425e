"""Named worlds: a scenario and a size give a `World`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stockyard.envs.network.forecast import MartingaleForecaster
from stockyard.envs.network.martingale import MartingaleDemand
from stockyard.envs.network.standing_rules import Rule, resolve_rule
from stockyard.envs.network.world import Opening, World
from stockyard.envs.scenarios.presets import SIZES
from stockyard.envs.scenarios.scenario import Scenario, named_file, names
from stockyard.envs.tasks.shown_forecast import resolve_forecast

__all__ = ["BENCHMARK", "Scenario", "WorldBuilder", "build_world", "names"]

BENCHMARK = (
    "steady",
    "seasonal",
    "peak_event",
    "capacity_shock",
    "cold_start",
    "supplier_disruption",
    "port_delay",
    "fc_outage",
    "demand_drop",
    "one_day_rollout",
    "real",
)
"""The scenarios that policies are compared on."""


class WorldBuilder(Protocol):
    """Anything that builds a world; textbook problems and users' own worlds are such objects."""

    def build(self, size: str, task: str) -> World:
        """Builds the world for a size and a task."""


def build_world(
    scenario: str | Path | Mapping[str, Any] | Scenario | WorldBuilder,
    size: str = "small",
    task: str = "replenishment",
    *,
    demand: Any = None,
    rules: Mapping[str, str | Mapping[str, Any] | Rule] | None = None,
    integer: bool | None = None,
    forecast: Any = None,
) -> World:
    """Builds a world by name, from a scenario's data, or from an object with a `build` method.

    Args:
        scenario: a name of `names()`, the path of a scenario's YAML file, its data as a mapping, a
            `Scenario`, or a `WorldBuilder`.
        size: a name of `presets.SIZES`; textbook problems have one size and ignore it.
        task: name of the task, which presets may depend on.
        demand: a `DemandPanel` to replay or a demand process, instead of the scenario's own.
        rules: slot -> standing rule, by name or callable.
        integer: whole units; None takes the scenario's choice.
        forecast: what observations show instead of the tape's own forecast: a name of
            `stockyard.envs.tasks.shown_forecast.KINDS`, a mapping of `kind` and its parameters, or
            a `ShownForecast`; None: the tape's own.

    Raises:
        ValueError: for unknown names, where the known ones are listed, and for wrong values.
    """
    if size not in SIZES:
        raise ValueError(f"size: unknown {size!r}; known: {', '.join(SIZES)}")
    given = _resolved(scenario)
    if isinstance(given, Scenario) and task == "truck_fill":
        from stockyard.envs.scenarios.trucking import build_trucking

        world = build_trucking(given, size, demand)
    elif isinstance(given, Scenario):
        from stockyard.envs.scenarios.retail import build_retail

        world = build_retail(given, size, task, demand)
    elif demand is not None:
        raise ValueError("demand: cannot be given beside a scenario object, which has its own")
    else:
        world = given.build(size, task)
    if task == "network" and world.periods_per_step > 1:  # placing and loading decide every period
        scale = world.reward_scale / world.periods_per_step
        source = dataclasses.replace(world.source, outlook_periods=1)
        world = dataclasses.replace(world, source=source, periods_per_step=1, reward_scale=scale)
    if rules is not None and not isinstance(rules, Mapping):
        raise ValueError(f"rules: must map slots to rules, got {rules!r}")
    if integer is not None and not isinstance(integer, bool):
        raise ValueError(f"integer: must be true, false or None, got {integer!r}")
    if rules:
        resolved = {slot: resolve_rule(slot, rule) for slot, rule in rules.items()}
        world = dataclasses.replace(world, rules={**world.rules, **resolved})
    if integer:
        world = _in_whole_units(world)
    elif integer is not None:
        world = dataclasses.replace(world, whole_units=False)
    return dataclasses.replace(world, forecast=resolve_forecast(forecast, world))


def _resolved(scenario: Any) -> Scenario | WorldBuilder:
    """The scenario of a name, a file or a mapping; objects as they are.

    Raises:
        ValueError: for an unknown name, where the known ones are listed, and for a wrong file.
    """
    if isinstance(scenario, Path) or (isinstance(scenario, str) and scenario.endswith(".yaml")):
        if not Path(scenario).is_file():
            raise ValueError(f"scenario: there is no file {str(scenario)!r}")
        return Scenario.from_yaml(scenario)
    if isinstance(scenario, str):
        return Scenario.from_yaml(named_file(scenario))
    if isinstance(scenario, Mapping):
        if set(scenario) == {"name"} and scenario["name"] in names():  # as configurations tell it
            return Scenario.from_yaml(named_file(scenario["name"]))
        return Scenario.from_mapping(scenario)
    if isinstance(scenario, Scenario) or hasattr(scenario, "build"):
        found: Scenario | WorldBuilder = scenario
        return found
    raise ValueError(
        f"scenario: must be a name, a YAML file, a mapping or have a build method, got {scenario!r}"
    )


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
