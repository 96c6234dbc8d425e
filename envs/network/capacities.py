"""Limits of nodes, suppliers and trucks, and how they change over time."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import UNLIMITED
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.windows import Window

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WEEKS_AHEAD = 5
"""Weeks for which environments show limits, this one and the next four; days where trucks run."""

AHEAD_WEEKS = (*range(WEEKS_AHEAD), 8, 12)
"""Weeks ahead for which limits are announced: those shown by week, and two and three months."""

REVEALED = {
    "storage": "storage_capacity",
    "receiving": "receiving_capacity",
    "outbound": "outbound_capacity",
    "supplier": "supplier_capacity",
    "yard": "yard_capacity",
    "trucks": "truck_limit",
    "storage_rent": "storage_rent",
    "fleet": "fleet_size",
    "driver_hours": "driver_hours",
    "spot": "spot_limit",
    "carrier": "carrier_limit",
}
"""Field of `Capacities` -> field of `state.Revealed`."""


@dataclasses.dataclass(frozen=True, eq=False)
class CapacityChange:
    """Multiplies a limit while a window holds.

    Raises:
        ValueError: for an unknown field or a factor below 0.
    """

    field: str  # of `Capacities`
    window: Window
    factor: float
    affected: Floats  # (E,) 1 where the limit changes
    one_of_affected: bool = False  # only one of them, drawn for each tape

    def __post_init__(self) -> None:
        """Checks field and factor."""
        if self.field not in REVEALED:
            raise ValueError(f"field: unknown {self.field!r}; known: {', '.join(REVEALED)}")
        if not self.factor >= 0:
            raise ValueError(f"factor: must be >= 0, got {self.factor}")

    def whom(self, streams: Streams) -> Floats:
        """(E,) 1 where the limit changes in a replica's tape."""
        if not self.one_of_affected:
            return self.affected
        candidates = np.flatnonzero(self.affected)
        chosen = candidates[
            int(streams.generator("whom", self.window.key).integers(len(candidates)))
        ]
        return np.asarray(np.arange(len(self.affected)) == chosen, dtype=np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class RentSeason:
    """A higher storage rent in a stretch of the year."""

    factor: float = 1.0
    first_day: int = 273  # of the year
    last_day: int = 364


@dataclasses.dataclass(frozen=True, eq=False)
class CapacityWave:
    """A limit that varies without warning, all entities together.

    The log of its factor is an AR(1) by week; a week's factor shows at its beginning, and what is
    announced of later weeks is the conditional mean, an exact martingale.

    Raises:
        ValueError: naming the field that is out of range.
    """

    field: str  # of `Capacities`
    sd: float  # of the log factor; the factor's mean is 1
    half_life_days: float

    def __post_init__(self) -> None:
        """Checks the field and the numbers."""
        if self.field not in REVEALED:
            raise ValueError(f"field: unknown {self.field!r}; known: {', '.join(REVEALED)}")
        if not self.sd >= 0:
            raise ValueError(f"sd: must be >= 0, got {self.sd}")
        if not self.half_life_days > 0:
            raise ValueError(f"half_life_days: must be > 0, got {self.half_life_days}")

    def draw(self, streams: Streams, day: Ints, ahead: Ints) -> tuple[Floats, Floats]:
        """The factor by day (T,), and what is known then of it `ahead` days later, (K, T)."""
        weeks = int(day[-1]) // 7 + 1
        decay = 0.5 ** (7.0 / self.half_life_days)
        level = streams.generator("capacity", self.field).standard_normal(weeks)
        for k in range(1, weeks):
            level[k] = decay * level[k - 1] + np.sqrt(1.0 - decay**2) * level[k]
        now = level[day // 7]
        power = decay ** (ahead // 7)[:, None]
        known = np.exp(power * self.sd * now - (power * self.sd) ** 2 / 2.0)
        return np.exp(self.sd * now - self.sd**2 / 2.0), known


class Limits(NamedTuple):
    """A limit of one replica over time."""

    true: Floats  # (T, E)
    announced: Floats  # (AHEAD_WEEKS, T, E) what is known at the start of t of those weeks later


@dataclasses.dataclass(frozen=True)
class Congestion:
    """Docks that grow slow as a building fills up.

    With u the volume on the shelf and a share of the yard's over the storage capacity, a dock
    handles 1 - slope * max(u - start, 0) of its capacity, and never less than `least` of it.
    """

    start: float = 0.8
    slope: float = 2.0
    least: float = 0.35
    yard_weight: float = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Capacities:
    """Limits of a world: constant, by period, or changed while windows hold; None: unlimited.

    Limits given by period are announced ahead of time; changes become known with their windows.

    Raises:
        ValueError: naming the field that is negative or NaN, or that changes but is not limited.
    """

    storage: Floats | None = None  # (N,) or (T, N) ft3 on the shelf and staged
    receiving: Floats | None = None  # (N,) or (T, N) ft3 per period
    outbound: Floats | None = None  # (N,) or (T, N) units per period
    supplier: Floats | None = None  # (V,) or (T, V) units per day
    yard: Floats | None = None  # (N,) or (T, N) ft3
    trucks: Floats | None = None  # (L,) or (T, L) trucks per period
    storage_rent: Floats | None = None  # (1,) or (T, 1) multiple of the base rent
    fleet: Floats | None = None  # (G,) or (T, G) own trucks in service
    driver_hours: Floats | None = None  # (G,) or (T, G) hours that drivers are given per period
    spot: Floats | None = None  # (G,) or (T, G) trucks for hire per period
    carrier: Floats | None = None  # (G,) or (T, G) parcels that common carriers take per period
    changes: Sequence[CapacityChange] = ()
    waves: Sequence[CapacityWave] = ()
    rent_season: RentSeason | None = None
    congestion: Congestion | None = None  # docks slow down as shelf and yard fill up
    announced_every_days: int = 7  # days that stand for a week in what is announced

    def __post_init__(self) -> None:
        """Refuses NaN and negative limits, naming the field."""
        for field in REVEALED:
            value = getattr(self, field)
            if value is not None and not (np.asarray(value) >= 0).all():
                raise ValueError(f"capacities.{field}: must be >= 0 and not NaN")
        for field in (*(c.field for c in self.changes), *(w.field for w in self.waves)):
            if getattr(self, field) is None:
                raise ValueError(f"capacities.{field}: changes, but is not limited")
        if self.congestion is not None and (self.storage is None or self.receiving is None):
            raise ValueError("capacities.congestion: needs storage and receiving to be limited")
        if self.rent_season is not None and self.storage_rent is None:
            raise ValueError("capacities.storage_rent: has a season, but is None")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are limited."""
        return tuple(field for field in REVEALED if getattr(self, field) is not None)

    @property
    def varying(self) -> tuple[str, ...]:
        """The fields that differ between tapes."""
        fields = {change.field for change in self.changes} | {wave.field for wave in self.waves}
        if self.rent_season is not None:
            fields.add("storage_rent")
        return tuple(field for field in REVEALED if field in fields)

    def base(self, field: str, periods: int) -> Floats:
        """A limit before its changes, (1 or T, E); the last one stands for all beyond."""
        value = np.minimum(np.asarray(getattr(self, field), dtype=np.float64), UNLIMITED)
        if value.ndim == 1:
            return value[None]
        rows = np.minimum(np.arange(periods), len(value) - 1)
        return np.asarray(value[rows])

    def draw(
        self, streams: Streams, field: str, periods: int, periods_per_day: int, start_day: int
    ) -> Limits:
        """A varying limit of one replica.

        Args:
            streams: of the replica.
            field: one of `varying`.
            periods: T.
            periods_per_day: of the network.
            start_day: day of the year of period 0.

        Returns:
            The limit and what is announced of it.
        """
        ahead = np.array(AHEAD_WEEKS) * self.announced_every_days
        span = periods + int(ahead[-1]) * periods_per_day
        base: Any = self.base(field, span)
        day = np.arange(span) // periods_per_day
        true = base * np.ones((span, 1))
        announced = np.stack([true[k * periods_per_day :][:periods] for k in ahead])
        if field == "storage_rent" and self.rent_season is not None:
            season = self.rent_season
            of_year = (start_day + day) % 365
            inside = (of_year >= season.first_day) & (of_year <= season.last_day)
            dear = np.where(inside, season.factor, 1.0)[:, None]
            true = true * dear
            announced = announced * np.stack([dear[k * periods_per_day :][:periods] for k in ahead])
        for change in self.changes:
            if change.field != field:
                continue
            window = change.window
            key_day = window.key_day(streams)
            effect = (change.factor - 1.0) * change.whom(streams)
            true = true * (1.0 + window.profile(day - key_day)[:, None] * effect)
            known = window.is_known(day[:periods], key_day)
            for k, days in enumerate(ahead):
                seen = window.profile(day[:periods] + days - key_day) * known
                announced[k] = announced[k] * (1.0 + seen[:, None] * effect)
        for wave in self.waves:
            if wave.field == field:
                factor, expected = wave.draw(streams, day, ahead)
                true = true * factor[:, None]
                announced = announced * expected[:, :periods, None]
        return Limits(true[:periods], announced)
