"""What Stable-Baselines3 has learned, as a policy: its algorithms, acting, loading."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from stockyard.agents.learners.run_folder import RunFolder
from stockyard.envs.tasks.task import ActionMode
from stockyard.envs.tasks.truck_fields import truck_masks
from stockyard.envs.wrappers import ObservationTransform, rescale_action

ALGORITHMS = {
    "A2C": "stable_baselines3",
    "PPO": "stable_baselines3",
    "SAC": "stable_baselines3",
    "TD3": "stable_baselines3",
    "TQC": "sb3_contrib",
    "RecurrentPPO": "sb3_contrib",
    "MaskablePPO": "sb3_contrib",
}
"""Algorithm -> the package that has it."""


class TrainedPolicy:
    """A trained model as a policy: raw observations in, actions of the environment out."""

    def __init__(
        self,
        model: BaseAlgorithm,
        transform: ObservationTransform,
        action_mode: ActionMode | None,
        bounds: tuple[NDArray[Any], NDArray[Any]] | None,
    ) -> None:
        """Joins what training had around the model.

        Args:
            model: Acts on transformed observations.
            transform: What training did to the observations.
            action_mode: The mode in which it was trained.
            bounds: Lowest and highest action of the environment, to which the model's [-1, 1] is
                stretched; None for discrete actions.
        """
        self.model = model
        self.transform = transform
        self.action_mode = action_mode
        self.bounds = bounds

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Decides; see `stockyard.agents.policy.Policy`. Takes a single observation too."""
        is_single = np.ndim(next(iter(observation.values()))) == 1
        if is_single:
            observation = {name: np.asarray(values)[None] for name, values in observation.items()}
        action, state = self.model.predict(
            self.transform(observation),
            state=state,
            episode_start=None if episode_start is None else np.atleast_1d(episode_start),
            deterministic=deterministic,
            **self._masks(observation),
        )
        if self.bounds is not None:
            action = rescale_action(action, *self.bounds)
        return action[0] if is_single else action, state

    def _masks(self, observation: Any) -> dict[str, Any]:
        """What a model that masks actions is told beside the observation."""
        if "action_masks" not in inspect.signature(self.model.predict).parameters:
            return {}
        space: Any = self.model.action_space
        return {"action_masks": truck_masks(observation["trucks_at_hand"], space.nvec)}


def load(folder: str | Path, which: str = "best") -> TrainedPolicy:
    """Loads the policy of a run folder.

    The weights are a Stable-Baselines3 archive, and opening one runs pickle: load only what you
    trust.

    Args:
        folder: What `Learner.train` wrote.
        which: "best" on the validation tapes, or "last".
    """
    run = RunFolder(folder)
    record = run.read_record()
    archive = run.best_model if which == "best" else run.model
    if not archive.is_file():
        raise FileNotFoundError(f"{run.path} has no {archive.name}")
    model = algorithm_class(record["algorithm"]).load(archive, device="cpu")
    bounds = record["action_bounds"]
    if bounds is not None:
        shape = model.action_space.shape or ()
        low, high = (np.broadcast_to(np.asarray(b, np.float32), shape).copy() for b in bounds)
        bounds = (low, high)
    return TrainedPolicy(
        model, ObservationTransform.from_dict(record["transform"]), record["action_mode"], bounds
    )


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Imports an algorithm."""
    found: type[BaseAlgorithm] = getattr(importlib.import_module(ALGORITHMS[name]), name)
    return found
