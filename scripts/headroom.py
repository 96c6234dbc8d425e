"""Who earns how much in every scenario, between the naive rule and perfect foresight.

Four stages, each resumable, for each contest (`replenishment`, `placement`, on the medium network
`replenishment_medium`, `placement_medium`, and for sellers' space `restock_caps`, `restock_price`,
`restock_auction`, `restock_hybrid`):

    stockyard-headroom stage=tune     tunes every rule in every scenario on training tapes
    stockyard-headroom stage=train    trains the learners; their weights go to agents/weights
    stockyard-headroom stage=bound    solves the perfect-information bound of test tapes
    stockyard-headroom                evaluates everything and writes the page

A fifth, `stage=frontier`, draws what policies trade for one another, from the results that are
there: of all contests of the same environment.

What a stage has done is not done again, but for searches that ended on the edge of a grid: these
are made wider. Results are found anew where parameters, weights or the scenario have changed; after
a change of the code, remove the results, tuned parameters or weights that it touches.
"""

from __future__ import annotations

import fnmatch
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from stockyard.conf.schema import HeadroomSchema
from stockyard.scripts import command_line
from stockyard.scripts.headroom_contest import Contest
from stockyard.scripts.workers import spread


def main() -> None:
    """Runs the command."""
    command_line.run(_command, HeadroomSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="headroom")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        run(config)


def run(config: DictConfig) -> None:
    """Runs one stage of one contest."""
    with command_line.explained():
        contest = Contest.from_config(config)
        if config.stage not in STAGES:
            raise ValueError(f"stage: unknown {config.stage!r}; known: {', '.join(STAGES)}")
        for key in ("workers", "tapes", "slow_tapes", "validation_tapes", "tuning_tapes"):
            if config[key] < 1:
                raise ValueError(f"{key}: must be >= 1, got {config[key]}")
        names = [*contest.rules, *contest.slow, contest.naive, *contest.learners]
        if not any(matches(name, config.only) for name in names):
            raise ValueError(f"only: matches nobody; known: {', '.join(names)}")
    begun = time.perf_counter()
    try:
        STAGES[config.stage](contest, config)
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted; the same command goes on from {contest.folder}")
    print(f"{config.stage}, {contest.task}: {time.perf_counter() - begun:,.0f} s", flush=True)


def tune(contest: Contest, config: DictConfig) -> None:
    """Tunes the rules that have something to tune; parameters go to conf/tuned."""
    from stockyard.scripts import headroom_work as work

    rules = [rule for rule in contest.tunable() if matches(rule, config.only)]
    cells = [
        (contest, scenario, rule, config.tuning_tapes)
        for rule in rules
        for scenario in contest.scenarios
        if not contest.is_searched(scenario, rule)
    ]
    print(f"{len(rules) * len(contest.scenarios)} searches, {len(cells)} of them to do")
    for done in spread(work.tune_cell, cells, config.workers):
        contest.keep_tuned(done["scenario"], done["rule"], done["entry"])
        entry = done["entry"]
        edge = ", ON AN EDGE" if entry["on_edge"] else ""
        print(
            f"{done['scenario']} {done['rule']}: {entry['score']:,.1f} a {contest.unit} with "
            f"{entry['parameters']}, {entry['seconds']:.0f} s{edge}",
            flush=True,
        )


def train(contest: Contest, config: DictConfig) -> None:
    """Trains the learners that have no weights yet."""
    from stockyard.scripts import headroom_work as work

    own = [name for name, given in contest.learners.items() if given["experiment"]]
    cells = [
        (contest, name, tuple(config.overrides))
        for name in own
        if matches(name, config.only) and not contest.weights(name).is_dir()
    ]
    print(f"{len(own)} trainings, {len(cells)} of them to do")
    for done in spread(work.train_cell, cells, config.workers):
        print(f"{done['name']}: {done['steps']:,} steps, {done['seconds']:.0f} s", flush=True)


