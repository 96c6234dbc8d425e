"""Writes the page of `stockyard-what-if`: tables of differences, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from stockyard.agents.evaluation.files import (
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)
from stockyard.agents.evaluation.report import number
from stockyard.agents.evaluation.what_if import IN_TRANSIT, ON_ORDER, Difference, differences
from stockyard.agents.learners.run_folder import provenance

LABELS = {
    "profit": "profit, USD a day",
    "objective": "objective, USD a day",
    "sold": "units sold a day",
    "speed_share_1_day": "sold with one-day delivery, %",
    "speed_share_2_day": "sold with two-day delivery, %",
    "speed_share_3_to_5_day": "sold with slower delivery, %",
    "in_stock_rate": "in stock, % of demand",
    "fill_rate": "served at once, % of demand",
    "lost:all": "units lost a day",
    "lost:not_bought": "… not bought",
    "lost:in_transit": "… still under way",
    "lost:wrong_node": "… in the wrong place",
    "lost:outbound": "… no hands to pick them",
    "lost:slow_promise": "… promise too slow",
    "freight:all": "shipping, USD per unit sold",
    "freight:tariff": "… by distance",
    "freight:transfer": "… between sites",
    "freight:trucks": "… trucks",
    "freight:spot": "… hired trucks",
    "freight:expedite": "… carriers",
    "freight:last_mile": "… last mile",
    "utilisation_storage": "space in use, %",
    "utilisation_receiving": "receiving in use, %",
    "utilisation_outbound": "picking in use, %",
    "utilisation_trucks": "trucks' load, %",
    "late_share": "parcels late, %",
    "spot_share": "hired trucks, % of trucks",
    "carrier_share": "sent by carriers, % of volume",
    "hub_share": "sent through a hub, % of volume",
    "surplus:retailer": "surplus of the platform, USD a day",
    "surplus:sellers": "surplus of sellers, USD a day",
    "surplus:customers": "surplus of customers, USD a day",
    "in_stock_sellers": "sellers' products in stock, % of demand",
    "in_stock_new": "new products in stock, % of demand",
    "merchant_share": "sent by sellers themselves, % of their sales",
    "crowding": "stock on shelves and in yards, % of storage",
    "limit_gini": "Gini coefficient of limits over requests",
    "bullwhip": "bullwhip: variance of shipments over sales",
    "broken_outlook": "announced limits broken, ft³ a month",
    "storage_price": "price of storage, USD per ft³-month",
}
"""Measure -> what a reader calls it; stock is named by its place."""

UNITS = {"stock_units": "units", "stock_usd": "USD at cost", "stock_ft3": "ft³"}

PLACES = ("cross-dock", "regional", "local", IN_TRANSIT)

HEADLINES = (
    "profit",
    "sold",
    "fill_rate",
    "speed_share_1_day",
    "freight:all",
    "utilisation_storage",
    "stock_units:all",
    *(f"stock_units:{place}" for place in PLACES),
    f"stock_units:{ON_ORDER}",
)

PANELS = (
    "profit",
    "sold",
    "fill_rate",
    "speed_share_1_day",
    "freight:all",
    "utilisation_storage",
    "stock_units:all",
    "stock_units:regional",
    "stock_units:local",
)
"""Measures of the picture."""

OF_SELLERS = (
    "objective",
    "surplus:retailer",
    "surplus:sellers",
    "surplus:customers",
    "in_stock_sellers",
    "limit_gini",
    "crowding",
    "bullwhip",
    "broken_outlook",
)
"""Headlines and measures of the picture where terms for sellers are decided."""

OF_TRUCKS = (
    "profit",
    "utilisation_trucks",
    "late_share",
    "in_stock_rate",
    "speed_share_2_day",
    "freight:all",
    "freight:trucks",
    "freight:spot",
    "freight:expedite",
)
"""Headlines and measures of the picture where parcels wait for trucks."""

COLOURS = ("#2563eb", "#c2410c", "#15803d", "#7c3aed", "#0e7490", "#b45309")
PLACE_COLOURS = ("#64748b", "#2563eb", "#f59e0b", "#cbd5e1", "#0e7490", "#7c3aed")


@dataclass(frozen=True)
class Compared:
    """An experiment and what came of it."""

    title: str
    about: str
    base: Mapping[str, Any]  # its row
    rows: Sequence[Mapping[str, Any]]  # of the other cases
    differences: Mapping[str, Mapping[str, Difference]]  # case -> measure -> difference


def compared(described: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Compared:
    """Compares every case with the first row, the base."""
    base, *others = rows
    before = _arrays(base["values"])
    return Compared(
        title=str(described.get("title", described.get("name", "What if?"))),
        about=" ".join(str(described.get("about", "")).split()),
        base=base,
        rows=others,
        differences={row["name"]: differences(before, _arrays(row["values"])) for row in others},
    )


def _arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rows from a file hold lists, with None for what was not defined on a tape."""
    return {name: np.array(given, dtype=np.float64) for name, given in values.items()}


