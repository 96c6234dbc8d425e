"""Batches of several worlds side by side, as the one VecEnv that Stable-Baselines3 trains on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from stockyard.agents.learners.adapter import VectorEnvAdapter
from stockyard.agents.learners.course import mixed


class JoinedVecEnv(VecEnv):
    """The rows of several batches, one after another; each batch resets by itself.

    Rewards are those of the adapters, each in the scale of its world, so that a world of larger
    sales counts no more than another.
    """

    def __init__(self, worlds: Mapping[str, VectorEnvAdapter]) -> None:
        """Joins batches.

        Args:
            worlds: scenario -> batch.

        Raises:
            ValueError: if their observations or actions differ.
        """
        self.worlds = dict(worlds)
        first = next(iter(self.worlds.values()))
        for name, world in self.worlds.items():
            for what in ("observation", "action"):
                mine, others = (getattr(one, f"{what}_space") for one in (world, first))
                if mine.shape != others.shape or type(mine) is not type(others):
                    raise ValueError(
                        f"mixture: {what}s of {name} are {mine}, those of the first {others}"
                    )
        rows = sum(world.num_envs for world in self.worlds.values())
        super().__init__(rows, first.observation_space, first.action_space)

    @property
    def last_info(self) -> dict[str, Any]:
        """What the first batch reported."""
        return next(iter(self.worlds.values())).last_info

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seeds every batch, each with tapes of its own."""
        given: list[int | None] = []
        for k, world in enumerate(self.worlds.values()):
            given += world.seed(None if seed is None else mixed(seed, k))
        return given

    def reset(self) -> VecEnvObs:
        """Starts an episode in every row."""
        seen: Any = [world.reset() for world in self.worlds.values()]
        self.reset_infos = [{} for _ in range(self.num_envs)]
        joined: NDArray[Any] = np.concatenate(seen)
        return joined

    def step_async(self, actions: NDArray[Any]) -> None:
        """Takes the actions of the next step."""
        stops = np.cumsum([world.num_envs for world in self.worlds.values()])[:-1]
        for world, part in zip(self.worlds.values(), np.split(actions, stops), strict=True):
            world.step_async(part)

    def step_wait(self) -> VecEnvStepReturn:
        """Steps every row, and starts a new episode where one ended."""
        parts: list[Any] = [world.step_wait() for world in self.worlds.values()]
        seen, rewards, done = (np.concatenate([part[k] for part in parts]) for k in range(3))
        return seen, rewards, done, [info for part in parts for info in part[3]]

    def close(self) -> None:
        """Closes all batches."""
        for world in self.worlds.values():
            world.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Gives an attribute of each row's batch."""
        every = [one for world in self.worlds.values() for one in world.get_attr(attr_name)]
        return [every[i] for i in self._get_indices(indices)]

    def has_attr(self, attr_name: str) -> bool:
        """Says whether all batches have an attribute."""
        return all(world.has_attr(attr_name) for world in self.worlds.values())

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute of all batches."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"{attr_name!r} belongs to the whole batch, not to single rows")
        for world in self.worlds.values():
            world.set_attr(attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Calls a method of every batch, and gives each row its part."""
        every = [
            one
            for world in self.worlds.values()
            for one in world.env_method(method_name, *method_args, **method_kwargs)
        ]
        return [every[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Rows are never wrapped."""
        return [False for _ in self._get_indices(indices)]
