"""Checks plain data against the annotations of a dataclass and a table of ranges.

An annotation says what a field takes: whole numbers are ints and no bools, numbers are finite, two
of them are an ascending pair. A number is >= 0 unless the table says otherwise.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

import numpy as np

from stockyard.envs.network.packing import LOADERS


class Between(NamedTuple):
    """A range of numbers; its text is how an error calls it."""

    low: float = 0.0
    high: float = math.inf
    ends: str = "[]"  # of which round brackets exclude a bound
    length: int | None = None  # of a list, where it is fixed
    falls: bool = False  # a list that starts at 1 and never rises

    def holds(self, value: Any) -> bool:
        """Whether a number lies in it."""
        above = value > self.low if self.ends[0] == "(" else value >= self.low
        below = value < self.high if self.ends[1] == ")" else value <= self.high
        return bool(math.isfinite(value) and above and below)

    def of(self, what: str) -> str:
        """Says `what` of this range."""
        if math.isfinite(self.high):
            return f"{what} in {self}"
        sign = ">" if self.ends[0] == "(" else ">="
        return f"{what} {sign} {self.low:g}" if math.isfinite(self.low) else what

    def __str__(self) -> str:
        """Bounds in brackets."""
        return f"{self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


Ranges = Mapping[str, Between | tuple[str, ...]]
"""Field -> its range, or the names that it may take."""

ANY = Between(-math.inf)
SHARE = Between(0.0, 1.0)
BELOW_ONE = Between(0.0, 1.0, "[)")
POSITIVE = Between(0.0, ends="(]")
COUNT = Between(1)
DAY_OF_YEAR = Between(0, 364)
TIERS = 3
"""Delivery tiers of the retail worlds."""
ACCEPTANCE = Between(0.0, 1.0, "(]", TIERS, falls=True)


def known_fields(part: Any, data: Any, where: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The entries of a mapping, once all are fields of a dataclass.

    Raises:
        ValueError: naming what is unknown, where the known ones are listed, or missing.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where}: must be a mapping, got {data!r}")
    fields = {f.name: f for f in dataclasses.fields(part) if f.name not in without}
    for name in data:
        if name not in fields:
            raise ValueError(f"{where}: unknown field {name!r}; known: {', '.join(fields)}")
    for name, field in fields.items():
        is_needed = field.default is dataclasses.MISSING
        if is_needed and field.default_factory is dataclasses.MISSING and name not in data:
            raise ValueError(f"{where}: {name} is missing")
    return {str(name): value for name, value in data.items()}


def check_values(part: Any, values: Mapping[str, Any], ranges: Ranges, where: str) -> None:
    """Refuses values that are not what the fields of a dataclass take.

    Raises:
        ValueError: naming the field by its path.
    """
    hints = typing.get_type_hints(part)
    for name, value in values.items():
        check_value(value, hints[name], ranges.get(name, Between()), f"{where}.{name}")


def check_value(value: Any, hint: Any, allowed: Between | tuple[str, ...], where: str) -> None:
    """Refuses a value that an annotation or its range excludes.

    Raises:
        ValueError: naming the field by its path.
    """
    if typing.get_origin(hint) is Literal:
        allowed = typing.get_args(hint)
    if isinstance(allowed, tuple) and not isinstance(allowed, Between):
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{where}: unknown {value!r}; known: {', '.join(allowed)}")
        return
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if is_union else (hint,)
    rules = [_rule(kind, allowed, value) for kind in kinds]
    if not any(fits for _, fits in rules):
        raise ValueError(f"{where}: must {' or '.join(text for text, _ in rules)}, got {value!r}")


def _rule(kind: Any, allowed: Between, value: Any) -> tuple[str, bool]:
    """What an annotation asks for, and whether the value is that."""
    if kind is type(None):
        return "be null", value is None
    if kind is bool:
        return "be true or false", isinstance(value, bool)
    if kind is str:
        return "be a string", isinstance(value, str)
    if kind is int:
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        return allowed.of("be a whole number"), is_whole and allowed.holds(value)
    if kind is float:
        text = f"lie in {allowed}" if math.isfinite(allowed.high) else allowed.of("be a number")
        return text, _is_number(value) and allowed.holds(value)
    entries = value.tolist() if isinstance(value, np.ndarray) else value
    if kind is Any:  # a number or an array-like
        flat = _flat(entries)
        fits = bool(flat) and all(_is_number(v) and allowed.holds(v) for v in flat)
        return allowed.of("be a number, or a list of numbers, each"), fits
    is_list = isinstance(entries, list | tuple)
    fits = is_list and all(_is_number(v) and allowed.holds(v) for v in entries)
    if typing.get_args(kind)[-1] is not Ellipsis:
        fits = fits and len(entries) == 2 and entries[0] <= entries[1]
        return allowed.of("be an ascending pair of numbers"), fits
    if allowed.length is not None:
        fits = fits and len(entries) == allowed.length
    if allowed.falls:
        fits = fits and all(a >= b for a, b in zip((1.0, *entries), entries, strict=False))
        fits = fits and entries[0] == 1
        return allowed.of(f"be {allowed.length} numbers that start at 1 and fall,"), fits
    return allowed.of(f"be {allowed.length or 'a list of'} numbers, each"), fits


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        return [value]
    return [entry for part in value for entry in _flat(part)]


POOL_LIMITS = ("fleet", "driver_hours", "spot", "carrier")
"""Limits of pools of trucks; where there are none, changes of them mean nothing."""

CHANGE: Ranges = {
    "start": SHARE,
    "days": COUNT,
    "offset_days": ANY,
    "products": SHARE,
    "suppliers": SHARE,
    "limit": (
        *("storage", "receiving", "outbound", "supplier", "yard", "storage_rent"),
        *POOL_LIMITS,
    ),
    "nodes": ("all", "docks", "centres", "regional", "local", "one_centre"),
}
LEAD_CHANGE: Ranges = {**CHANGE, "factor": POSITIVE}
PROMISE_CHANGE: Ranges = {
    "start": SHARE,
    "min_offered_tier": Between(0, TIERS - 1),
    "acceptance_by_tier": ACCEPTANCE,
}
SEASON: Ranges = {"amplitude": BELOW_ONE, "peak_day": DAY_OF_YEAR, "ramp_days": COUNT}
RENT_SEASON: Ranges = {"first_day": DAY_OF_YEAR, "last_day": DAY_OF_YEAR}
LAUNCHES: Ranges = {"hit_share": SHARE, "flop_share": SHARE, "learn_days": COUNT}
DEMAND: Ranges = {
    "wave_half_life_days": POSITIVE,
    "regional_half_life_days": POSITIVE,
    "count_shape": POSITIVE,
}
ECONOMICS: Ranges = {
    "value_cover_days": COUNT,
    "salvage_fraction": SHARE,
    "seller_referral_fraction": SHARE,
    "seller_credit_fraction": SHARE,
    "surplus_by_tier": Between(length=TIERS),
}
RETAIL: Ranges = {
    **dict.fromkeys(("review_days", "group_size", "lead_days"), COUNT),
    **dict.fromkeys(("transfer_days_near", "transfer_days_far"), COUNT),
    **dict.fromkeys(
        ("crossdock_space_days", "regional_space_days", "local_space_days", "yard_days"), POSITIVE
    ),
    **dict.fromkeys(("crossdock_receiving", "centre_receiving", "outbound", "supplier"), POSITIVE),
    **dict.fromkeys(("price_median", "price_range", "volume_median", "volume_range"), POSITIVE),
    **dict.fromkeys(("demand_mean", "regional_half_life_days", "max_order_days"), POSITIVE),
    "acceptance_by_tier": ACCEPTANCE,
    "tariff_by_tier": Between(length=TIERS),
    "substitution": BELOW_ONE,
    "cost_ratio": SHARE,
    "third_party_cost_ratio": SHARE,
    "own_products": SHARE,
    "third_party_share": Between(0.0, 1.0, "()"),
    "storage_wave_half_life_days": POSITIVE,
    "day_of_week": BELOW_ONE,
}
SELLERS: Ranges = {
    "kinds": Between(0.0, 1.0, length=3),
    "num_size_classes": COUNT,
    "demand_shape": Between(0.2, 20.0),
    **dict.fromkeys(("merchant_share", "obsolescence", "anticipation", "insight"), SHARE),
    "most_cut": Between(0.0, 0.5),
    "payment": ("uniform", "pay_as_bid"),
    "promotion_share": BELOW_ONE,
}
TRUCKING: Ranges = {
    **dict.fromkeys(("truckloads_per_day", "truck_ft3", "payload_lb", "wave_sd"), POSITIVE),
    **dict.fromkeys(("parcel_lb_per_ft3", "pallet_lb_per_ft3", "fleet_days"), POSITIVE),
    **dict.fromkeys(("miles_per_wave", "spot_factor", "cost_per_mile"), POSITIVE),
    **dict.fromkeys(("near_share", "common_share", "hub_share"), SHARE),
    **dict.fromkeys(("slack_shares", "pallet_slack_shares", "return_shares", "waves"), SHARE),
    "fill_of_value": Between(0.0, 1.0, "(]"),
    "item_ft3": POSITIVE,
    "loading": ("cube", "items"),
    "loader": LOADERS,
}
