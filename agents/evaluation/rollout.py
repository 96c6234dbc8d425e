"""Runs a policy over a batch of tapes and keeps the books."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from stockyard.agents.policy import Policy

if TYPE_CHECKING:
    from stockyard.envs.tasks.task import ActionMode

Floats = NDArray[np.float64]
Specification = Mapping[str, Any]
"""The keyword arguments, `id` included, with which `gymnasium.make_vec` builds an environment."""

Observer = Callable[[Any], None]
"""Called with the environment after every counted step: to note what no metric tells."""

DEFAULT_NUM_TAPES = 256


@dataclass(frozen=True)
class Evaluation:
    """What a policy earned on each of B tapes, the warm-up left out."""

    returns: Floats  # (B,) money, sum of the rewards of the counted periods
    per_period_mean: Floats  # (B,) money per period of the network
    metrics: Mapping[str, Floats]  # name -> (B,) mean over the counted steps
    ledger: Mapping[str, Floats]  # account -> (B,) money; the accounts sum to `returns`
    periods: int  # counted periods of the network
    warmup: int  # periods before them
    seed: int  # row i is the tape of seed + i; the first of seeds that were given one by one
    split: str  # "train", "validation" or "test": tapes of different splits never meet
    seconds: float  # wall time of the roll-out, tapes included
    milliseconds_per_decision: float  # time in `predict`, per step and row

    @property
    def num_tapes(self) -> int:
        """The number of tapes, B."""
        return len(self.returns)

    @property
    def mean(self) -> float:
        """Money per period, mean over tapes."""
        return float(self.per_period_mean.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean`; NaN for a single tape."""
        from stockyard.agents.evaluation.statistics import standard_error

        return standard_error(self.per_period_mean)

    def summary(self) -> dict[str, Any]:
        """Returns the means over tapes, as JSON can hold them."""
        return {
            "mean_per_period": self.mean,
            "standard_error": self.standard_error,
            "num_tapes": self.num_tapes,
            "periods": self.periods,
            "warmup": self.warmup,
            "seed": self.seed,
            "split": self.split,
            "metrics": {name: _mean(values) for name, values in self.metrics.items()},
            "ledger_per_period": {
                account: _mean(values) / self.periods for account, values in self.ledger.items()
            },
            "seconds": self.seconds,
            "milliseconds_per_decision": self.milliseconds_per_decision,
        }


def evaluate(
    policy: Policy,
    envs: Specification | gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    *,
    periods: int | None = None,
    warmup: int = 0,
    seed: int = 0,
    num_tapes: int | None = None,
    split: str | None = None,
    observer: Observer | None = None,
) -> Evaluation:
    """Runs a policy on a batch of tapes, one episode each.

    The environment is always built afresh from its specification, in the action mode that the
    policy speaks, with a horizon of `warmup + periods`. Tapes depend on the seed and the split
    alone, so equal arguments give every policy the same ones.

    Args:
        policy: Anything with `predict`.
        envs: The keyword arguments of `gymnasium.make_vec`, `id` included, or a built environment,
            single or vector, wrapped or not; wrappers are not carried over.
        periods: Periods of the network to count, rounded up to whole steps; None for what the
            horizon of the environment leaves after the warm-up.
        warmup: Periods to leave out first: whole steps.
        seed: Row i runs the tape of seed + i.
        num_tapes: Batch size; None for that of a built vector environment, or else 256.
        split: "train", "validation" or "test"; None means "test".
        observer: Called with the unwrapped environment after every counted step.

    Raises:
        ValueError: if `warmup` is not a whole number of steps, or no period is left to count.
    """
    started = time.perf_counter()
    specification, own_size = specification_of(envs)
    if num_tapes is None:
        num_tapes = own_size or DEFAULT_NUM_TAPES
    built = build(
        specification,
        num_envs=num_tapes,
        split=split or "test",
        action_mode=getattr(policy, "action_mode", None),
        horizon=None if periods is None else warmup + periods,
    )
    try:
        if hasattr(policy, "for_env"):  # weights that are shared by products and lanes fit any size
            policy = policy.for_env(built)
        return rollout(policy, built, seed=seed, warmup=warmup, started=started, observer=observer)
    finally:
        built.close()


def specification_of(
    envs: Specification | gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
) -> tuple[dict[str, Any], int | None]:
    """Returns the specification of an environment, and the batch size of a built vector one."""
    size = envs.num_envs if isinstance(envs, VectorEnv) else None
    if isinstance(envs, Mapping):
        specification = dict(envs)
    else:
        base: Any = envs.unwrapped
        if not hasattr(base, "specification"):
            raise TypeError(f"{type(base).__name__} has no `specification` to build it again from")
        specification = dict(base.specification)
    specification.pop("num_envs", None)
    specification.pop("autoreset_mode", None)
    if "id" not in specification:
        raise ValueError(f"an environment specification needs an 'id'; got {sorted(specification)}")
    return specification, size


