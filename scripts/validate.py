"""Holds oracles and environments to the known answers.

`stockyard-validate only=lost_sales` recomputes every recorded cost exactly, plays its policy in the
environment, and writes a page and a JSON file; `table=my_instances.yaml` does it for instances of
your own (format: the head of `stockyard/conf/validate/known_answers.yaml`).

A row agrees if the exact figure is the recorded one within its tolerance, and the simulated mean is
within four standard errors of the exact figure, the standard error being at most .5 % of it. Tapes
are added until it is.
"""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

import stockyard.conf  # noqa: F401  (registers the schemas)
from stockyard.conf.schema import ValidateSchema
from stockyard.scripts import command_line
from stockyard.scripts.validate_page import Report
from stockyard.scripts.validate_work import GOOD, Row, rows

if TYPE_CHECKING:
    from stockyard.agents.oracles.known_answers import Instance


def main() -> None:
    """Runs the command."""
    command_line.run(_command, ValidateSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="validate")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        path, is_good = validate(config)
    print(f"written: {path.with_suffix('.md')} and {path.name}")
    if not is_good:
        sys.exit(1)


def validate(config: DictConfig) -> tuple[Path, bool]:
    """Validates as configured; returns the path of the JSON file, and whether all rows agree."""
    from stockyard.agents.oracles.known_answers import load_table

    with command_line.explained():
        instances = chosen(load_table(config.table), config.only, config.short)
        if config.workers < 1:
            raise ValueError(f"workers: must be >= 1, got {config.workers}")
    path = Path(config.output or command_line.output_folder() / "validation.json")
    report = Report(path, instances, config)
    try:
        _run(report, instances, config)
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted; the same command with output={path} goes on from here")
    report.finish()
    print(report.told())
    return path, set(report.counts()) <= GOOD


def chosen(
    table: Sequence[Instance], only: Any = None, short: bool = False
) -> tuple[Instance, ...]:
    """Picks instances.

    Args:
        table: all.
        only: names of instances or problems, with * and ?; one or a list; None for all.
        short: leaves those that are marked for the short form; all, where none is.

    Raises:
        ValueError: if nothing is left.
    """
    patterns = command_line.plain(only)
    if patterns is None:
        patterns = ["*"]
    elif not isinstance(patterns, list):
        patterns = [patterns]
    found = [
        instance
        for instance in table
        if any(
            fnmatch.fnmatchcase(name, str(pattern))
            for name in (instance.id, instance.problem)
            for pattern in patterns
        )
    ]
    if not found:
        problems = ", ".join(dict.fromkeys(instance.problem for instance in table))
        raise ValueError(f"only: no instance matches {only}; problems: {problems}")
    if short and any(instance.short for instance in table):
        found = [instance for instance in found if instance.short]
        if not found:
            raise ValueError("only, short: no chosen instance is marked for the short form")
    return tuple(found)


def _run(report: Report, instances: Sequence[Instance], config: DictConfig) -> None:
    """Computes the rows that are not there yet, side by side if there are workers."""
    missing = [
        (instance, answer_ids)
        for instance in instances
        if (answer_ids := [k for k in range(len(instance.answers)) if not report.has(instance, k)])
    ]
    if config.workers == 1 or len(missing) < 2:
        for instance, answer_ids in missing:
            for row in rows(instance, answer_ids, short=config.short, seed=config.seed):
                report.add(row)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(config.workers, mp_context=context) as pool:
        # the dearest first would be better, but nobody knows them; one instance is one task
        tasks = [
            pool.submit(_listed, instance, answer_ids, config.short, config.seed)
            for instance, answer_ids in missing
        ]
        try:
            for task in as_completed(tasks):
                for row in task.result():
                    report.add(row)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _listed(instance: Instance, answer_ids: list[int], short: bool, seed: int) -> list[Row]:
    return list(rows(instance, answer_ids, short=short, seed=seed))


if __name__ == "__main__":
    main()
