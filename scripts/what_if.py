"""Changes a lever on the same tapes: `stockyard-what-if what_if=one_day_promise`.

A base case and the cases beside it run on the same held-out tapes; the command reports paired
differences of profit, stock by place, delivery speed and freight, with intervals. A finished case
is kept and not run again.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

import stockyard.conf  # noqa: F401  (registers the schemas)
from stockyard.conf.schema import WhatIfSchema
from stockyard.scripts import command_line

BASE = "base"
KEYS = ("name", "title", "about", "base", "cases")

Row = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One case, ready to run."""

    name: str
    about: str
    specification: Mapping[str, Any]
    policy: Any  # as a configuration has it
    retune: bool
    tuning_tapes: int
    which: str
    rollout: Mapping[str, Any]  # arguments of `evaluate`
    rival: Any = None  # the base's policy: a tuned rule must beat it on the training tapes

    @property
    def key(self) -> str:
        """Changes with anything that the result depends on, the code included."""
        from stockyard.agents.learners.run_folder import git_commit, provenance
        from stockyard.envs.scenarios.scenario import scenario_data

        code = [provenance()["versions"]["stockyard"], git_commit()]
        parts = {**asdict(replace(self, about="")), "code": code}  # its description is no matter
        if isinstance(self.policy, str) and Path(self.policy).is_dir():
            files = Path(self.policy).rglob("*")
            parts["policy_changed"] = max((p.stat().st_mtime_ns for p in files), default=0)
        scenario = self.specification.get("scenario")
        if isinstance(scenario, str | Path | Mapping):
            parts["scenario"] = scenario_data(scenario)
        text = json.dumps(parts, sort_keys=True, default=repr)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def main() -> None:
    """Runs the command."""
    command_line.run(_command, WhatIfSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="what_if")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        page = experiment(config)
    print(f"written: {page}")


def experiment(config: DictConfig) -> Path:
    """Runs the cases that are missing, prints the table and writes the page; returns its path."""
    from stockyard.agents.evaluation.report import console
    from stockyard.scripts.what_if_page import compared, render, write_page

    with command_line.explained():
        described = command_line.plain(config.what_if)
        tasks = tasks_of(described, config)
        rows = {}
        try:
            for row in _rows(tasks, config):
                rows[row["name"]] = row
        except KeyboardInterrupt:
            sys.exit(f"\ninterrupted; the same command goes on from {config.folder}")
        result = compared(described, [rows[task.name] for task in tasks])
    console().print(render(result))
    command = "stockyard-what-if " + " ".join(command_line.chosen_overrides())
    # in the folder of cases its JSON file must not take the name of a case's
    page = Path(config.page or Path(config.folder) / "page.md")
    write_page(page, result, command.strip())
    return page


def tasks_of(described: Mapping[str, Any], config: DictConfig) -> list[Task]:
    """The base case and the others, checked.

    Raises:
        ValueError: naming the case and the field that is wrong.
    """
    from stockyard.agents.evaluation.what_if import Case

    command_line.check_split(config.split)
    for key in ("tapes", "workers", "tuning_tapes"):
        if config[key] < 1:
            raise ValueError(f"{key}: must be >= 1, got {config[key]}")
    for key in described:
        if key not in KEYS:
            raise ValueError(f"what_if: unknown field {key!r}; known: {', '.join(KEYS)}")
    given = described.get("cases")
    if not isinstance(given, Mapping) or not given:
        raise ValueError("what_if.cases: must map names to cases")
    if BASE in given:
        raise ValueError(f"what_if.cases: {BASE!r} is the name of the case to compare with")
    specification = command_line.specification(config.env)
    # the base case is a change too: of what the command line names
    cases = {BASE: Case.of(BASE, described.get("base") or {})}
    cases |= {str(name): Case.of(str(name), data) for name, data in given.items()}
    policy = command_line.plain(config.policy) or cases[BASE].policy
    if policy is None:
        policy = command_line.plain(config.policies).get(specification["id"])
    if policy is None:
        raise ValueError(f"policy: none is set for {specification['id']}; name one")
    tasks = []
    for name, case in cases.items():
        where = BASE if name == BASE else f"cases.{name}"
        try:
            changed = case.changed(specification)
            command_line.check(changed)
            chosen = policy if case.policy is None else case.policy
            _check_policy(chosen, case.retune)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: {error}") from error
        if name == BASE:
            specification = changed
        tasks.append(
            Task(
                name=name,
                about=" ".join(case.about.split()),
                specification=changed,
                # None: as the base has it, once that is tuned
                policy=chosen if name == BASE or case.policy is not None or case.retune else None,
                retune=case.retune,
                tuning_tapes=config.tuning_tapes,
                which=config.which,
                rollout={
                    "num_tapes": config.tapes,
                    "seed": config.seed,
                    "split": config.split,
                    "periods": config.periods,
                    "warmup": config.warmup,
                },
            )
        )
    return tasks


