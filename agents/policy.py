"""What a policy is, how one is found by name, and how a trained one is loaded.

A heuristic and a trained network are the same thing to whoever runs them: an object with
Stable-Baselines3's `predict`, fed the observation of the environment.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stockyard.envs.tasks.task import ActionMode

Observation = Mapping[str, NDArray[Any]]
"""Named arrays with the batch axis first, in physical units."""

State = Any
"""What a policy with memory carries from one decision to the next; None for the others."""


@runtime_checkable
class Policy(Protocol):
    """Decides for a whole batch at once."""

    @property
    def action_mode(self) -> ActionMode | None:
        """The action mode of the environment that it speaks; None if any will do.

        `{"residual": rule}` where it corrects another rule than the standing one.
        """

    def predict(
        self,
        observation: Any,
        state: State = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], State]:
        """Decides.

        Args:
            observation: What the environment returned: batch axis first, or that of a single
                environment.
            state: What the previous call returned beside the action; None at first.
            episode_start: (B,) True in the rows where an episode begins.
            deterministic: False lets a stochastic policy draw its action.

        Returns:
            The actions, (B, ...), or of a single environment without the batch axis, and the state
            for the next call.
        """


@dataclass(frozen=True)
class Entry:
    """One line of the registry."""

    name: str
    factory_path: str  # "module:attribute", imported when first used
    kind: str  # "heuristic", or "learner" for what loads a run folder of that kind
    summary: str

    def resolve(self) -> Callable[..., Any]:
        """Imports the factory."""
        module, _, attribute = self.factory_path.partition(":")
        return cast("Callable[..., Any]", getattr(importlib.import_module(module), attribute))


_REGISTRY: dict[tuple[str, str], Entry] = {}


def register(name: str, factory_path: str, kind: str = "heuristic", summary: str = "") -> None:
    """Makes a policy known by name; nothing is imported until it is asked for.

    Args:
        name: The literature's name.
        factory_path: "module:attribute" of a function that takes the environment, then the
            parameters by name. For the kind "learner", of one that takes a run folder and `which`.
        kind: "heuristic" or "learner".
        summary: One line for tables and error messages.
    """
    if ":" not in factory_path:
        raise ValueError(f"factory_path must read 'module:attribute', not {factory_path!r}")
    entry = Entry(name, factory_path, kind, summary)
    known_entry = _REGISTRY.setdefault((kind, name), entry)
    if known_entry.factory_path != factory_path:
        raise ValueError(f"{kind} {name!r} is already registered as {known_entry.factory_path}")


def registered(kind: str = "heuristic") -> dict[str, Entry]:
    """Returns the entries of a kind by name, in the order of registration."""
    return {entry.name: entry for entry in _REGISTRY.values() if entry.kind == kind}


def make(name: str, env: Any, **parameters: Any) -> Policy:
    """Builds a heuristic for an environment.

    Args:
        name: A registered name.
        env: A built environment (single or vector, wrapped or not), or the keyword arguments,
            `id` included, with which one is made.
        **parameters: Those of the heuristic. Without any, a heuristic that needs some tunes
            itself on training tapes of the environment.

    Raises:
        ValueError: if the name or a parameter is unknown; the message lists the known ones.
    """
    entries = registered()
    if name not in entries:
        raise ValueError(f"unknown heuristic {name!r}; known: {', '.join(entries)}")
    factory = entries[name].resolve()
    accepted = list(inspect.signature(factory).parameters.values())[1:]
    names = [p.name for p in accepted if p.kind is not p.VAR_KEYWORD]
    if len(names) == len(accepted):
        for parameter in parameters:
            if parameter not in names:
                listed = ", ".join(names) or "none"
                raise ValueError(f"{name} has no parameter {parameter!r}; it takes: {listed}")
    if not isinstance(env, Mapping):
        return cast(Policy, factory(env, **parameters))
    import stockyard.envs  # noqa: F401  (registers the ids)

    built = gym.make_vec(**{"num_envs": 1, **env})
    try:
        return cast(Policy, factory(built, **parameters))
    finally:
        built.close()


def load(path: str | Path, which: str = "best") -> Policy:
    """Loads the policy of a run folder.

    The weights are a Stable-Baselines3 archive, and opening one runs pickle: load only what you
    trust.

    Args:
        path: A folder that `stockyard-train` wrote; it is known by its run.json.
        which: "best" on the validation tapes, or "last".
    """
    folder = Path(path)
    record = folder / "run.json"
    if not record.is_file():
        raise FileNotFoundError(f"{folder} is not a run folder: it has no run.json")
    if which not in ("best", "last"):
        raise ValueError(f"which must be 'best' or 'last', not {which!r}")
    kind = json.loads(record.read_text(encoding="utf-8")).get("kind")
    loaders = registered("learner")
    if kind not in loaders:
        raise ValueError(f"{record} has unknown kind {kind!r}; known: {', '.join(loaders)}")
    return cast(Policy, loaders[kind].resolve()(folder, which=which))
