"""What befalls demand: seasons, events, shocks, launches, promotions; and when each is known."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.streams import Streams
from stockyard.envs.network.windows import Window

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LAST_SHARE = 0.2
"""Share of an event's uncertainty that only its first day reveals; the rest, the days before it."""


@dataclasses.dataclass(frozen=True)
class Season:
    """The course of a year: a cosine that peaks on `peak_day`, and a last quarter with a lift."""

    amplitude: float = 0.3
    peak_day: int = 350  # of the year
    last_quarter_lift: float = 1.8
    ramp_days: int = 14  # over which the lift comes and goes

    def factors(self) -> Floats:
        """(365,) multiples of the mean demand by day of the year; their mean is 1."""
        day = np.arange(365)
        wave = 1.0 + self.amplitude * np.cos(2.0 * np.pi * (day - self.peak_day) / 365.0)
        inside = np.minimum(day - 273, 364 - day) + 1.0
        lift = 1.0 + (self.last_quarter_lift - 1.0) * np.clip(inside / self.ramp_days, 0.0, 1.0)
        course = wave * lift
        return np.asarray(course / course.mean())


@dataclasses.dataclass(frozen=True, eq=False)
class DemandShock:
    """Demand of some products is multiplied while a window holds, by a factor known only in part.

    log factor = log lift + innovations - half their variance. Four fifths of the variance are
    revealed evenly over the days before the beginning, the rest on the first day. Until the window
    is known, forecasts hold its conditional mean.

    Raises:
        ValueError: naming the field that is out of range.
    """

    window: Window
    lift: float  # mean factor
    affected: Floats  # (P,) 1 where demand changes
    common_sd: float = 0.0  # of the log factor, one draw for all products
    product_sd: float = 0.0  # of the log factor, a draw for each product
    reveal_days: int = 14
    is_event: bool = False  # planned: the calendar shows its first day

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if not self.lift >= 0:
            raise ValueError(f"lift: must be >= 0, got {self.lift}")
        for field in ("common_sd", "product_sd"):
            if not getattr(self, field) >= 0:
                raise ValueError(f"{field}: must be >= 0, got {getattr(self, field)}")
        if self.reveal_days < 1:
            raise ValueError(f"reveal_days: must be >= 1, got {self.reveal_days}")
        ahead = self.window.announced_days
        if self.is_event and ahead is not None:
            raise ValueError(
                "is_event: the calendar shows it from the start, so announced_days must be None"
            )
        if self.log_variance and ahead is not None:
            if ahead + self.window.offset_days < self.reveal_days:
                raise ValueError(
                    "announced_days: an uncertain lift is revealed over the "
                    f"{self.reveal_days} days before it, so the window must be known by then"
                )

    @property
    def log_variance(self) -> float:
        """Variance of the log factor."""
        return self.common_sd**2 + self.product_sd**2

    def draw(self, streams: Streams, days: int, names: Sequence[str]) -> "ShockPath":
        """Draws the key day and what is known of the factor at the start of each day."""
        key_day = self.window.key_day(streams)
        begin = key_day + self.window.offset_days
        if not self.log_variance:
            known = np.full((days, len(names)), self.lift)
            return ShockPath(key_day, known, known[-1], np.zeros(days))
        parts = self.reveal_days + 1
        shares = np.full(parts, (1.0 - LAST_SHARE) / self.reveal_days)
        shares[-1] = LAST_SHARE
        key = f"{self.window.key}{self.window.offset_days:+d}"
        common = streams.generator("shock", key).standard_normal(parts)
        steps = np.empty((parts, len(names)))
        for p, name in enumerate(names):
            own = streams.generator("shock", key, name).standard_normal(parts)
            steps[:, p] = self.common_sd * common + self.product_sd * own
        log = np.cumsum(steps * np.sqrt(shares)[:, None], axis=0)
        done = np.concatenate(([0.0], np.cumsum(shares)))
        log = np.concatenate((np.zeros((1, len(names))), log))
        log = log - 0.5 * done[:, None] * self.log_variance
        # the innovation of day d is known from the start of day d + 1
        count = np.clip(np.arange(days) - (begin - self.reveal_days), 0, parts)
        count = np.where(np.arange(days) <= begin, np.minimum(count, parts - 1), parts)
        # shares add up to one but for rounding, and nothing must be left in the end
        left = np.where(count == parts, 0.0, 1.0 - done[count]) * self.log_variance
        return ShockPath(key_day, self.lift * np.exp(log[count]), self.lift * np.exp(log[-1]), left)


class ShockPath(NamedTuple):
    """A shock in one replica's tape."""

    key_day: int
    known: Floats  # (days, P) expected factor at the start of each day
    factor: Floats  # (P,) the factor
    left: Floats  # (days,) log variance of the factor that is not revealed yet


