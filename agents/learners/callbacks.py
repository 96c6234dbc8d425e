"""What happens beside the learning: the suite's own figures, evaluation, checkpoints, a bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from stockyard.agents.evaluation.files import atomic_path
from stockyard.agents.evaluation.rollout import Evaluation
from stockyard.agents.learners.adapter import VectorEnvAdapter
from stockyard.agents.learners.course import Bar, StopSignal, ValidationCurve
from stockyard.agents.learners.joined import JoinedVecEnv
from stockyard.agents.learners.mixture import MixedEvaluation
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
        run: Callable[[], Evaluation | MixedEvaluation],
        every: int,
        against: Mapping[str, float],
        save_best: Callable[[], None] | None = None,
    ) -> None:
        """Prepares the evaluation.

        Args:
            folder: Where the learning curve and the best model go.
            run: Evaluates the model as it is, always on the same tapes.
            every: Steps between evaluations; 0 for the first and the last only.
            against: Heuristic -> its money per period on the same tapes.
            save_best: Keeps the model as it is; None for an archive in the folder.
        """
        super().__init__()
        self._save_best = save_best or (lambda: save(self.model, folder.best_model))
        self._run = run
        self._every = every
        self.curve = ValidationCurve(folder, against)
        self._next = 0
        self._started = 0.0

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        self.curve.rewind(self.num_timesteps)
        if self.curve.is_due(self.num_timesteps):
            self._evaluate()
        self._schedule()

    def _on_step(self) -> bool:
        if self._every > 0 and self.num_timesteps >= self._next:
            self._evaluate()
            self._schedule()
        return True

    def _on_training_end(self) -> None:
        if self.curve.is_due(self.num_timesteps):
            self._evaluate()

    def _schedule(self) -> None:
        self._next = (self.num_timesteps // max(1, self._every) + 1) * self._every

    def _evaluate(self) -> None:
        evaluation = self._run()
        figures = self.curve.add(
            self.num_timesteps,
            evaluation,
            time.perf_counter() - self._started,
            self._save_best,
        )
        for tag, value in figures.items():
            self.logger.record(tag, value)
        self.logger.dump(self.num_timesteps)


class Checkpoints(BaseCallback):
    """Saves from time to time what a run needs to go on."""

    def __init__(
        self,
        folder: RunFolder,
        every: int,
        keep: int,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepares the checkpoints.

        Args:
            folder: Where they go.
            every: Steps between them; 0 for none but the last.
            keep: How many to keep.
            saved: Called after each.
        """
        super().__init__()
        self._saved = saved
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
        self._saved()


class ProgressBar(BaseCallback):
    """A bar on the terminal with the last evaluation beside it."""

    def __init__(self, total_steps: int, curve: ValidationCurve | None) -> None:
        """Takes the length of the bar and who knows the last evaluation."""
        super().__init__()
        self._total = total_steps
        self._curve = curve

    def _on_training_start(self) -> None:
        self._bar = Bar(self._total, self.num_timesteps, self._curve)

    def _on_step(self) -> bool:
        self._bar.move_to(self.num_timesteps)
        return True

    def _on_rollout_end(self) -> None:
        self._bar.show_latest()

    def _on_training_end(self) -> None:
        self._bar.close()


class StopRequest(BaseCallback):
    """Ends the training after the step in which a signal came."""

    def __init__(self, stop: StopSignal) -> None:
        """Takes what notes the signal."""
        super().__init__()
        self._stop = stop

    def _on_step(self) -> bool:
        return self._stop.signal is None


def save(model: BaseAlgorithm, path: Any) -> None:
    """Saves a model so that the file is there whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        model.save(file)


def adapter_of(model: BaseAlgorithm) -> VectorEnvAdapter | JoinedVecEnv:
    """Returns the adapter that a model trains on."""
    env = model.get_env()
    assert env is not None
    adapter = env.unwrapped
    assert isinstance(adapter, VectorEnvAdapter | JoinedVecEnv)
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