def label(measure: str) -> str:
    """What a reader calls a measure."""
    if measure in LABELS:
        return LABELS[measure]
    head, _, place = measure.partition(":")
    if head in UNITS:
        return f"stock, {UNITS[head]}" if place == "all" else f"… {place}"
    return measure.replace("_", " ").replace(":", ", ")


def changed_tapes(result: Compared, row: Mapping[str, Any]) -> list[str]:
    """The parts of the tapes in which a case differs from the base."""
    mine, base = row["tapes"], result.base["tapes"]
    return [part for part in base if mine[part] != base[part]]


def render(result: Compared) -> Table:
    """The table for the terminal: the headlines of every case."""
    table = Table(
        title=_headline(result),
        title_justify="left",
        caption="differences to the base, with 95 % intervals",
    )
    table.add_column("mean over tapes")
    table.add_column("base", justify="right", no_wrap=True)
    for row in result.rows:
        table.add_column(row["name"], justify="right", overflow="fold")
    for measure in _chosen(result, HEADLINES):
        found = [result.differences[row["name"]].get(measure) for row in result.rows]
        table.add_row(label(measure), _base(found), *map(_told, found))
    return table


def _headline(result: Compared) -> str:
    rollout, spec = result.base["rollout"], result.base["specification"]
    return (
        f"{result.title} {spec['id']} · {rollout['num_tapes']} tapes of the split "
        f"{rollout['split']}, seed {rollout['seed']}"
    )


def _present(result: Compared, measures: Sequence[str]) -> list[str]:
    return [m for m in measures if any(m in found for found in result.differences.values())]


def _chosen(result: Compared, usual: Sequence[str]) -> list[str]:
    """The measures that tell most where terms for sellers or trucks are decided; else the usual."""
    values = result.base["values"]
    if "objective" in values:
        return _present(result, OF_SELLERS)
    return _present(result, OF_TRUCKS if "late_share" in values else usual)


def _base(found: Sequence[Difference | None]) -> str:
    return next((number(one.base) for one in found if one is not None), "-")


def _told(one: Difference | None) -> str:
    if one is None:
        return "-"
    low, high = number(one.interval.low, sign=True), number(one.interval.high, sign=True)
    return (
        f"{_signed(one.difference)} ({low} to {high})" if low != high else _signed(one.difference)
    )


def _signed(value: float) -> str:
    return number(value, sign=True) if value else "0"


