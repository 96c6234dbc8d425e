"""From results to a board: scores, intervals, ranks and verdicts, the same each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stockyard.agents.evaluation.leaderboard.results import REPORTED, Results
from stockyard.agents.evaluation.statistics import (
    INDISTINGUISHABLE,
    Field,
    Pair,
    aggregate,
    headroom,
    normalise,
    performance_profile,
    ranks,
    standard_error,
)
from stockyard.agents.evaluation.statistics.intervals import Floats

ALL = "all"
"""Name of the ranking over all tracks."""

LEVELS = np.round(np.linspace(-0.5, 1.0, 61), 3)
"""Scores at which performance profiles are told."""

CONFIDENCE = 0.95

LEAST_SEEDS = 3
"""Training seeds of a learner that takes a rank: with fewer nobody knows what was luck."""

RULES = ("heuristic", "optimiser")
"""Kinds of rows of the house by which an entry may be solved."""


def board(results: Results) -> dict[str, Any]:
    """Computes all that a page shows, but for what was measured on the way."""
    tracks = [_track(results, track) for track in results.tracks]
    told: dict[str, Any] = {
        "benchmark": results.benchmark,
        "tracks": [track["told"] for track in tracks],
        "rows": {name: _row(results.rows[name]) for name in sorted(results.rows)},
    }
    together = _together(results, tracks)
    if together is not None:
        told["tracks"].append(together)
    return told


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row, with its failures in one sentence."""
    failed = sum(entry["failed"] for entry in row["entries"].values())
    episodes = sum(entry["episodes"] for entry in row["entries"].values())
    kinds: dict[str, dict[str, Any]] = {}
    for entry in row["entries"].values():
        for failure in entry["failures"]:
            kind = kinds.setdefault(failure["kind"], {**failure, "count": 0})
            kind["count"] += failure["count"]
    verdict = "every episode decided"
    if failed:
        parts = [f"{k['count']} {k['kind']} ({k['message']})" for k in kinds.values()]
        verdict = (
            f"{failed} of {episodes} episodes without an action, which count as the naive rule's: "
            + "; ".join(parts)
        )
    told = {"failed": failed, "episodes": episodes, "verdict": verdict}
    return {**row, **told, "unranked": _unranked(row)}


def _unranked(row: Mapping[str, Any]) -> str:
    """Why a row takes no rank; empty: it takes one."""
    if row["provenance"] == REPORTED:
        return "its numbers were not found here"
    if row["kind"] == "learner" and len(row["seeds"]) < LEAST_SEEDS:
        return f"trained with fewer than {LEAST_SEEDS} seeds"
    return ""


def _track(results: Results, track: Mapping[str, Any]) -> dict[str, Any]:
    """One ranking: the entries with what there is to gain, and the rows."""
    name = track["name"]
    naive, solved = results.returns[f"naive/{name}"], results.returns[f"bound/{name}"]
    bound = _on_all_tapes(naive, solved)
    rows = sorted(row for row in results.rows if name in results.rows[row]["tracks"])
    money = {row: results.returns[f"row/{name}/{row}"] for row in rows}
    scores = {row: _scores(money[row], naive, bound) for row in rows}
    entries = []
    for i, entry in enumerate(track["entries"]):
        rules = [
            float(scores[row][:, i].mean())
            for row in rows
            if results.rows[row]["is_house"] and results.rows[row]["kind"] in RULES
        ]
        best = max(rules, default=float("nan"))
        bounded = naive[i, : solved.shape[1]]
        found = headroom(bounded, solved[i], best, solved=track["solved"])
        entries.append(
            {
                **entry,
                "naive": float(naive[i].mean()),
                "bound": float(bound[i].mean()),
                "stake": found.stake,
                "stake_interval": list(found.interval[:2]),
                "stake_share": found.share,
                "best_rule": found.best_rule,
                "verdict": found.verdict,
            }
        )
    counted = [i for i, entry in enumerate(entries) if not entry["verdict"]]
    told = {
        **{key: value for key, value in track.items() if key != "entries"},
        "entries": entries,
        "counted": len(counted),
        "by_row": {row: _by_entry(scores[row], money[row], naive, bound) for row in rows},
    }
    ranked = [row for row in rows if not _unranked(results.rows[row])]
    counted_scores = {row: values[:, counted] for row, values in scores.items()}
    told |= _ranking(counted_scores, ranked) if counted else _no_ranking()
    return {"told": told, "scores": counted_scores}


