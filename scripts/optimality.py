"""Trains learners on problems whose optimum is known, and says how far above it they are.

`stockyard-optimality only=hindsight_poisson` trains every cell of a study by `stockyard-train`'s
configuration, plays the best model against the exact optimal policy on the same held-out tapes, and
writes a page with tables and a picture. A cell that has been done is not done again; an interrupted
one goes on from its checkpoint.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import yaml
from omegaconf import DictConfig

import stockyard.conf
from stockyard.conf.schema import OptimalitySchema
from stockyard.scripts import command_line

STUDIES = Path(stockyard.conf.__file__).parent / "optimality" / "studies.yaml"

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One cell of a study, and how it is judged."""

    study: str
    experiment: str
    cell: dict[str, Any]  # key -> value that this cell has otherwise than its neighbours
    overrides: tuple[str, ...]  # all of them
    rivals: tuple[Any, ...]  # heuristics, where there is no exact optimum
    folder: str
    tapes: int
    periods: int
    warmup: int

    @property
    def key(self) -> str:
        """Changes with anything that the result depends on."""
        parts = (
            self.experiment,
            self.overrides,
            self.rivals,
            self.tapes,
            self.periods,
            self.warmup,
        )
        text = json.dumps([*map(str, parts), _resolved(self.experiment, self.overrides)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def main() -> None:
    """Runs the command."""
    command_line.run(_command, OptimalitySchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="optimality")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        page = study(config)
    print(f"written: {page}")


def study(config: DictConfig) -> Path:
    """Runs what is missing and writes the page; returns its path."""
    from stockyard.agents.evaluation.files import write_json_atomic

    with command_line.explained():
        studies = chosen(yaml.safe_load(STUDIES.read_text(encoding="utf-8")), config.only)
        if config.workers < 1:
            raise ValueError(f"workers: must be >= 1, got {config.workers}")
        tasks = [task for name, given in studies.items() for task in tasks_of(name, given, config)]
    results = Path(config.runs) / "optimality.json"
    rows: dict[str, Row] = {}
    if results.is_file():
        known = json.loads(results.read_text(encoding="utf-8"))["rows"]
        rows = {row["key"]: row for row in known}
    keys = {task.key: task for task in tasks}
    missing = [task for key, task in keys.items() if key not in rows]
    print(f"{len(tasks)} cells, {len(tasks) - len(missing)} of them done before")
    try:
        for row in _run(missing, config.workers):
            rows[row["key"]] = row
            write_json_atomic(results, {"rows": list(rows.values())})
            print(told(row), flush=True)
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted; the same command goes on from {config.runs}")
    from stockyard.scripts.optimality_page import write_page

    # beside the results the page needs another name: it writes a JSON file of its own rows
    page = Path(config.page or Path(config.runs) / "page.md")
    shown = [rows[key] for key in keys]
    command = "stockyard-optimality " + " ".join(command_line.chosen_overrides())
    write_page(page, studies, shown, command.strip())
    return page


def chosen(studies: Mapping[str, Any], only: Any) -> dict[str, Any]:
    """Picks studies by name.

    Raises:
        ValueError: if nothing is left.
    """
    patterns = command_line.plain(only)
    if patterns is None:
        return dict(studies)
    patterns = patterns if isinstance(patterns, list) else [patterns]
    found = {
        name: given
        for name, given in studies.items()
        if any(fnmatch.fnmatchcase(name, str(pattern)) for pattern in patterns)
    }
    if not found:
        raise ValueError(f"only: no study matches {only}; known: {', '.join(studies)}")
    return found


def tasks_of(name: str, given: Mapping[str, Any], config: DictConfig) -> list[Task]:
    """The cells of a study."""
    cells = given.get("cells")
    if cells is None:
        grid = given["grid"]
        cells = [
            dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
        ]
    return [
        Task(
            study=name,
            experiment=given["experiment"],
            cell=dict(cell),
            overrides=(
                *given.get("overrides", ()),
                *(f"{key}={json.dumps(value)}" for key, value in cell.items()),
                *config.overrides,
            ),
            rivals=tuple(given.get("rivals", ())),
            folder=str(Path(config.runs) / name / _label(cell)),
            tapes=config.tapes,
            periods=config.periods,
            warmup=config.warmup,
        )
        for cell in cells
    ]


def _label(cell: Mapping[str, Any]) -> str:
    """A folder's name for a cell."""
    parts = (f"{key.rpartition('.')[2]}={_short(value)}" for key, value in cell.items())
    return ",".join(parts) or "cell"


def _short(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _run(tasks: Sequence[Task], workers: int) -> Any:
    """Rows as they come."""
    if workers == 1 or len(tasks) < 2:
        yield from map(run_cell, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run_cell, task) for task in tasks]):
            yield done.result()


def _resolved(experiment: str, overrides: Sequence[str]) -> Any:
    """The training configuration, resolved."""
    return command_line.plain(_composed(experiment, overrides))


def _composed(experiment: str, overrides: Sequence[str]) -> DictConfig:
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    if GlobalHydra.instance().is_initialized():
        return compose("config", [f"experiment={experiment}", *overrides])
    with initialize_config_module("stockyard.conf", version_base="1.3"):
        return compose("config", [f"experiment={experiment}", *overrides])


def run_cell(task: Task) -> Row:
    """Trains a cell, unless its folder holds the finished run, and compares it."""
    from stockyard import agents
    from stockyard.agents.evaluation import evaluate
    from stockyard.agents.learners.course import use_one_thread
    from stockyard.agents.learners.run_folder import RunFolder

    use_one_thread()
    config = _composed(task.experiment, task.overrides)
    spec = command_line.specification(config.env)
    folder = RunFolder(Path(task.folder).with_name(f"{Path(task.folder).name}_{task.key[:6]}"))
    record = folder.read_record() if folder.record.is_file() else {}
    if "seconds" not in record or record.get("interrupted"):
        learner = hydra.utils.instantiate(config.agent, _convert_="all")
        result = learner.train(
            spec,
            folder,
            **command_line.training(config),
            resume=bool(folder.checkpoint_steps()),
        )
        if result.interrupted:  # a half-trained model must not be taken for the result
            raise KeyboardInterrupt
        record = folder.read_record()
    reference, name, optimum = _reference(spec, task.rivals, config)
    judged: dict[str, Any] = {
        "periods": task.periods,
        "warmup": task.warmup,
        "num_tapes": task.tapes,
        "split": "test",
    }
    ours = -evaluate(agents.load(folder.path), spec, **judged).per_period_mean
    theirs = -evaluate(reference, spec, **judged).per_period_mean
    scale = float(theirs.mean()) if optimum is None else optimum
    gap = 100.0 * (ours - theirs) / scale
    validation = evaluate(
        reference,
        spec,
        seed=config.eval.seed,
        num_tapes=config.eval.tapes,
        split=config.eval.split,
    ).mean
    return {
        "key": task.key,
        "study": task.study,
        "cell": task.cell,
        "overrides": list(task.overrides),
        "reference": name,
        "reference_cost": scale,
        "cost": scale * (1.0 + float(gap.mean()) / 100.0),
        "gap_percent": float(gap.mean()),
        "gap_standard_error": float(gap.std(ddof=1) / np.sqrt(len(gap))),
        "seconds": record["seconds"],
        "steps": record["steps"],
        "date": time.strftime("%Y-%m-%d"),
        "commit": record.get("git_commit"),
        "course": [
            {
                "seconds": entry["training_seconds"],
                "steps": entry["steps"],
                "gap_percent": 100.0 * (validation - entry["mean_per_period"]) / abs(validation),
            }
            for entry in folder.read_evaluations()
        ],
    }


def _reference(
    spec: Mapping[str, Any], rivals: Sequence[Any], config: DictConfig
) -> tuple[Any, str, float | None]:
    """The policy to compare with, its name, and its exact cost where it is optimal."""
    from stockyard.agents import oracles
    from stockyard.agents.evaluation import evaluate

    if not rivals:
        solution = oracles.solve(spec)
        return solution.policy, "optimum", solution.cost
    best, best_name, most = None, "", -np.inf
    for rival in rivals:
        name, policy = command_line.build_policy(rival, {**spec, "split": "train"})
        mean = evaluate(policy, spec, num_tapes=config.eval.tapes, split=config.eval.split).mean
        if mean > most:
            best, best_name, most = policy, name, mean
    return best, best_name, None


def told(row: Row) -> str:
    """A line for the terminal."""
    return (
        f"{row['study']} {_label(row['cell'])}: {row['gap_percent']:+.3f} % "
        f"(standard error {row['gap_standard_error']:.3f}) against {row['reference']} "
        f"{row['reference_cost']:.4f}, {row['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
