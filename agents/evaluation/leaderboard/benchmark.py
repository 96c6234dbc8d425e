"""Benchmarks as data: which environments, how many tapes, which of them, and who is the measure.

A benchmark is one file of conf/leaderboard. What makes a score of it comparable with another is in
its specification hash: environment versions, the worlds that names resolve to with all their
numbers, horizons, tapes, limits, the naive rule and the bound.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from stockyard.agents.evaluation.leaderboard.digests import digest

SEEDS = ("development", "held_out")
"""Public tapes, or tapes whose seeds only the keeper of the secret knows."""

BOUNDS = ("perfect_information", "optimum")
"""What scores 1: the bound of each tape, or a policy that is optimal."""

SPLIT = "test"
"""The family of tapes that a board is made on."""


@dataclass(frozen=True)
class Limits:
    """What a submission may take; more of it counts as a failure."""

    decision_seconds: float = 2.0  # wall time for the decision of one episode
    episode_seconds: float = 300.0  # wall time for all decisions of one episode
    making_seconds: float = 900.0  # wall time to make the policy, tuning itself included
    memory_mb: int = 4096  # address space of its process


@dataclass(frozen=True)
class Entry:
    """One environment of a benchmark."""

    track: str
    family: str  # of the track
    name: str  # of the scenario or textbook problem
    description: dict[str, Any]  # as JSON holds it; see `resolved`

    @property
    def key(self) -> str:
        """What it is called in results."""
        return f"{self.track}/{self.name}"

    @property
    def world(self) -> str:
        """What it plays: the same for entries of one name in tracks of one family."""
        return f"{self.family}/{self.name}"

    @property
    def specification(self) -> dict[str, Any]:
        """The keyword arguments of `gymnasium.make_vec`."""
        return resolved(self.description)


@dataclass(frozen=True)
class Track:
    """Entries that are ranked together: one task, one size."""

    name: str
    title: str
    env: dict[str, Any] = field(default_factory=dict)  # keyword arguments of all entries
    scenarios: tuple[str, ...] = ()  # of the environment; none: those of the benchmark
    # name -> a textbook problem and its parameters, instead of `env` and `scenarios`
    problems: dict[str, dict[str, Any]] = field(default_factory=dict)
    naive: Any = "naive"  # the rule that scores 0, by name or as {name: , parameters}
    # what scores 1: a name of `BOUNDS`, or "module:function" that takes what
    # `perfect_information` takes and returns bounds
    bound: str = "perfect_information"
    # tracks of one family play the same environments on the same tapes, ranked apart; bounds and
    # naive money are found once for all of them. None: a family of its own
    family: str | None = None
    # what policies may decide by, as the task names its mechanisms; none: anything
    mechanisms: tuple[str, ...] = ()
    contest: str | None = None  # file of conf/headroom: rules, tuned parameters, trained agents
    policies: dict[str, Any] = field(default_factory=dict)  # name -> parameters, of other rules
    only: tuple[str, ...] | None = None  # of the contest and of `policies`; None: all
    slow: tuple[str, ...] = ()  # rules that take long to decide: on `slow_tapes`
    optimisers: tuple[str, ...] = ()  # rules that solve a program for every decision
    money: str = "USD per period"  # unit of what is earned
    periods_per_unit: float = 1.0  # periods of the network in that unit's time
    metrics: tuple[str, ...] = ()  # to keep beside the money
    frontiers: tuple[dict[str, Any], ...] = ()  # plots of one metric against another
    solved: float | None = None  # score of a rule from which an entry is degenerate

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The environments, in the order of the file."""
        if self.problems:
            pairs = [(name, dict(given)) for name, given in self.problems.items()]
        else:
            from stockyard.envs.scenarios import BENCHMARK

            names = self.scenarios or BENCHMARK
            pairs = [(name, {**self.env, "scenario": name}) for name in names]
        family = self.family or self.name
        return tuple(Entry(self.name, family, name, given) for name, given in pairs)


