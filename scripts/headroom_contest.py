"""Contests: who competes, and where their parameters, weights, bounds and results are kept.

A contest is one file of conf/headroom; the key `task` of `stockyard-headroom` names it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

import stockyard.agents
import stockyard.conf
from stockyard.agents.evaluation.files import write_text_atomic
from stockyard.agents.learners.run_folder import SHIPPED as WEIGHTS
from stockyard.scripts import command_line

CONTESTS = Path(stockyard.conf.__file__).parent / "headroom"
TUNED = Path(stockyard.conf.__file__).parent / "tuned"
BOUNDS = Path(stockyard.agents.__file__).parent / "oracles" / "bounds"

ATTEMPTS = 3
"""Searches of a rule before an edge is accepted."""


@dataclass(frozen=True)
class Contest:
    """One file of conf/headroom: an environment, scenarios, rules and learners."""

    task: str  # name of the file
    env: dict[str, Any]
    naive: str
    rules: tuple[str, ...]  # judged on all test tapes
    slow: tuple[str, ...]  # judged on fewer
    costly: tuple[str, ...]  # tuned on fewer training tapes
    learners: dict[str, dict[str, Any]]  # name with its seed -> name, experiment, seed, weights
    scenarios: tuple[str, ...]
    folder: Path  # of results
    bounds: str  # file of solved bounds: contests of one environment share it
    # metrics that policies trade for one another; a minus before one of which less is better
    frontier: tuple[str, ...] = ()
    guarded: str | None = None  # metric, less is better, of which a winner may not have more
    unit: str = "day"  # the period of the network, by which money is told
    about: str = ""  # a sentence for the page
    measure: str = "profit"  # what the reward is, in USD
    bound_seconds: float = 60.0  # for the bound of one tape
    variants: dict[str, Any] = dataclasses.field(default_factory=dict)  # scenarios of its own

    @classmethod
    def from_config(cls, config: DictConfig) -> Contest:
        """Reads the contest that a command is about.

        Raises:
            ValueError: for an unknown contest or scenario.
        """
        return cls.read(config.task, command_line.plain(config.scenarios), config.runs)

    @classmethod
    def read(cls, task: str, chosen: Any = None, runs: str | Path = "runs/headroom") -> Contest:
        """Reads the file of a name.

        Args:
            task: name of the file.
            chosen: scenarios, or one; None: those of the file, or of the benchmark.
            runs: folder of results.

        Raises:
            ValueError: for an unknown contest or scenario.
        """
        from stockyard.envs.scenarios import BENCHMARK, names

        known = sorted(path.stem for path in CONTESTS.glob("*.yaml"))
        if task not in known:
            raise ValueError(f"task: unknown {task!r}; known: {', '.join(known)}")
        data = yaml.safe_load((CONTESTS / f"{task}.yaml").read_text(encoding="utf-8"))
        variants = data.get("variants", {})
        scenarios = chosen or data.get("scenarios") or BENCHMARK
        scenarios = [scenarios] if isinstance(scenarios, str) else scenarios
        possible = [*names(), *variants]
        for scenario in scenarios:
            if scenario not in possible:
                raise ValueError(f"scenarios: unknown {scenario!r}; known: {', '.join(possible)}")
        learners = {
            f"{name}_s{seed}": {
                "name": name,
                "experiment": given["experiment"],
                "seed": seed,
                "weights": f"{task}/{name}_s{seed}",
            }
            for name, given in data["learners"].items()
            for seed in given["seeds"]
        }
        for name, weights in data.get("guests", {}).items():  # trained for another contest
            learners[name] = {"name": name, "experiment": None, "weights": weights}
        return cls(
            task=task,
            env=dict(data["env"]),
            naive=data["naive"],
            rules=tuple(data["rules"]),
            slow=tuple(data["slow"] or ()),
            costly=tuple(data["costly"] or ()),
            learners=learners,
            scenarios=tuple(scenarios),
            folder=Path(runs) / task,
            bounds=str(data.get("bounds", task)),
            frontier=tuple(data.get("frontier", ())),
            guarded=data.get("guarded"),
            unit=str(data.get("unit", "day")),
            about=str(data.get("about", "")),
            measure=str(data.get("measure", "profit")),
            bound_seconds=float(data.get("bound_seconds", 60.0)),
            variants=variants,
        )

    def siblings(self) -> list[str]:
        """The contests of the same environment, this one among them: they share bounds."""
        named = {
            path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
            for path in sorted(CONTESTS.glob("*.yaml"))
        }
        return [name for name, data in named.items() if data.get("bounds", name) == self.bounds]

    def spec(self, scenario: str) -> dict[str, Any]:
        """The environment of a scenario."""
        own = self.variants.get(scenario)
        return {**self.env, "scenario": scenario if own is None else {"name": scenario, **own}}

    def tunable(self) -> list[str]:
        """The rules that have something to tune."""
        from stockyard.agents.heuristics.base import search_of
        from stockyard.agents.policy import registered

        entries = registered()
        every = (self.naive, *self.rules, *self.slow)
        for rule in every:
            if rule not in entries:
                raise ValueError(f"{rule!r} of conf/headroom is no heuristic")
        return [rule for rule in every if search_of(entries[rule].resolve()) is not None]

    def tuned_file(self, scenario: str) -> Path:
        """Where the tuned parameters of a scenario's rules are."""
        return TUNED / self.task / f"{scenario}.yaml"

    def tuned(self, scenario: str) -> dict[str, Any]:
        """Rule -> parameters, score, seconds and date of its search."""
        path = self.tuned_file(scenario)
        if not path.is_file():
            return {}
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})

    def is_tuned(self, scenario: str, rule: str) -> bool:
        """Whether a rule has been tuned for a scenario."""
        return rule in self.tuned(scenario)

    def is_searched(self, scenario: str, rule: str) -> bool:
        """Whether a rule needs no further search: it has been tuned, and ended on no edge.

        After `ATTEMPTS` ever wider searches an edge is that of a ridge, and is reported.
        """
        entry = self.tuned(scenario).get(rule)
        if entry is None:
            return False
        return not entry.get("on_edge") or entry.get("attempts", 1) >= ATTEMPTS

    def on_edge(self, scenario: str, rule: str) -> bool:
        """Whether a search ended on the edge of its last grid, so that better may lie beyond."""
        return bool(self.tuned(scenario).get(rule, {}).get("on_edge"))

    def keep_tuned(self, scenario: str, rule: str, entry: Mapping[str, Any]) -> None:
        """Adds the result of a search to the scenario's file."""
        entries = {**self.tuned(scenario), rule: dict(entry)}
        ordered = {name: entries[name] for name in sorted(entries)}
        text = f"# {self.task}, {scenario}: rules tuned on training tapes by stockyard-headroom\n"
        text += yaml.safe_dump(ordered, sort_keys=False, width=100)
        write_text_atomic(self.tuned_file(scenario), text)

    def parameters(self, scenario: str, rule: str) -> dict[str, Any]:
        """What a rule is made with in a scenario."""
        return dict(self.tuned(scenario).get(rule, {}).get("parameters", {}))

    def weights(self, learner: str) -> Path:
        """The folder of a trained learner."""
        return WEIGHTS / str(self.learners[learner]["weights"])

    def trained(self) -> list[str]:
        """The learners that have weights."""
        return [name for name in self.learners if self.weights(name).is_dir()]

    def missing_guests(self) -> dict[str, str]:
        """Guests that have no weights -> their folder in agents/weights."""
        return {
            name: str(given["weights"])
            for name, given in self.learners.items()
            if given["experiment"] is None and not self.weights(name).is_dir()
        }

    def among(self, names: Collection[str]) -> Contest:
        """The same contest with only these competitors."""
        return dataclasses.replace(
            self,
            rules=tuple(rule for rule in self.rules if rule in names),
            slow=tuple(rule for rule in self.slow if rule in names),
            learners={name: given for name, given in self.learners.items() if name in names},
        )

    def policies(self) -> list[str]:
        """All that can be evaluated: rules, and learners that have weights."""
        return [self.naive, *self.rules, *self.slow, *self.trained()]

    def bounds_file(self) -> Path:
        """Where solved bounds are kept."""
        return BOUNDS / f"{self.bounds}.jsonl"

    def result_file(self, scenario: str) -> Path:
        """Where the results of a scenario are kept."""
        return self.folder / f"{scenario}.json"

    def fingerprint(self, scenario: str, policy: str) -> str:
        """Changes with a policy's parameters or weights, the scenario's data and the version.

        A change of the code does not show in it: results say the commit that they were found at.
        """
        content: Any
        if policy in self.learners:
            folder = self.weights(policy)
            files = sorted(path for path in folder.iterdir() if path.suffix in (".zip", ".json"))
            content = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        else:
            content = self.parameters(scenario, policy)
        from stockyard.envs.scenarios.scenario import named_file

        is_own = scenario in self.variants
        world = "" if is_own else named_file(scenario).read_text(encoding="utf-8")
        known = [policy, self.spec(scenario), world, metadata.version("stockyard"), content]
        text = json.dumps(known, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
