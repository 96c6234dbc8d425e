"""The cells of a board: one policy in one entry, the naive rule there, or some bounds.

A cell depends on nothing but itself, so that cells can be done in any order, by any number of
processes, and again after an interruption.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.evaluation.leaderboard import containment
from stockyard.agents.evaluation.leaderboard.benchmark import SPLIT, Entry, Limits
from stockyard.agents.evaluation.leaderboard.isolation import Failure, IsolatedPolicy, checked

if TYPE_CHECKING:
    from stockyard.envs.tasks.task import ActionMode

GIVEN_UP = 3
"""Episodes in a row without an action after which the rest of a cell is not tried."""


@dataclass(frozen=True)
class Cell:
    """What a process is given to do."""

    key: str  # changes with all that its result depends on
    kind: str  # policy, naive or bound
    label: str  # for the terminal
    entry: Entry
    tapes: tuple[int, ...]  # seeds; they stay in the evaluator's processes
    rows: int
    limits: Limits
    metrics: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    seed: int = 0  # training seed
    folder: str = "."  # of the submission
    mechanisms: tuple[str, ...] = ()  # by which it may decide; none: any
    rule: Any = None  # naive: name, or name and parameters
    bound: str = ""
    cache: str | None = None  # of bounds, where tapes are public


def work(cell: Cell) -> dict[str, Any]:
    """Does a cell; returns its key, its `result`, which is the same each time, and `measured`."""
    # a process of a pool ends with the command; the command itself outlives the shell it came from
    containment.protect(die_with_parent=multiprocessing.parent_process() is not None)
    return do(cell)


def do(cell: Cell) -> dict[str, Any]:
    """Does a cell in the calling process."""
    begun = time.perf_counter()
    result, measured = _KINDS[cell.kind](cell)
    measured["seconds"] = time.perf_counter() - begun
    return {"key": cell.key, "label": cell.label, "result": result, "measured": measured}


def _bound(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bounds of some tapes, money per period."""
    from stockyard.agents import oracles
    from stockyard.agents.oracles.perfect_information import perfect_information

    spec = cell.entry.specification
    if cell.bound == "optimum":
        solution = oracles.solve(spec)
        return {"per_period": _played(solution.policy, cell)["returns"]}, {}
    if cell.bound == "perfect_information":
        solve: Any = perfect_information
    else:
        module, _, attribute = cell.bound.partition(":")
        solve = getattr(importlib.import_module(module), attribute)
    # without a limit on time, which would make bounds those of the machine
    found = solve(spec, list(cell.tapes), split=SPLIT, cache=cell.cache)
    values = [float(value) for value in found.per_period]
    if not np.isfinite(values).all():
        raise RuntimeError(f"{cell.label}: a bound is not finite")
    return {"per_period": values}, {}


