"""The rows that come with the code: rules with their tuned parameters, and trained agents.

They are data: a track of a benchmark names a contest of conf/headroom, whose rules have their
parameters in conf/tuned and whose learners have their weights in agents/weights.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stockyard.agents.evaluation.leaderboard.benchmark import Benchmark, Track
from stockyard.agents.evaluation.leaderboard.submission import (
    Submission,
    house_digest,
    rule_recipe,
    run_recipe,
)
from stockyard.scripts.headroom_contest import Contest

AUTHORS = ("stockyard",)


@dataclass
class _Row:
    """A row while it is gathered from the tracks in which it plays."""

    kind: str
    about: str = ""
    commands: list[str] = field(default_factory=list)
    steps: int = 0
    cpu_hours: float = 0.0
    seeds: tuple[int, ...] = (0,)
    recipes: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    slow: bool = False


def house(benchmark: Benchmark) -> tuple[list[Submission], dict[str, dict[str, str]]]:
    """The rows of the house for a benchmark.

    A rule of the same name in several tracks is one row.

    Args:
        benchmark: what is played.

    Returns:
        The rows, and by track whom it leaves out and why.
    """
    rows: dict[str, _Row] = {}
    left_out: dict[str, dict[str, str]] = {}
    for track in benchmark.tracks:
        left_out[track.name] = {}
        contest = None
        if track.contest is not None:
            contest = Contest.read(track.contest, [entry.name for entry in track.entries])
            if contest.env != track.env:
                raise ValueError(
                    f"tracks.{track.name}.contest: {track.contest} is played in {contest.env}, "
                    f"not in {track.env}"
                )
            _add_contest(rows, left_out[track.name], track, contest)
        for name, parameters in track.policies.items():
            if _is_wanted(track, name):
                recipes = {(e.key, 0): rule_recipe(name, parameters or {}) for e in track.entries}
                _add_rule(rows, track, name, recipes, name in track.slow)
    return [
        Submission(
            name=name,
            kind=row.kind,
            about=row.about,
            authors=AUTHORS,
            command="; ".join(dict.fromkeys(row.commands)),
            steps=row.steps,
            cpu_hours=round(row.cpu_hours, 4),
            seeds=row.seeds,
            recipes=row.recipes,
            digests={key: house_digest(recipe) for key, recipe in row.recipes.items()},
            slow=row.slow,
            is_house=True,
        )
        for name, row in rows.items()
    ], left_out


def _is_wanted(track: Track, name: str) -> bool:
    return track.only is None or any(fnmatch.fnmatchcase(name, only) for only in track.only)


def _add_contest(
    rows: dict[str, _Row],
    left_out: dict[str, str],
    track: Track,
    contest: Contest,
) -> None:
    """Adds the rules and trained agents of a contest."""
    tunable = set(contest.tunable())
    for rule in (*contest.rules, *contest.slow):
        if not _is_wanted(track, rule):
            continue
        untuned = [
            entry.name
            for entry in track.entries
            if rule in tunable and not contest.is_tuned(entry.name, rule)
        ]
        if untuned:
            left_out[rule] = f"not tuned in {', '.join(untuned)}"
            continue
        recipes = {
            (entry.key, 0): rule_recipe(rule, contest.parameters(entry.name, rule))
            for entry in track.entries
        }
        row = _add_rule(rows, track, rule, recipes, rule in (*contest.slow, *track.slow))
        if rule in tunable:
            row.commands.append(f"stockyard-headroom task={contest.task} stage=tune only=[{rule}]")
            row.cpu_hours += _hours(
                contest.tuned(entry.name)[rule].get("seconds", 0.0) for entry in track.entries
            )
    groups: dict[str, list[str]] = {}
    for name, given in contest.learners.items():
        groups.setdefault(str(given["name"]), []).append(name)
    for group, members in groups.items():
        if _is_wanted(track, group):
            _add_learner(rows, left_out, track, contest, group, members)


def _add_rule(
    rows: dict[str, _Row],
    track: Track,
    rule: str,
    recipes: dict[tuple[str, int], dict[str, Any]],
    slow: bool,
) -> _Row:
    from stockyard.agents.policy import registered

    entries = registered()
    if rule not in entries:
        raise ValueError(f"tracks.{track.name}: {rule!r} is no heuristic")
    kind = "optimiser" if rule in track.optimisers else "heuristic"
    row = rows.setdefault(rule, _Row(kind, entries[rule].summary))
    row.recipes |= recipes
    row.slow = row.slow or slow
    return row


def _add_learner(
    rows: dict[str, _Row],
    left_out: dict[str, str],
    track: Track,
    contest: Contest,
    group: str,
    members: list[str],
) -> None:
    """Adds a learner with all its training seeds, or says which has no weights."""
    missing = [name for name in members if not contest.weights(name).is_dir()]
    if missing:
        left_out[group] = f"no weights of {', '.join(missing)}"
        return
    row = _Row("learner")
    records = []
    for place, name in enumerate(members):
        seed = int(contest.learners[name].get("seed", place))
        # weights that come with the code are trusted as it is
        recipe = run_recipe(contest.weights(name), pickles=True)
        row.recipes |= {(entry.key, seed): recipe for entry in track.entries}
        text = (contest.weights(name) / "run.json").read_text(encoding="utf-8")
        records.append(json.loads(text))
    row.seeds = tuple(sorted({seed for _, seed in row.recipes}))
    row.steps = sum(int(record.get("steps") or 0) for record in records)
    row.cpu_hours = _hours(record.get("seconds") or 0.0 for record in records)
    row.about = f"{records[0].get('algorithm')}, trained for the contest {contest.task}"
    row.commands.append(f"stockyard-headroom task={contest.task} stage=train only=[{group}_s*]")
    rows[f"{contest.task}_{group}"] = row


def _hours(seconds: Iterable[float]) -> float:
    return sum(seconds) / 3600.0
