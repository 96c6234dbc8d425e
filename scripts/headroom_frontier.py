"""The frontier of `stockyard-headroom stage=frontier`: what policies trade for one another."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.evaluation.files import atomic_path, write_json_atomic, write_text_atomic
from stockyard.scripts.headroom_contest import Contest
from stockyard.scripts.headroom_metrics import LESS, is_money_metric, label, scale

Floats = NDArray[np.float64]

COLOURS = ("#2563eb", "#c2410c", "#15803d", "#7c3aed", "#0e7490")


def write_frontier(path: Path, contests: Sequence[Contest], command: str) -> None:
    """Writes the page, its JSON file and its picture.

    Args:
        path: Markdown file.
        contests: of one environment, all evaluated on the same tapes.
        command: that made it.

    Raises:
        ValueError: if results lack a metric of the frontier.
    """
    metrics = contests[0].frontier
    found = {contest.task: _figures(contest, metrics) for contest in contests}
    efficient = _efficient(found, metrics)
    record = {
        "metrics": list(metrics),
        "date": time.strftime("%Y-%m-%d"),
        "command": command,
        "contests": {
            task: {
                name: {
                    "efficient": (task, name) in efficient,
                    **dict(zip(metrics, row, strict=True)),
                }
                for name, row in rows.items()
            }
            for task, rows in found.items()
        },
    }
    write_json_atomic(path.with_suffix(".json"), record)
    _draw(path.with_suffix(".png"), contests, metrics, found, efficient)
    lines = _lines(path, contests, metrics, found, efficient, command)
    write_text_atomic(path, "\n".join(lines) + "\n")


def _figures(contest: Contest, metrics: Sequence[str]) -> dict[str, list[float]]:
    """Policy -> its metrics on test tapes, mean of all scenarios."""
    results = [
        json.loads(contest.result_file(scenario).read_text(encoding="utf-8"))["policies"]
        for scenario in contest.scenarios
    ]
    figures: dict[str, list[float]] = {}
    for name in contest.policies():
        if not all(name in policies for policies in results):
            continue
        rows = [policies[name]["test"]["metrics"] for policies in results]
        plain = [metric.removeprefix(LESS) for metric in metrics]
        for metric in plain:
            if metric not in rows[0]:
                raise ValueError(f"frontier: {contest.task} has no metric {metric!r}")
        figures[name] = [
            float(np.mean([row[metric] for row in rows])) * scale(metric) for metric in plain
        ]
    return figures


def _efficient(
    found: Mapping[str, Mapping[str, list[float]]], metrics: Sequence[str]
) -> set[tuple[str, str]]:
    """Those whom nobody surpasses in one metric without falling behind in another."""
    keys = [(task, name) for task, rows in found.items() for name in rows]
    sign = np.array([-1.0 if metric.startswith(LESS) else 1.0 for metric in metrics])
    values = np.array([found[task][name] for task, name in keys]) * sign
    kept = set()
    for key, own in zip(keys, values, strict=True):
        if not ((values >= own).all(axis=1) & (values > own).any(axis=1)).any():
            kept.add(key)
    return kept


ALIKE = " Mechanisms act by different means, and are drawn together, not ranked."
"""Of contests whose policies cannot do the same things."""


def _lines(
    path: Path,
    contests: Sequence[Contest],
    metrics: Sequence[str],
    found: Mapping[str, Mapping[str, list[float]]],
    efficient: set[tuple[str, str]],
    command: str,
) -> list[str]:
    is_money = all(is_money_metric(metric) for metric in metrics)
    names = ", ".join(label(metric) for metric in metrics)
    title = f"Who gains by whom: {names}" if is_money else f"What policies trade: {names}"
    lines = [
        f"# {title}",
        "",
        f"Made by `{command}` on {time.strftime('%Y-%m-%d')} from the results of "
        f"{', '.join(contest.task for contest in contests)}: means over the test tapes of "
        f"{', '.join(contests[0].scenarios)}"
        + "".join(
            f"; slow rules, on fewer of them: {', '.join(c.slow)}" for c in contests if c.slow
        )
        + "."
        + " Surpluses in USD a day." * is_money
        + " Efficient: nobody here gives more of one without giving less of another."
        + ALIKE * (len(contests) > 1),
        "",
        f"![The frontier]({path.with_suffix('.png').name})",
        "",
        f"| contest | policy | {' | '.join(map(label, metrics))} |"
        + " sum |" * is_money
        + " efficient |",
        "|---|---|" + "---:|" * (len(metrics) + is_money) + "---|",
    ]
    for contest in contests:
        rows = found[contest.task]
        for name in sorted(
            rows, key=lambda name: -(sum(rows[name]) if is_money else rows[name][0])
        ):
            told = [f"{value:,.0f}" for value in (*rows[name], sum(rows[name]))]
            if not is_money:
                told = [f"{value:.3f}" for value in rows[name]]
            mark = "yes" if (contest.task, name) in efficient else ""
            lines.append(f"| {contest.task} | {name} | {' | '.join(told)} | {mark} |")
    return lines


def _draw(
    path: Path,
    contests: Sequence[Contest],
    metrics: Sequence[str],
    found: Mapping[str, Mapping[str, list[float]]],
    efficient: set[tuple[str, str]],
) -> None:
    """A panel for every pair: rules as circles, learners as diamonds, efficient ones filled."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pairs = list(itertools.combinations(range(len(metrics)), 2))
    figure = Figure(figsize=(max(4.2 * len(pairs), 6.4), 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(1, len(pairs)))
    for axes, (x, y) in zip(panels, pairs, strict=True):
        for contest, colour in zip(contests, itertools.cycle(COLOURS)):
            for name, row in found[contest.task].items():
                is_efficient = (contest.task, name) in efficient
                _point(axes, row[x], row[y], colour, name in contest.learners, is_efficient)
        naive = found[contests[0].task].get(contests[0].naive)
        if naive is not None:
            axes.annotate(
                contests[0].naive,
                (naive[x], naive[y]),
                fontsize=7,
                xytext=(5, 5),
                textcoords="offset points",
            )
        axes.set_xlabel(f"{label(metrics[x])}")
        axes.set_ylabel(f"{label(metrics[y])}")
        if not is_money_metric(metrics[y]):  # hardly any for most, very much for a few
            axes.set_yscale("symlog", linthresh=0.1)
        axes.grid(color="#e4e7eb")
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    last = panels[-1]
    for contest, colour in zip(contests, itertools.cycle(COLOURS)):
        last.plot([], [], "o", color=colour, label=contest.task)
    last.plot([], [], "D", color="#52606d", label="learner")
    last.plot([], [], "o", color="#52606d", fillstyle="none", label="not efficient")
    figure.legend(frameon=False, fontsize=8, ncols=len(contests) + 2, loc="outside lower left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _point(axes: Any, x: float, y: float, colour: str, learns: bool, efficient: bool) -> None:
    axes.plot(
        [x],
        [y],
        "D" if learns else "o",
        color=colour,
        markersize=6 if learns else 5,
        fillstyle="full" if efficient else "none",
    )
