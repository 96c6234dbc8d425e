"""Writes the page of `stockyard-optimality`: tables, and a picture of cost against time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stockyard.agents.evaluation.files import (
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)
from stockyard.agents.learners.run_folder import provenance

LINES = {"hindsight_poisson": ("hindsight", "#2563eb"), "ppo_poisson": ("PPO", "#c2410c")}
"""Studies of the picture, with names and colours."""

PANELS = ((1, 4), (2, 19), (4, 9), (4, 39))
"""Lead times and penalties that the picture shows."""

Row = Mapping[str, Any]


def write_page(page: Path, studies: Mapping[str, Any], rows: Sequence[Row], command: str) -> None:
    """Writes the Markdown, its rows as JSON and its picture, side by side."""
    picture = page.with_suffix(".png")
    has_picture = draw(picture, rows)
    write_json_atomic(page.with_suffix(".json"), {"command": command, "rows": list(rows)})
    lines = [
        "# How far from the optimum",
        "",
        "Learners on problems whose optimum is known exactly. A gap is the difference to the exact "
        "optimal policy on the same held-out tapes, in percent of the exact optimal cost, with the "
        "standard error of that paired difference. Every learner is the one that was best on "
        "validation tapes. Times are wall times of training with its evaluations, on one thread; "
        "`workers` in the command says how many cells ran side by side.",
        "",
        f"Made by `{command}`, stockyard {provenance()['versions']['stockyard']}; trained "
        f"{_span(row['date'] for row in rows)} at commit "
        f"{_span(str(row['commit'])[:10] for row in rows)}.",
        "",
    ]
    if has_picture:
        lines += [
            f"![Cost against training time]({picture.name})",
            "",
            "Cost on the validation tapes against training time; the dashed line is the exact "
            "optimum.",
            "",
        ]
    for name, given in studies.items():
        own = [row for row in rows if row["study"] == name]
        lines += _section(given, own)
    write_text_atomic(page, "\n".join(lines))


def _span(values: Iterable[str]) -> str:
    """The different values, in order."""
    return ", ".join(sorted(set(values)))


def _section(given: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """One study: what it is, how many cells met its target, and the table."""
    lines = [f"## {given['title']}", "", " ".join(str(given["note"]).split()), ""]
    if not rows:
        return [*lines, "Not run.", ""]
    if given.get("rivals"):
        # a claim about a difference asks for its interval, not only its sign
        met = sum(row["gap_percent"] + 1.96 * row["gap_standard_error"] < 0.0 for row in rows)
        goal = "below the best classical policy, with the whole 95 % interval"
    else:
        target = float(given["target"])
        met = sum(row["gap_percent"] <= target for row in rows)
        goal = f"at most {target:g} % above the optimum"
    slowest = max(row["seconds"] for row in rows)
    lines += [
        f"{met} of {len(rows)} cells are {goal}; the longest training took {slowest:.0f} s.",
        "",
    ]
    keys = list(dict.fromkeys(key for row in rows for key in row["cell"]))
    names = [key.rpartition(".")[2].replace("_", " ") for key in keys]
    head = [*names, "reference", "its cost", "cost", "gap, %", "s.e.", "seconds", "steps"]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cell = [str(row["cell"].get(key, "")) for key in keys]
        lines.append(
            f"| {' | '.join(cell)} | {row['reference']} | {row['reference_cost']:.4f} | "
            f"{row['cost']:.4f} | {row['gap_percent']:+.3f} | {row['gap_standard_error']:.3f} | "
            f"{row['seconds']:.0f} | {row['steps'] / 1e6:.1f} M |"
        )
    return [*lines, ""]


def draw(path: Path, rows: Sequence[Row]) -> bool:
    """Draws cost against training time; returns False where there is nothing to draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [row for row in rows if row["study"] in LINES]
    panels = [
        panel
        for panel in PANELS
        if any((r["cell"]["env.lead_time"], r["cell"]["env.penalty_cost"]) == panel for r in shown)
    ]
    if not panels:
        return False
    figure = Figure(figsize=(9.0, 2.9 * -(-len(panels) // 2)), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(-(-len(panels) // 2), min(2, len(panels)))).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        optimum = 0.0
        for row in shown:
            cell = row["cell"]
            if (cell["env.lead_time"], cell["env.penalty_cost"]) != panel:
                continue
            optimum = row["reference_cost"]
            name, colour = LINES[row["study"]]
            course = [point for point in row["course"] if point["seconds"] > 0.0]
            cost = [optimum * (1.0 + point["gap_percent"] / 100.0) for point in course]
            best = np.minimum.accumulate(cost)
            seconds = [point["seconds"] for point in course]
            axis.plot(seconds, cost, color=colour, alpha=0.35, linewidth=1.0)
            axis.plot(seconds, best, color=colour, linewidth=1.6, label=name, marker=".")
        axis.axhline(optimum, color="#1f2933", linestyle="--", linewidth=1.0, label="optimum")
        axis.set(
            title=f"lead time {panel[0]}, penalty {panel[1]}",
            xlabel="seconds of training",
            ylabel="cost per period",
            xscale="log",
            xlim=(1.0, None),
            ylim=(optimum * 0.99, optimum * 1.1),
        )
        axis.legend(fontsize=8, frameon=False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle("Lost sales, Poisson demand of mean 5 (thick: the best so far)", fontsize=10)
    from io import BytesIO

    buffer = BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    write_bytes_atomic(path, buffer.getvalue())
    return True
