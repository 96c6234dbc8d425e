"""What happens beside the learning: the suite's own figures, evaluation, checkpoints, a bar."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from tqdm import tqdm

from stockyard.agents.evaluation.files import atomic_path, write_json_atomic
from stockyard.agents.evaluation.rollout import Evaluation
from stockyard.agents.learners.adapter import VectorEnvAdapter
from stockyard.agents.learners.run_folder import RunFolder


class RolloutFigures(BaseCallback):
    """Logs metrics and ledger of the training episodes beside Stable-Baselines3's own figures."""

    def __init__(self, periods_per_step: int) -> None:
        """Takes the number of periods by which the money of a step is divided."""
        super().__init__()
        self._periods_per_step = periods_per_step

    def _on_step(self) -> bool:
        info = adapter_of(self.model).last_info
        for name, value in _means(info.get("metrics")).items():
            self.logger.record_mean(f"rollout/{name}", value)
        for account, value in _means(info.get("ledger")).items():
            self.logger.record_mean(f"rollout_ledger/{account}", value / self._periods_per_step)
        return True


class ValidationEvaluator(BaseCallback):
    """Evaluates on fixed tapes from time to time, logs the result and keeps the best model."""

    def __init__(
        self,
        folder: RunFolder,
        run: Callable[[], Evaluation],
        every: int,
        against: Mapping[str, float],
    ) -> None:
        """Prepares the evaluation.

        Args:
            folder: Where the learning curve and the best model go.
            run: Evaluates the model as it is, always on the same tapes.
            every: Steps between evaluations; 0 for the first and the last only.
            against: Heuristic -> its money per period on the same tapes.
        """
        super().__init__()
        self._folder = folder
        self._run = run
        self._every = every
        self._against = dict(against)
        self._curve = folder.read_evaluations()
        self._next = 0
        self._started = 0.0
        self.latest: dict[str, Any] | None = self._curve[-1] if self._curve else None

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        # What was evaluated after the checkpoint that a resumed run starts from will come again.
        self._curve = [entry for entry in self._curve if entry["steps"] <= self.num_timesteps]
        if not self._curve or self._curve[-1]["steps"] < self.num_timesteps:
            self._evaluate()
        self._schedule()

    def _on_step(self) -> bool:
        if self._every > 0 and self.num_timesteps >= self._next:
            self._evaluate()
            self._schedule()
        return True

    def _on_training_end(self) -> None:
        if self._curve[-1]["steps"] < self.num_timesteps:
            self._evaluate()

    def _schedule(self) -> None:
        self._next = (self.num_timesteps // max(1, self._every) + 1) * self._every

    def _evaluate(self) -> None:
        evaluation = self._run()
        summary = evaluation.summary()
        entry: dict[str, Any] = {"steps": self.num_timesteps, **summary}
        entry["training_seconds"] = time.perf_counter() - self._started
        self.logger.record("eval/mean_per_period", evaluation.mean)
        for name, value in summary["metrics"].items():
            self.logger.record(f"eval/{name}", value)
        for account, value in summary["ledger_per_period"].items():
            self.logger.record(f"eval_ledger/{account}", value)
        if self._against:
            rival = max(self._against, key=lambda name: self._against[name])
            best = self._against[rival]
            entry["best_heuristic"] = rival
            entry["gap_to_best_heuristic"] = evaluation.mean - best
            self.logger.record("eval/gap_to_best_heuristic", evaluation.mean - best)
            for name, value in self._against.items():
                self.logger.record(f"eval/gap_to_{name}", evaluation.mean - value)
        self.logger.dump(self.num_timesteps)

        previous = max((e["mean_per_period"] for e in self._curve), default=-np.inf)
        self._curve.append(entry)
        self.latest = entry
        if evaluation.mean > previous:
            save(self.model, self._folder.best_model)
            self._folder.update_record(best_validation=entry)
        write_json_atomic(self._folder.evaluations, self._curve)


class Checkpoints(BaseCallback):
    """Saves from time to time what a run needs to go on."""

    def __init__(self, folder: RunFolder, every: int, keep: int) -> None:
        """Takes the steps between checkpoints (0 for none but the last) and how many to keep."""
        super().__init__()
        self._folder = folder
        self._every = every
        self._keep = keep
        self._last = 0

    def _on_training_start(self) -> None:
        self._last = self.num_timesteps

    def _on_step(self) -> bool:
        if self._every > 0 and self.num_timesteps - self._last >= self._every:
            self.save()
        return True

    def save(self) -> None:
        """Saves a checkpoint now."""
        steps = self.model.num_timesteps
        if isinstance(self.model, OffPolicyAlgorithm):
            with atomic_path(self._folder.replay_buffer(steps)) as path, path.open("wb") as file:
                self.model.save_replay_buffer(file)
        # The archive comes last: a checkpoint without its replay buffer is never seen.
        save(self.model, self._folder.checkpoint(steps))
        self._folder.prune_checkpoints(self._keep)
        self._last = steps


class ProgressBar(BaseCallback):
    """A bar on the terminal with the last evaluation beside it."""

    def __init__(self, total_steps: int, evaluator: ValidationEvaluator | None) -> None:
        """Takes the length of the bar and who knows the last evaluation."""
        super().__init__()
        self._total = total_steps
        self._evaluator = evaluator
        self._bar: Any = None

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self._total,
            initial=self.num_timesteps,
            unit=" steps",
            unit_scale=True,
            # A log file wants a line now and then, a terminal a moving bar.
            mininterval=0.1 if sys.stderr.isatty() else 15.0,
        )
        self._show()

    def _on_step(self) -> bool:
        self._bar.update(self.num_timesteps - self._bar.n)
        return True

    def _on_rollout_end(self) -> None:
        self._show()

    def _on_training_end(self) -> None:
        self._show()
        self._bar.close()

    def _show(self) -> None:
        latest = self._evaluator.latest if self._evaluator else None
        if latest is not None:
            shown = {"eval": f"{latest['mean_per_period']:,.4g}"}
            if "gap_to_best_heuristic" in latest:
                rival = latest["best_heuristic"]
                shown[f"vs {rival}"] = f"{latest['gap_to_best_heuristic']:+,.3g}"
            self._bar.set_postfix(shown, refresh=False)


class StopRequest(BaseCallback):
    """Ends the training after the step in which a signal came."""

    def __init__(self) -> None:
        """Starts without a request."""
        super().__init__()
        self.signal: signal.Signals | None = None

    def _on_step(self) -> bool:
        return self.signal is None

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


def save(model: BaseAlgorithm, path: Any) -> None:
    """Saves a model so that the file is there whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        model.save(file)


def adapter_of(model: BaseAlgorithm) -> VectorEnvAdapter:
    """Returns the adapter that a model trains on."""
    env = model.get_env()
    assert env is not None
    adapter = env.unwrapped
    assert isinstance(adapter, VectorEnvAdapter)
    return adapter


def _means(mapping: Mapping[str, Any] | None) -> dict[str, float]:
    means = {}
    for name, values in (mapping or {}).items():
        if not name.startswith("_"):
            array = np.asarray(values)
            defined = array[~np.isnan(array)]
            if defined.size:
                means[name] = float(defined.mean())
    return means