def _check_policy(entry: Any, retune: bool) -> None:
    """Refuses what is neither a heuristic nor a run folder, before anything runs."""
    from stockyard.agents import registered

    name = str(entry.get("name")) if isinstance(entry, Mapping) else str(entry)
    if name in registered():
        return
    if retune:
        raise ValueError(f"retune: only heuristics are tuned, not {name!r}")
    if isinstance(entry, Mapping) or not (Path(name) / "run.json").is_file():
        known = ", ".join(registered())
        raise ValueError(f"policy: unknown {name!r}; known: {known}; or the path of a run folder")


def _rows(tasks: Sequence[Task], config: DictConfig) -> Iterator[Row]:
    """Rows as they come, the base first: the others may take its tuned rule."""
    base, others = tasks[0], tasks[1:]
    with tqdm(total=len(tasks), desc="cases", disable=not config.progress) as bar:

        def told(row: Row) -> Row:
            bar.update()
            bar.set_postfix_str(row["name"])
            return row

        for first in _run([base], config, bar.set_postfix_str):
            yield told(first)
        used = first["policy"]
        ready = [
            replace(task, policy=used if task.policy is None else task.policy, rival=used)
            if task.policy is None or task.retune
            else task
            for task in others
        ]
        for row in _run(ready, config, bar.set_postfix_str):
            yield told(row)


def _run(tasks: Sequence[Task], config: DictConfig, tell: Tell) -> Iterator[Row]:
    """Finished cases from the folder, then the others, each kept as soon as it is done."""
    from stockyard.agents.evaluation.files import write_json_atomic

    keys = {task.name: task.key for task in tasks}
    missing = []
    for task in tasks:
        row = _kept(_file(config, task.name), keys[task.name]) if config.resume else None
        if row is None:
            missing.append(task)
        else:
            yield {**row, "about": task.about}
    for row in _computed(missing, config.workers, tell):
        row["key"] = keys[row["name"]]
        write_json_atomic(_file(config, row["name"]), row)
        yield row


def _file(config: DictConfig, name: str) -> Path:
    return Path(config.folder) / "cases" / f"{name}.json"


def _kept(path: Path, key: str) -> Row | None:
    if not path.is_file():
        return None
    row: Row = json.loads(path.read_text(encoding="utf-8"))
    return row if row.get("key") == key else None


def _computed(tasks: Sequence[Task], workers: int, tell: Tell) -> Iterator[Row]:
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield run_case(task, tell)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run_case, task) for task in tasks]):
            yield done.result()


def run_case(task: Task, tell: Tell | None = None) -> Row:
    """Tunes the rule if that is asked for, runs it and measures.

    Args:
        task: The case.
        tell: Called with a line now and then while the rule is tuned.
    """
    from stockyard.agents.evaluation.what_if import measure

    entry, training = task.policy, {**task.specification, "split": "train"}
    entry, tuned = _tuned(task, tell) if task.retune else (entry, None)
    label, policy = command_line.build_policy(entry, training, task.which)
    measured = measure(policy, task.specification, **task.rollout)
    return {
        "name": task.name,
        "about": task.about,
        "policy": entry,
        "policy_label": label,
        "tuned": tuned,
        "specification": json.loads(json.dumps(dict(task.specification), default=repr)),
        "rollout": dict(task.rollout),
        "places": measured.places,
        "tapes": measured.tapes,
        "values": measured.values,
        "seconds": measured.seconds,
        "date": time.strftime("%Y-%m-%d"),
    }


def _tuned(task: Task, tell: Tell | None) -> tuple[Any, dict[str, Any]]:
    """The rule as tuned for a case, or the base's where that is better on the same tapes.

    A search ends on a ridge here and there; a buyer who knows the base's rule would not fall
    behind it.
    """
    from stockyard import agents
    from stockyard.agents.evaluation import evaluate

    name = task.policy["name"] if isinstance(task.policy, Mapping) else str(task.policy)
    spec = dict(task.specification)
    found = agents.tune(name, spec, tapes=task.tuning_tapes, progress=tell)
    told = {"score": found.score, "on_edge": found.on_edge, "converged": found.converged}
    entry: Any = {"name": name, **found.parameters}
    if task.rival is not None:
        _, rival = command_line.build_policy(task.rival, {**spec, "split": "train"}, task.which)
        score = evaluate(rival, spec, num_tapes=task.tuning_tapes, split="train").mean
        told["score_of_base_rule"] = score
        if score > found.score:
            entry = task.rival
    return entry, told


if __name__ == "__main__":
    main()
