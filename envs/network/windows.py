"""When a change holds: its beginning, its course over time, and when it becomes known."""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.streams import Streams

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Window:
    """A stretch of days whose beginning is drawn; days count from the start of the tape.

    The key day is drawn evenly from `first_day` to `last_day`; windows of one key share it in a
    tape. The window begins `offset_days` after the key day, rises to full over `ramp_days`, holds
    until `days` are over, and fades over `recovery_days`.

    Raises:
        ValueError: naming the field that is out of range.
    """

    key: str
    first_day: int
    last_day: int
    days: int = 1
    offset_days: int = 0
    ramp_days: int = 0
    recovery_days: int = 0
    # days before the key day at which all of the window becomes known; None: known from the start
    announced_days: int | None = 0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if not self.key:
            raise ValueError("key: must not be empty")
        if not 0 <= self.first_day <= self.last_day:
            raise ValueError(
                f"first_day: must lie in [0, last_day], got {self.first_day} and {self.last_day}"
            )
        for field, least in (("days", 1), ("ramp_days", 0), ("recovery_days", 0)):
            if getattr(self, field) < least:
                raise ValueError(f"{field}: must be >= {least}, got {getattr(self, field)}")
        if self.announced_days is not None and self.announced_days < 0:
            raise ValueError(f"announced_days: must be >= 0 or None, got {self.announced_days}")

    def key_day(self, streams: Streams) -> int:
        """The key day of a replica's tape."""
        if self.first_day == self.last_day:
            return self.first_day
        return int(
            streams.generator("window", self.key).integers(self.first_day, self.last_day + 1)
        )

    def profile(self, days_since_key: npt.NDArray[np.float64] | Ints) -> Floats:
        """How much of the change holds, 0 to 1, at days counted from the key day."""
        x = np.asarray(days_since_key, dtype=np.float64) - self.offset_days
        rise = np.clip((x + 1.0) / (self.ramp_days + 1.0), 0.0, 1.0)
        fall = np.clip(1.0 - (x - self.days + 1.0) / (self.recovery_days + 1.0), 0.0, 1.0)
        return np.asarray(np.where(x >= 0.0, rise * fall, 0.0))

    def is_known(self, day: Ints, key_day: int) -> npt.NDArray[np.bool_]:
        """Whether the window is known at the start of each day."""
        if self.announced_days is None:
            return np.ones(np.shape(day), dtype=np.bool_)
        return np.asarray(day >= key_day - self.announced_days)

    def expected(self, day: Ints, ahead: Ints, key_day: int) -> Floats:
        """What is expected at the start of `day` of the profile `ahead` days later.

        Before the window is known, its key day is one of those that would not be known yet, all
        equally likely: the exact conditional mean.

        Args:
            day: (K,) days.
            ahead: (A,) days after them.
            key_day: of the tape.

        Returns:
            (K, A), 0 to 1.
        """
        known = self.profile(day[:, None] + ahead - key_day)
        hidden = ~self.is_known(day, key_day)
        if hidden.any():
            prior = self._prior(int(ahead[-1]) + 1)
            known[hidden] = prior[day[hidden]][:, ahead]
        return known

    @functools.lru_cache(maxsize=64)  # noqa: B019 - a handful of windows a world
    def _prior(self, horizon: int) -> Floats:
        """(last_day, horizon) mean profile at each day on which the window is not known yet."""
        assert self.announced_days is not None
        rows = []
        ahead = np.arange(horizon)
        for day in range(self.last_day):
            first = max(self.first_day, day + self.announced_days + 1)
            if first > self.last_day:
                break
            keys = np.arange(first, self.last_day + 1)
            rows.append(self.profile(day + ahead - keys[:, None]).mean(axis=0))
        return np.array(rows).reshape(len(rows), horizon)