def write_page(page: Path, result: Compared, command: str) -> None:
    """Writes the Markdown, the numbers as JSON and the picture, side by side."""
    picture = page.with_suffix(".png")
    draw(picture, result)
    made = provenance()
    write_json_atomic(
        page.with_suffix(".json"),
        {
            "command": command,
            "stockyard": made["versions"]["stockyard"],
            "commit": made["git_commit"],
            "date": max(row["date"] for row in (result.base, *result.rows)),
            "title": result.title,
            "about": result.about,
            "base": _described(result, result.base),
            "cases": [
                {
                    **_described(result, row),
                    "differences": {
                        name: {**vars(one), "interval": one.interval._asdict()}
                        for name, one in result.differences[row["name"]].items()
                    },
                }
                for row in result.rows
            ],
        },
    )
    rollout, spec = result.base["rollout"], result.base["specification"]
    lines = [
        f"# {result.title}",
        "",
        result.about,
        "",
        f"Made by `{command}` on {result.base['date']}, stockyard "
        f"{made['versions']['stockyard']}, commit {str(made['git_commit'])[:10]}: "
        f"`{spec['id']}`, size {spec.get('size', 'small')}, {rollout['num_tapes']} tapes of the "
        f"split {rollout['split']} from seed {rollout['seed']}, the same in all cases.",
        "",
        "Differences are means over tapes of case less base on the same tape, with 95 % BCa "
        "bootstrap intervals over tapes. Stock is what lies in or moves between the sites, as "
        "every decision finds it, mean over the decisions; goods on order from suppliers are told "
        "apart. The variance ratio of the long tables is the variance of the difference as a share "
        "of what it would be if each case had tapes of its own: what holding the tapes saves.",
        "",
        "| case | what is changed | policy | tapes that differ from the base's |",
        "|---|---|---|---|",
    ]
    for row in (result.base, *result.rows):
        differ = ", ".join(changed_tapes(result, row)) or "none"
        differ = "" if row is result.base else differ
        lines.append(f"| {row['name']} | {row['about']} | `{_policy(row)}` | {differ} |")
    lines += ["", _about_demand(result), *_tuning(result), ""]
    lines += [
        f"![Differences to the base, and stock by place]({picture.name})",
        "",
        "Differences to the base with their intervals, and the mean stock by place.",
        "",
        "## In short",
        "",
        "| mean over tapes | base | " + " | ".join(row["name"] for row in result.rows) + " |",
        "|---|" + "---:|" * (1 + len(result.rows)),
    ]
    for measure in _chosen(result, HEADLINES):
        found = [result.differences[row["name"]].get(measure) for row in result.rows]
        lines.append(f"| {label(measure)} | {_base(found)} | {' | '.join(map(_told, found))} |")
    for row in result.rows:
        lines += ["", *_section(row, result.differences[row["name"]])]
    write_text_atomic(page, "\n".join([*lines, ""]))