@dataclasses.dataclass(frozen=True, eq=False)
class Launches:
    """Some products are sold only from a planned day on, and nobody knows how well.

    The factor on the base demand is lognormal with mean 1 times a hit, a flop or neither. The
    lognormal is revealed evenly over the `learn_days` after the launch, hit or flop half-way.
    """

    affected: Floats  # (P,) 1 where the product is launched
    first_day: int  # of the tape: launches are drawn evenly from first to last
    last_day: int
    log_sd: float = 0.9
    hit_share: float = 0.1
    hit_factor: float = 4.0
    flop_share: float = 0.2
    flop_factor: float = 0.2
    learn_days: int = 14

    def __post_init__(self) -> None:
        """Checks the days and shares."""
        if not 0 <= self.first_day <= self.last_day:
            raise ValueError(
                f"first_day: must lie in [0, last_day], got {self.first_day} and {self.last_day}"
            )
        if not 0.0 <= self.hit_share + self.flop_share <= 1.0:
            raise ValueError("hit_share: must lie in [0, 1] with flop_share")

    @property
    def mean(self) -> float:
        """Mean of hit, flop or neither."""
        rest = 1.0 - self.hit_share - self.flop_share
        return self.hit_share * self.hit_factor + self.flop_share * self.flop_factor + rest

    def draw(self, streams: Streams, days: int, names: Sequence[str]) -> "LaunchPath":
        """Draws launch days and factors."""
        known = np.ones((days, len(names)))
        factor = np.ones(len(names))
        left = np.zeros((days, len(names)))
        begin = np.full(len(names), -1, dtype=np.int64)
        second = self.hit_share * self.hit_factor**2 + self.flop_share * self.flop_factor**2
        second += 1.0 - self.hit_share - self.flop_share
        spread = float(np.log(second / self.mean**2))  # log variance of a lognormal alike
        for p in np.flatnonzero(self.affected).tolist():
            generator = streams.generator("launch", names[p])
            begin[p] = generator.integers(self.first_day, self.last_day + 1)
            steps = generator.standard_normal(self.learn_days)
            luck = generator.random()
            kind = 1.0
            if luck < self.hit_share:
                kind = self.hit_factor
            elif luck < self.hit_share + self.flop_share:
                kind = self.flop_factor
            log = np.concatenate(([0.0], np.cumsum(steps))) * self.log_sd / self.learn_days**0.5
            done = np.arange(self.learn_days + 1) / self.learn_days
            log -= 0.5 * done * self.log_sd**2
            count = np.clip(np.arange(days) - begin[p], 0, self.learn_days)
            seen = np.arange(days) >= begin[p] + (self.learn_days + 1) // 2
            known[:, p] = np.exp(log[count]) * np.where(seen, kind, self.mean)
            left[:, p] = (1.0 - done[count]) * self.log_sd**2 + np.where(seen, 0.0, spread)
            factor[p] = np.exp(log[-1]) * kind
        return LaunchPath(begin, known, factor, left)


class LaunchPath(NamedTuple):
    """Launches in one replica's tape."""

    begin: Ints  # (P,) day of the tape; -1: sold all along
    known: Floats  # (days, P) expected factor at the start of each day
    factor: Floats  # (P,) the factor
    left: Floats  # (days, P) log variance of the factor that is not revealed yet


@dataclasses.dataclass(frozen=True, eq=False)
class Promotions:
    """Weeks in which a product sells far more, which only its seller knows of beforehand.

    Each week of each product is one with the same chance, whatever came before: to everybody else
    a promotion tells nothing about later weeks, and forecasts without them stay exact means.

    Raises:
        ValueError: naming the field that is out of range.
    """

    affected: Floats  # (P,) 1 where the product is promoted
    share: float = 0.08  # of its weeks
    lift: float = 2.5  # demand in such a week over that in another

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if not 0.0 <= self.share < 1.0:
            raise ValueError(f"share: must lie in [0, 1), got {self.share}")
        if not self.lift >= 0.0:
            raise ValueError(f"lift: must be >= 0, got {self.lift}")

    def draw(self, streams: Streams, weeks: int, names: Sequence[str]) -> Floats:
        """Factors on demand, (weeks, P), of mean 1."""
        factor = np.ones((weeks, len(names)))
        mean = 1.0 + self.share * (self.lift - 1.0)
        for p in np.flatnonzero(self.affected).tolist():
            chosen = streams.generator("promotion", names[p]).random(weeks) < self.share
            factor[:, p] = np.where(chosen, self.lift, 1.0) / mean
        return factor
