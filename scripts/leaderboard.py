"""The leaderboard: evaluates any policy over a benchmark and puts it in its place.

    stockyard-leaderboard new folder=my_policy                     writes a submission to start from
    stockyard-leaderboard check folder=my_policy                   tries it, and says what is wrong
    stockyard-leaderboard run submissions=my_policy workers=2      evaluates it, and everybody else
    stockyard-leaderboard page results=docs/leaderboard/v1         builds the page from results

`benchmark=` names a file of conf/leaderboard. What has been evaluated is kept in `runs` and not
done again, so the same command goes on where it was interrupted; neither the order of submissions
nor the number of workers changes a digit of results.json, returns.npz and board.json. What was
measured on the way, times and memory, stands in measured.json.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

import stockyard.conf
from stockyard.conf.schema import LeaderboardSchema
from stockyard.scripts import command_line

BENCHMARKS = Path(stockyard.conf.__file__).parent / "leaderboard"


def main() -> None:
    """Runs the command; its first word may be the stage."""
    if len(sys.argv) > 1 and sys.argv[1] in STAGES:
        sys.argv[1] = f"stage={sys.argv[1]}"
    # to Hydra a plain `launcher` is the group of launchers of sweeps
    sys.argv[1:] = [
        f"cell_{word}" if word.startswith("launcher=") else word for word in sys.argv[1:]
    ]
    command_line.run(_command, LeaderboardSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="leaderboard")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        with command_line.explained():
            if config.stage not in STAGES:
                raise ValueError(f"stage: unknown {config.stage!r}; known: {', '.join(STAGES)}")
            stage = STAGES[config.stage]
        stage(config)


def benchmark_of(config: DictConfig) -> Any:
    """Reads the benchmark that `benchmark` names.

    Raises:
        ValueError: for an unknown name, where the known ones are listed, or a wrong file.
    """
    from stockyard.agents.evaluation.leaderboard import Benchmark

    text = str(config.benchmark)
    if text.endswith((".yaml", ".yml")):
        if not Path(text).is_file():
            raise ValueError(f"benchmark: there is no file {text}")
        return Benchmark.from_file(text)
    known = sorted(path.stem for path in BENCHMARKS.glob("*.yaml"))
    if text not in known:
        raise ValueError(f"benchmark: unknown {text!r}; known: {', '.join(known)}, or a .yaml file")
    return Benchmark.from_file(BENCHMARKS / f"{text}.yaml")


def new(config: DictConfig) -> Path:
    """Writes a submission that works as it is."""
    from stockyard.agents.evaluation.leaderboard.template import write_template

    with command_line.explained():
        benchmark = benchmark_of(config)
        track = benchmark.tracks[0] if config.track is None else benchmark.track(config.track)
        files = write_template(Path(config.folder), track)
    print("\n".join(f"written: {file}" for file in files))
    print(f"next: stockyard-leaderboard check folder={config.folder}")
    return Path(config.folder)


def check(config: DictConfig) -> bool:
    """Tries a submission on two episodes of every track, and explains what happens."""
    from stockyard.agents.evaluation.leaderboard import read
    from stockyard.agents.evaluation.leaderboard.template import try_out

    with command_line.explained():
        # two public tapes of each track are enough to see whether it decides
        benchmark = dataclasses.replace(
            benchmark_of(config), seeds="development", tapes=2, slow_tapes=2
        )
        submission = read(config.folder, benchmark, pickles=config.pickles)
    lines, is_fine = try_out(submission, benchmark)
    print("\n".join(lines))
    if not is_fine:
        raise command_line.UserError(f"{config.folder}: not every episode was decided; see above")
    print(f"next: stockyard-leaderboard run submissions={config.folder} workers=2")
    return True


def run(config: DictConfig) -> Path:
    """Evaluates what is missing, and writes results and page."""
    from stockyard.agents.evaluation.leaderboard import Results, Store, assemble, plan, read
    from stockyard.agents.evaluation.leaderboard.cells import work
    from stockyard.agents.evaluation.leaderboard.results import circumstances
    from stockyard.agents.evaluation.leaderboard.submission import check_names
    from stockyard.agents.learners.run_folder import git_commit
    from stockyard.scripts.headroom import matches
    from stockyard.scripts.leaderboard_house import house
    from stockyard.scripts.workers import LAUNCHERS, spread

    with command_line.explained():
        benchmark = benchmark_of(config)
        if config.workers < 0:
            raise ValueError(f"workers: must be >= 0, got {config.workers}")
        if config.cell_launcher not in LAUNCHERS:
            known = ", ".join(LAUNCHERS)
            raise ValueError(f"launcher: unknown {config.cell_launcher!r}; known: {known}")
        secret = _secret(config.secret)
        rows, left_out = house(benchmark) if config.house else ([], {})
        guests = [
            read(folder, benchmark, pickles=config.pickles) for folder in listed(config.submissions)
        ]
        everybody = [row for row in [*rows, *guests] if matches(row.name, config.only)]
        if not everybody:
            raise ValueError("only: matches nobody; give submissions, or house=true")
        check_names(everybody)
        planned = plan(benchmark, everybody, secret=secret, bounds_of=_bounds_file)
    store = Store(Path(config.runs) / benchmark.name / "cells")
    folder = results_folder(config, benchmark.name)
    with command_line.explained():
        before = _before(folder, benchmark)
    todo = store.missing(planned.cells)
    print(
        f"{benchmark.name}: {len(everybody)} rows in {len(benchmark.entries)} entries, "
        f"{len(planned.cells)} cells, {len(todo)} of them to do",
        flush=True,
    )
    noted = circumstances(git_commit())
    count = config.workers or (0 if config.cell_launcher == "ray" else os.cpu_count() or 1)
    begun = time.perf_counter()
    try:
        for done in spread(work, [(cell,) for cell in todo], count, config.cell_launcher):
            store.keep({**done, "measured": {**done["measured"], **noted}})
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted; the same command goes on from {store.folder}")
    results = assemble(benchmark, everybody, planned, store, left_out)
    if before is not None:
        kept = results.take(before)
        if kept:
            print(f"rows of before that stay: {', '.join(kept)}")
    results.write(folder)
    if todo:
        print(f"evaluated in {time.perf_counter() - begun:,.0f} s", flush=True)
    assert isinstance(results, Results)
    write(results, folder)
    return folder


def page(config: DictConfig) -> Path:
    """Computes the board from results again, and builds the page."""
    from stockyard.agents.evaluation.leaderboard import Results
    from stockyard.agents.evaluation.leaderboard.results import REPORTED

    folder = results_folder(config, Path(str(config.benchmark)).stem)
    with command_line.explained():
        if not (folder / "results.json").is_file():
            raise ValueError(f"results: {folder} has no results.json; run the benchmark first")
        results = Results.read(folder)
        for other in listed(config.reported):
            taken = results.take(Results.read(other), REPORTED)
            print(f"self-reported, from {other}: {', '.join(taken) or 'nobody'}")
    write(results, folder)
    return folder


STAGES: dict[str, Callable[[DictConfig], Any]] = {
    "new": new,
    "check": check,
    "run": run,
    "page": page,
}


def write(results: Any, folder: Path) -> None:
    """Writes the board and the page, and tells the ranking."""
    from stockyard.agents.evaluation.files import write_json_atomic, write_text_atomic
    from stockyard.agents.evaluation.leaderboard import board
    from stockyard.agents.evaluation.leaderboard.page import render
    from stockyard.agents.evaluation.leaderboard.tables import tables
    from stockyard.agents.evaluation.report import console

    told = board(results)
    write_json_atomic(folder / "board.json", told)
    write_text_atomic(folder / "index.html", render(told, results.measured))
    for table in tables(told):
        console().print(table)
    print(f"written: {folder / 'index.html'}")


def results_folder(config: DictConfig, name: str) -> Path:
    """Where the results of a benchmark are."""
    return Path(config.results or Path(config.runs) / name / "results")


def listed(value: Any) -> list[str]:
    """One or several values of a key as a list."""
    given = command_line.plain(value)
    if given is None:
        return []
    return (
        [str(one) for one in given]
        if isinstance(given, Sequence) and not isinstance(given, str)
        else [str(given)]
    )


def _secret(source: str | None) -> str | None:
    """Reads the secret of held-out tapes.

    From standard input it is nowhere that a submission's process could read it; a file must be one
    that it may not read, for its name is on the command line.
    """
    if source is None:
        return None
    text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    return text.strip()


def _bounds_file(benchmark: Any, track: Any) -> Path | None:
    """Solved bounds that come with the code, for tapes that everybody has.

    A contest has those of development tapes; a board whose secret is published has its own.
    """
    from stockyard.scripts.headroom_contest import BOUNDS, Contest

    if track.contest is None or track.bound != "perfect_information":
        return None
    if benchmark.seeds == "development":
        path = Contest.read(track.contest).bounds_file()
    else:
        path = BOUNDS / f"board_{benchmark.name}.jsonl"
    return path if os.access(path if path.exists() else path.parent, os.W_OK) else None


def _before(folder: Path, benchmark: Any) -> Any:
    """Results that are in the folder already.

    Raises:
        ValueError: if they are of another specification.
    """
    from stockyard.agents.evaluation.leaderboard import Results

    if not (folder / "results.json").is_file():
        return None
    results = Results.read(folder)
    if results.specification_hash != benchmark.specification_hash:
        raise ValueError(
            f"results: {folder} holds results of another specification of {benchmark.name}: "
            "environments, tapes or limits have changed since. Take another folder, and raise the "
            "benchmark's version"
        )
    return results


if __name__ == "__main__":
    main()
