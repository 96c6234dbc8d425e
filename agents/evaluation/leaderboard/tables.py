"""The rankings as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def tables(board: Mapping[str, Any]) -> list[Table]:
    """One table for each ranking."""
    return [_table(track, board["rows"]) for track in board["tracks"] if track["ranking"]]


def _table(track: Mapping[str, Any], rows: Mapping[str, Any]) -> Table:
    table = Table(title=track["title"], title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("policy", overflow="fold")
    table.add_column("IQM", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("gap", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    for row in track["ranking"]:
        low, high = row["iqm_interval"]
        failed = rows[row["name"]]["failed"]
        table.add_row(
            "" if row["rank"] is None else str(row["rank"]),
            row["name"],
            f"{row['iqm']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{row['mean']:.3f}",
            f"{row['optimality_gap']:.3f}",
            str(failed) if failed else "",
        )
    return table
