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

from stockyard.envs.network.arrays import UNLIMITED, Array
from stockyard.envs.network.forecast import Forecaster
from stockyard.envs.network.params import Params, array_maker
from stockyard.envs.network.processes import (
    Arrivals,
    Capacities,
    DemandPath,
    DemandProcess,
    TwoPartArrivals,
)
from stockyard.envs.network.state import Exogenous, Revealed, Shipments
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.topology import Network

LIMITS = Revealed._fields[2:]
"""The fields of `Revealed` that are limits."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tape:
    """A batch of tapes. A limit with a first axis of length 1 holds for all periods."""

    demand: Array  # (T, B, R, P) units
    signals: dict[str, Array]  # name -> (T, B, P); row t is known at the start of period t
    forecast_daily: Array | None  # (T, B, R, P) units per day over the coming week
    quoted: Array | None  # (epochs, B, E_in, P) periods
    lead: Array | None  # (epochs, B, M, E_in, P) periods
    fraction: Array | None  # (epochs, B, M, E_in, P)
    limits: dict[str, Array]  # field of Revealed -> (1 or T, 1, entities)
    epoch_periods: int  # periods between review epochs
    # (B,) day of the year of period 0: 0 where demand has a calendar, else drawn, so that no date
    # tells the time left
    start_day: Array

    @property
    def num_periods(self) -> int:
        """Number of periods, T."""
        return int(self.demand.shape[0])

    def known(self, period: int) -> Revealed:
        """What is known at the start of a period."""
        limits = self._constant
        if limits is None:
            limits = [self.limit(field, period) for field in LIMITS]
        return Revealed(
            None if self.forecast_daily is None else self.forecast_daily[period],
            None if self.quoted is None else self.quoted[period // self.epoch_periods],
            *limits,
        )

    def limit(self, field: str, period: int) -> Array | None:
        """A limit of `Revealed` in a period, (1, entities); limits are announced ahead of time."""
        values = self.limits.get(field)
        if values is None:
            return None
        return values[0] if values.shape[0] == 1 else values[period]

    @functools.cached_property
    def _constant(self) -> list[Array | None] | None:
        """All limits, if none changes over time."""
        if any(values.shape[0] > 1 for values in self.limits.values()):
            return None
        return [self.limit(field, 0) for field in LIMITS]

    def at(self, period: int) -> Exogenous:
        """All of one period."""
        shipments = None
        if self.lead is not None and self.fraction is not None:
            epoch = period // self.epoch_periods
            shipments = Shipments(self.lead[epoch], self.fraction[epoch])
        return Exogenous(self.known(period), self.demand[period], shipments, None, None, 0)

    def signals_at(self, period: int) -> dict[str, Array]:
        """What the forecaster knows at the start of a period: name -> (B, P)."""
        return {name: values[period] for name, values in self.signals.items()}

    def digests(self) -> Array:
        """(B,) CRC-32 of demand and of the arrivals' leads and fractions, all periods, bit by bit.

        Quotes and forecasts, which come of the same draws, limits and the start day are left out.
        Equal tapes have equal digests; others differ but for a chance of 2**-32.
        """
        parts = [np.asarray(a) for a in (self.demand, self.lead, self.fraction) if a is not None]
        return np.array(
            [
                zlib.crc32(b"".join(np.ascontiguousarray(part[:, b]).tobytes() for part in parts))
                for b in range(self.demand.shape[1])
            ],
            dtype=np.int64,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TapeSource:
    """Draws tapes of one world."""

    network: Network
    demand: DemandProcess
    arrivals: TwoPartArrivals | None = None
    capacities: Capacities = dataclasses.field(default_factory=Capacities)
    forecaster: Forecaster | None = None
    regional_shares: Any = None  # (R, P) share of each region in the forecast; None: no forecast
    epoch_periods: int = 1

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
        epochs = -(-periods // self.epoch_periods)
        days = self.epoch_periods / self.network.periods_per_day
        paths: list[DemandPath] = []
        arrivals: list[Arrivals] = []
        starts: list[int] = []
        weeks: list[Any] = []
        for streams in replicas:
            path = self.demand.draw(streams, self.network, periods)
            if self.forecaster is not None:
                week = 7 * self.network.periods_per_day
                sums = self.forecaster.rolling_mean(path.signals, periods, week)
                weeks.append(sums[:, None, :] * (self.regional_shares / 7.0))
            paths.append(path)
            knows_date = getattr(self.demand, "has_calendar", False)
            starts.append(0 if knows_date else 7 * int(streams.generator("calendar").integers(52)))
            if self.arrivals is not None:
                arrivals.append(self.arrivals.draw(streams, self.network, epochs, days))

        def stack(parts: list[Any]) -> Array:
            """Joins replicas (T, ...) into (T, B, ...), the batch fastest in memory."""
            return make(np.moveaxis(np.stack(parts, axis=-1), -1, 1))

        return Tape(
            demand=stack([path.demand for path in paths]),
            signals={
                name: stack([path.signals[name] for path in paths]) for name in paths[0].signals
            },
            forecast_daily=stack(weeks) if weeks else None,
            quoted=stack([a.quoted for a in arrivals]) if arrivals else None,
            lead=stack([a.lead for a in arrivals]) if arrivals else None,
            fraction=stack([a.fraction for a in arrivals]) if arrivals else None,
            limits=self._limits(make),
            epoch_periods=self.epoch_periods,
            start_day=make(starts),
        )

    def _limits(self, make: Any) -> dict[str, Array]:
        fields = {
            "storage_capacity": self.capacities.storage,
            "receiving_capacity": self.capacities.receiving,
            "outbound_capacity": self.capacities.outbound,
            "supplier_capacity": self.capacities.supplier,
            "yard_capacity": self.capacities.yard,
            "truck_limit": self.capacities.trucks,
            "storage_rent": self.capacities.storage_rent,
        }
        limits = {}
        for field, value in fields.items():
            if value is not None:
                finite = np.minimum(np.asarray(value, dtype=np.float64), UNLIMITED)
                limits[field] = make(finite[None, None] if finite.ndim == 1 else finite[:, None])
        return limits