def _naive(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the naive rule earns; it is ours, and runs in the evaluator."""
    from stockyard import agents

    given = {"name": cell.rule} if isinstance(cell.rule, str) else dict(cell.rule)
    name = given.pop("name")
    return _played(agents.make(name, cell.entry.specification, **given), cell), {}


def _played(policy: Any, cell: Cell) -> dict[str, Any]:
    """Money and metrics of a policy that is trusted."""
    from stockyard.agents.evaluation.rollout import build, rollout

    returns: list[float] = []
    metrics: dict[str, list[float]] = {name: [] for name in cell.metrics}
    for seeds in _parts(cell.tapes, cell.rows):
        envs = build(
            cell.entry.specification,
            num_envs=len(seeds),
            split=SPLIT,
            action_mode=getattr(policy, "action_mode", None),
        )
        try:
            found = rollout(policy, envs, seed=list(seeds))
        finally:
            envs.close()
        _add(returns, metrics, found.per_period_mean, found.metrics, len(seeds))
    return {"returns": returns, "metrics": metrics}


def _add(
    returns: list[Any],
    metrics: dict[str, list[Any]],
    money: NDArray[Any],
    found: Mapping[str, NDArray[Any]],
    count: int,
    failed: Sequence[bool] = (),
) -> None:
    """Adds the episodes of a batch; None where the naive rule's count instead."""
    skipped = list(failed) or [False] * count
    returns += [None if skip else float(x) for x, skip in zip(money, skipped, strict=True)]
    for name, values in metrics.items():
        one = found.get(name, np.full(count, np.nan))
        values += [
            None if skip or np.isnan(x) else float(x) for x, skip in zip(one, skipped, strict=True)
        ]


def _policy(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a submission earns, episode by episode, and where it gave no action."""
    evaluation = _Evaluation(cell)
    evaluation.run()
    result = {
        "returns": evaluation.returns,
        "metrics": evaluation.metrics,
        "failures": evaluation.failures,
    }
    return result, evaluation.measured()


class _Evaluation:
    """Plays the episodes of a cell in batches; a batch that fails is played one by one."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.returns: list[Any] = []
        self.metrics: dict[str, list[Any]] = {name: [] for name in cell.metrics}
        self.failures: list[dict[str, Any]] = []  # tape (its place), kind, message
        self._policy: IsolatedPolicy | None = None
        self._in_a_row = 0
        self._seconds: list[float] = []
        self._making: list[float] = []
        self._memory: list[float] = []
        self._printed, self._printed_bytes = "", 0

    def run(self) -> None:
        """Plays all."""
        try:
            for seeds in _parts(self.cell.tapes, self.cell.rows):
                try:
                    self._require_hope()
                    self._batch(seeds)
                except Failure as failure:
                    if len(seeds) == 1 or self._in_a_row >= GIVEN_UP:
                        self._count_failed(seeds, failure)
                    else:
                        self._one_by_one(seeds)
        finally:
            self._let_go()

    def _one_by_one(self, seeds: Sequence[int]) -> None:
        for seed in seeds:
            try:
                self._require_hope()
                self._batch([seed])
            except Failure as failure:
                self._count_failed([seed], failure)

    def _require_hope(self) -> None:
        if self._in_a_row >= GIVEN_UP:
            kind = self.failures[-1]["kind"]
            raise Failure(kind, f"not tried after {GIVEN_UP} failures in a row")

    def _count_failed(self, seeds: Sequence[int], failure: Failure) -> None:
        for _ in seeds:
            self._in_a_row += 1
            self._note(len(self.returns), failure)
            self.returns.append(None)
            for values in self.metrics.values():
                values.append(None)

    def _note(self, place: int, failure: Failure) -> None:
        self.failures.append({"tape": place, "kind": failure.kind, "message": failure.message})

    def _batch(self, seeds: Sequence[int]) -> None:
        """Plays some episodes at once; a failure leaves nothing of them."""
        from stockyard.agents.evaluation.rollout import build, rollout

        try:
            if self._policy is None:
                self._policy = self._made()
            mode = self._policy.action_mode
            if not isinstance(mode, str | None) and self.cell.recipe["kind"] != "run":
                # what a rule of ours is given there would be computed in this process
                raise Failure("shape", f"action_mode: must be the name of a mode, not {mode!r}")
            try:
                envs = build(
                    self.cell.entry.specification,
                    num_envs=len(seeds),
                    split=SPLIT,
                    action_mode=mode,
                )
            except ValueError as error:  # an action mode that there is not
                raise Failure("shape", str(error)) from None
            try:
                self._check_mechanism(self._policy, envs)
                player = _Player(self._policy, envs)
                found = rollout(player, envs, seed=list(seeds))
            finally:
                envs.close()
        except Failure:
            self._let_go()  # whatever state it is in, the next episode begins afresh
            raise
        first = len(self.returns)
        for row in np.flatnonzero(player.failed):
            self._note(first + int(row), player.failures[int(row)])
        self._in_a_row = 0 if not player.failed.all() else self._in_a_row + len(seeds)
        failed = player.failed.tolist()
        _add(self.returns, self.metrics, found.per_period_mean, found.metrics, len(seeds), failed)

    def _check_mechanism(self, policy: IsolatedPolicy, envs: Any) -> None:
        """Refuses who decides by other means than the track is about.

        An action mode of the task's tells; of rules and trained networks of ours also what they are
        built around, for nothing of a submission runs in their process.
        """
        if not self.cell.mechanisms:
            return
        base = envs.unwrapped
        ours = policy.mechanism if self.cell.recipe["kind"] in ("rule", "run") else None
        found = ours or base.task.mechanism(base.action_mode)
        allowed = self.cell.mechanisms
        if found not in allowed:
            modes = [
                mode for mode in base.task.action_modes if base.task.mechanism(mode) in allowed
            ]
            told = f"by {', '.join(allowed)} (action mode {', '.join(modes)})"
            raise Failure("mechanism", f"decides by {found}; policies compete here {told}")

    def _made(self) -> IsolatedPolicy:
        entry = self.cell.entry
        told = {
            "track": entry.track,
            "name": entry.name,
            "description": entry.description,
            "seed": self.cell.seed,
            "folder": self.cell.folder,
        }
        randomness = zlib.crc32(f"{entry.key} {self.cell.seed}".encode())
        policy = IsolatedPolicy(self.cell.recipe, told, self.cell.limits, randomness)
        self._making.append(policy.making_seconds)
        return policy

    def _let_go(self) -> None:
        if self._policy is None:
            return
        self._memory.append(self._policy.peak_memory_mb)
        self._policy.close()
        self._seconds += self._policy.seconds
        self._printed = self._printed or self._policy.printed
        self._printed_bytes += self._policy.printed_bytes
        self._policy = None

    def measured(self) -> dict[str, Any]:
        """Time and memory, which differ from run to run."""
        milliseconds = 1000.0 * np.array(self._seconds or [np.nan])
        memory = [value for value in self._memory if value == value]  # NaN of ended processes
        return {
            "milliseconds_median": float(np.median(milliseconds)),
            "milliseconds_95": float(np.quantile(milliseconds, 0.95)),
            "making_seconds": float(np.sum(self._making)) if self._making else None,
            "memory_mb": max(memory, default=None),
            "printed": self._printed,
            "printed_bytes": self._printed_bytes,
        }


class _Player:
    """Hands observations to a submission, and keeps rows apart that gave no action."""

    def __init__(self, policy: IsolatedPolicy, envs: Any) -> None:
        self._policy = policy
        space = envs.action_space
        self._shape = tuple(space.shape)
        low, high = getattr(space, "low", None), getattr(space, "high", None)
        idle = np.zeros(self._shape)
        self._idle = idle if low is None else np.clip(idle, low, high)
        self._kind = np.dtype(space.dtype).kind
        self.failed = np.zeros(envs.num_envs, dtype=np.bool_)
        self.failures: dict[int, Failure] = {}
        self._step = 0
        policy.begin()

    @property
    def action_mode(self) -> ActionMode | None:
        """That of the submission."""
        return self._policy.action_mode

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], None]:
        """Decides; a row whose action is not finite is idle from then on."""
        action = self._policy.decide(observation, self._step == 0)
        self._step += 1
        finite = checked(action, self._shape)
        for row in np.flatnonzero(~finite & ~self.failed):
            message = f"an action that is not finite, at decision {self._step}"
            self.failures[int(row)] = Failure("not finite", message)
        self.failed |= ~finite
        if self.failed.any():
            action = np.where(self.failed.reshape(-1, *[1] * (action.ndim - 1)), self._idle, action)
        if self._kind in "iu":
            return np.rint(action).astype(np.int64), None
        return action.astype(np.float64), None


def _parts(tapes: Sequence[int], size: int) -> list[list[int]]:
    return [list(tapes[first : first + size]) for first in range(0, len(tapes), size)]


_KINDS = {"policy": _policy, "naive": _naive, "bound": _bound}
