"""The table of known answers, and the oracles compared with it.

A table is a YAML file; the packaged one, `conf/validate/known_answers.yaml`, describes the format
at its head and is the one home of the figures that tests and `stockyard-validate` hold the code to.
Policies and their parameters go by the names of the heuristics, in the oracles too.
Problems beyond `stockyard.envs.textbook` test an oracle alone (`ORACLE_ONLY`).
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stockyard.agents import oracles
from stockyard.agents.oracles import allocation, dispatch, echelons, locations, order_split, packing
from stockyard.agents.policy import registered
from stockyard.envs import textbook
from stockyard.envs.textbook.base import distribution, distributions

TABLE = Path(__file__).parents[2] / "conf" / "validate" / "known_answers.yaml"
"""The packaged table."""

DEFAULT_TOLERANCE = 1e-4
LEVEL_ERROR = 1e-4  # units, of the parameters of an optimal policy
GAP_ERROR = 0.01  # percentage points


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


# exact figures


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
            return _only(self.instance, answer)[0]
        if answer.policy == "optimal":
            return self.solution(answer).cost
        return oracles.policy_cost(self.spec, answer.policy, **answer.parameters)

    def levels(self, answer: Answer) -> Mapping[str, Any]:
        """The parameters of the optimal policy that the answer names."""
        found = (
            self.solution(answer).parameters
            if self.instance.is_textbook
            else _only(self.instance, answer)[1]
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


# problems of an oracle without an environment


class RandomFigure(ValueError):
    """The figure is a mean of random draws and has no exact value."""


Value = tuple[Any, Mapping[str, Any]]
"""A figure, and the parameters of the optimum."""


def _only(instance: Instance, answer: Answer) -> Value:
    return ORACLE_ONLY[instance.problem][0](dict(instance.parameters), answer)


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
        "proportional": allocation.proportional_allocation,
        "linear": allocation.linear_allocation,
        "uniform": allocation.uniform_allocation,
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
