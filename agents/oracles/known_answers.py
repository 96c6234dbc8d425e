"""The table of known answers: instances of problems, and what is known of their costs.

A table is a YAML file; the packaged one, `conf/validate/known_answers.yaml`, describes the format
at its head and is the one home of the figures that tests and `stockyard-validate` hold the code to.
Policies and their parameters go by the names of the heuristics, in the oracles too.
Problems beyond `stockyard.envs.textbook` test an oracle alone (`ORACLE_ONLY`).
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stockyard.agents import oracles
from stockyard.agents.oracles.oracle_only import ORACLE_ONLY
from stockyard.agents.policy import registered
from stockyard.envs import textbook

TABLE = Path(__file__).parents[2] / "conf" / "validate" / "known_answers.yaml"
"""The packaged table."""

DEFAULT_TOLERANCE = 1e-4
LEVEL_ERROR = 1e-4  # units, of the parameters of an optimal policy


@dataclass(frozen=True)
class Answer:
    """One policy of an instance, and what is known of its cost."""

    policy: str  # optimal, or a rule
    parameters: Mapping[str, Any] = field(default_factory=dict)
    recorded: Any = None  # exact figure, USD; a list where the answer is one
    published: str | None = None  # as printed
    tolerance: float | None = None  # relative, absolute below 1; None: that of the instance
    level_error: float = LEVEL_ERROR
    recorded_gap: float | None = None  # % above the optimum
    published_gap: str | None = None
    discount: float | None = None
    periods: int | None = None
    is_best: bool = False
    actions: Sequence[Mapping[str, Any]] = ()
    note: str = ""

    @property
    def label(self) -> str:
        """Policy and what it is given, in one line."""
        given = {} if self.policy == "optimal" else dict(self.parameters)
        given |= {k: v for k in ("discount", "periods") if (v := getattr(self, k)) is not None}
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in given.items())
        return f"{self.policy}({shown})" if shown else self.policy


@dataclass(frozen=True)
class Instance:
    """A problem with numbers, and its answers."""

    id: str
    problem: str
    parameters: Mapping[str, Any]
    answers: tuple[Answer, ...]
    source: str = ""
    grade: str = ""
    tolerance: float = DEFAULT_TOLERANCE
    short: bool = False  # whether the short form of a validation runs it

    @property
    def is_textbook(self) -> bool:
        """Whether there is an environment."""
        return self.problem in textbook.PROBLEMS

    def build(self) -> dict[str, Any]:
        """Builds the keyword arguments of the environment."""
        built: dict[str, Any] = textbook.PROBLEMS[self.problem](**self.parameters)
        return built

    def tolerance_of(self, answer: Answer) -> float:
        """The tolerance of exact against recorded."""
        return self.tolerance if answer.tolerance is None else answer.tolerance


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Reads 1e-6 as a number, which YAML 1.1 does not."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load_table(path: str | Path | None = None) -> tuple[Instance, ...]:
    """Reads a table and checks it, each instance built once.

    Args:
        path: the file; None: the packaged table.

    Raises:
        ValueError: naming file, entry and field.
    """
    return _packaged() if path is None else _load(Path(path))


@functools.cache
def _packaged() -> tuple[Instance, ...]:
    return _load(TABLE)


def _load(path: Path) -> tuple[Instance, ...]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        what = getattr(error, "problem", None) or "not YAML"
        raise ValueError(f"{path}: {where}{what}") from None
    given = content.get("instances") if isinstance(content, Mapping) else content
    if not isinstance(given, list) or not given:
        raise ValueError(f"{path}: must hold a list of instances under the key 'instances'")
    found: list[Instance] = []
    for k, entry in enumerate(given):
        name = f"number {k + 1}"
        if isinstance(entry, Mapping) and "id" in entry:
            name = repr(str(entry["id"]))
        try:
            instance = _instance(entry, f"instance-{k + 1}")
            if any(other.id == instance.id for other in found):
                raise ValueError("field id: occurs twice")
        except ValueError as error:
            raise ValueError(f"{path}: entry {name}, {error}") from None
        found.append(instance)
    return tuple(found)


def _instance(entry: Any, default_id: str) -> Instance:
    """Reads one entry; errors name the field."""
    _check_keys(entry, Instance, "")
    for name in ("problem", "parameters", "answers"):
        if name not in entry:
            raise ValueError(f"field {name}: is missing")
    problem = entry["problem"]
    known = [*textbook.PROBLEMS, *ORACLE_ONLY]
    if problem not in known:
        raise ValueError(f"field problem: unknown {problem!r}; known: {', '.join(known)}")
    if not isinstance(entry["parameters"], Mapping):
        raise ValueError("field parameters: must map names to values")
    if not isinstance(entry["answers"], list) or not entry["answers"]:
        raise ValueError("field answers: must be a list of policies")
    for name in ("source", "grade"):
        if not isinstance(entry.get(name, ""), str):
            raise ValueError(f"field {name}: must be text, got {entry[name]!r}")
    _check_amounts(entry, "tolerance")
    if not isinstance(entry.get("short", False), bool):
        raise ValueError(f"field short: must be true or false, got {entry['short']!r}")
    answers = []
    for k, given in enumerate(entry["answers"]):
        try:
            answers.append(_answer({"policy": given} if isinstance(given, str) else given, problem))
        except ValueError as error:
            raise ValueError(f"answer {k + 1}, {error}") from None
    optional = {k: entry[k] for k in ("source", "grade", "tolerance", "short") if k in entry}
    instance = Instance(
        str(entry.get("id", default_id)), problem, entry["parameters"], tuple(answers), **optional
    )
    if instance.is_textbook:
        _check_parameters(instance)
    return instance


def _check_keys(given: Any, kind: type, where: str) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}must map fields to values, got {given!r}")
    known = [item.name for item in fields(kind)]
    for key in given:
        if key not in known:
            raise ValueError(f"field {key}: unknown; known: {', '.join(known)}")


def _check_amounts(given: Mapping[str, Any], *names: str) -> None:
    for name in names:
        value = given.get(name)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not (math.isfinite(value) and value >= 0):
            raise ValueError(f"field {name}: must be a number >= 0, got {value!r}")


def _answer(given: Any, problem: str) -> Answer:
    _check_keys(given, Answer, "")
    if not isinstance(given.get("policy"), str):
        raise ValueError("field policy: must name a policy")
    _check_amounts(given, "tolerance", "level_error", "recorded_gap", "discount", "periods")
    if not isinstance(given.get("parameters", {}), Mapping):
        raise ValueError("field parameters: must map names to values")
    for name in ("published", "published_gap"):
        if given.get(name) is not None:
            given = {**given, name: str(given[name])}
            try:
                float(given[name])
            except ValueError:
                raise ValueError(f"field {name}: must be a number, got {given[name]!r}") from None
    recorded = given.get("recorded")
    try:
        array = np.asarray(0.0 if recorded is None else recorded, dtype=np.float64)
        is_finite = bool(np.isfinite(array).all())
    except (TypeError, ValueError):
        is_finite = False
    if not is_finite or isinstance(recorded, str | bool):
        raise ValueError(f"field recorded: must be a number, got {recorded!r}")
    if problem in textbook.PROBLEMS:
        _check_policy(given["policy"], given.get("parameters", {}), problem)
    return Answer(**given)


def _check_policy(name: str, parameters: Mapping[str, Any], problem: str) -> None:
    heuristics = registered()
    if name in heuristics:
        known = [*inspect.signature(heuristics[name].resolve()).parameters][1:]
        for parameter in parameters:
            if parameter not in known:
                listed = ", ".join(known) or "none"
                raise ValueError(f"field {parameter}: {name} has none; it takes: {listed}")
    elif name != "optimal" and name not in _ALL_RULES:
        listed = ", ".join(["optimal", *heuristics])
        raise ValueError(f"field policy: unknown {name!r}; known: {listed}")


_ALL_RULES = {rule for oracle in oracles._ORACLES.values() for rule in oracle.rules}


def _check_parameters(instance: Instance) -> None:
    """Builds the problem; an error names the field."""
    function = textbook.PROBLEMS[instance.problem]
    wanted = inspect.signature(function).parameters.values()
    named = [p for p in wanted if p.kind is not p.VAR_KEYWORD]
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in instance.parameters:
            raise ValueError(f"field {parameter.name}: {instance.problem} needs it")
    known = [p.name for p in named]
    for name in instance.parameters:
        if name not in known and not str(name).startswith("demand_"):
            listed = ", ".join([*known, "demand_*"])
            raise ValueError(f"field {name}: {instance.problem} has none; it takes: {listed}")
    try:
        spec = instance.build()
        spec["scenario"].build("small", "network")
    except (ValueError, TypeError) as error:
        raise ValueError(f"field {error}") from None
