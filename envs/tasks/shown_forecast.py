"""Shown forecasts: what the decision maker is told to expect.

By default that is the tape's own forecast, an unbiased martingale. Other ones answer what a
forecast is worth: none, a biased one, one that is late, or one learned from past sales. Valuation,
standing rules and bounds go on to use the tape's own, so that two environments which differ in
nothing but `forecast` pay the same money for the same decisions on the same tapes.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from stockyard.envs.network.arrays import Array, as_like, at_least, stack
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.network.tapes import Tape
from stockyard.envs.network.world import World
from stockyard.envs.tasks.task import View


class Shown(NamedTuple):
    """A forecast of national demand by product."""

    means: Array  # (B or 1, H, P) units over each of HORIZONS_DAYS, >= 0
    quantiles: Array  # (B or 1, H, Q, P) units at the levels QUANTILES, ascending


@dataclasses.dataclass(frozen=True, eq=False)
class OwnForecast:
    """The tape's own forecast of one world, as of any period that has begun."""

    world: World

    @functools.cached_property
    def mean_per_day(self) -> Any:
        """Long-run mean demand, (R, P) units per day."""
        network = self.world.network
        return self.world.source.demand.mean_rate(network) * network.periods_per_day

    def now(self, view: View) -> Shown:
        """What the tape's forecast says at the decision."""
        _, extra = view.tape.outlook_at(view.period)
        means = stack([view.outlook[days] for days in HORIZONS_DAYS], axis=1)
        return self._around(means, self._shown_days(view.tape, extra))

    def at(self, tape: Tape, period: int) -> Shown:
        """What the tape's last forecast by the start of `period` said."""
        means, extra = tape.outlook_at(period - period % tape.outlook_periods)
        return self._around(self._shown_days(tape, means), self._shown_days(tape, extra))

    def long_run(self, like: Array) -> Shown:
        """The mean rate whatever the date, with the usual spread of the tape's forecast."""
        rate = self.mean_per_day.sum(axis=0)
        means = as_like(np.array(HORIZONS_DAYS)[None, :, None] * rate, like)
        return self._around(means, None)

    def _shown_days(self, tape: Tape, values: Array | None) -> Array | None:
        """The days that are shown of (B, outlook days, P); None stays."""
        if values is None:
            return None
        return stack([values[:, tape.outlook_days.index(days)] for days in HORIZONS_DAYS], axis=1)

    def _around(self, means: Array, extra: Array | None) -> Shown:
        """Means (B, H, P) with the quantiles that the tape's forecast puts around them."""
        assert self.world.forecaster is not None
        h = self.world.network.periods_per_day
        means = at_least(means, 0.0)
        horizons = tuple(days * h for days in HORIZONS_DAYS)
        return Shown(means, self.world.forecaster.quantiles(means, horizons, extra))


class ShownForecast(Protocol):
    """A forecast that observations show; a user's own is any callable like this.

    Pure: it may read what has been revealed by the decision and nothing else. Two attributes are
    optional: `uses_fields` (False where missing in the shipped ones, taken for True in others) says
    whether `fields` is read at all; `regional(own, view)` -> (B or 1, R, P) mean units per day over
    the coming week serves environments that show demand by region.
    """

    def __call__(self, own: OwnForecast, view: View, fields: Mapping[str, Array]) -> Shown:
        """Makes the forecast.

        Args:
            own: the tape's own forecast, and the world.
            view: what the decision maker has; of its tape only the revealed part may be read.
            fields: the observation without its forecasts, in shapes (B, P, ...), physical units.
        """


@dataclasses.dataclass(frozen=True)
class Martingale:
    """The tape's own forecast: unbiased, and right about its uncertainty."""

    uses_fields = False

    def __call__(self, own: OwnForecast, view: View, fields: Mapping[str, Array]) -> Shown:
        """The tape's own, now."""
        return own.now(view)

    def regional(self, own: OwnForecast, view: View) -> Array:
        """Mean units per day and region over the coming week, (B, R, P)."""
        return view.tape.known(view.period).forecast_daily


@dataclasses.dataclass(frozen=True)
class NoForecast:
    """The long-run mean rate: nothing of drift, season, events or launches."""

    uses_fields = False

    def __call__(self, own: OwnForecast, view: View, fields: Mapping[str, Array]) -> Shown:
        """The same at any time."""
        return own.long_run(view.state.position)

    def regional(self, own: OwnForecast, view: View) -> Array:
        """Mean units per day and region, (1, R, P)."""
        return as_like(own.mean_per_day[None], view.state.position)


