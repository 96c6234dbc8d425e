"""A submission's policy in a process of its own, as the evaluator sees it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.evaluation.leaderboard import containment, messages
from stockyard.agents.evaluation.leaderboard.benchmark import Limits

if TYPE_CHECKING:
    from stockyard.envs.tasks.task import ActionMode

OUTPUT_KEPT = 2000
"""Characters of what a submission prints that are kept."""

_CHILD = "stockyard.agents.evaluation.leaderboard.child"


class Failure(Exception):
    """A submission that gave no action."""

    def __init__(self, kind: str, message: str) -> None:
        """Tells what happened.

        Args:
            kind: crash, exit, memory, time-out, pipe, shape, mechanism, not finite.
            message: in words.
        """
        super().__init__(message)
        self.kind = kind
        self.message = message


class IsolatedPolicy:
    """Starts the process, sends it observations, and takes its actions for what they are.

    Use as a context: at its end the process and all that it has started are ended.
    """

    def __init__(
        self,
        recipe: Mapping[str, Any],
        task: Mapping[str, Any],
        limits: Limits,
        randomness: int = 0,
    ) -> None:
        """Makes the policy.

        Args:
            recipe: how, as `child.make` takes it; JSON.
            task: what the submission is told, JSON; see `child.Task`.
            limits: on time and memory.
            randomness: seed of the process's global random states.

        Raises:
            Failure: if no policy could be made.
        """
        self._limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="submission-", ignore_cleanup_errors=True)
        self._hidden = [self._folder.name, str(task["folder"])]
        self._printed = b""
        self.printed_bytes = 0
        self.seconds: list[float] = []  # of every call, per episode decided for
        self._spent = 0.0  # in the episodes at hand
        ours, theirs = os.pipe(), os.pipe()
        self._from, self._to = ours[0], theirs[1]
        command = [sys.executable, "-m", _CHILD, str(theirs[0]), str(ours[1])]
        try:
            self._process = subprocess.Popen(
                [*command, str(limits.memory_mb)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._folder.name,
                env=containment.environment(Path(self._folder.name)),
                pass_fds=(theirs[0], ours[1]),
                start_new_session=True,
            )
        finally:
            os.close(theirs[0])
            os.close(ours[1])
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        for pipe in (self._from, self._to, self._output):
            os.set_blocking(pipe, False)
        request: dict[str, Any] = {"do": "make", "recipe": dict(recipe), "task": dict(task)}
        begun = time.monotonic()
        try:
            seconds = limits.making_seconds
            request["randomness"] = randomness
            header, _ = self._ask(request, {}, seconds, f"no answer within {seconds:g} s")
        except Failure as failure:
            self.close()
            raise Failure(failure.kind, f"while the policy was made: {failure.message}") from None
        self.making_seconds = time.monotonic() - begun
        mode = header.get("action_mode")
        self.action_mode: ActionMode | None = mode if isinstance(mode, dict | None) else str(mode)
        means = header.get("mechanism")
        self.mechanism: str | None = None if means is None else str(means)

    def __enter__(self) -> IsolatedPolicy:
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the process."""
        self.close()

    @property
    def printed(self) -> str:
        """The beginning of what the submission printed."""
        return self._told(self._printed.decode("utf-8", "replace"))

    @property
    def peak_memory_mb(self) -> float:
        """The most memory that its process has had, MB."""
        return containment.peak_memory_mb(self._process.pid)

    def begin(self) -> None:
        """Begins new episodes."""
        self._spent = 0.0

    def decide(self, observation: Mapping[str, NDArray[Any]], is_start: bool) -> NDArray[Any]:
        """Asks for the actions of a batch of episodes.

        Args:
            observation: field -> (B, size).
            is_start: whether the episodes begin.

        Raises:
            Failure: if there are none, in the time that there is.
        """
        count = len(next(iter(observation.values())))
        allowed = self._limits.decision_seconds * count
        whole = self._limits.episode_seconds * count
        begun = time.monotonic()
        try:
            if whole - self._spent < allowed:
                allowed, text = whole - self._spent, f"more than {whole:g} s in the episodes"
            else:
                text = f"no answer within {allowed:g} s"
            request = {"do": "predict", "start": is_start}
            _, arrays = self._ask(request, observation, allowed, text)
        finally:
            taken = time.monotonic() - begun
            self._spent += taken
        self.seconds.append(taken / count)
        if "action" not in arrays:
            raise Failure("pipe", "its answer held no action")
        return arrays["action"]

    def close(self) -> None:
        """Ends the process and all that it has started."""
        if self._from < 0:
            return
        containment.end(self._process.pid)
        self._process.wait()
        containment.end_strays()
        self._drain()
        assert self._process.stdout is not None
        self._process.stdout.close()
        os.close(self._from)
        os.close(self._to)
        self._from = -1
        self._folder.cleanup()

    def _ask(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        seconds: float,
        late: str,
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Sends a message and waits for the answer.

        Raises:
            Failure: if none comes in time, or one that tells of an error.
        """
        deadline = time.monotonic() + seconds
        waiting = memoryview(messages.encode(header, arrays))
        received = bytearray()
        wanted, head = messages.LENGTH.size, 0
        while len(received) < wanted or not head:
            left = deadline - time.monotonic()
            if left <= 0.0:
                raise Failure("time-out", late)
            readable, writable, _ = select.select(
                [self._from, self._output] if self._output >= 0 else [self._from],
                [self._to] if waiting else [],
                [],
                left,
            )
            if self._output in readable and not self._drain():
                self._output = -1  # closed by the submission
            if writable:
                try:
                    waiting = waiting[os.write(self._to, waiting[: 1 << 16]) :]
                except BlockingIOError:
                    pass
                except BrokenPipeError:
                    raise self._ended() from None
            if self._from in readable:
                part = os.read(self._from, min(1 << 20, wanted - len(received)))
                if not part:
                    raise self._ended()
                received += part
                if not head and len(received) == wanted:
                    try:
                        size, head = messages.sizes(bytes(received))
                    except messages.BadMessage as error:
                        raise Failure("pipe", f"sent {error}") from None
                    wanted += size
        try:
            answer, parts = messages.decode(bytes(received[messages.LENGTH.size :]), head)
        except messages.BadMessage as error:
            raise Failure("pipe", f"sent {error}") from None
        if not answer.get("ok"):
            kind = "memory" if answer.get("kind") == "memory" else "crash"
            raise Failure(kind, self._told(str(answer.get("message"))))
        return answer, parts

    def _ended(self) -> Failure:
        """What to say of a pipe that is closed."""
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return Failure("pipe", "closed its pipe")
        if code < 0:
            return Failure("exit", f"was ended by signal {-code}")
        return Failure("exit", f"ended with exit code {code}")

    def _drain(self) -> bool:
        """Takes what was printed, so that nobody waits for it; False where nobody prints."""
        while True:
            try:
                part = os.read(self._output, 1 << 16) if self._output >= 0 else b""
            except BlockingIOError:
                return True
            if not part:
                return False
            self.printed_bytes += len(part)
            self._printed += part[: max(0, OUTPUT_KEPT - len(self._printed))]

    def _told(self, text: str) -> str:
        """Text without what differs from run to run: addresses, and names of folders."""
        for folder in self._hidden:
            text = text.replace(folder, "...")
        return re.sub(r"0x[0-9a-f]{4,}", "0x...", text)


def checked(action: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tells in which rows an action is finite, (B,).

    Raises:
        Failure: if it has another shape.
    """
    if action.shape != shape:
        raise Failure("shape", f"an action of shape {action.shape} instead of {shape}")
    finite = np.isfinite(action.astype(np.float64)).reshape(len(action), -1)
    return np.asarray(finite.all(axis=1))
