"""What goes along with training, whatever learns: validation curve, stop request, bar, threads."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from stockyard.agents.evaluation.files import write_json_atomic
from stockyard.agents.evaluation.rollout import Evaluation
from stockyard.agents.learners.mixture import MixedEvaluation
from stockyard.agents.learners.run_folder import RunFolder


@dataclass(frozen=True)
class Result:
    """How a training run ended."""

    folder: Path
    steps: int
    seconds: float  # of this process, an earlier part of a resumed run not included
    interrupted: bool
    best_validation: Mapping[str, Any] | None


class ValidationCurve:
    """The results on fixed tapes over a run, kept in its folder; remembers the best."""

    def __init__(self, folder: RunFolder, against: Mapping[str, float]) -> None:
        """Goes on with the curve in the folder, if there is one.

        Args:
            folder: Where the curve goes.
            against: Heuristic -> its money per period on the same tapes.
        """
        self._folder = folder
        self._against = dict(against)
        self.entries = folder.read_evaluations()

    @property
    def latest(self) -> dict[str, Any] | None:
        """The last evaluation; None before the first."""
        return self.entries[-1] if self.entries else None

    @property
    def since_best(self) -> int:
        """How many evaluations came after the best one."""
        scores = [entry["mean_per_period"] for entry in self.entries]
        return len(scores) - 1 - int(np.argmax(scores)) if scores else 0

    def rewind(self, steps: int) -> None:
        """Forgets what came after `steps`: a resumed run will meet it again."""
        self.entries = [entry for entry in self.entries if entry["steps"] <= steps]

    def is_due(self, steps: int) -> bool:
        """Whether the model of this step has not been evaluated."""
        return not self.entries or self.entries[-1]["steps"] < steps

    def add(
        self,
        steps: int,
        evaluation: Evaluation | MixedEvaluation,
        seconds: float,
        save_best: Callable[[], None],
    ) -> dict[str, float]:
        """Adds an evaluation; calls `save_best` when it is the best so far.

        Args:
            steps: Of training so far.
            evaluation: On the fixed tapes.
            seconds: Of training so far.
            save_best: Keeps the model as it is.

        Returns:
            Tag -> figure, for TensorBoard.
        """
        summary = evaluation.summary()
        entry: dict[str, Any] = {"steps": steps, **summary, "training_seconds": seconds}
        figures = {"eval/mean_per_period": evaluation.mean}
        figures |= {f"eval/{name}": value for name, value in summary["metrics"].items()}
        each = summary.get("scenarios", {})
        figures |= {f"eval_scenario/{name}": value for name, value in each.items()}
        figures |= {f"eval_ledger/{k}": v for k, v in summary["ledger_per_period"].items()}
        if self._against:
            rival = max(self._against, key=lambda name: self._against[name])
            entry["best_heuristic"] = rival
            entry["gap_to_best_heuristic"] = evaluation.mean - self._against[rival]
            figures["eval/gap_to_best_heuristic"] = entry["gap_to_best_heuristic"]
            for name, value in self._against.items():
                figures[f"eval/gap_to_{name}"] = evaluation.mean - value
        previous = max((e["mean_per_period"] for e in self.entries), default=-np.inf)
        self.entries.append(entry)
        if evaluation.mean > previous:
            save_best()
            self._folder.update_record(best_validation=entry)
        write_json_atomic(self._folder.evaluations, self.entries)
        return figures


class StopSignal:
    """Notes that somebody wants the training to end after the step at hand."""

    def __init__(self) -> None:
        """Starts without a request."""
        self.signal: signal.Signals | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGINT and SIGTERM as requests; a second one has its usual effect.

        Only the main thread of a process may do so; elsewhere nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        previous = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

        def request(number: int, frame: FrameType | None) -> None:
            self.signal = signal.Signals(number)
            for name, handler in previous.items():
                signal.signal(name, handler)

        for name in previous:
            signal.signal(name, request)
        try:
            yield
        finally:
            for name, handler in previous.items():
                signal.signal(name, handler)


class Bar:
    """A bar on the terminal with the last evaluation beside it."""

    def __init__(self, total_steps: int, done_steps: int, curve: ValidationCurve | None) -> None:
        """Takes the length of the bar, where it begins, and who knows the last evaluation."""
        self._curve = curve
        self._bar = tqdm(
            total=total_steps,
            initial=done_steps,
            unit=" steps",
            unit_scale=True,
            # A log file wants a line now and then, a terminal a moving bar.
            mininterval=0.1 if sys.stderr.isatty() else 15.0,
        )
        self.show_latest()

    def move_to(self, steps: int) -> None:
        """Moves the bar."""
        self._bar.update(steps - self._bar.n)

    def show_latest(self) -> None:
        """Shows the last evaluation beside the bar."""
        latest = self._curve.latest if self._curve else None
        if latest is not None:
            shown = {"eval": f"{latest['mean_per_period']:,.4g}"}
            if "gap_to_best_heuristic" in latest:
                rival = latest["best_heuristic"]
                shown[f"vs {rival}"] = f"{latest['gap_to_best_heuristic']:+,.3g}"
            self._bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self.show_latest()
        self._bar.close()


def use_one_thread() -> None:
    """Holds torch to one thread, unless the user said how many.

    Small networks gain nothing from more, and several runs on one machine would fight.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def mixed(*numbers: int) -> int:
    """Returns a seed far from those of other numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) % 2**31


def described(value: Any) -> Any:
    """Returns a specification as JSON can tell it; an object is told by its name."""
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f"{type(value).__name__} {getattr(value, 'name', '')}".strip()
