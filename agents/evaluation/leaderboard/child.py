"""The process of a submission: makes its policy and answers observations with actions.

It is started afresh for every cell (never forked), with nothing of the evaluator but two pipes. It
is told which environment is played, as anybody may know, and is sent observations; it is not told
seeds, and the environment that is played lives at the other end.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stockyard.agents.evaluation.leaderboard import messages

if TYPE_CHECKING:
    from stockyard.envs.tasks.task import ActionMode

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclasses.dataclass(frozen=True)
class Task:
    """What a submission's `make_policy` is told."""

    track: str  # of the benchmark: replenishment, placement, ...
    name: str  # the scenario, or the textbook problem
    specification: dict[str, Any]  # keyword arguments of `gymnasium.make_vec`, `id` included
    seed: int  # training seed, one of those in submission.yaml
    folder: Path  # of the submission

    def env(self, num_envs: int = 1, split: str = "train", action: ActionMode | None = None) -> Any:
        """An environment like the one that will be played, on tapes of its own."""
        from stockyard.agents.evaluation.rollout import build

        return build(self.specification, num_envs=num_envs, split=split, action_mode=action)


def make(recipe: Mapping[str, Any], task: Task) -> Any:
    """Makes the policy that a recipe tells.

    Raises:
        ValueError: for a recipe of an unknown kind, or one that makes no policy.
    """
    kind = recipe["kind"]
    if kind == "rule":
        from stockyard import agents

        return agents.make(recipe["name"], task.specification, **recipe["parameters"])
    if kind == "run":
        from stockyard import agents

        policy: Any = agents.load(recipe["folder"], recipe.get("which", "best"))
    elif kind == "python":
        sys.path.insert(0, str(task.folder))
        module, _, attribute = str(recipe["entry"]).partition(":")
        policy = getattr(importlib.import_module(module), attribute)(task)
    elif kind == "torchscript":
        policy = TorchScript(recipe["file"], recipe["action"])
    else:
        raise ValueError(f"unknown kind of policy: {kind!r}")
    if not callable(getattr(policy, "predict", None)):
        raise ValueError(f"{type(policy).__name__} has no method predict")
    if hasattr(policy, "for_env"):  # weights that are shared by products and lanes fit any size
        env = task.env(action=policy.action_mode)
        policy = policy.for_env(env)
        env.close()
    return policy


class TorchScript:
    """A module that maps a dictionary of tensors to actions; opening it runs no Python."""

    def __init__(self, path: str, action: str | None) -> None:
        """Opens the file."""
        import torch

        self._torch = torch
        self._module = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        self.action_mode = action

    def predict(self, observation: Any, state: Any = None, **_: Any) -> tuple[Any, Any]:
        """Decides."""
        with self._torch.inference_mode():
            fields = {
                name: self._torch.from_numpy(values.copy()) for name, values in observation.items()
            }
            return self._module(fields).numpy(), state


def serve(incoming: int, outgoing: int) -> None:
    """Answers until the pipe is closed."""
    policy: Any = None
    state: Any = None
    while True:
        received = _receive(incoming)
        if received is None:
            return
        header, arrays = received
        answer: dict[str, Any] = {"ok": True}
        action: dict[str, Any] = {}
        try:
            if header["do"] == "make":
                policy = None
                random.seed(header["randomness"])
                np.random.seed(header["randomness"])
                task = {**header["task"], "folder": Path(header["task"]["folder"])}
                policy = make(header["recipe"], _task(task))
                mode = getattr(policy, "action_mode", None)
                answer["action_mode"] = mode if isinstance(mode, dict | None) else str(mode)
                means = getattr(policy, "mechanism", None)
                answer["mechanism"] = None if means is None else str(means)
            else:
                count = len(next(iter(arrays.values())))
                start = np.full(count, bool(header["start"]))
                state = None if header["start"] else state
                decided, state = policy.predict(
                    arrays, state=state, episode_start=start, deterministic=True
                )
                array = np.asarray(decided)
                if array.dtype.kind not in "biuf":
                    raise TypeError(f"an action must hold real numbers, got {array.dtype}")
                action = {"action": array}
        except MemoryError:
            answer = {"ok": False, "kind": "memory", "message": "MemoryError"}
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            answer = {"ok": False, "kind": "crash", "message": message[:2000]}
        sys.stdout.flush()
        _send(outgoing, messages.encode(answer, action))


def _task(told: Mapping[str, Any]) -> Task:
    from stockyard.agents.evaluation.leaderboard.benchmark import resolved

    return Task(
        track=told["track"],
        name=told["name"],
        specification=resolved(told["description"]),
        seed=told["seed"],
        folder=told["folder"],
    )


def _receive(pipe: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
    start = _read(pipe, messages.LENGTH.size)
    if start is None:
        return None
    size, head = messages.sizes(start)
    body = _read(pipe, size)
    return None if body is None else messages.decode(body, head)


def _read(pipe: int, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = os.read(pipe, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _send(pipe: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(pipe, view) :]


def _limit(memory_mb: int) -> None:
    """Takes the limits, before anything of the submission runs."""
    try:
        import ctypes
        import resource
        import signal

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
        # the evaluator may be killed without a chance to end its children
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    except (ImportError, OSError, AttributeError):
        pass  # a system without them; limits on time hold everywhere


if __name__ == "__main__":
    _limit(int(sys.argv[3]))
    serve(int(sys.argv[1]), int(sys.argv[2]))
