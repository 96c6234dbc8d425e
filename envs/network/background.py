"""What else trucks carry: the volume of the rest of the assortment, and when trucks come back.

Both are drawn from keyed streams before the first step and never depend on an action. Forecasts of
the volume are exact martingales.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import Array, namespace, stack
from stockyard.envs.network.shocks import DemandShock
from stockyard.envs.network.streams import Streams

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class BackgroundPath(NamedTuple):
    """The volume of one replica."""

    volume: Floats  # (T, F) ft3 that join in each period
    # (J+1, D, F) factor on the mean volume of day d + j that is expected at the start of day d
    expected: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class BackgroundFreight:
    """Volume by parcel lane and wave, with day-to-day variation that is forecast bit by bit.

    log factor of a day = innovations - half their variance (MMFE; Heath & Jackson 1994). That of
    `sd_by_days_ahead[j]` is revealed j days before at the start of the day, so that today's is
    known in the morning. A share of the variance is common to the lanes of a group. Within a day,
    waves vary around their mean with Gamma noise that nobody foresees.
    """

    names: Sequence[str]  # F parcel lanes, which key the streams
    mean: Floats  # (T_max, F) ft3 per period
    parcel_volume: Floats  # (F,) ft3 of a parcel
    sd_by_days_ahead: Sequence[float] = (0.15, 0.25, 0.30)  # of innovations known 0, 1, 2 days ago
    groups: Sequence[str] = ()  # (F,) lanes of a group share innovations; (): none
    common_share: float = 0.0  # of the variance that a group shares
    wave_shape: float = 50.0  # Gamma shape of a wave; its relative variance is 1 / shape
    shocks: Sequence[DemandShock] = ()  # events that lift the volume; `affected` is (F,)

    @property
    def days_ahead(self) -> int:
        """Days ahead for which the forecast knows more than the mean, J; beyond, it is the mean."""
        return len(self.sd_by_days_ahead)

    @property
    def num_periods(self) -> int:
        """Periods for which there is a mean."""
        return len(self.mean)

    def draw(self, streams: Streams, periods: int, periods_per_day: int) -> BackgroundPath:
        """Draws one replica's volume."""
        h, ahead = periods_per_day, self.days_ahead
        days = -(-periods // h) + ahead + 1
        variance = np.asarray(self.sd_by_days_ahead, dtype=np.float64) ** 2
        own = self._innovations(streams, "freight", self.names, days)
        if self.groups and self.common_share:
            shared = sorted(set(self.groups))
            common = self._innovations(streams, "freight_group", shared, days)
            index = [shared.index(group) for group in self.groups]
            weight = np.sqrt([1.0 - self.common_share, self.common_share])
            own = weight[0] * own + weight[1] * common[..., index]
        # (J, D, F) log factor by how long ahead it is known, the earliest first
        steps = own * np.sqrt(variance)[:, None, None] - variance[:, None, None] / 2.0
        revealed = np.cumsum(steps[::-1], axis=0)[::-1]
        level = np.concatenate((np.exp(revealed), np.ones((1, *revealed.shape[1:]))))
        count = days - ahead
        expected = np.stack([level[j, j : j + count] for j in range(ahead + 1)])
        lift, lifts = self._lifts(streams, count, days)
        day = np.arange(periods) // h
        volume = self.mean_of(np.arange(periods)) * (level[0] * lift)[day]
        for f, name in enumerate(self.names):
            noise = streams.generator("freight_wave", name).standard_gamma(self.wave_shape, periods)
            volume[:, f] *= noise / self.wave_shape
        return BackgroundPath(volume, expected * lifts)

    def _innovations(
        self, streams: Streams, process: str, names: Sequence[str], days: int
    ) -> Floats:
        """(J, D, len(names)) standard normals, drawn day by day."""
        parts = [
            streams.generator(process, name).standard_normal((days, self.days_ahead))
            for name in names
        ]
        return np.moveaxis(np.stack(parts, axis=-1), 1, 0)

    def _lifts(self, streams: Streams, count: int, days: int) -> tuple[Floats, Floats]:
        """Factors of events: what happens (days, F), and what is expected of it (J+1, count, F)."""
        lift = np.ones((days, len(self.names)))
        expected = np.ones((self.days_ahead + 1, count, len(self.names)))
        now, ahead = np.arange(count), np.arange(self.days_ahead + 1)
        for shock in self.shocks:
            path = shock.draw(streams, days, self.names)
            course = shock.window.profile(np.arange(days) - path.key_day)[:, None]
            lift += course * (path.factor - 1.0) * shock.affected
            foreseen = shock.window.expected(now, ahead, path.key_day).T[..., None]
            expected += foreseen * (path.known[:count] - 1.0) * shock.affected
        return np.maximum(lift, 0.0), np.maximum(expected, 0.0)

    def mean_of(self, period: Ints) -> Floats:
        """Mean volume of periods of any shape (...), (..., F) ft3; the last stands beyond."""
        return np.array(self.mean[np.minimum(period, len(self.mean) - 1)])


@dataclasses.dataclass(frozen=True)
class ReturnDelays:
    """Trucks come back late: each trip by a number of periods drawn from a distribution."""

    periods: Sequence[int] = (0,)
    probability: Sequence[float] = (1.0,)

    def __post_init__(self) -> None:
        """Checks that it is a distribution of whole periods >= 0."""
        if len(self.periods) != len(self.probability) or not len(self.periods):
            raise ValueError("periods: must have as many entries as probability, at least one")
        if any(int(k) != k or k < 0 for k in self.periods):
            raise ValueError(f"periods: must be whole and >= 0, got {tuple(self.periods)}")
        total = sum(self.probability)
        if any(p < 0 for p in self.probability) or abs(total - 1.0) > 1e-9:
            raise ValueError(f"probability: must be >= 0 and sum to 1, got {self.probability}")

    @property
    def longest(self) -> int:
        """The longest delay."""
        return int(max(self.periods))

    def draw(self, streams: Streams, names: Sequence[str], periods: int) -> Floats:
        """Delays of trucks sent in each period on each of the truck lanes `names`, (T, L)."""
        upto = np.cumsum(self.probability)
        upto[-1] = 1.0
        delay = np.empty((periods, len(names)))
        for k, name in enumerate(names):
            uniform = streams.generator("return", name).random(periods)
            delay[:, k] = np.asarray(self.periods)[np.searchsorted(upto, uniform, side="right")]
        return delay


class FreightTape(NamedTuple):
    """The freight of a batch of tapes."""

    volume: Array  # (T, B, F) ft3 that join
    parcels: Array  # (T, B, F) parcels of them
    expected: Array  # (J+1, D, B, F) as in `BackgroundPath`
    mean: Array  # (T + (J+1) periods of a day, 1, F) ft3
    return_delay: Array | None  # (T, B, L) periods
    periods_per_day: int

    def forecast(self, period: int, ahead: int) -> Array:
        """What is expected at the start of a period to join in it and after it, (B, F, ahead) ft3.

        The innovations of a day are known at its start; of the waves of a day no more than its
        mean is.

        Raises:
            ValueError: for more periods than the days ahead that forecasts are made for.
        """
        day, last = period // self.periods_per_day, self.expected.shape[0] - 1
        if (period + ahead - 1) // self.periods_per_day - day > last:
            raise ValueError(f"ahead: forecasts are made for {last} days ahead, got {ahead}")
        return stack(
            [
                self.mean[k] * self.expected[k // self.periods_per_day - day, day]
                for k in range(period, period + ahead)
            ],
            axis=2,
        )


def freight_tape(
    background: BackgroundFreight,
    returns: ReturnDelays | None,
    lanes: Sequence[str],
    replicas: Sequence[Streams],
    periods: int,
    periods_per_day: int,
    make: Any,
    join: Any,
) -> FreightTape:
    """Draws the freight of a batch.

    Args:
        background: the volume.
        returns: when trucks come back; None: on time.
        lanes: names of the truck lanes, which key the streams.
        replicas: streams of each.
        periods: length, T.
        periods_per_day: of the network.
        make: turns NumPy values into arrays of the backend.
        join: joins replicas (T, ...) into (T, B, ...).
    """
    paths = [background.draw(streams, periods, periods_per_day) for streams in replicas]
    delays = None
    if returns is not None and returns.longest:
        delays = join([returns.draw(streams, lanes, periods) for streams in replicas])
    beyond = np.arange(periods + (background.days_ahead + 1) * periods_per_day)
    by_day = [join([path.expected[j] for path in paths]) for j in range(background.days_ahead + 1)]
    return FreightTape(
        volume=join([path.volume for path in paths]),
        parcels=join([path.volume / background.parcel_volume for path in paths]),
        expected=namespace(by_day[0]).stack(by_day),
        mean=make(background.mean_of(beyond)[:, None]),
        return_delay=delays,
        periods_per_day=periods_per_day,
    )
