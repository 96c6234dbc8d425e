"""The page of a board: one file that needs nothing from anywhere else."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from stockyard.agents.evaluation.leaderboard import charts
from stockyard.agents.evaluation.leaderboard.board import ALL
from stockyard.agents.evaluation.leaderboard.results import REPORTED

TEMPLATE = "page.html.j2"

LEAST_SHOWN = -0.25
"""Where the axis of intervals ends; a policy far below the naive rule would crowd all others."""

STRONGEST = 0.5
"""Opacity of a score of 1 in the heat map: text stays readable on it in both themes."""


def render(board: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """Writes the page.

    Args:
        board: what `board` returned.
        measured: of `Results`: time and memory by row and entry.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["money"] = _money
    tracks = [_track(track, board, measured) for track in board["tracks"]]
    return environment.get_template(TEMPLATE).render(
        benchmark=board["benchmark"],
        tracks=tracks,
        cards=[_card(row, board, measured) for row in board["rows"].values()],
        kinds=sorted({row["kind"] for row in board["rows"].values()}),
        version=metadata.version("stockyard"),
        data=_embedded({track["name"]: track["pairs"] for track in tracks}),
    )


def _breakable(name: str) -> Any:
    """A name that may go on in another line after an underscore."""
    from markupsafe import Markup, escape

    return Markup(escape(name).replace("_", Markup("_<wbr>")))


