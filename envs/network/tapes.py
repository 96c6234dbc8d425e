"""Tapes: everything random of an episode, drawn before its first step.

Arrays of a tape put time first, (T, B, ...), so that one period is a contiguous batch-first view;
in memory the batch runs fastest, as everywhere in the step.
"""

import dataclasses
import functools
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from stockyard.envs.network.arrays import Array, namespace, stack
from stockyard.envs.network.background import (
    BackgroundFreight,
    FreightTape,
    ReturnDelays,
    freight_tape,
)
from stockyard.envs.network.beliefs import Beliefs
from stockyard.envs.network.capacities import AHEAD_WEEKS, REVEALED, Capacities
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.forecast import HORIZONS_DAYS, Expected, Forecaster
from stockyard.envs.network.freight import truck_lane_names
from stockyard.envs.network.params import Params, array_maker
from stockyard.envs.network.processes import (
    Arrivals,
    DemandPath,
    DemandProcess,
    TwoPartArrivals,
    start_day,
)
from stockyard.envs.network.recorded import OrderRecorder
from stockyard.envs.network.state import Exogenous, Revealed, Shipments
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.topology import Network, Promise

LIMITS = tuple(REVEALED.values())
"""The fields of `Revealed` that are limits."""

OUTLOOK_DAYS = tuple(sorted({*HORIZONS_DAYS, round(Economics().value_cover_days)}))
"""Days over which forecasts are made: those shown, and the cover over which stock is valued."""

MONTHS_DAYS = (28, 56, 91)
"""Ends of the three months for which platforms forecast, of the days over which forecasts go."""

