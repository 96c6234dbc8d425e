"""What a validation leaves: its rows in a JSON file, and a page for people."""

from __future__ import annotations

import itertools
import json
import math
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from stockyard.scripts import command_line
from stockyard.scripts.validate_work import (
    AGREES,
    DIFFERS,
    GOOD,
    MOST_ERROR,
    STANDARD_ERRORS,
    Row,
    key_of,
    seven_digits,
)

if TYPE_CHECKING:
    from stockyard.agents.oracles.known_answers import Instance


class Report:
    """The rows in a JSON file, written whole after each, and the page at the end."""

    def __init__(self, path: Path, instances: Sequence[Instance], config: DictConfig) -> None:
        """Takes over the rows of an interrupted run with the same version, commit and settings."""
        from stockyard.agents.learners.run_folder import provenance

        self.path = path
        self._instances = instances
        made = provenance()
        self._head: dict[str, Any] = {
            "date": time.strftime("%Y-%m-%d"),
            "command": f"stockyard-validate {' '.join(command_line.chosen_overrides())}".strip(),
            "version": made["versions"]["stockyard"],
            "commit": made["git_commit"],
            "short": bool(config.short),
            "seed": int(config.seed),
        }
        self._rows: dict[str, Row] = {}
        self._wanted = [key_of(i, k) for i in instances for k in range(len(i.answers))]
        self._started = time.perf_counter()
        self._seconds = 0.0
        if config.resume and path.is_file():
            self._take_over()

    def _take_over(self) -> None:
        try:
            old = json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError:
            return
        same = ("version", "commit", "short", "seed")
        if not isinstance(old, dict) or old.get("is_complete", True):
            return
        changed = [name for name in same if old.get(name) != self._head[name]]
        if changed:
            print(f"the rows in {self.path} are of another {', '.join(changed)}: computed afresh")
            return
        self._seconds = float(old.get("seconds", 0.0))
        kept = {row["key"]: row for row in old["rows"] if row["key"] in self._wanted}
        self._rows = {key: row for key, row in kept.items() if row["verdict"] in GOOD}
        print(f"{len(self._rows)} rows of the interrupted run in {self.path} are kept")

    def has(self, instance: Instance, answer_id: int) -> bool:
        """Whether a row is there."""
        return key_of(instance, answer_id) in self._rows

    def add(self, row: Row) -> None:
        """Shows a row and writes all."""
        self._rows[row["key"]] = row
        done = f"[{len(self._rows)}/{len(self._wanted)}]"
        parts = [f"exact {seven_digits(row['exact'])}" if row["exact"] is not None else ""]
        if row["simulated"] is not None:
            parts.append(f"simulated {_measured(row)}")
        parts.append(row["verdict"] if row["verdict"] in GOOD else row["verdict"].upper())
        if row["verdict"] not in GOOD:
            parts.append("; ".join(row["notes"]))
        figures = "  ".join(part for part in parts if part)
        print(f"{done} {row['instance']} {row['policy']}  {figures}", flush=True)
        self._write(is_complete=False)

    def counts(self) -> dict[str, int]:
        """Verdict -> how many rows."""
        verdicts = [row["verdict"] for row in self._ordered()]
        return {v: verdicts.count(v) for v in dict.fromkeys(verdicts)}

    def told(self) -> str:
        """The verdicts in words."""
        words = {AGREES: "agree", DIFFERS: "differ"}
        counts = self.counts().items()
        return ", ".join(f"{number} {words.get(verdict, verdict)}" for verdict, number in counts)

    def finish(self) -> None:
        """Writes the file as complete, and the page."""
        from stockyard.agents.evaluation.files import write_text_atomic

        self._write(is_complete=True)
        write_text_atomic(self.path.with_suffix(".md"), self._page())

    def _ordered(self) -> list[Row]:
        return [self._rows[key] for key in self._wanted if key in self._rows]

    def _write(self, is_complete: bool) -> None:
        from stockyard.agents.evaluation import write_json_atomic

        seconds = self._seconds + time.perf_counter() - self._started
        head = {**self._head, "is_complete": is_complete, "seconds": round(seconds, 1)}
        write_json_atomic(self.path, {**head, "counts": self.counts(), "rows": self._ordered()})

    def _page(self) -> str:
        """The page, for people."""
        shown = self._ordered()
        simulated = sum(row["simulated"] is not None and bool(row["tapes"]) for row in shown)
        head = self._head
        lines = [
            "# Validation",
            "",
            f"{head['date']}, stockyard {head['version']}, commit "
            f"{head['commit'] or 'unknown (no checkout)'}, by",
            "",
            f"    {head['command']}",
            "",
            f"**{len(shown)} rows of {len(self._instances)} instances: {self.told()}.** "
            f"{simulated} rows were simulated in the environment; the others are figures of an "
            "oracle only, and say why.",
            "",
            "*Published* is the figure as printed, *recorded* the exact one in the table of known "
            "answers, *exact* what the oracles compute now, *simulated* the mean cost per period "
            "of the policy in the environment with its standard error, all in USD. A row agrees if "
            "exact equals recorded within the tolerance of the table, and simulated lies within "
            f"{STANDARD_ERRORS:g} standard errors of exact, themselves at most "
            f"{100 * MOST_ERROR:g} % of the value. A printed figure that exact does not round to "
            "is quoted with the difference.",
            "",
            "The policies of an instance meet the same tapes. From the costs of dual sourcing is "
            "taken the regular price of the demand that a tape has above the mean, which every "
            f"policy pays alike. All digits: [{self.path.name}]({self.path.name}).",
        ]
        for problem in dict.fromkeys(instance.problem for instance in self._instances):
            lines += self._section(problem, [row for row in shown if row["problem"] == problem])
        wrapped = (
            textwrap.wrap(line, 110, break_on_hyphens=False, break_long_words=False) or [""]
            if line[:1] not in ("|", " ")
            else [line]
            for line in lines
        )
        return "\n".join(itertools.chain(*wrapped)) + "\n"

    def _section(self, problem: str, section: list[Row]) -> list[str]:
        has_gaps = any(row["exact_gap"] is not None for row in section)
        columns = ["instance", "policy", "published", "recorded", "exact"]
        columns += ["gap published", "gap exact"] if has_gaps else []
        columns += ["simulated", "verdict"]
        lines = ["", f"## {problem}", "", _line(columns), _line(["---"] * len(columns))]
        for row in section:
            cells = [row["instance"], f"`{row['policy']}`", row["published"] or ""]
            cells += [seven_digits(row["recorded"]), seven_digits(row["exact"])]
            if has_gaps:
                gap = row["exact_gap"]
                cells.append(f"{row['published_gap']} %" if row["published_gap"] else "")
                cells.append("" if gap is None else f"{gap:.3f} %")
            if row["simulated"] is None:
                cells.append("")
            else:
                cells.append(_measured(row))
            verdict = row["verdict"] if row["verdict"] in GOOD else f"**{row['verdict']}**"
            cells.append("; ".join([verdict, *row["notes"]]))
            lines.append(_line(cells))
        lines.append("")
        sources: dict[str, list[str]] = {}
        for instance in self._instances:
            if instance.problem == problem:
                given = ", ".join(f"{k} {seven_digits(v)}" for k, v in instance.parameters.items())
                lines.append(f"- {instance.id}: {given}")
                if instance.source:
                    sources.setdefault(instance.source, []).append(instance.id)
        lines += [""] if sources else []
        for source, names in sources.items():
            whose = "" if len(sources) == 1 else f" of {', '.join(names)}"
            lines += [f"Source{whose}: {source}.", ""]
        return lines[:-1] if sources else lines


def _measured(row: Row) -> str:
    """Mean and standard error, with two digits of the error."""
    error = row["standard_error"]
    decimals = max(1 - math.floor(math.log10(error)), 0) if error > 0 else 4
    return f"{row['simulated']:.{decimals}f} ± {error:.{decimals}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