@dataclass(frozen=True)
class Benchmark:
    """One file of conf/leaderboard."""

    name: str
    version: int
    title: str
    tracks: tuple[Track, ...]
    seeds: str = "development"
    tapes: int = 64
    slow_tapes: int = 32
    bound_tapes: int | None = None  # that have bounds; None: all, unless bounds cost too much
    rows: int = 16  # episodes that a submission decides for at once
    limits: Limits = Limits()
    secret_sha256: str | None = None  # of the secret that held-out seeds are derived from
    secret: str | None = None  # published with the first board, and when it has been replaced

    @classmethod
    def from_file(cls, path: str | Path) -> Benchmark:
        """Reads a benchmark.

        Raises:
            ValueError: naming the file and the field that is wrong.
        """
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        try:
            return cls.from_mapping(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def from_mapping(cls, data: Any) -> Benchmark:
        """Reads a benchmark from plain data.

        Raises:
            ValueError: naming the field that is wrong.
        """
        given = _checked(cls, data, "")
        tracks = given.get("tracks")
        if not isinstance(tracks, Mapping) or not tracks:
            raise ValueError("tracks: must map names to tracks")
        given["tracks"] = tuple(_track(str(name), track) for name, track in tracks.items())
        given["limits"] = Limits(**_checked(Limits, given.get("limits") or {}, "limits."))
        for limit in fields(Limits):
            if not getattr(given["limits"], limit.name) > 0:
                raise ValueError(f"limits.{limit.name}: must be > 0")
        _check_families(given["tracks"])
        benchmark = cls(**given)
        if benchmark.seeds not in SEEDS:
            raise ValueError(f"seeds: unknown {benchmark.seeds!r}; known: {', '.join(SEEDS)}")
        for name in ("version", "tapes", "slow_tapes", "rows"):
            if not isinstance(getattr(benchmark, name), int) or getattr(benchmark, name) < 1:
                raise ValueError(f"{name}: must be a whole number >= 1")
        if benchmark.slow_tapes > benchmark.tapes:
            raise ValueError("slow_tapes: must not exceed tapes")
        if benchmark.bound_tapes not in (None, *range(1, benchmark.tapes + 1)):
            raise ValueError(f"bound_tapes: must be 1 to {benchmark.tapes}, a whole number")
        if benchmark.seeds == "held_out" and not benchmark.secret_sha256:
            raise ValueError("secret_sha256: held-out seeds need the hash of a secret")
        if benchmark.secret is not None:
            benchmark.check_secret(benchmark.secret)
        return benchmark

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All environments."""
        return tuple(entry for track in self.tracks for entry in track.entries)

    def track(self, name: str) -> Track:
        """The track of a name.

        Raises:
            ValueError: for an unknown name; the known ones are listed.
        """
        for track in self.tracks:
            if track.name == name:
                return track
        known = ", ".join(track.name for track in self.tracks)
        raise ValueError(f"unknown track {name!r}; known: {known}")

    def check_secret(self, secret: str) -> None:
        """Refuses a secret that is not the one whose hash is published.

        Raises:
            ValueError: saying so.
        """
        if hashlib.sha256(secret.encode()).hexdigest() != self.secret_sha256:
            raise ValueError("secret: its SHA-256 is not the published secret_sha256")

    def tape_seeds(self, entry: Entry, secret: str | None = None) -> list[int]:
        """The seeds of an entry's tapes, of the split `SPLIT`.

        Development seeds are 0, 1, 2, ... as everywhere in the project. Held-out ones come from the
        secret by HMAC-SHA-256, so that whoever lacks it can neither know nor guess them, and are
        others in every entry, so that entries are independent of each other, but for those of one
        family.

        Raises:
            ValueError: if held-out seeds are asked for without the secret.
        """
        if self.seeds == "development":
            return list(range(self.tapes))
        known = self.secret if secret is None else secret
        if known is None:
            raise ValueError(
                f"secret: the tapes of {self.name} are held out; give the file that holds the "
                "secret, or develop on a benchmark with public tapes"
            )
        self.check_secret(known)
        texts = [f"{self.name}/{entry.world}/{i}" for i in range(self.tapes)]
        digests = [hmac.digest(known.encode(), text.encode(), "sha256") for text in texts]
        return [int.from_bytes(found[:8], "big") >> 1 for found in digests]

    @cached_property
    def entry_hashes(self) -> dict[str, str]:
        """Entry -> hash of all that its scores depend on, but for who plays, and by which means."""
        return {
            entry.key: digest(
                {
                    "entry": entry.world,
                    "environment": content_of(entry.specification),
                    "naive": track.naive,
                    "bound": track.bound,
                    "seeds": [self.name, self.seeds, self.secret_sha256],
                    "rows": self.rows,
                    "limits": self.limits,
                }
            )
            for track in self.tracks
            for entry in track.entries
        }

    @cached_property
    def specification_hash(self) -> str:
        """Changes with anything that scores of this benchmark depend on."""
        return digest(
            {
                "name": self.name,
                "version": self.version,
                # nothing where all tapes have bounds, so that other boards keep their hash
                "tapes": [self.tapes, self.slow_tapes, *filter(None, [self.bound_tapes])],
                "entries": self.entry_hashes,
                "solved": {track.name: track.solved for track in self.tracks},
                "mechanisms": {track.name: track.mechanisms for track in self.tracks},
            }
        )


def resolved(description: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `gymnasium.make_vec` from a description that JSON can hold.

    A description with a `problem` is that textbook problem, the other keys its parameters.

    Raises:
        ValueError: for an unknown problem.
    """
    from stockyard.envs import textbook

    if "problem" not in description:
        return dict(description)
    parameters = dict(description)
    name = parameters.pop("problem")
    if name not in textbook.PROBLEMS:
        raise ValueError(f"problem: unknown {name!r}; known: {', '.join(textbook.PROBLEMS)}")
    return dict(getattr(textbook, name)(**parameters))


def content_of(specification: Mapping[str, Any]) -> dict[str, Any]:
    """All that an environment consists of: its id with the version, and its world resolved."""
    from stockyard.agents.evaluation.rollout import build

    env: Any = build(specification, num_envs=1, split=SPLIT)
    try:
        base = env.unwrapped
        told = dict(base.specification)
        return {
            "id": specification["id"],
            "slots": told.get("slots"),
            "world": base.world,
            "horizon": base.horizon,
            "backend": [told["backend"], told["dtype"]],
        }
    finally:
        env.close()


def _track(name: str, data: Any) -> Track:
    where = f"tracks.{name}."
    given = _checked(Track, data, where)
    for key in ("scenarios", "mechanisms", "only", "slow", "optimisers", "metrics", "frontiers"):
        if given.get(key) is not None:
            given[key] = tuple(given[key])
    for key in ("env", "problems", "policies"):
        if not isinstance(given.get(key, {}), Mapping):
            raise ValueError(f"{where}{key}: must be a mapping")
    track = Track(**{"title": name, **given, "name": name})
    if bool(track.env) == bool(track.problems):
        raise ValueError(f"{where}env: give either env and scenarios, or problems")
    if track.env and "id" not in track.env:
        raise ValueError(f"{where}env: needs an id")
    for problem, parameters in track.problems.items():
        if "problem" not in parameters:
            raise ValueError(f"{where}problems.{problem}: needs a problem")
    if track.bound not in BOUNDS and ":" not in track.bound:
        known = ", ".join(BOUNDS)
        raise ValueError(f"{where}bound: unknown {track.bound!r}; known: {known}, module:function")
    return track


def _check_families(tracks: Sequence[Track]) -> None:
    """Refuses tracks of one family that would not be scored alike."""
    first: dict[str, Track] = {}
    for track in tracks:
        other = first.setdefault(track.family or track.name, track)
        for key in ("entries", "naive", "bound"):
            ours, theirs = getattr(track, key), getattr(other, key)
            if key == "entries":
                ours = [(entry.name, entry.description) for entry in ours]
                theirs = [(entry.name, entry.description) for entry in theirs]
            if ours != theirs:
                what = "env, scenarios or problems" if key == "entries" else key
                raise ValueError(
                    f"tracks.{track.name}.family: {track.family} is that of {other.name}, which "
                    f"has other {what}"
                )


def _checked(kind: type, data: Any, where: str) -> dict[str, Any]:
    """The keys of a mapping, refused where the dataclass has no such field."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{where.rstrip('.') or 'benchmark'}: must be a mapping, got {data!r}")
    known = [item.name for item in fields(kind)]
    for key in data:
        if key not in known:
            raise ValueError(f"{where}{key}: no such field; known: {', '.join(known)}")
    return {str(key): value for key, value in data.items()}