def _on_all_tapes(naive: Floats, bound: Floats) -> Floats:
    """(E, T) what scores 1 on every tape.

    Where only the first tapes have bounds, (E, B), every tape counts with the mean stake of those:
    a score then is what is gained over what there is to gain in the mean, alike for all rows.
    """
    count = bound.shape[1]
    if count == naive.shape[1]:
        return bound
    stake: Floats = (bound - naive[:, :count]).mean(axis=1, keepdims=True)
    return naive + stake


def _scores(money: Floats, naive: Floats, bound: Floats) -> Floats:
    """(S, E, T) scores of money; 0 where an entry has no stake at all, and is degenerate."""
    tapes = money.shape[2]
    scores = np.zeros(money.shape)
    for entry in range(money.shape[1]):
        own, limit = naive[entry, :tapes], bound[entry, :tapes]
        if (limit - own).mean() > 0.0:
            scores[:, entry] = normalise(money[:, entry], own, limit)
    return scores


def _by_entry(scores: Floats, money: Floats, naive: Floats, bound: Floats) -> list[dict[str, Any]]:
    """A row in every entry: score, money, and how far it is from the naive rule and the bound."""
    tapes = money.shape[2]
    told = []
    for i in range(money.shape[1]):
        limit = float(bound[i, :tapes].mean())
        short = limit - float(money[:, i].mean())
        told.append(
            {
                "score": float(scores[:, i].mean()),
                "money": float(money[:, i].mean()),
                "error": standard_error(money[:, i].mean(axis=0)),
                "gain": float((money[:, i] - naive[i, :tapes]).mean()),
                "short_of_bound": short / max(abs(limit), 1e-12),
                "seeds": [float(value) for value in scores[:, i].mean(axis=1)],
            }
        )
    return told


def _no_ranking() -> dict[str, Any]:
    return {"ranking": [], "pairs": [], "profiles": {}, "levels": LEVELS.tolist()}


def _ranking(scores: Mapping[str, Floats], ranked: Sequence[str]) -> dict[str, Any]:
    """Aggregates, ranks, pairs and profiles of the rows of a track.

    Args:
        scores: row -> (S, E, T), of entries that are not degenerate.
        ranked: the rows that take a rank.
    """
    field = Field(scores)
    pairs = field.pairs(CONFIDENCE, ranked)
    places = ranks(ranked, [pair for pair in pairs if pair.name in ranked and pair.rival in ranked])
    rows = []
    for name, values in field.scores.items():
        spreads = aggregate(values, field.resamples(values.shape[2]))
        row: dict[str, Any] = {
            "name": name,
            "rank": places.get(name),
            "tapes": values.shape[2],
            "seeds": values.shape[0],
        }
        for figure, spread in spreads.items():
            interval = spread.interval(CONFIDENCE)
            row[figure] = spread.estimate
            row[f"{figure}_interval"] = [interval.low, interval.high]
        row["tied_with"] = _tied(name, pairs)
        rows.append(row)
    rows.sort(key=lambda row: (-row["iqm"], row["name"]))
    return {
        "ranking": rows,
        "pairs": [_pair(pair) for pair in pairs],
        "levels": LEVELS.tolist(),
        "profiles": {
            name: [float(x) for x in performance_profile(values, LEVELS)]
            for name, values in field.scores.items()
        },
    }


def _tied(name: str, pairs: Sequence[Pair]) -> list[str]:
    """The rows from which nothing tells this one apart."""
    return sorted(
        pair.rival if pair.name == name else pair.name
        for pair in pairs
        if name in (pair.name, pair.rival) and pair.verdict == INDISTINGUISHABLE
    )


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "name": pair.name,
        "rival": pair.rival,
        "difference": pair.difference,
        "interval": [pair.interval.low, pair.interval.high],
        "corrected_interval": [pair.corrected_interval.low, pair.corrected_interval.high],
        "p_value": pair.p_value,
        "corrected_p_value": pair.corrected_p_value,
        "probability": pair.probability,
        "tapes": pair.tapes,
        "verdict": pair.verdict,
    }


def _together(results: Results, tracks: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The ranking of rows that play in every track; None where there are no two of them."""
    if len(tracks) < 2:
        return None
    everywhere = sorted(set.intersection(*(set(track["scores"]) for track in tracks)))
    if len(everywhere) < 2:
        return None
    joined = {}
    for name in everywhere:
        parts = [track["scores"][name] for track in tracks]
        tapes = min(part.shape[2] for part in parts)
        joined[name] = np.concatenate([part[..., :tapes] for part in parts], axis=1)
    if not next(iter(joined.values())).shape[1]:
        return None
    ranked = [name for name in everywhere if not _unranked(results.rows[name])]
    return {"name": ALL, "title": "All tracks", **_ranking(joined, ranked)}