def build(
    specification: Specification,
    *,
    num_envs: int,
    split: str,
    action_mode: ActionMode | None = None,
    horizon: int | None = None,
) -> VectorEnv[Any, Any, Any]:
    """Builds the batch that a roll-out or a learner drives: it resets only when told to.

    Args:
        specification: The keyword arguments of `gymnasium.make_vec`.
        num_envs: Batch size.
        split: Which tapes.
        action_mode: Instead of the one in the specification; None leaves it.
        horizon: Periods, rounded up to whole steps; None leaves it.
    """
    import stockyard.envs  # noqa: F401  (registers the ids)

    arguments = {**specification, "num_envs": num_envs, "split": split}
    arguments["autoreset_mode"] = "disabled"
    if action_mode is not None:
        arguments["action"] = action_mode
    envs = gym.make_vec(**arguments)
    if horizon is not None:
        per_step = _base(envs).periods_per_step
        whole = -(-horizon // per_step) * per_step
        if whole != _base(envs).horizon:
            envs.close()
            envs = gym.make_vec(**{**arguments, "horizon": whole})
    return envs


def rollout(
    policy: Policy,
    envs: VectorEnv[Any, Any, Any],
    *,
    seed: int | Sequence[int],
    warmup: int = 0,
    started: float | None = None,
    figures: bool = True,
    observer: Observer | None = None,
) -> Evaluation:
    """Runs one episode in every row of a batch that was made by `build`.

    Args:
        policy: Anything with `predict`.
        envs: The batch; it is reset first and may be used again.
        seed: Row i runs the tape of seed + i; of seed[i] where it is a list.
        warmup: Periods to leave out first: whole steps.
        started: `time.perf_counter()` from which to count the seconds; None for now.
        figures: Whether to keep metrics and ledger; a search needs returns alone, and is faster.
        observer: Called with the unwrapped environment after every counted step.
    """
    started = time.perf_counter() if started is None else started
    base = _base(envs)
    per_step, steps, num_envs = base.periods_per_step, base.steps_per_episode, envs.num_envs
    if warmup < 0 or warmup % per_step:
        raise ValueError(
            f"warmup must be a multiple of periods_per_step ({per_step}) and not negative, "
            f"not {warmup}"
        )
    skipped = warmup // per_step
    if skipped >= steps:
        raise ValueError(f"a warmup of {warmup} periods leaves none of {steps * per_step} to count")

    returns = np.zeros(num_envs)
    metrics: dict[str, _Average] = {}
    ledger: dict[str, Floats] = {}
    deciding = 0.0
    state: Any = None
    episode_start = np.ones(num_envs, dtype=np.bool_)
    # one seed for each row is what our environments take beyond Gymnasium's declaration
    observation, _ = envs.reset(seed=seed)  # type: ignore[arg-type]
    for step in range(steps):
        before = time.perf_counter()
        action, state = policy.predict(
            observation, state=state, episode_start=episode_start, deterministic=True
        )
        deciding += time.perf_counter() - before
        episode_start = np.zeros(num_envs, dtype=np.bool_)
        observation, reward, terminated, truncated, info = envs.step(action)
        done = np.logical_or(terminated, truncated)
        if done.any() != (step == steps - 1) or done.any() != done.all():
            raise RuntimeError(f"expected every row to end after {steps} steps, not at {step + 1}")
        if step < skipped:
            continue
        returns += np.asarray(reward, dtype=np.float64)
        if observer is not None:
            observer(base)
        if not figures:
            continue
        for name, values in _arrays(info.get("metrics")).items():
            metrics.setdefault(name, _Average(num_envs)).add(values)
        for account, values in _arrays(info.get("ledger")).items():
            ledger[account] = ledger.get(account, np.zeros(num_envs)) + values

    periods = (steps - skipped) * per_step
    return Evaluation(
        returns=returns,
        per_period_mean=returns / periods,
        metrics={name: average.value() for name, average in metrics.items()},
        ledger=ledger,
        periods=periods,
        warmup=warmup,
        seed=seed if isinstance(seed, int) else seed[0],
        split=str(getattr(base, "split", "test")),
        seconds=time.perf_counter() - started,
        milliseconds_per_decision=1000.0 * deciding / (steps * num_envs),
    )


class _Average:
    """Mean over steps in each row, of the steps where the metric was defined (not NaN)."""

    def __init__(self, num_envs: int) -> None:
        self._sum = np.zeros(num_envs)
        self._count = np.zeros(num_envs)

    def add(self, values: Floats) -> None:
        defined = ~np.isnan(values)
        self._sum += np.where(defined, values, 0.0)
        self._count += defined

    def value(self) -> Floats:
        return np.where(self._count > 0, self._sum / np.maximum(self._count, 1), np.nan)


def _arrays(mapping: Mapping[str, Any] | None) -> dict[str, Floats]:
    """Drops the masks that Gymnasium puts beside the entries of a vector info."""
    return {
        name: np.asarray(values, dtype=np.float64)
        for name, values in (mapping or {}).items()
        if not name.startswith("_")
    }


def _mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _base(envs: VectorEnv[Any, Any, Any]) -> Any:
    return envs.unwrapped