def _described(result: Compared, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without its tapes' numbers, which stay in the folder of cases."""
    kept = {key: row[key] for key in row if key not in ("values", "key")}
    return {**kept, "tapes_that_differ": changed_tapes(result, row)}


def _policy(row: Mapping[str, Any]) -> str:
    entry = row["policy"]
    if not isinstance(entry, Mapping):
        return str(entry)
    parts = (
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in entry.items()
        if key != "name"
    )
    return f"{entry['name']}({', '.join(parts)})"


def _about_demand(result: Compared) -> str:
    moved = [row["name"] for row in result.rows if "demand" in changed_tapes(result, row)]
    if not moved:
        return "What customers want is the same in all cases, unit for unit."
    return f"The lever changes demand itself in {', '.join(moved)}: differences include that."


def _tuning(result: Compared) -> list[str]:
    rows = [row for row in (result.base, *result.rows) if row["tuned"]]
    if not rows:
        return []
    edge = [row["name"] for row in rows if row["tuned"]["on_edge"]]
    names = ", ".join(row["name"] for row in rows)
    told = (
        f"The rule was tuned on training tapes for {names}; where the base's did better on the "
        "same tapes, and in the other cases, the base's is taken."
    )
    return ["", told + (f" On the edge of the search: {', '.join(edge)}." if edge else "")]


def _section(row: Mapping[str, Any], found: Mapping[str, Difference]) -> list[str]:
    """All measures of one case."""
    lines = [
        f"## {row['name']}",
        "",
        f"{row['about'][:1].upper()}{row['about'][1:]}.",
        "",
        "| mean over tapes | base | case | difference | 95 % interval | variance ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for measure, one in _ordered(found):
        low, high = number(one.interval.low, sign=True), number(one.interval.high, sign=True)
        ratio = "-" if one.variance_ratio is None else f"{one.variance_ratio:.3f}"
        lines.append(
            f"| {label(measure)} | {number(one.base)} | {number(one.case)} | "
            f"{_signed(one.difference)} | {low} to {high} | {ratio} |"
        )
    return lines


def _ordered(found: Mapping[str, Difference]) -> list[tuple[str, Difference]]:
    """Money, stock, service, freight, use; and within a group the total first."""
    heads = [
        "profit",
        "objective",
        "surplus",
        "sold",
        *UNITS,
        "speed",
        "in",
        "fill",
        "lost",
        "freight",
        "utilisation",
    ]

    def rank(name: str) -> int:
        head = name.partition(":")[0]
        head = head if head in heads else head.partition("_")[0]
        return heads.index(head) if head in heads else len(heads)

    names = sorted(found, key=lambda name: (rank(name), not name.endswith(":all")))
    return [(name, found[name]) for name in names]


def draw(path: Path, result: Compared) -> None:
    """Draws differences with their intervals, and the stock of every case by place."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _chosen(result, PANELS)
    columns = 3
    rows = -(-len(panels) // columns)
    num_cases = len(result.rows)
    height = rows * (0.75 + 0.24 * num_cases) + 0.9 + 0.3 * (num_cases + 1)
    figure = Figure(figsize=(10.5, height), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    ratios = [0.75 + 0.24 * num_cases] * rows + [0.9 + 0.3 * (num_cases + 1)]
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=ratios)
    for k, measure in enumerate(panels):
        axis = figure.add_subplot(grid[k // columns, k % columns])
        _draw_differences(axis, result, measure, named=k % columns == 0)
    _draw_places(figure.add_subplot(grid[rows, :]), result)
    buffer = BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    write_bytes_atomic(path, buffer.getvalue())


def _draw_differences(axis: Any, result: Compared, measure: str, named: bool) -> None:
    names = [row["name"] for row in result.rows]
    for k, name in enumerate(names):
        one = result.differences[name].get(measure)
        if one is None:
            continue
        colour = COLOURS[k % len(COLOURS)]
        axis.plot([one.interval.low, one.interval.high], [k, k], color=colour, linewidth=2.0)
        axis.plot([one.difference], [k], color=colour, marker="o", markersize=5)
    axis.axvline(0.0, color="#1f2933", linewidth=0.8)
    low, high = axis.get_xlim()
    if high - low < 1e-6:  # nothing moves: a scale around zero, not around rounding
        axis.set_xlim(-1.0, 1.0)
    axis.margins(x=0.12)
    found = [d[measure] for d in result.differences.values() if measure in d]
    title = label(measure) if not measure.startswith("stock") else _stock_title(measure)
    axis.set_title(f"{title}\n(base {number(found[0].base)})", fontsize=9)
    axis.set_yticks(range(len(names)), labels=names if named else [""] * len(names), fontsize=8)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", color="#e5e7eb", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _stock_title(measure: str) -> str:
    head, _, place = measure.partition(":")
    return f"stock{'' if place == 'all' else ', ' + place}, {UNITS[head]}"


def _draw_places(axis: Any, result: Compared) -> None:
    """Stacked bars of the mean stock, the base on top."""
    rows = [result.base, *result.rows]
    places = [*result.base["places"], IN_TRANSIT]
    means = [
        [float(np.nanmean(_arrays(row["values"])[f"stock_units:{p}"])) for p in places]
        for row in rows
    ]
    left = np.zeros(len(rows))
    for k, place in enumerate(places):
        width = np.array([mean[k] for mean in means])
        colour = PLACE_COLOURS[k % len(PLACE_COLOURS)]
        axis.barh(range(len(rows)), width, left=left, height=0.62, color=colour, label=place)
        for y, (start, size) in enumerate(zip(left, width, strict=True)):
            if size > 0.05 * max(sum(mean) for mean in means):
                dark = colour in ("#f59e0b", "#cbd5e1")
                axis.text(
                    start + size / 2.0,
                    y,
                    f"{size:,.0f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="#1f2933" if dark else "white",
                )
        left = left + width
    axis.set_yticks(range(len(rows)), labels=[row["name"] for row in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_title("mean stock by place, units", fontsize=9)
    axis.tick_params(axis="x", labelsize=8)
    axis.legend(
        fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(places)
    )
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
