"""The rows of a validation: each answer computed exactly, simulated and judged."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stockyard.agents.oracles.known_answers import Answer, Instance
    from stockyard.agents.oracles.verification import Exact

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
            "key": key_of(instance, k),
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
    from stockyard.agents.oracles.oracle_only import RandomFigure

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
                f"{comparison.figure}: {seven_digits(comparison.computed)}, "
                f"not {seven_digits(comparison.expected)}"
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
    from stockyard.agents.oracles.oracle_only import ORACLE_ONLY
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
    from stockyard.agents.oracles.oracle_only import online_waste

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


@functools.cache
def _settings() -> str:
    return f"{STANDARD_ERRORS} {MOST_ERROR} {WARMUP} {TAPES} {PERIODS} {ONE_PERIOD_TAPES}"


def key_of(instance: Instance, answer_id: int) -> str:
    """Tells a row by what stands in the table."""
    entry = {**asdict(instance), "answers": asdict(instance.answers[answer_id])}
    text = json.dumps([entry, answer_id, _settings()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def seven_digits(value: Any) -> str:
    """A number, or several, in seven digits."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        shown = [seven_digits(v) for v in value]
        if len(shown) > 12:
            shown = [*shown[:6], f"… {len(shown)} in all"]
        return "[" + ", ".join(shown) + "]"
    return str(value) if isinstance(value, str | bool | int) else f"{value:.7g}"