def bound(contest: Contest, config: DictConfig) -> None:
    """Solves the perfect-information bound of the test tapes of every scenario."""
    from stockyard.scripts import headroom_work as work

    cells = [
        (contest, scenario, range(first, min(first + 4, config.slow_tapes)))
        for first in range(0, config.slow_tapes, 4)
        for scenario in contest.scenarios
    ]
    for done in spread(work.bound_cell, cells, config.workers):
        print(f"{done['scenario']}: tapes {done['seeds']}, {done['seconds']:.0f} s", flush=True)


def evaluate(contest: Contest, config: DictConfig) -> None:
    """Evaluates who is asked for on validation and test tapes, and writes the page.

    The page shows everybody whose results are known, from this run or an earlier one.
    """
    from stockyard.scripts import headroom_work as work
    from stockyard.scripts.headroom_page import write_page

    untuned = [
        f"{scenario}: {rule}"
        for scenario in contest.scenarios
        for rule in contest.tunable()
        if matches(rule, config.only) and not contest.is_tuned(scenario, rule)
    ]
    if untuned:
        raise command_line.UserError(
            f"not tuned: {'; '.join(untuned[:5])}{' ...' if len(untuned) > 5 else ''}; run "
            f"stockyard-headroom task={contest.task} stage=tune first"
        )
    missing = [
        f"{name} ({folder})"
        for name, folder in contest.missing_guests().items()
        if matches(name, config.only)
    ]
    if missing:
        print(f"guests without weights, left out: {', '.join(missing)}", flush=True)
    tapes = (config.validation_tapes, config.tapes, config.slow_tapes)
    chosen = [name for name in contest.policies() if matches(name, config.only)]
    if contest.naive not in chosen:
        chosen = [contest.naive, *chosen]
    cells = [(contest, scenario, chosen, *tapes) for scenario in contest.scenarios]
    results: dict[str, Any] = {}
    for done in spread(work.evaluate_cell, cells, config.workers):
        results[done["scenario"]] = done
        print(f"{done['scenario']}: {done['seconds']:.0f} s", flush=True)
    page = Path(config.page or contest.folder / "page.md")
    overrides = " ".join(command_line.chosen_overrides())
    ordered = {scenario: results[scenario] for scenario in contest.scenarios}
    write_page(page, contest, ordered, f"stockyard-headroom {overrides}".strip())
    print(f"written: {page}")


def frontier(contest: Contest, config: DictConfig) -> None:
    """Draws the frontier of the contests of one environment, from results that are there."""
    from stockyard.scripts.headroom_frontier import write_frontier

    if not contest.frontier:
        raise command_line.UserError(f"task: conf/headroom/{contest.task}.yaml names no frontier")
    contests = []
    for name in contest.siblings():
        sibling = Contest.read(name, command_line.plain(config.scenarios), config.runs)
        if all(sibling.result_file(scenario).is_file() for scenario in sibling.scenarios):
            contests.append(sibling)
    if not contests:
        raise command_line.UserError(
            f"no results in {contest.folder}; run stockyard-headroom task={contest.task} first"
        )
    page = Path(config.page or contest.folder / "frontier.md")
    overrides = " ".join(command_line.chosen_overrides())
    write_frontier(page, contests, f"stockyard-headroom {overrides}".strip())
    print(f"written: {page}")


STAGES: dict[str, Callable[[Contest, DictConfig], None]] = {
    "tune": tune,
    "train": train,
    "bound": bound,
    "evaluate": evaluate,
    "frontier": frontier,
}


def matches(name: str, only: Any) -> bool:
    """Whether a name is asked for."""
    patterns = command_line.plain(only)
    if patterns is None:
        return True
    patterns = patterns if isinstance(patterns, list) else [patterns]
    return any(fnmatch.fnmatchcase(name, str(pattern)) for pattern in patterns)


if __name__ == "__main__":
    main()
