"""The table that a person reads."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from stockyard.agents.evaluation.statistics import Comparison

SHOWN_METRICS = ("in_stock_rate", "fill_rate", "days_of_cover")


def render(
    rows: Sequence[Comparison], *, title: str = "", metrics: Sequence[str] = SHOWN_METRICS
) -> Table:
    """Lays comparisons out as a table.

    Args:
        rows: What `compare` returned.
        title: Above the table.
        metrics: Which metrics to show; one that no row has is left out.
    """
    shown = [name for name in metrics if any(name in row.metrics for row in rows)]
    table = Table(title=title or None, title_justify="left")
    table.add_column("policy", overflow="fold")
    table.add_column("per period", justify="right", no_wrap=True)
    table.add_column("s.e.", justify="right", no_wrap=True)
    against = rows[0].against if rows else ""
    table.add_column(f"difference to {against}", justify="right", overflow="fold")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for name in shown:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        itself = row.name == row.against
        table.add_row(
            row.name,
            number(row.mean),
            number(row.standard_error),
            "" if itself else number(row.difference, sign=True),
            ""
            if itself
            else f"{number(row.interval.low, sign=True)} to {number(row.interval.high, sign=True)}",
            *(number(row.metrics.get(name, float("nan")), digits=3) for name in shown),
        )
    return table


def console() -> Console:
    """Returns a console that is wide enough for the table where no terminal says how wide it is."""
    return Console() if sys.stdout.isatty() else Console(width=120)


def number(value: float, *, sign: bool = False, digits: int = 4) -> str:
    """Writes a number for a table: four figures, no exponent where a person can read it."""
    if value != value:
        return "-"
    plus = "+" if sign else ""
    size = abs(value)
    if size >= 10 ** (digits - 1):
        return f"{value:{plus},.0f}"
    if size >= 1e-3 or size == 0:
        decimals = digits - 1 if size < 1 else max(0, digits - len(str(int(size))))
        return f"{value:{plus}.{decimals}f}"
    return f"{value:{plus}.2e}"
