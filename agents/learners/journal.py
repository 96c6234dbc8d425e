"""What a run of the hindsight trainer leaves in its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from stockyard.agents.evaluation.files import atomic_path
from stockyard.agents.evaluation.rollout import Evaluation
from stockyard.agents.learners.course import ValidationCurve
from stockyard.agents.learners.mixture import MixedEvaluation
from stockyard.agents.learners.run_folder import RunFolder


class Journal:
    """Keeps the folder of a run: evaluations, the best model, checkpoints, TensorBoard."""

    def __init__(
        self,
        folder: RunFolder,
        actor: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        run: Callable[[], Evaluation | MixedEvaluation] | None,
        against: Mapping[str, float],
        steps: int,
        keep: int,
    ) -> None:
        """Goes on from `steps`; `run` evaluates on the fixed tapes (None: never)."""
        self.folder, self.actor, self.optimizer = folder, actor, optimizer
        self.run, self.keep = run, keep
        self.curve = ValidationCurve(folder, against)
        self.curve.rewind(steps)
        self.training_seconds = 0.0
        self._writer = SummaryWriter(str(folder.tensorboard))
        self._first = steps

    def evaluate(self, steps: int) -> None:
        """Evaluates on the fixed tapes, unless this step has been."""
        if self.run is None or not self.curve.is_due(steps):
            return
        figures = self.curve.add(
            steps,
            self.run(),
            self.training_seconds,
            lambda: save_weights(self.folder.best_model, self.actor),
        )
        for tag, value in figures.items():
            self._writer.add_scalar(tag, value, steps)

    def log(self, figures: Mapping[str, float], steps: int) -> None:
        """Notes figures of an update for TensorBoard."""
        for name, value in figures.items():
            self._writer.add_scalar(f"train/{name}", value, steps)

    def save_checkpoint(self, steps: int) -> None:
        """Saves what a run needs to go on."""
        save_weights(self.folder.checkpoint(steps), self.actor, self.optimizer)
        self.folder.prune_checkpoints(self.keep)

    def close(self, steps: int) -> None:
        """Leaves the last model, the best one and a checkpoint behind."""
        self.evaluate(steps)
        self._writer.close()
        if steps > self._first:
            self.save_checkpoint(steps)
        save_weights(self.folder.model, self.actor)
        if not self.folder.best_model.is_file():
            save_weights(self.folder.best_model, self.actor)


def save_weights(
    path: Path, actor: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Saves weights, and for a checkpoint the optimizer's state, whole or not at all."""
    content = {"actor": actor.state_dict()}
    if optimizer is not None:
        content["optimizer"] = optimizer.state_dict()
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
