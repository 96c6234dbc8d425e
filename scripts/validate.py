"""Holds oracles and environments to the known answers.

`stockyard-validate only=lost_sales` recomputes every recorded cost exactly, plays its policy in the
environment, and writes a page and a JSON file; `table=my_instances.yaml` does it for instances of
your own (format: the head of `stockyard/conf/validate/known_answers.yaml`).

A row agrees if the exact figure is the recorded one within its tolerance, and the simulated mean is
within four standard errors of the exact figure, the standard error being at most .5 % of it. Tapes
are added until it is.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import itertools
import json
import math
import sys
import textwrap
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

import stockyard.conf  # noqa: F401  (registers the schemas)
from stockyard.conf.schema import ValidateSchema
from stockyard.scripts import command_line

if TYPE_CHECKING:
    from stockyard.agents.oracles.verification import Answer, Exact, Instance

STANDARD_ERRORS = 4.0
MOST_ERROR = 0.005  # of the value
MOST_BATCHES = 40
WARMUP = 300  # periods; the slowest rule, a constant order, mixes in less
TAPES, PERIODS = 1024, 1000  # of a batch
SHORT_TAPES, SHORT_PERIODS = 256, 250
ONE_PERIOD_TAPES = 8192  # of a batch where an episode is one period
ROUNDING = 1e-6  # relative; observations are float32

AGREES, DIFFERS, UNDECIDED, FAILED = "agrees", "differs", "undecided", "failed"
ALONE = "simulated only"  # there is nothing to compare with
GOOD = {AGREES, ALONE}

Row = dict[str, Any]


def main() -> None:
    """Runs the command."""
    command_line.run(_command, ValidateSchema)


@hydra.main(version_base="1.3", config_path="pkg://stockyard.conf", config_name="validate")
def _command(config: DictConfig) -> None:
    with command_line.single_run_exits():
        path, is_good = validate(config)
    print(f"written: {path.with_suffix('.md')} and {path.name}")
    if not is_good:
        sys.exit(1)


def validate(config: DictConfig) -> tuple[Path, bool]:
    """Validates as configured; returns the path of the JSON file, and whether all rows agree."""
    from stockyard.agents.oracles import verification

    with command_line.explained():
        instances = chosen(verification.load_table(config.table), config.only, config.short)
        if config.workers < 1:
            raise ValueError(f"workers: must be >= 1, got {config.workers}")
    path = Path(config.output or command_line.output_folder() / "validation.json")
    report = Report(path, instances, config)
    try:
        _run(report, instances, config)
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted; the same command with output={path} goes on from here")
    report.finish()
    print(report.told())
    return path, set(report.counts()) <= GOOD


def chosen(
    table: Sequence[Instance], only: Any = None, short: bool = False
) -> tuple[Instance, ...]:
    """Picks instances.

    Args:
        table: all.
        only: names of instances or problems, with * and ?; one or a list; None for all.
        short: leaves those that are marked for the short form; all, where none is.

    Raises:
        ValueError: if nothing is left.
    """
    patterns = command_line.plain(only)
    if patterns is None:
        patterns = ["*"]
    elif not isinstance(patterns, list):
        patterns = [patterns]
    found = [
        instance
        for instance in table
        if any(
            fnmatch.fnmatchcase(name, str(pattern))
            for name in (instance.id, instance.problem)
            for pattern in patterns
        )
    ]
    if not found:
        problems = ", ".join(dict.fromkeys(instance.problem for instance in table))
        raise ValueError(f"only: no instance matches {only}; problems: {problems}")
    if short and any(instance.short for instance in table):
        found = [instance for instance in found if instance.short]
        if not found:
            raise ValueError("only, short: no chosen instance is marked for the short form")
    return tuple(found)


def _run(report: Report, instances: Sequence[Instance], config: DictConfig) -> None:
    """Computes the rows that are not there yet, side by side if there are workers."""
    missing = [
        (instance, answer_ids)
        for instance in instances
        if (answer_ids := [k for k in range(len(instance.answers)) if not report.has(instance, k)])
    ]
    if config.workers == 1 or len(missing) < 2:
        for instance, answer_ids in missing:
            for row in rows(instance, answer_ids, short=config.short, seed=config.seed):
                report.add(row)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(config.workers, mp_context=context) as pool:
        # the dearest first would be better, but nobody knows them; one instance is one task
        tasks = [
            pool.submit(_listed, instance, answer_ids, config.short, config.seed)
            for instance, answer_ids in missing
        ]
        try:
            for task in as_completed(tasks):
                for row in task.result():
                    report.add(row)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _listed(instance: Instance, answer_ids: list[int], short: bool, seed: int) -> list[Row]:
    return list(rows(instance, answer_ids, short=short, seed=seed))


def rows(
    instance: Instance, answer_ids: Sequence[int], *, short: bool = False, seed: int = 0
) -> Iterator[Row]:
    """Computes and simulates the answers of an instance, one row each.

    Args:
        instance: of the table.
        answer_ids: which of its answers.
        short: smaller batches of tapes.
        seed: moves all tapes; each instance has its own, the same for all its policies.
    """
    from stockyard.agents.oracles.verification import Exact

    exact = Exact(instance)
    for k in answer_ids:
        answer = instance.answers[k]
        row: Row = {
            "key": _key(instance, k),
            "instance": instance.id,
            "problem": instance.problem,
            "answer": k,
            "policy": answer.label,
            "published": answer.published,
            "recorded": answer.recorded,
            "exact": None,
            "published_gap": answer.published_gap,
            "exact_gap": None,
            "simulated": None,
            "standard_error": None,
            "tapes": None,
            "periods": None,
            "notes": [answer.note] if answer.note else [],
        }
        try:
            row["verdict"] = _judge(row, exact, answer, short, seed)
        except (ValueError, RuntimeError, ArithmeticError, KeyError) as error:
            row["verdict"] = FAILED
            row["notes"].append(" ".join(str(error).split()) or type(error).__name__)
        yield row


def _judge(row: Row, exact: Exact, answer: Answer, short: bool, seed: int) -> str:
    """Fills in the figures and returns the verdict; what is wrong stands first in the notes."""
    wrong: list[str] = []
    expected = _exact(row, exact, answer, wrong)
    verdict = DIFFERS if wrong else AGREES
    why = _why_not_simulated(exact.instance, answer)
    if why:
        row["notes"].append(f"not simulated: {why}")
        if expected is None:
            wrong.append("neither an exact figure nor a simulation")
            verdict = UNDECIDED
        row["notes"] = wrong + row["notes"]
        return verdict
    mean, error = _simulated(row, exact, answer, short, seed)
    against, allowed = expected, STANDARD_ERRORS * error
    if expected is None and answer.recorded is not None:
        against = answer.recorded
        if not exact.instance.is_textbook:
            allowed *= math.sqrt(2.0)  # the recorded mean has an error of its own
    if against is not None and abs(mean - against) > allowed + ROUNDING * max(1.0, abs(against)):
        distance = abs(mean - against) / max(error, 1e-300)
        wrong.append(f"simulated {distance:.1f} standard errors from {against:.7g}")
        verdict = DIFFERS
    elif exact.instance.is_textbook and error > MOST_ERROR * abs(mean) + 1e-12:
        wrong.append(f"standard error above {100 * MOST_ERROR:g} % after {row['tapes']} tapes")
        verdict = UNDECIDED if verdict == AGREES else verdict
    elif against is None:
        verdict = ALONE
    row["notes"] = wrong + row["notes"]
    return verdict


def _exact(row: Row, exact: Exact, answer: Answer, wrong: list[str]) -> Any:
    """The exact figure, compared with all that is recorded; None if there is none."""
    from stockyard.agents.oracles.verification import RandomFigure

    try:
        expected = row["exact"] = exact.cost(answer)
    except RandomFigure:
        return None
    except ValueError as error:
        if answer.recorded is not None or answer.policy == "optimal":
            raise
        row["notes"].append(f"no exact figure: {' '.join(str(error).split())}")
        return None
    if answer.recorded_gap is not None or answer.published_gap is not None:
        row["exact_gap"] = exact.gap(answer)
    for comparison in exact.compare(answer):
        if not comparison.agrees:
            wrong.append(
                f"{comparison.figure}: {_figures(comparison.computed)}, "
                f"not {_figures(comparison.expected)}"
            )
    if answer.published is not None and not _is_as_printed(answer.published, expected):
        share = 100.0 * (float(answer.published) / expected - 1.0)
        row["notes"].append(f"printed: {answer.published}, {share:+.2f} %")
    return expected


def _is_as_printed(published: str, value: Any) -> bool:
    """Whether a value rounds to the printed digits."""
    decimals = len(published.partition(".")[2])
    return bool(abs(float(published) - value) <= 0.5 * 10.0**-decimals * (1.0 + 1e-6))


def _why_not_simulated(instance: Instance, answer: Answer) -> str:
    from stockyard.agents.oracles.verification import ORACLE_ONLY
    from stockyard.agents.policy import registered

    if not instance.is_textbook:
        if instance.problem == "online_packing" and answer.policy != "optimal":
            return ""
        return ORACLE_ONLY[instance.problem][1]
    if answer.discount is not None:
        return "discounted; evaluations are averages"
    if answer.periods is not None:
        return "the policy of a finite horizon changes with the period; averages are simulated"
    if answer.policy != "optimal" and answer.policy not in registered():
        return "an oracle's rule; no heuristic has this name"
    return ""


def _simulated(
    row: Row, exact: Exact, answer: Answer, short: bool, seed: int
) -> tuple[float, float]:
    """Mean cost per period in the environment, and its standard error."""
    import numpy as np

    from stockyard import agents
    from stockyard.agents.oracles.verification import online_waste

    if not exact.instance.is_textbook:
        mean, error = online_waste(exact.instance, answer)
        row.update(simulated=mean, standard_error=error)
        row["notes"].append("60 sequences packed by the rule itself")
        return mean, error
    spec = exact.spec
    if answer.policy == "optimal":
        policy: Any = exact.solution().policy
    else:
        policy = agents.make(answer.policy, {**spec, "split": "train"}, **answer.parameters)
    is_single = spec["horizon"] == 1
    tapes = ONE_PERIOD_TAPES if is_single else SHORT_TAPES if short else TAPES
    periods = 1 if is_single else SHORT_PERIODS if short else PERIODS
    warmup = 0 if is_single else WARMUP
    costs = np.zeros(0)
    for batch in range(MOST_BATCHES):
        first = seed + 2**20 * (zlib.crc32(exact.instance.id.encode()) % 2**20) + batch * tapes
        run = agents.evaluate(
            policy, spec, periods=periods, warmup=warmup, seed=first, num_tapes=tapes
        )
        batch_costs = -run.per_period_mean - _common_cost(spec, first, tapes, warmup, periods)
        costs = np.concatenate((costs, batch_costs))
        error = float(costs.std(ddof=1) / math.sqrt(len(costs)))
        if error <= MOST_ERROR * abs(costs.mean()):
            break
    mean = float(costs.mean())
    row.update(simulated=mean, standard_error=error, tapes=len(costs), periods=periods)
    return mean, error


def _common_cost(spec: Mapping[str, Any], seed: int, tapes: int, warmup: int, periods: int) -> Any:
    """What every policy pays alike on each tape, less its mean: it would hide the gaps.

    With two suppliers each unit of demand costs the regular price at least; the mean demand is
    known, so that taking out the excess changes no mean.
    """
    from stockyard.agents.evaluation.rollout import build
    from stockyard.envs import textbook

    scenario = spec["scenario"]
    if not isinstance(scenario, textbook.DualSourcing):
        return 0.0
    envs: Any = build(spec, num_envs=tapes, split="test", horizon=warmup + periods)
    envs.reset(seed=seed)
    demand = envs.unwrapped.tape.demand[warmup : warmup + periods].sum(axis=(2, 3)).mean(axis=0)
    envs.close()
    return scenario.regular_cost * (demand - scenario.demand.mean)


# the report


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
        self._wanted = [_key(i, k) for i in instances for k in range(len(i.answers))]
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
        return _key(instance, answer_id) in self._rows

    def add(self, row: Row) -> None:
        """Shows a row and writes all."""
        self._rows[row["key"]] = row
        done = f"[{len(self._rows)}/{len(self._wanted)}]"
        parts = [f"exact {_figures(row['exact'])}" if row["exact"] is not None else ""]
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
            cells += [_figures(row["recorded"]), _figures(row["exact"])]
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
                given = ", ".join(f"{k} {_figures(v)}" for k, v in instance.parameters.items())
                lines.append(f"- {instance.id}: {given}")
                if instance.source:
                    sources.setdefault(instance.source, []).append(instance.id)
        lines += [""] if sources else []
        for source, names in sources.items():
            whose = "" if len(sources) == 1 else f" of {', '.join(names)}"
            lines += [f"Source{whose}: {source}.", ""]
        return lines[:-1] if sources else lines


@functools.cache
def _settings() -> str:
    return f"{STANDARD_ERRORS} {MOST_ERROR} {WARMUP} {TAPES} {PERIODS} {ONE_PERIOD_TAPES}"


def _key(instance: Instance, answer_id: int) -> str:
    """Tells a row by what stands in the table."""
    entry = {**asdict(instance), "answers": asdict(instance.answers[answer_id])}
    text = json.dumps([entry, answer_id, _settings()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _figures(value: Any) -> str:
    """A number, or several, in seven digits."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        shown = [_figures(v) for v in value]
        if len(shown) > 12:
            shown = [*shown[:6], f"… {len(shown)} in all"]
        return "[" + ", ".join(shown) + "]"
    return str(value) if isinstance(value, str | bool | int) else f"{value:.7g}"


def _measured(row: Row) -> str:
    """Mean and standard error, with two digits of the error."""
    error = row["standard_error"]
    decimals = max(1 - math.floor(math.log10(error)), 0) if error > 0 else 4
    return f"{row['simulated']:.{decimals}f} ± {error:.{decimals}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
