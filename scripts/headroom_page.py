"""The page of `stockyard-headroom`: tables for people, JSON for machines, a picture."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stockyard.agents.evaluation.files import write_json_atomic, write_text_atomic
from stockyard.scripts.headroom_contest import Contest
from stockyard.scripts.headroom_metrics import label, scale
from stockyard.scripts.headroom_summary import summarise

Results = Mapping[str, Any]  # scenario -> what `headroom_work.evaluate_cell` returned

SOLVED = 0.95
"""Share of the gap that a rule closes where a scenario counts as nearly solved."""


def write_page(path: Path, contest: Contest, results: Results, command: str) -> None:
    """Writes the page, its JSON file and its picture.

    Args:
        path: Markdown file.
        contest: who competed.
        results: by scenario.
        command: that made it.
    """
    everywhere = set.intersection(*(set(result["policies"]) for result in results.values()))
    left_out = [rule for rule in (*contest.rules, *contest.slow) if rule not in everywhere]
    contest = contest.among(everywhere)
    results = {
        scenario: {
            **result,
            "policies": {k: v for k, v in result["policies"].items() if k in everywhere},
        }
        for scenario, result in results.items()
    }
    summary = {scenario: summarise(contest, result) for scenario, result in results.items()}
    groups = _groups(contest, results)
    record = {
        "task": contest.task,
        "date": time.strftime("%Y-%m-%d"),
        "command": command,
        "scenarios": summary,
        "left_out": left_out,
        "training": {name: _training(contest, name) for name in contest.learners},
    }
    write_json_atomic(path.with_suffix(".json"), record)
    draw(path.with_suffix(".png"), contest, summary)
    write_text_atomic(path, "\n".join(_lines(path, contest, summary, groups, record)) + "\n")


def _training(contest: Contest, name: str) -> dict[str, Any]:
    record = json.loads((contest.weights(name) / "run.json").read_text(encoding="utf-8"))
    kept = ("steps", "seconds", "training_seconds", "git_commit", "seed")
    return {key: record.get(key) for key in kept}


def _groups(contest: Contest, results: Results) -> dict[str, list[str]]:
    """Learner without its seed -> its entries, in the order of the file."""
    present = {name for result in results.values() for name in result["policies"]}
    groups: dict[str, list[str]] = {}
    for name, given in contest.learners.items():
        if name in present:
            groups.setdefault(given["name"], []).append(name)
    return groups


def _lines(
    path: Path,
    contest: Contest,
    summary: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    record: Mapping[str, Any],
) -> list[str]:
    first = next(iter(summary.values()))
    most = max(first["tapes"].values())
    few = [name for name, count in first["tapes"].items() if count < most]
    lines = [
        f"# Headroom: {contest.task}",
        "",
        f"Made on {record['date']} by `{record['command']}`. Size `{contest.env['size']}`, "
        f"`{contest.env['id']}`; {contest.measure} in USD a {contest.unit} on {most} held-out tapes"
        + (f" ({', '.join(few)}: on {min(first['tapes'].values())})" if few else "")
        + ". Rules are tuned for each scenario on training tapes "
        f"(`conf/tuned/{contest.task}`); the best rule and the best learner are chosen on "
        "validation tapes; differences are paired by tape, intervals are 95 % (BCa bootstrap over "
        "tapes). Learners with several seeds: mean, and in brackets lowest and highest.",
        "",
        f"![Gap closed]({path.with_suffix('.png').name})",
        "",
        *([contest.about, ""] if contest.about else []),
        *_verdict(contest, summary, record["left_out"]),
        "",
        *(_duels(contest, summary) if groups else _left(contest, summary)),
        "",
        "## Gap closed",
        "",
        "(J - J_naive) / (J_bound - J_naive) in percent, on the tapes of the bound; the bound "
        "knows the whole tape, so nobody comes to 100.",
        "",
        *_table(contest, summary, groups, "gap_closed", lambda x: f"{100.0 * x:.1f}"),
        "",
        f"## {contest.measure.capitalize()}, USD a {contest.unit}",
        "",
        *_table(contest, summary, groups, "profit", lambda x: f"{x:,.0f}", with_bound=True),
        "",
        *(_guarded(contest, summary, groups) if contest.guarded else []),
        *(_transfer(contest, summary, groups) if groups else []),
        "## Time",
        "",
        *_time_table(contest, summary, record),
    ]
    return lines


def _verdict(contest: Contest, summary: Mapping[str, Any], left_out: Sequence[str]) -> list[str]:
    """What the numbers say, in sentences; nothing of a contest in which rules are missing."""
    above: list[str] = []
    below: list[str] = []
    unclear: list[str] = []
    for scenario, told in summary.items():
        if told["best_learner"] is None:
            continue
        gap = told["against_best_rival"][told["best_learner"]]
        where = above if gap["low"] > 0 else below if gap["high"] < 0 else unclear
        where.append(scenario)
    lines = []
    if left_out:
        lines.append(f"**No verdict: not evaluated in every scenario are {', '.join(left_out)}.**")
    elif above or below or unclear:
        lines.append(
            f"The best learner beats the best tuned rule with an interval above zero in "
            f"{len(above)} of {len(summary)} scenarios"
            + (f"; it is worse in {', '.join(below)}" if below else "")
            + (f"; undecided in {', '.join(unclear)}" if unclear else "")
            + "."
        )
        if contest.guarded is not None and above:
            lines.append(_verdict_on_guarded(contest.guarded, summary, above))
    solved = [
        scenario
        for scenario, told in summary.items()
        if "gap_closed" in told and told["gap_closed"][told["best_rival"]] > SOLVED
    ]
    if solved:
        lines.append(f"Nearly solved by a rule, so no test of skill: {', '.join(solved)}.")
    edges = [
        f"{rule} in {scenario}"
        for scenario in summary
        for rule in (*contest.rules, *contest.slow)
        if contest.on_edge(scenario, rule)
    ]
    if edges:
        lines.append(f"Searches that ended on the edge of their last grid: {', '.join(edges)}.")
    commits = sorted({str(c)[:10] for told in summary.values() for c in told["commits"]})
    if len(commits) > 1:
        lines.append(f"Results were found at several commits: {', '.join(commits)}.")
    beaten = [scenario for scenario, told in summary.items() if told.get("beaten")]
    if beaten:
        lines.append(f"**A bound was beaten, which must not be: {', '.join(beaten)}.**")
    return lines


def _verdict_on_guarded(metric: str, summary: Mapping[str, Any], above: Sequence[str]) -> str:
    """Whether who earns more keeps what must be kept as well as the rule that it beats."""
    found = {
        scenario: summary[scenario]["guarded_against_best_rival"][summary[scenario]["best_learner"]]
        for scenario in above
    }
    more = [scenario for scenario, told in found.items() if told["own"] > told["rival"]]
    surely = [scenario for scenario, told in found.items() if told["low"] > 0.0]
    name = label(metric).partition(",")[0]
    return (
        f"Where it does, on the same tapes, there are more {name} than under the rule in "
        f"{', '.join(more) or 'none of them'}; with an interval above zero in "
        f"{', '.join(surely) or 'none'}."
    )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _header(names: Sequence[str]) -> list[str]:
    return [_row(names), _row(["---", *["---:"] * (len(names) - 1)])]


def _left(contest: Contest, summary: Mapping[str, Any]) -> list[str]:
    """What the best tuned rule leaves to perfect information, on the tapes of the bound."""
    unit = f"USD a {contest.unit}"
    lines = ["## What the best rule leaves to perfect information", ""]
    lines += _header(["scenario", "best rule", f"left, {unit}", "of what the naive rule leaves, %"])
    for scenario, told in summary.items():
        rule = told["best_rival"]
        if "bound" not in told:
            lines.append(_row([scenario, rule, "-", "-"]))
            continue
        open_share = 1.0 - told["gap_closed"][rule]
        left = open_share * told["bound"]["stake"]
        lines.append(_row([scenario, rule, f"{left:,.0f}", f"{100.0 * open_share:.1f}"]))
    return lines


def _duels(contest: Contest, summary: Mapping[str, Any]) -> list[str]:
    """The best learner beside the best rule of every scenario."""
    lines = ["## Best learner against best tuned rule", ""]
    names = ["scenario", "best rule", "best learner", "difference", "95 % interval", "percent"]
    if contest.guarded is not None:
        names += [label(contest.guarded), "the rule's", "95 % interval of the difference"]
    lines += _header(names)
    for scenario, told in summary.items():
        learner = told["best_learner"]
        if learner is None:
            lines.append(_row([scenario, told["best_rival"], *["-"] * (len(names) - 2)]))
            continue
        gap = told["against_best_rival"][learner]
        cells = [
            scenario,
            told["best_rival"],
            learner,
            f"{gap['mean']:+,.1f}",
            f"{gap['low']:+,.1f} to {gap['high']:+,.1f}",
            f"{gap['percent']:+.2f}",
        ]
        if contest.guarded is not None:
            more, unit = told["guarded_against_best_rival"][learner], scale(contest.guarded)
            cells += [f"{unit * more[key]:.4f}" for key in ("own", "rival")]
            cells.append(f"{unit * more['low']:+.4f} to {unit * more['high']:+.4f}")
        lines.append(_row(cells))
    return lines


def _guarded(
    contest: Contest, summary: Mapping[str, Any], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """What must be kept, of every policy, each on all of its tapes."""
    metric = str(contest.guarded)
    name = label(metric)
    unit = scale(metric)
    return [
        f"## {name[0].upper()}{name[1:]}",
        "",
        *_table(contest, summary, groups, "guarded", lambda x: f"{unit * x:.4f}"),
        "",
    ]


def _table(
    contest: Contest,
    summary: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    figure: str,
    shown: Any,
    with_bound: bool = False,
) -> list[str]:
    """Policies by scenarios; the best of rules and learners in bold."""
    scenarios = [scenario for scenario, told in summary.items() if figure in told]
    if not scenarios:
        return ["No bounds are solved yet: `stockyard-headroom stage=bound`."]
    lines = _header(["policy", *scenarios])
    for rule in (contest.naive, *contest.rules, *contest.slow):
        cells = []
        for scenario in scenarios:
            text = shown(summary[scenario][figure][rule])
            cells.append(f"**{text}**" if summary[scenario]["best_rival"] == rule else text)
        lines.append(_row([rule, *cells]))
    for group, names in groups.items():
        cells = []
        for scenario in scenarios:
            values = [summary[scenario][figure][name] for name in names]
            text = shown(float(np.mean(values)))
            if len(values) > 1:
                text += f" ({shown(min(values))}, {shown(max(values))})"
            is_best = summary[scenario]["best_learner"] in names
            cells.append(f"**{text}**" if is_best else text)
        lines.append(_row([group, *cells]))
    if with_bound and any("bound" in told for told in summary.values()):
        cells = [
            f"{summary[s]['bound']['profit']:,.0f} ({summary[s]['bound']['tapes']} tapes)"
            if "bound" in summary[s]
            else "-"
            for s in scenarios
        ]
        lines.append(_row(["perfect information", *cells]))
    return lines


def _transfer(
    contest: Contest, summary: Mapping[str, Any], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """Learners in scenarios that they were not trained in, beside the best rule of each."""
    lines = [
        "## Transfer: difference to the best tuned rule of each scenario, percent of its "
        + contest.measure,
        "",
        "Rows are learners; a generalist was trained on a mixture of scenarios, a specialist on "
        "the one in its name, and what is called small on the small network.",
        "",
    ]
    lines += _header(["learner", *summary])
    for group, names in groups.items():
        cells = []
        for told in summary.values():
            values = [told["against_best_rival"][name]["percent"] for name in names]
            cells.append(f"{np.mean(values):+.2f}")
        lines.append(_row([group, *cells]))
    lines.append("")
    return lines


def _time_table(
    contest: Contest, summary: Mapping[str, Any], record: Mapping[str, Any]
) -> list[str]:
    lines = _header(["policy", "tuning or training, s", f"ms a decision ({next(iter(summary))})"])
    first = next(iter(summary.values()))
    for rule in (contest.naive, *contest.rules, *contest.slow):
        seconds = [
            contest.tuned(scenario).get(rule, {}).get("seconds", 0.0) for scenario in summary
        ]
        spent = f"{sum(seconds):,.0f} (all scenarios)" if any(seconds) else "-"
        lines.append(_row([rule, spent, f"{first['milliseconds'][rule]:.3f}"]))
    for name, training in record["training"].items():
        if name in first["milliseconds"]:
            took = f"{training['seconds']:,.0f}"
            lines.append(_row([name, took, f"{first['milliseconds'][name]:.3f}"]))
    return lines


FARTHEST = -30.0
"""Percent of the gap, below which a rule is not drawn: the others would be a single spot."""


def draw(path: Path, contest: Contest, summary: Mapping[str, Any]) -> None:
    """Draws the gap closed by the naive rule, rules, the best rule and the best learner."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from stockyard.agents.evaluation.files import atomic_path

    figure = Figure(figsize=(9.0, 0.42 * len(summary) + 1.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    scenarios = list(summary)
    key = "gap_closed" if all("gap_closed" in told for told in summary.values()) else "profit"
    scale = 100.0 if key == "gap_closed" else 1.0
    for row, scenario in enumerate(scenarios):
        told = summary[scenario]
        others = [
            scale * told[key][rule]
            for rule in (*contest.rules, *contest.slow)
            if rule != told["best_rival"]
        ]
        axes.plot(others, [row] * len(others), "|", color="#9aa5b1", markersize=9)
        axes.plot(scale * told[key][told["best_rival"]], row, "o", color="#c2410c", markersize=7)
        if told["best_learner"] is not None:
            learned = scale * told[key][told["best_learner"]]
            axes.plot(learned, row, "D", color="#2563eb", markersize=6)
    axes.plot([], [], "|", color="#9aa5b1", markersize=9, label="other rules")
    axes.plot([], [], "o", color="#c2410c", label="best tuned rule")
    axes.plot([], [], "D", color="#2563eb", label="best learner")
    axes.set_yticks(range(len(scenarios)), scenarios)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e4e7eb")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    label = (
        "gap to perfect information closed, %" if key == "gap_closed" else f"USD a {contest.unit}"
    )
    axes.set_xlabel(label)
    ends = ": naive is 0, perfect information 100" if key == "gap_closed" else ""
    if key == "gap_closed" and axes.get_xlim()[0] < FARTHEST:
        axes.set_xlim(left=FARTHEST)
        ends += f"; what is below {FARTHEST:.0f} is in the table"
    axes.set_title(f"{contest.task}{ends}", loc="left", fontsize=10)
    figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside lower left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
