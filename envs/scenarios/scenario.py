"""What a scenario is: a world and the changes of its processes, as plain data.

A scenario is read from YAML or given as a mapping. Days and shares count from the beginning of the
episode; `start` is a share of the default horizon, or a pair between which it is drawn for each
tape, so that one file fits episodes of any length. Changes whose `key` is the same begin together.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

LIBRARY = Path(__file__).parent / "library"
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


@dataclasses.dataclass(frozen=True)
class DemandChange(Change):
    """Demand is multiplied; `factor` is the mean of an uncertain lift."""

    products: tuple[float, float] = (0.0, 1.0)  # drawn ranks in [0, 1) whose demand changes
    common_sd: float = 0.0  # of the log lift
    product_sd: float = 0.0
    is_event: bool = False  # planned: the calendar shows it


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
    season: Mapping[str, Any] | None = None  # of martingale.Season
    rent_season: Mapping[str, Any] | None = None  # of capacities.RentSeason
    launches: Mapping[str, Any] | None = None  # of martingale.Launches; start, share
    demand_changes: Sequence[DemandChange] = ()
    lead_changes: Sequence[LeadTimeChange] = ()
    limit_changes: Sequence[LimitChange] = ()
    promise_changes: Sequence[PromiseChange] = ()

    def __post_init__(self) -> None:
        """Checks what the parts cannot check for themselves."""
        if self.source not in ("generated", "panel"):
            raise ValueError(f"source: must be 'generated' or 'panel', got {self.source!r}")
        generated = (self.season, self.launches, *self.demand_changes, *self.demand.values())
        if self.source == "panel" and any(part is not None for part in generated):
            raise ValueError("source: demand of a panel is replayed and cannot be changed")
        for change in (*self.demand_changes, *self.lead_changes, *self.limit_changes):
            low, high = span(change.start, f"{change.key}.start")
            if not 0.0 <= low <= high <= 1.0:
                raise ValueError(f"{change.key}.start: must lie in [0, 1], got {change.start}")
        known = ("all", "docks", "centres", "regional", "local", "one_centre")
        for limit in self.limit_changes:
            if limit.nodes not in known:
                raise ValueError(
                    f"{limit.key}.nodes: unknown {limit.nodes!r}; known: {', '.join(known)}"
                )
        starts = [change.start for change in self.promise_changes]
        if starts != sorted(starts) or (starts and not 0.0 <= starts[0] <= starts[-1] <= 1.0):
            raise ValueError(f"promise_changes.start: must ascend within [0, 1], got {starts}")

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> "Scenario":
        """Builds a scenario from plain data, as YAML gives it.

        Args:
            data: field -> value; `like` names a scenario of the library whose other fields hold.

        Raises:
            ValueError: naming the field that is unknown, missing or out of range.
        """
        if isinstance(data, Mapping) and "like" in data:
            own = {key: value for key, value in data.items() if key != "like"}
            data = {**_read(library_file(data["like"])), **own}
        values = _checked(cls, data, "scenario")
        parts: dict[str, type] = {
            "demand_changes": DemandChange,
            "lead_changes": LeadTimeChange,
            "limit_changes": LimitChange,
            "promise_changes": PromiseChange,
        }
        for field, part in parts.items():
            entries = values.get(field) or ()
            if not isinstance(entries, Sequence) or isinstance(entries, str):
                raise ValueError(f"{field}: must be a list, got {entries!r}")
            values[field] = tuple(
                part(**_tuples(_checked(part, entry, f"{field}[{k}]")))
                for k, entry in enumerate(entries)
            )
        for field in ("retail", "economics", "demand"):
            given = values.get(field) or {}
            if not isinstance(given, Mapping):
                raise ValueError(f"{field}: must be a mapping, got {given!r}")
            values[field] = _tuples(given)
        return cls(**values)

    @classmethod
    def from_yaml(cls, path: str | Path) -> "Scenario":
        """Reads a scenario's file.

        Raises:
            ValueError: if it does not hold a scenario.
        """
        return cls.from_mapping({"name": Path(path).stem, **_read(path)})


def span(value: Any, field: str) -> tuple[float, float]:
    """A number, or a pair between which one is drawn, as a pair.

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), float(value)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return float(value[0]), float(value[1])
    raise ValueError(f"{field}: must be a number or a pair of them, got {value!r}")


def names() -> tuple[str, ...]:
    """The scenarios that come with the project."""
    return tuple(sorted(path.stem for path in LIBRARY.glob("*.yaml")))


def library_file(name: Any) -> Path:
    """The file of a scenario that comes with the project.

    Raises:
        ValueError: if there is none; the known names are listed.
    """
    if name not in names():
        known = ", ".join(names())
        raise ValueError(f"scenario: unknown {name!r}; known: {known}; or a YAML file")
    return LIBRARY / f"{name}.yaml"


def _read(path: str | Path) -> dict[str, Any]:
    data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(data, Mapping):
        raise ValueError(f"{path}: must hold a mapping of a scenario's fields")
    return dict(data)


def _checked(part: Any, data: Any, where: str) -> dict[str, Any]:
    """The entries of a mapping after refusing unknown and missing fields."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{where}: must be a mapping, got {data!r}")
    fields = {field.name: field for field in dataclasses.fields(part)}
    for name in data:
        if name not in fields:
            raise ValueError(f"{where}: unknown field {name!r}; known: {', '.join(fields)}")
    for name, field in fields.items():
        is_needed = field.default is dataclasses.MISSING
        if is_needed and field.default_factory is dataclasses.MISSING and name not in data:
            raise ValueError(f"{where}: {name} is missing")
    return {str(name): value for name, value in data.items()}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k): tuple(v) if isinstance(v, list) else v for k, v in values.items()}