NO_EVENT_DAYS = 365.0
"""What stands for the days to a planned event where none is planned within a year."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tape:
    """A batch of tapes. A limit with a first axis of length 1 holds for all periods."""

    demand: Array  # (T, B, R, P) units
    # (K, B or 1, H, P) units expected over each of `outlook_days` from period k * outlook_periods
    # on; K = 1: always the same. None: no forecast
    outlook: Array | None
    outlook_extra: Array | None  # (K, B, H, P) log variance of them on top of the usual; None: none
    outlook_days: tuple[int, ...]
    outlook_periods: int
    forecast_daily: Array | None  # (T or 1, B, R, P) units per day over the coming week
    quoted: Array | None  # (epochs, B, E_in, P) periods
    lead: Array | None  # (epochs, B, M, E_in, P) periods
    fraction: Array | None  # (epochs, B, M, E_in, P)
    recorded: Array | None  # (epochs, B, P) units that the rule `recorded` orders; None: no such
    limits: dict[str, Array]  # field of Revealed -> (1 or T, 1 or B, entities)
    # field of Revealed -> (AHEAD_WEEKS, T, 1 or B, entities): [k, t] what is known at the start of
    # t of the limit AHEAD_WEEKS[k] weeks later; only of fields that differ between tapes
    announced: dict[str, Array]
    promises: tuple[Promise, ...]  # one for each period, or one for all; announced ahead of time
    event_days: Array  # (T or 1, B, 2) days to the next two planned events; 365: none
    epoch_periods: int  # periods between review epochs
    # (B,) day of the year of period 0: 0 where demand has a calendar of its own, else drawn, so
    # that no date tells the time left
    start_day: Array
    beliefs: Array | None = None  # (epochs, B, P) units a day that sellers expect; None: no sellers
    launch_day: Array | None = None  # (B, P) day on which a product is launched; -1: none is
    freight: FreightTape | None = None  # None: trucks carry what the network sells and moves

    @property
    def num_periods(self) -> int:
        """Number of periods, T."""
        return int(self.demand.shape[0])

    def known(self, period: int) -> Revealed:
        """What is known at the start of a period."""
        limits = self._constant
        if limits is None:
            limits = {field: self.limit(field, period) for field in LIMITS}
        epoch = period // self.epoch_periods
        return Revealed(
            forecast_daily=None
            if self.forecast_daily is None
            else _row(self.forecast_daily, period),
            quoted_lead=None if self.quoted is None else self.quoted[epoch],
            recorded_orders=None if self.recorded is None else self.recorded[epoch],
            forecast_months=self._months(period),
            **limits,
        )

    def _months(self, period: int) -> Array | None:
        """Units per day expected in three months from a period on, (B, 3, P), where terms are set.

        The last stretches over what is forecast of it, five weeks.
        """
        if self.beliefs is None or self.outlook is None or period % self.outlook_periods:
            return None
        units = _row(self.outlook, period // self.outlook_periods)
        at = [self.outlook_days.index(days) for days in MONTHS_DAYS]
        ends = (0, *MONTHS_DAYS)
        upto = [units[:, k] for k in at]
        parts = [upto[0], *(b - a for a, b in zip(upto[:-1], upto[1:], strict=True))]
        return stack(
            [part / (b - a) for part, a, b in zip(parts, ends[:-1], ends[1:], strict=True)], axis=1
        )

    def limit(self, field: str, period: int) -> Array | None:
        """The limit of `Revealed` that holds in a period, (1 or B, entities)."""
        values = self.limits.get(field)
        return None if values is None else _row(values, period)

    def announced_limit(self, field: str, period: int, weeks_ahead: int, week: int) -> Array | None:
        """What is known at the start of a period of a limit some weeks later.

        Args:
            field: of `Revealed`.
            period: now.
            weeks_ahead: one of AHEAD_WEEKS.
            week: periods of a week.

        Returns:
            (1 or B, entities); None: unlimited.
        """
        if field in self.announced:
            return self.announced[field][AHEAD_WEEKS.index(weeks_ahead), period]
        return self.limit(field, min(period + weeks_ahead * week, self.num_periods - 1))

    def promise(self, period: int) -> Promise:
        """What customers are promised in a period; the last one stands for all beyond."""
        return self.promises[min(period, len(self.promises) - 1)]

    def outlook_at(self, period: int) -> tuple[Array, Array | None]:
        """Units expected from a period on over each of `outlook_days`, and their extra variance.

        Raises:
            ValueError: if no forecast is made in that period.
        """
        assert self.outlook is not None
        row, rest = divmod(period, self.outlook_periods)
        if rest:
            raise ValueError(
                f"period: forecasts are made every {self.outlook_periods}, not {period}"
            )
        extra = None if self.outlook_extra is None else _row(self.outlook_extra, row)
        return _row(self.outlook, row), extra

    @functools.cached_property
    def _constant(self) -> dict[str, Array | None] | None:
        """All limits, if none changes over time."""
        if any(values.shape[0] > 1 for values in self.limits.values()):
            return None
        return {field: self.limit(field, 0) for field in LIMITS}

    def at(self, period: int) -> Exogenous:
        """All of one period."""
        shipments = None
        if self.lead is not None and self.fraction is not None:
            epoch = period // self.epoch_periods
            shipments = Shipments(self.lead[epoch], self.fraction[epoch])
        beliefs = None
        if self.beliefs is not None and period % self.epoch_periods == 0:
            beliefs = self.beliefs[period // self.epoch_periods]
        freight = self.freight
        delay = None if freight is None else freight.return_delay
        return Exogenous(
            self.known(period),
            self.demand[period],
            shipments,
            None if freight is None else freight.parcels[period],
            None if freight is None else freight.volume[period],
            self.promise(period),
            beliefs,
            None if delay is None else delay[period],
        )

    def digests(self) -> Array:
        """(B,) CRC-32 of demand, arrivals, beliefs, limits and freight, bit by bit.

        Quotes, forecasts and announcements, which come of the same draws, and the start day are
        left out, and so are limits that are the same in all tapes. Equal tapes have equal digests;
        others differ but for a chance of 2**-32.
        """
        drawn = (self.demand, self.lead, self.fraction, self.beliefs)
        parts = [np.asarray(a) for a in drawn if a is not None]
        parts += [np.asarray(self.limits[field]) for field in sorted(self.announced)]
        if self.freight is not None:
            of_trucks = (self.freight.volume, self.freight.return_delay)
            parts += [np.asarray(part) for part in of_trucks if part is not None]
        return np.array(
            [
                zlib.crc32(b"".join(np.ascontiguousarray(part[:, b]).tobytes() for part in parts))
                for b in range(self.demand.shape[1])
            ],
            dtype=np.int64,
        )


def _row(values: Array, index: int) -> Array:
    return values[0] if values.shape[0] == 1 else values[index]


@dataclasses.dataclass(frozen=True, eq=False)
class TapeSource:
    """Draws tapes of one world."""

    network: Network
    demand: DemandProcess
    arrivals: TwoPartArrivals | None = None
    capacities: Capacities = dataclasses.field(default_factory=Capacities)
    forecaster: Forecaster | None = None
    epoch_periods: int = 1
    promises: tuple[Promise, ...] = ()  # by period, the last for all beyond; (): the network's own
    recorder: OrderRecorder | None = None
    beliefs: Beliefs | None = None  # of sellers; None: nobody holds any
    outlook_days: tuple[int, ...] = OUTLOOK_DAYS  # ascending
    outlook_periods: int = 1  # periods between forecasts over these days
    background: BackgroundFreight | None = None  # None: trucks carry nothing else
    returns: ReturnDelays | None = None  # None: trucks come back on time

    def draw(self, params: Params, replicas: Sequence[Streams], periods: int) -> Tape:
        """Draws one tape per entry of `replicas`; a replica's tape depends on its streams alone.

        Args:
            params: precision and backend of the arrays.
            replicas: streams of each replica.
            periods: length, T.

        Returns:
            The batch of tapes.
        """
        make = array_maker(params.backend, params.dtype, params.device)
        h = self.network.periods_per_day
        epochs = -(-periods // self.epoch_periods)
        days = self.epoch_periods / h
        paths: list[DemandPath] = []
        arrivals: list[Arrivals] = []
        starts: list[int] = []
        weeks: list[Any] = []
        outlooks: list[Expected] = []
        believed: list[Any] = []
        every = np.arange(0, periods, self.outlook_periods)
        horizons = [day * h for day in self.outlook_days]
        for streams in replicas:
            path = self.demand.draw(streams, self.network, periods)
            if self.forecaster is not None:
                outlooks.append(self.forecaster.expected(path, every, horizons))
                weeks.append(self.forecaster.next_week(path, np.arange(periods)))
            paths.append(path)
            knows_date = getattr(self.demand, "has_calendar", False)
            starts.append(0 if knows_date else start_day(streams))
            if self.arrivals is not None:
                arrivals.append(self.arrivals.draw(streams, self.network, epochs, days))
            if self.beliefs is not None and self.forecaster is not None:
                reviews = np.arange(epochs) * self.epoch_periods
                believed.append(
                    self.beliefs.draw(streams, self.network, path, self.forecaster, reviews)
                )

        def join(parts: list[Any]) -> Array:
            """Joins replicas (T, ...) into (T, B, ...), the batch fastest in memory."""
            return make(np.moveaxis(np.stack(parts, axis=-1), -1, 1))

        limits, announced = self._limits(make, join, replicas, starts, periods)
        tape = Tape(
            demand=join([path.demand for path in paths]),
            outlook=join([e.units for e in outlooks]) if outlooks else None,
            outlook_extra=join([e.extra for e in outlooks])
            if outlooks and outlooks[0].extra is not None
            else None,
            outlook_days=self.outlook_days,
            outlook_periods=self.outlook_periods,
            forecast_daily=join(weeks) if weeks else None,
            quoted=join([a.quoted for a in arrivals]) if arrivals else None,
            lead=join([a.lead for a in arrivals]) if arrivals else None,
            fraction=join([a.fraction for a in arrivals]) if arrivals else None,
            recorded=None,
            limits=limits,
            announced=announced,
            promises=self.promises or (self.network.promise,),
            event_days=join([_days_to_events(path, periods, h) for path in paths]),
            epoch_periods=self.epoch_periods,
            start_day=make(starts),
            beliefs=join(believed) if believed else None,
            launch_day=_launch_days(make, paths) if believed else None,
            freight=self._freight(make, join, replicas, periods),
        )
        if self.recorder is None:
            return tape
        return dataclasses.replace(tape, recorded=self.recorder.record(params, tape))

    def _freight(
        self, make: Any, stack: Any, replicas: Sequence[Streams], periods: int
    ) -> FreightTape | None:
        """What else trucks carry, and when they come back."""
        if self.background is None:
            return None
        return freight_tape(
            self.background,
            self.returns,
            truck_lane_names(self.network),
            replicas,
            periods,
            self.network.periods_per_day,
            make,
            stack,
        )

    def _limits(
        self, make: Any, join: Any, replicas: Sequence[Streams], starts: list[int], periods: int
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Limits, and what is announced of those that differ between tapes."""
        capacities, h = self.capacities, self.network.periods_per_day
        limits, announced = {}, {}
        for field in capacities.fields:
            name = REVEALED[field]
            if field not in capacities.varying:
                limits[name] = make(capacities.base(field, periods)[:, None])
                continue
            drawn = [
                capacities.draw(streams, field, periods, h, start)
                for streams, start in zip(replicas, starts, strict=True)
            ]
            limits[name] = join([one.true for one in drawn])
            ahead = [join([one.announced[k] for one in drawn]) for k in range(len(AHEAD_WEEKS))]
            announced[name] = namespace(ahead[0]).stack(ahead)
        return limits, announced


def _launch_days(make: Any, paths: Sequence[DemandPath]) -> Array | None:
    """Day on which each product is launched, (B, P), or -1; None where none is."""
    launches: list[Any] = [path.signals.get("launch") for path in paths]
    if any(launch is None for launch in launches):
        return None
    return make(np.stack([launch.begin for launch in launches]))


def _days_to_events(path: DemandPath, periods: int, h: int) -> Any:
    """Days from the start of each period to the next two planned events, (T or 1, 2)."""
    if not len(path.event_days):
        return np.full((1, 2), NO_EVENT_DAYS)
    day = np.arange(periods)[:, None] // h
    gap = np.asarray(path.event_days)[None] - day
    gap = np.sort(np.where(gap >= 0, gap, NO_EVENT_DAYS), axis=1)
    gap = np.concatenate((gap, np.full((periods, 2), NO_EVENT_DAYS)), axis=1)[:, :2]
    return np.minimum(gap, NO_EVENT_DAYS).astype(np.float64)