def _money(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _embedded(value: Any) -> str:
    """JSON that may stand in a script element, whatever names hold."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")


def _track(
    track: Mapping[str, Any], board: Mapping[str, Any], measured: Mapping[str, Any]
) -> dict[str, Any]:
    """What a section shows."""
    ranking = track["ranking"]
    lows = [row["iqm_interval"][0] for row in ranking]
    least = max(LEAST_SHOWN, min([0.0, *lows]) - 0.05)
    order = [row["name"] for row in ranking]
    is_all = track["name"] == ALL
    return {
        "name": track["name"],
        "title": track["title"],
        "mechanisms": track.get("mechanisms", []),
        "is_all": is_all,
        "is_optimum": track.get("bound") == "optimum",
        "most_tapes": max((row["tapes"] for row in ranking), default=0),
        "entries": track.get("entries", []),
        "counted": track.get("counted"),
        "naive": _rule_name(track.get("naive", "")),
        "bound": _bound_name(track.get("bound", "")),
        "money": track.get("money", ""),
        "left_out": track.get("left_out", {}),
        "rows": [_row(row, track, board, measured, least) for row in ranking],
        "heat": [] if is_all else _heat(track, board, order),
        "profile": charts.profile(track["levels"], track["profiles"], order) if order else "",
        "legend": order[: charts.CURVES],
        "matrix": _matrix(order, track["pairs"]),
        "frontiers": [] if is_all else _frontiers(track, board),
        "pairs": _pairs(track["pairs"]),
        "rival": order[0] if order else None,
    }


def _rule_name(rule: Any) -> str:
    if not isinstance(rule, Mapping):
        return str(rule)
    parameters = ", ".join(f"{key}={value}" for key, value in rule.items() if key != "name")
    return f"{rule['name']}({parameters})"


def _bound_name(bound: str) -> str:
    names = {
        "perfect_information": "perfect information, the bound of that tape",
        "optimum": "the optimal policy on that tape",
    }
    return names.get(bound, bound)


def _row(
    row: Mapping[str, Any],
    track: Mapping[str, Any],
    board: Mapping[str, Any],
    measured: Mapping[str, Any],
    least: float,
) -> dict[str, Any]:
    """A line of the table."""
    told = board["rows"][row["name"]]
    low, high = row["iqm_interval"]
    return {
        **row,
        "kind": told["kind"],
        "is_reported": told["provenance"] == REPORTED,
        "unranked": told["unranked"],
        "failed": told["failed"],
        "cpu_hours": told["cpu_hours"],
        "bar": charts.interval_bar(row["iqm"], low, high, least, 1.0, told["kind"]),
        "milliseconds": _figure(measured, row["name"], track["name"], "milliseconds_median"),
        "tied": ", ".join(row["tied_with"]),
    }


def _figure(measured: Mapping[str, Any], name: str, track: str, figure: str) -> float | None:
    """Median over entries and seeds of something measured."""
    values = [
        cell[figure]
        for entry, cells in measured.get(name, {}).items()
        if track in (ALL, entry.partition("/")[0])
        for cell in cells
        if cell.get(figure) is not None
    ]
    return statistics.median(values) if values else None


def _heat(
    track: Mapping[str, Any], board: Mapping[str, Any], order: Sequence[str]
) -> list[dict[str, Any]]:
    """Scores by row and entry, with the colour of each."""
    rows = []
    for name in order or sorted(track["by_row"]):
        cells = []
        for entry, cell in zip(track["entries"], track["by_row"][name], strict=True):
            strength = STRONGEST * min(abs(cell["score"]), 1.0)
            hue = "37,99,235" if cell["score"] >= 0 else "194,65,12"
            cells.append(
                {**cell, "style": f"background:rgba({hue},{strength:.2f})", "entry": entry["name"]}
            )
        rows.append({"name": name, "kind": board["rows"][name]["kind"], "cells": cells})
    return rows


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    """Row -> rival -> difference, low, high, verdict; both ways round."""
    found: dict[str, dict[str, list[Any]]] = {}
    turned = {"better": "worse", "worse": "better"}
    for pair in pairs:
        low, high = pair["interval"]
        one, other, verdict = pair["name"], pair["rival"], pair["verdict"]
        there = [pair["difference"], low, high, verdict]
        back = [-pair["difference"], -high, -low, turned.get(verdict, verdict)]
        found.setdefault(one, {})[other] = there
        found.setdefault(other, {})[one] = back
    return found


def _matrix(order: Sequence[str], pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Probability that the row scores above the column on the same tape."""
    known: dict[tuple[str, str], tuple[float, bool]] = {}
    for pair in pairs:
        is_told = pair["verdict"] in ("better", "worse")
        known[pair["name"], pair["rival"]] = (pair["probability"], is_told)
        known[pair["rival"], pair["name"]] = (1.0 - pair["probability"], is_told)
    rows = []
    for name in order:
        cells: list[dict[str, Any] | None] = []
        for rival in order:
            if rival == name:
                cells.append(None)
                continue
            value, is_told = known[name, rival]
            hue = "37,99,235" if value >= 0.5 else "194,65,12"
            style = f"background:rgba({hue},{abs(value - 0.5):.2f})"
            cells.append({"value": value, "style": style, "is_told": is_told, "rival": rival})
        rows.append({"name": name, "cells": cells})
    return rows


def _frontiers(track: Mapping[str, Any], board: Mapping[str, Any]) -> list[dict[str, str]]:
    """Plots of one metric against another, where two rows or more carry both."""
    found = []
    for plot in track["frontiers"]:
        points = []
        for name in track["by_row"]:
            row = board["rows"][name]
            means = [
                _mean_metric(row, [entry["key"] for entry in track["entries"]], plot[axis])
                for axis in ("x", "y")
            ]
            if means[0] is not None and means[1] is not None:
                point = {"name": name, "kind": row["kind"], "x": means[0], "y": means[1]}
                points.append(point)
        if len(points) > 1:
            found.append({"title": plot["title"], "svg": charts.frontier(points, plot)})
    return found


def _mean_metric(row: Mapping[str, Any], entries: Sequence[str], metric: str) -> float | None:
    values = [row["entries"][entry]["metrics"].get(metric) for entry in entries]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _card(
    row: Mapping[str, Any], board: Mapping[str, Any], measured: Mapping[str, Any]
) -> dict[str, Any]:
    """All about a policy: what it is, how it is made again, whether its numbers are ours."""
    own = measured.get(row["name"], {})
    cells = [cell for found in own.values() for cell in found]
    where = {f"{cell['machine']}, Python {cell['python']}" for cell in cells if "machine" in cell}
    commits = {str(cell.get("commit"))[:12] for cell in cells if cell.get("commit")}
    name = board["benchmark"]["name"]
    guest = "" if row["is_house"] else f" submissions={row['name']}"
    return {
        **row,
        "is_reported": row["provenance"] == REPORTED,
        "again": f"stockyard-leaderboard run benchmark={name}{guest} only={row['name']}",
        "milliseconds": [
            _worst(own, figure) for figure in ("milliseconds_median", "milliseconds_95")
        ],
        "memory_mb": _worst(own, "memory_mb"),
        "where": "; ".join(sorted(where)),
        "commits": ", ".join(sorted(commits)),
        "dates": ", ".join(sorted({cell["date"] for cell in cells if "date" in cell})),
    }


def _worst(measured: Mapping[str, Any], figure: str) -> float | None:
    values = [cell.get(figure) for cells in measured.values() for cell in cells]
    known = [value for value in values if value is not None]
    return max(known) if known else None