@dataclasses.dataclass(frozen=True)
class Biased:
    """The tape's own forecast, means and quantiles, times 1 + bias."""

    bias: float = 0.2

    uses_fields = False

    def __post_init__(self) -> None:
        """Refuses a bias that leaves no positive forecast."""
        if not (_is_number(self.bias) and -1.0 < self.bias < np.inf):
            raise ValueError(f"forecast.bias: must be a number above -1, got {self.bias!r}")

    def __call__(self, own: OwnForecast, view: View, fields: Mapping[str, Array]) -> Shown:
        """All of it, alike at every horizon."""
        means, quantiles = own.now(view)
        return Shown(means * (1.0 + self.bias), quantiles * (1.0 + self.bias))

    def regional(self, own: OwnForecast, view: View) -> Array:
        """Mean units per day and region over the coming week, (B, R, P)."""
        return Martingale().regional(own, view) * (1.0 + self.bias)


@dataclasses.dataclass(frozen=True)
class Lagged:
    """What the tape's own forecast said some days ago over the same horizons from then.

    A forecast that is refreshed late: its windows begin `days` ago. Before the tape is that old, it
    is the tape's first.
    """

    days: int = 28

    uses_fields = False

    def __post_init__(self) -> None:
        """Refuses days that are no whole number."""
        is_whole = _is_number(self.days) and np.isfinite(self.days) and self.days % 1 == 0
        if not (is_whole and self.days >= 0):
            raise ValueError(f"forecast.days: must be a whole number >= 0, got {self.days!r}")

    def _period(self, own: OwnForecast, view: View) -> int:
        return max(view.period - int(self.days) * own.world.network.periods_per_day, 0)

    def __call__(self, own: OwnForecast, view: View, fields: Mapping[str, Array]) -> Shown:
        """What was known then."""
        return own.at(view.tape, self._period(own, view))

    def regional(self, own: OwnForecast, view: View) -> Array:
        """Mean units per day and region over the week that began then, (B, R, P)."""
        return view.tape.known(self._period(own, view)).forecast_daily


def _learned(**parameters: Any) -> ShownForecast:
    from stockyard.envs.tasks.learned_forecast import LearnedForecast

    return LearnedForecast(**parameters)


KINDS: dict[str, Callable[..., ShownForecast]] = {
    "martingale": Martingale,
    "none": NoForecast,
    "biased": Biased,
    "lagged": Lagged,
    "learned": _learned,
}
"""Forecasts by name."""


def resolve_forecast(forecast: Any, world: World) -> ShownForecast:
    """The forecast that a world's observations show.

    Args:
        forecast: a name of `KINDS`; a mapping with the name as `kind` beside its parameters, such
            as `{"kind": "biased", "bias": -0.1}`; a `ShownForecast`; None: the tape's own.
        world: the world.

    Raises:
        ValueError: for an unknown name (the known ones are listed), for a class, for parameters
            that it does not take, and where the world shows no forecast or decides too often for
            this one.
    """
    if forecast is None:
        return Martingale()
    if isinstance(forecast, type):
        raise ValueError(f"forecast: must be an instance, got the class {forecast.__name__}")
    if callable(forecast):
        made: ShownForecast = forecast
    else:
        given = {"kind": forecast} if isinstance(forecast, str) else forecast
        if not isinstance(given, Mapping):
            raise ValueError(f"forecast: must be a name, a mapping or a callable, got {forecast!r}")
        parameters = {str(key): value for key, value in given.items()}
        kind = parameters.pop("kind", None)
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"forecast: unknown {kind!r}; known: {', '.join(KINDS)}")
        try:
            made = KINDS[kind](**parameters)
        except TypeError:
            raise ValueError(f"forecast: {kind!r} does not take {', '.join(parameters)}") from None
    if world.forecaster is None and not isinstance(made, Martingale):
        raise ValueError("forecast: this world shows no forecast that could be replaced")
    check = getattr(made, "check", None)
    if check is not None:
        check(world)
    return made


def check_regional(forecast: ShownForecast) -> None:
    """Refuses a forecast that says nothing by region.

    Raises:
        ValueError: as said.
    """
    if not hasattr(forecast, "regional"):
        raise ValueError(f"forecast: {forecast!r} says nothing about regions")


def regional_forecast(forecast: ShownForecast, own: OwnForecast, view: View) -> Array:
    """Mean units per day and region over the coming week, (B or 1, R, P); see `check_regional`."""
    check_regional(forecast)
    regional: Any = forecast
    return regional.regional(own, view)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
