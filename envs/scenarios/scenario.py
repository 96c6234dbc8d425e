"""What a scenario is: a world and the changes of its processes, as plain data.

A scenario is read from YAML or given as a mapping. Days and shares count from the beginning of the
episode; `start` is a share of the default horizon, or a pair between which it is drawn for each
tape, so that one file fits episodes of any length. Changes whose `key` is the same begin together.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stockyard.envs.network.capacities import RentSeason
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.martingale import MartingaleDemand
from stockyard.envs.network.shocks import DemandShock, Launches, Season
from stockyard.envs.network.windows import Window
from stockyard.envs.scenarios import checks
from stockyard.envs.scenarios.presets import Retail, SellerSettings
from stockyard.envs.scenarios.trucking_presets import Trucking

NAMED = Path(__file__).parent / "named"
"""The scenarios that come with the project, a file each."""


@dataclasses.dataclass(frozen=True)
class Change:
    """Something that holds for a while; see `stockyard.envs.network.windows.Window`."""

    key: str  # changes of one key begin together
    start: float | tuple[float, float]  # share of the horizon; a pair: drawn between them
    days: int
    factor: float = 1.0  # what it multiplies
    offset_days: int = 0  # of the beginning, after the key day
    ramp_days: int = 0
    recovery_days: int = 0
    announced_days: int | None = 0  # before the key day; None: known from the start

    def check(self, where: str) -> None:
        """Checks what must fit together; errors name the field by its path."""
        if not self.key:
            raise ValueError(f"{where}.key: must not be empty")


@dataclasses.dataclass(frozen=True)
class DemandChange(Change):
    """Demand is multiplied; `factor` is the mean of an uncertain lift."""

    products: tuple[float, float] = (0.0, 1.0)  # drawn ranks in [0, 1) whose demand changes
    common_sd: float = 0.0  # of the log lift
    product_sd: float = 0.0
    is_event: bool = False  # planned: the calendar shows it

    def check(self, where: str) -> None:
        """Checks what `DemandShock` asks for."""
        super().check(where)
        window = Window(
            self.key, 0, 0, offset_days=self.offset_days, announced_days=self.announced_days
        )
        with _told_as(where):
            DemandShock(
                window,
                self.factor,
                np.ones(1),
                self.common_sd,
                self.product_sd,
                is_event=self.is_event,
            )


@dataclasses.dataclass(frozen=True)
class LeadTimeChange(Change):
    """Lead times are multiplied."""

    suppliers: tuple[float, float] = (0.0, 1.0)  # share of the suppliers, first to last


@dataclasses.dataclass(frozen=True)
class LimitChange(Change):
    """A limit of `Capacities` is multiplied."""

    limit: str = "receiving"
    nodes: str = "all"  # all, docks, centres, regional, local, one_centre
    suppliers: tuple[float, float] = (0.0, 1.0)  # for the limit `supplier`

    def check(self, where: str) -> None:
        """Refuses nodes and suppliers for limits that are not theirs."""
        super().check(where)
        if self.limit in ("supplier", "storage_rent") and self.nodes != "all":
            raise ValueError(f"{where}.nodes: means nothing for the limit {self.limit!r}")
        of_pools = ("all", "centres", "one_centre")
        if self.limit in checks.POOL_LIMITS and self.nodes not in of_pools:
            raise ValueError(f"{where}.nodes: must be one of {of_pools} for {self.limit!r}")
        if self.limit != "supplier" and tuple(self.suppliers) != (0.0, 1.0):
            raise ValueError(f"{where}.suppliers: means nothing for the limit {self.limit!r}")


@dataclasses.dataclass(frozen=True)
class PromiseChange:
    """From a share of the horizon on, what customers are promised."""

    start: float
    min_offered_tier: int = 0
    acceptance_by_tier: tuple[float, ...] | None = None  # None: as before


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A named world. Every field but the name may be left out.

    Raises:
        ValueError: naming the field that is unknown or out of range.
    """

    name: str
    about: str = ""
    source: str = "generated"  # or "panel": demand replayed from a panel
    retail: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of presets.Retail
    economics: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of Economics
    demand: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of MartingaleDemand
    trucking: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of Trucking
    season: Mapping[str, Any] | None = None  # of network.shocks.Season
    rent_season: Mapping[str, Any] | None = None  # of network.capacities.RentSeason
    launches: Mapping[str, Any] | None = None  # of network.shocks.Launches; start, share
    sellers: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of SellerSettings
    demand_changes: Sequence[DemandChange] = ()
    lead_changes: Sequence[LeadTimeChange] = ()
    limit_changes: Sequence[LimitChange] = ()
    promise_changes: Sequence[PromiseChange] = ()

    def __post_init__(self) -> None:
        """Checks every field, and what the parts cannot check for themselves."""
        for field in ("name", "about"):
            checks.check_value(getattr(self, field), str, checks.ANY, field)
        if not self.name:
            raise ValueError("name: must not be empty")
        if self.source not in ("generated", "panel"):
            raise ValueError(f"source: must be 'generated' or 'panel', got {self.source!r}")
        self._check_mapping("retail", Retail, checks.RETAIL)
        self._check_mapping("economics", Economics, checks.ECONOMICS)
        self._check_mapping("sellers", SellerSettings, checks.SELLERS)
        not_plain = ("baseline", "shares", "season", "shocks", "launches")
        self._check_mapping("demand", MartingaleDemand, checks.DEMAND, not_plain)
        self._check_mapping("trucking", Trucking, checks.TRUCKING)
        self._check_mapping("season", Season, checks.SEASON)
        self._check_mapping("rent_season", RentSeason, checks.RENT_SEASON)
        self._check_launches()
        for field, (part, ranges) in CHANGES.items():
            for k, change in enumerate(getattr(self, field)):
                where = f"{field}[{k}]"
                if not isinstance(change, part):
                    raise ValueError(f"{where}: must be a {part.__name__}, got {change!r}")
                checks.check_values(part, vars(change), ranges, where)
                if isinstance(change, Change):
                    change.check(where)
        starts = [change.start for change in self.promise_changes]
        if starts != sorted(starts):
            raise ValueError(f"promise_changes.start: must ascend within [0, 1], got {starts}")
        generated = (self.season, self.launches, *self.demand_changes, *self.demand.values())
        if self.source == "panel" and any(part is not None for part in generated):
            raise ValueError("source: demand of a panel is replayed and cannot be changed")

    def _check_mapping(
        self, field: str, part: type, ranges: checks.Ranges, without: tuple[str, ...] = ()
    ) -> None:
        """Checks the values given for the fields of another class."""
        given = getattr(self, field)
        if given is None and field in ("season", "rent_season"):
            return
        values = checks.known_fields(part, given, field, without)
        checks.check_values(part, values, ranges, field)
        if part is SellerSettings and abs(sum(values.get("kinds", (1.0,))) - 1.0) > 1e-9:
            raise ValueError(f"{field}.kinds: must sum to 1, got {values['kinds']}")
        days = (values.get("first_day", 273), values.get("last_day", 364))
        if part is RentSeason and days[0] > days[1]:
            raise ValueError(f"{field}.first_day: must be at most last_day, got {days}")

    def _check_launches(self) -> None:
        """Checks what is given of `Launches`, its days as a share of the horizon."""
        if self.launches is None:
            return
        values = checks.known_fields(_Launches, self.launches, "launches")
        ranges = {**checks.LAUNCHES, "start": checks.SHARE, "share": checks.SHARE}
        checks.check_values(_Launches, values, ranges, "launches")
        own = {key: value for key, value in values.items() if key not in ("start", "share")}
        with _told_as("launches"):
            if not Launches(np.ones(1), 0, 0, **own).mean > 0.0:
                raise ValueError("flop_factor: nothing that is launched would be sold")

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> "Scenario":
        """Builds a scenario from plain data, as YAML gives it.

        Args:
            data: field -> value; `like` names a scenario, see `scenario_data`.

        Raises:
            ValueError: naming the field that is unknown, missing or out of range.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"scenario: must be a mapping, got {data!r}")
        values = checks.known_fields(cls, scenario_data(data), "scenario")
        for field, (part, _) in CHANGES.items():
            entries = values.get(field) or ()
            if not isinstance(entries, Sequence) or isinstance(entries, str):
                raise ValueError(f"{field}: must be a list, got {entries!r}")
            values[field] = tuple(
                part(**_tuples(checks.known_fields(part, entry, f"{field}[{k}]")))
                for k, entry in enumerate(entries)
            )
        for field in ("retail", "economics", "demand", "sellers", "trucking"):
            given = values.get(field)
            given = {} if given is None else given
            values[field] = _tuples(given) if isinstance(given, Mapping) else given
        return cls(**values)

    @classmethod
    def from_yaml(cls, path: str | Path) -> "Scenario":
        """Reads a scenario's file.

        Raises:
            ValueError: if it does not hold a scenario.
        """
        return cls.from_mapping(scenario_data(Path(path)))


CHANGES: dict[str, tuple[Any, checks.Ranges]] = {
    "demand_changes": (DemandChange, checks.CHANGE),
    "lead_changes": (LeadTimeChange, checks.LEAD_CHANGE),
    "limit_changes": (LimitChange, checks.CHANGE),
    "promise_changes": (PromiseChange, checks.PROMISE_CHANGE),
}
"""Field of `Scenario` -> the class of its entries, and their ranges."""


_Launches: Any = dataclasses.make_dataclass(
    "_Launches",
    [
        ("start", float | tuple[float, float], dataclasses.field(default=0.1)),
        ("share", float, dataclasses.field(default=0.3)),
        *(
            (f.name, f.type, dataclasses.field(default=f.default))
            for f in dataclasses.fields(Launches)
            if f.name not in ("affected", "first_day", "last_day")
        ),
    ],
)
"""What a scenario says of `Launches`."""


@contextlib.contextmanager
def _told_as(where: str) -> Iterator[None]:
    """Puts the path of a scenario's entry before the field that an error names."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None


