"""Writes the page of `stockyard-forecast`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stockyard.agents.evaluation.files import write_json_atomic, write_text_atomic
from stockyard.envs.network.forecast import HORIZONS_DAYS

NAMES = {"learned": "learned", "martingale": "martingale", "naive": "seasonal-naive"}
"""Forecasts that are judged, in the order of a cell."""

GROUPS = {
    "new": "New products: first sold less than four weeks ago, or wanted and not sold yet",
    "before launch": "Before the launch: nobody has wanted the product yet",
}
"""The groups beside the established products, as the page names them."""

COLUMNS = [f"{days} days" for days in HORIZONS_DAYS]

ABOUT = (
    "What `stockyard/Replenishment-v0` shows as forecast is by default the tape's own: an exact "
    "martingale that knows how demand is made. `forecast=learned` shows what a network makes of "
    "sales, availability, the calendar and the products' attributes, and nothing else. Its targets "
    "in training are the demand of the horizon, stock-outs or not: a retailer does not see it, but "
    "estimates it from visits to the pages of products it cannot sell. One set of weights serves "
    "all scenarios, sizes and products.",
    "Held-out tapes are of the test family. Stock is bought by order-up-to levels whose cover "
    "differs by tape and product (median 27 days, log deviation .35 each), so sales are censored "
    "now little, now much. The quantile loss is twice the pinball loss, mean over P10, P50 and "
    "P90, summed over products and tapes, per unit of demand. The martingale is what could be "
    "known at best where demand is simulated; in `real` it is fitted quantiles of the training "
    "weeks. Seasonal-naive is the product's own sales rate of the last 13 weeks times an index of "
    "the season, with quantiles around it, both fitted to training tapes of the scenario it is "
    "judged on. The learned forecast is told neither the scenario nor a launch day.",
)


def write_page(page: Path, result: Mapping[str, Any]) -> None:
    """Writes the Markdown, and the result as JSON beside it.

    Args:
        page: path of the Markdown file.
        result: `command`, `version`, `date`, `commit`, `training` (its settings, `rows`, `seconds`
            of playing and fitting, or None), `tests` (of `judged`), `worth`.
    """
    write_json_atomic(page.with_suffix(".json"), result)
    lines = [
        "# Forecasts that the buyer sees",
        "",
        *_paragraphs(ABOUT),
        f"Made by `{result['command']}`, stockyard {result['version']}, on {result['date']} at "
        f"commit {str(result['commit'])[:10]}." + _told(result["training"]),
        "",
    ]
    established = [t for t in result["tests"] if "established" in t["groups"]]
    first = [t for t in established if t["size"] == established[0]["size"]]
    lines += [
        "## Quantile loss, established products",
        "",
        f"Each cell: {' / '.join(NAMES.values())}; less is better. Unseen products are those of "
        "the network that the learned forecast was not trained on.",
        "",
        *_table(established, "established", lambda score: f"{score['loss']:.3f}"),
    ]
    lines += [
        "## Coverage, established products",
        "",
        "Percent of demand below P10, P50 and P90 (10, 50 and 90 were right): "
        f"{' / '.join(NAMES.values())}. Other sizes stand in the JSON file.",
        "",
        *_table(first, "established", _coverage),
    ]
    lines += [
        "## Bias, established products",
        "",
        f"Mean forecast over mean demand, less 1, percent: {' / '.join(NAMES.values())}.",
        "",
        *_table(first, "established", lambda score: f"{100 * score['bias']:+.0f}"),
    ]
    lines += ["## Cold start", ""]
    for group, title in GROUPS.items():
        # a handful of rows says nothing
        tests = [t for t in result["tests"] if _rows(t, group) >= 200]
        if tests:
            lines += [f"{title}. Quantile loss.", ""]
            lines += _table(tests, group, lambda score: f"{score['loss']:.3f}")
            lines += ["Coverage of the same, percent.", ""]
            lines += _table(tests, group, _coverage)
    lines += _worth(result["worth"])
    write_text_atomic(page, "\n".join(lines).rstrip() + "\n")


def _paragraphs(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in (text, "")]


def _told(training: Mapping[str, Any] | None) -> str:
    """How the network was trained."""
    if training is None:
        return ""
    return (
        f" The network was trained by the same command on {training['rows']:,} rows (a product at "
        f"a decision) of {training['tapes']:,} training tapes, played in "
        f"{training['seconds_played']:.0f} s and fitted in {training['seconds_fitted']:.0f} s on "
        f"one thread, {training['settings']['steps']:,} steps; it has {training['weights']:,} "
        "weights."
    )


def _rows(test: Mapping[str, Any], group: str) -> int:
    scores = test["groups"].get(group, {}).get("learned", [])
    return max((score["rows"] for score in scores), default=0)


def _coverage(score: Mapping[str, Any]) -> str:
    return " ".join(f"{100 * share:.0f}" for share in score["coverage"])


def _table(tests: Sequence[Mapping[str, Any]], group: str, shown: Any) -> list[str]:
    """One row a test, one column a horizon; a cell holds every forecast's figure."""
    lines = [
        "| scenario | size | rows | " + " | ".join(COLUMNS) + " |",
        "|---|---|---|" + "---|" * len(COLUMNS),
    ]
    for test in tests:
        by_name = test["groups"][group]
        cells = []
        for days in HORIZONS_DAYS:
            found = [
                next((shown(s) for s in by_name.get(name, ()) if s["horizon_days"] == days), "–")
                for name in NAMES
            ]
            cells.append(" / ".join(found))
        rows = f"{_rows(test, group):,}"
        lines.append(f"| {test['scenario']} | {test['size']} | {rows} | {' | '.join(cells)} |")
    return [*lines, ""]


def _worth(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each forecast earns."""
    if not results:
        return []
    names = [row["forecast"] for row in results[0]["rows"]]
    lines = [
        "## What a forecast is worth",
        "",
        "Profit of one rule, every product ordered up to the same cover of the shown forecast; the "
        "cover is tuned for each forecast and scenario on "
        f"{results[0]['tuning_tapes']} training tapes. USD per day on {results[0]['tapes']} test "
        f"tapes of the small network under `{names[0]}`, and the difference to it with its paired "
        "95 % interval; in brackets the cover, days (* on the edge of what was tried).",
        "",
        "| scenario | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for result in results:
        cells = []
        for row in result["rows"]:
            cover = f"[{row['cover_days']:.0f}{'*' if row['on_edge'] else ''}]"
            if row["interval"] is None:
                cells.append(f"{row['profit']:,.0f} {cover}")
            else:
                low, high, _ = row["interval"]
                cells.append(f"{row['difference']:+,.0f} ({low:+,.0f} to {high:+,.0f}) {cover}")
        lines.append(f"| {result['scenario']} | " + " | ".join(cells) + " |")
    return [*lines, ""]