def span(value: float | tuple[float, float]) -> tuple[float, float]:
    """A number, or a pair between which one is drawn, as a pair."""
    low, high = value if isinstance(value, tuple | list) else (value, value)
    return float(low), float(high)


def names() -> tuple[str, ...]:
    """The scenarios that come with the project."""
    return tuple(sorted(path.stem for path in NAMED.glob("*.yaml")))


def named_file(name: Any) -> Path:
    """The file of a scenario that comes with the project.

    Raises:
        ValueError: if there is none; the known names are listed.
    """
    if name not in names():
        known = ", ".join(names())
        raise ValueError(f"scenario: unknown {name!r}; known: {known}; or a YAML file")
    return NAMED / f"{name}.yaml"


def scenario_data(scenario: Any, within: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The data of a scenario, written out: what it is `like`, and its own fields over that.

    Mappings are merged with those of `like`, lists replace its lists. Without a `name` of its own a
    file has that of its stem, and data that of `like`.

    Args:
        scenario: a name, a YAML file, or data; `like` takes the same, a file beside the one that
            names it.
        within: files that are being read.

    Raises:
        ValueError: for an object, an unknown name, a file that is missing or broken, and where
            `like` leads back to itself.
    """
    if isinstance(scenario, Mapping):
        if "like" not in scenario:
            return dict(scenario)
        own = {key: value for key, value in scenario.items() if key != "like"}
        like = scenario["like"]
        if within and isinstance(like, str) and like.endswith(".yaml"):
            like = within[-1].parent / like
        return merged(scenario_data(like, within), own)
    if not isinstance(scenario, str | Path):
        raise ValueError(f"scenario: only a name, a file or data can be changed, got {scenario!r}")
    is_file = isinstance(scenario, Path) or scenario.endswith(".yaml")
    if is_file and not Path(scenario).is_file():
        raise ValueError(f"scenario: there is no file {str(scenario)!r}")
    path = Path(scenario) if is_file else named_file(scenario)
    if path.resolve() in [file.resolve() for file in within]:
        raise ValueError(f"like: {path} leads back to itself")
    return scenario_data({"name": path.stem, **_read(path)}, (*within, path))


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Data with changes: mappings are merged field by field, all else is replaced.

    Raises:
        ValueError: if the changes are no mapping.
    """
    if not isinstance(changes, Mapping):
        raise ValueError(f"scenario: must be a name or a mapping of fields, got {changes!r}")
    result = dict(data)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, Mapping):
        raise ValueError(f"{path}: must hold a mapping of a scenario's fields")
    return dict(data)


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k): tuple(v) if isinstance(v, list) else v for k, v in values.items()}
