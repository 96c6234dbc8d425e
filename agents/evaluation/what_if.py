"""Holds the tapes, changes a lever, and measures what moves.

A case is a change of an environment's specification, of the policy, or of both. All cases meet the
same seeds of the same split, so demand, lead times and failures are the same wherever the case
does not change them; what differs is said. It is the question that Amazon's Mechanical Sensei
answers: how much more inventory a promise asks for, where, and at what shipping cost.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockyard.agents.evaluation.rollout import Evaluation, evaluate
from stockyard.agents.evaluation.statistics import Interval, bootstrap_interval
from stockyard.agents.policy import Policy
from stockyard.envs.scenarios.scenario import merged, scenario_data

Floats = NDArray[np.float64]

FIXED = ("id", "size", "horizon", "num_envs", "split")
"""What a case may not change: its tapes would not be comparable."""

ROUNDING = 1e-12
"""Relative difference below which two figures are the same."""

SHARES = (
    "in_stock_rate",
    "fill_rate",
    "in_stock_sellers",
    "in_stock_new",
    "merchant_share",
    "crowding",
    "late_share",
    "spot_share",
    "carrier_share",
    "hub_share",
)
"""Metrics told in percent."""

OF_TERMS = ("limit_gini", "bullwhip", "broken_outlook", "storage_price")
"""Metrics of what sellers are offered, told as they are."""

FREIGHT = ("tariff", "transfer", "trucks", "spot", "expedite", "last_mile")
"""Accounts of what shipping costs."""

IN_TRANSIT = "in transit"
ON_ORDER = "on order"


@dataclass(frozen=True)
class Case:
    """What one case changes, beside `about`. All of it may be left out."""

    about: str = ""  # one line for tables
    # fields of `Scenario`, merged into the base's; with `like`, or a name: instead of it. Of a
    # textbook problem: its fields
    scenario: Any = None
    times: Mapping[str, float] = field(default_factory=dict)  # field of `Retail` -> factor
    add: Mapping[str, float] = field(default_factory=dict)  # field of `Retail` -> what is added
    env: Mapping[str, Any] = field(default_factory=dict)  # other keywords of the environment
    policy: Any = None  # None: the base's
    retune: bool = False  # tune the rule for this case on training tapes, afresh

    @classmethod
    def of(cls, name: str, data: Any) -> Case:
        """Reads a case; keys that are no field are keywords of the environment.

        Raises:
            ValueError: naming the case and the field that is wrong.
        """
        where = f"cases.{name}" if name != "base" else "base"
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"{where}: a name has letters, digits, _ and - only")
        if not isinstance(data, Mapping):
            raise ValueError(f"{where}: must be a mapping of what it changes, got {data!r}")
        own = ("about", "scenario", "times", "add", "policy", "retune")
        given = {str(key): value for key, value in data.items() if key in own}
        env = {str(key): value for key, value in data.items() if key not in own}
        for key in env:
            if key in FIXED:
                raise ValueError(f"{where}.{key}: must be the same in all cases")
        for key in ("times", "add"):
            if not isinstance(given.get(key, {}), Mapping):
                raise ValueError(f"{where}.{key}: must map parameters to numbers")
            for parameter, value in given.get(key, {}).items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise ValueError(f"{where}.{key}.{parameter}: must be a number, got {value!r}")
        if not isinstance(given.get("retune", False), bool):
            raise ValueError(f"{where}.retune: must be true or false, got {given['retune']!r}")
        return cls(**given, env=env)

    def changed(self, specification: Mapping[str, Any]) -> dict[str, Any]:
        """The specification of an environment after the change.

        Raises:
            ValueError: if the scenario has no such parameters, or is no data that can be changed.
        """
        spec = {**specification, **self.env}
        if self.scenario is None and not self.times and not self.add:
            return spec
        world = spec.get("scenario")
        if (
            is_dataclass(world)
            and isinstance(self.scenario, Mapping)
            and "like" not in self.scenario
        ):
            if self.times or self.add:
                raise ValueError(
                    "times and add: are for retail worlds; give the field in `scenario`"
                )
            fields = {str(key): value for key, value in self.scenario.items()}
            return {**spec, "scenario": replace(world, **fields)}  # type: ignore[type-var]
        if isinstance(self.scenario, str | Path):
            data = scenario_data(self.scenario)
        elif isinstance(self.scenario, Mapping) and "like" in self.scenario:
            data = scenario_data(self.scenario)
        else:
            if "scenario" not in spec:
                raise ValueError(f"scenario: {spec['id']} has none that could be changed")
            data = merged(scenario_data(spec["scenario"]), self.scenario or {})
        if self.times or self.add:
            name = str(spec["id"]).rpartition("/")[2].partition("-")[0]
            task = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
            data["retail"] = {**data.get("retail", {}), **self._scaled(data, task)}
        spec["scenario"] = data
        return spec

    def _scaled(self, data: Mapping[str, Any], task: str) -> dict[str, Any]:
        from stockyard.envs.scenarios.presets import retail_of

        now = retail_of(task, data.get("retail", {}))
        values: dict[str, Any] = {}
        for key, changes in (("times", self.times), ("add", self.add)):
            for name, change in changes.items():
                old = values.get(name, getattr(now, name, None))
                if isinstance(old, bool) or not isinstance(old, int | float):
                    raise ValueError(f"{key}: retail has no number {name!r}")
                values[name] = old * change if key == "times" else old + change
        return values


@dataclass(frozen=True)
class Measured:
    """One case on B tapes."""

    values: Mapping[str, Floats]  # measure -> (B,)
    places: tuple[str, ...]  # kinds of places, in the order of the goods' way
    tapes: Mapping[str, int]  # part of the tapes -> checksum
    seconds: float


def measure(policy: Policy, specification: Mapping[str, Any], **rollout: Any) -> Measured:
    """Runs a policy and measures profit, stock by place, service, freight and utilisation.

    Args:
        policy: Anything with `predict`.
        specification: The keyword arguments of `gymnasium.make_vec`, `id` included.
        **rollout: Of `evaluate`: num_tapes, seed, split, periods, warmup.
    """
    watch = _Watch()
    evaluation = evaluate(policy, specification, **rollout, observer=watch)
    return Measured(
        values={**_money(evaluation, watch), **watch.stock(), **_service(evaluation, watch)},
        places=tuple(watch.places),
        tapes=watch.tapes,
        seconds=evaluation.seconds,
    )


class _Watch:
    """Notes after every step what lies where, and once what the tapes hold."""

    def __init__(self) -> None:
        self.tapes: dict[str, int] = {}
        self.places: dict[str, Any] = {}  # kind -> its nodes
        self.env: Any = None
        self._count = 0
        self._sums: dict[str, Floats] = {}  # kind -> (B, P) units, summed over steps

    def __call__(self, env: Any) -> None:
        """Takes the state that a decision meets."""
        from stockyard.envs.network.arrays import to_numpy

        if self.env is None:
            self.env = env
            self.tapes = checksums(env.tape)
            for node, name in enumerate(env.world.network.nodes):
                self.places.setdefault(kind_of(name), []).append(node)
        state = env.state
        stored = to_numpy(state.on_hand)
        if state.yard is not None:
            stored = stored + to_numpy(state.yard)
        found = {kind: stored[:, nodes].sum(axis=1) for kind, nodes in self.places.items()}
        moving = [*state.transfers, *(() if state.staged is None else (state.staged,))]
        for kind, parts in ((IN_TRANSIT, moving), (ON_ORDER, state.inbound)):
            empty = np.zeros((stored.shape[0], stored.shape[2]))
            found[kind] = sum((to_numpy(part).sum(axis=1) for part in parts), start=empty)
        for kind, units in found.items():
            self._sums[kind] = self._sums.get(kind, 0.0) + units
        self._count += 1

    def stock(self) -> dict[str, Floats]:
        """Mean units, USD at cost and ft3 by place (B,), and of all places; orders apart."""
        products = self.env.world.network.products
        rates = {"units": 1.0, "usd": products.unit_cost, "ft3": products.volume}
        values: dict[str, Floats] = {}
        for unit, rate in rates.items():
            by_place = {k: (v * rate).sum(axis=1) / self._count for k, v in self._sums.items()}
            inside = [value for kind, value in by_place.items() if kind != ON_ORDER]
            values[f"stock_{unit}:all"] = np.sum(inside, axis=0)
            values |= {f"stock_{unit}:{kind}": value for kind, value in by_place.items()}
        return values


def kind_of(node: str) -> str:
    """The kind of place of a node of the retail layouts; any other node is a kind of its own."""
    head = node.split()[0]
    if head.startswith("FC-local"):
        return "local"
    return {"IXD": "cross-dock", "FC": "regional"}.get(head, node)


def checksums(tape: Any) -> dict[str, int]:
    """Part of a batch of tapes -> its CRC-32: equal where nothing differs in any row."""
    parts: dict[str, Sequence[Any]] = {
        "demand": (tape.demand,),
        "lead times and fill": (tape.lead, tape.fraction),
        "quoted lead times": (tape.quoted,),
        "limits": [tape.limits[name] for name in sorted(tape.limits)],
        "forecast": (tape.forecast_daily, tape.outlook),
    }
    found = {
        name: zlib.crc32(
            b"".join(np.ascontiguousarray(a).tobytes() for a in arrays if a is not None)
        )
        for name, arrays in parts.items()
    }
    found["promise"] = zlib.crc32(repr([tape.promise(t) for t in range(tape.num_periods)]).encode())
    return found


def _days(evaluation: Evaluation, watch: _Watch) -> float:
    return evaluation.periods / float(watch.env.world.network.periods_per_day)


def _money(evaluation: Evaluation, watch: _Watch) -> dict[str, Floats]:
    """Profit and freight; freight is told per unit sold, which the handling cost counts.

    Where terms for sellers are decided, the return is no profit but an objective of three parties.
    """
    days = _days(evaluation, watch)
    earned = "objective" if "limit_gini" in evaluation.metrics else "profit"
    values = {earned: evaluation.returns / days}
    economics, ledger = watch.env.world.economics, evaluation.ledger
    counts = (("pick_pack", "pick_pack_per_unit"), ("last_mile", "last_mile_per_unit"))
    for account, rate in counts:
        paid = getattr(economics, rate)
        if account in ledger and paid > 0.0:
            sold = -ledger[account] / paid
            break
    else:
        return values
    values["sold"] = sold / days
    parts = [name for name in FREIGHT if name in ledger]
    with np.errstate(divide="ignore", invalid="ignore"):
        values["freight:all"] = -np.sum([ledger[name] for name in parts], axis=0) / sold
        values |= {f"freight:{name}": -ledger[name] / sold for name in parts}
    return values


def _service(evaluation: Evaluation, watch: _Watch) -> dict[str, Floats]:
    """Service and use in percent, losses in units per day; of sellers, see `seller_metrics`."""
    steps_per_day = watch.env.world.network.periods_per_day / watch.env.periods_per_step
    values: dict[str, Floats] = {}
    for name, found in evaluation.metrics.items():
        head = name.partition("_")[0]
        if head == "lost":
            values[f"lost:{name.removeprefix('lost_')}"] = found * steps_per_day
        elif head == "surplus":
            values[f"surplus:{name.removeprefix('surplus_')}"] = found * steps_per_day
        elif head in ("speed", "utilisation") or name in SHARES:
            values[name] = 100.0 * found
        elif name in OF_TERMS:
            values[name] = found
    lost = [value for name, value in values.items() if name.startswith("lost:")]
    if lost:
        values["lost:all"] = np.sum(lost, axis=0)
    return values


@dataclass(frozen=True)
class Difference:
    """One measure of one case against the base, on the tapes where both are defined."""

    base: float  # mean over tapes
    case: float
    difference: float  # mean over tapes of (case - base)
    interval: Interval  # of the difference
    share_higher: float  # share of tapes on which the case is higher
    # variance of the difference as it is, over that with tapes drawn apart; None without spread
    variance_ratio: float | None


def differences(
    base: Mapping[str, Floats], case: Mapping[str, Floats], *, confidence: float = 0.95
) -> dict[str, Difference]:
    """Paired differences of all measures that both have.

    Raises:
        ValueError: if the numbers of tapes differ.
    """
    found: dict[str, Difference] = {}
    for name, before in base.items():
        if name not in case:
            continue
        after = case[name]
        if len(after) != len(before):
            raise ValueError(f"{name}: {len(before)} tapes in the base, {len(after)} in the case")
        defined = ~(np.isnan(before) | np.isnan(after))
        if not defined.any():
            continue
        old, new = before[defined], after[defined]
        gain = new - old
        # sums taken in another order differ in the last digits, which is no difference
        gain[np.abs(gain) <= ROUNDING * np.maximum(np.abs(old), np.abs(new))] = 0.0
        apart = float(old.var() + new.var())
        found[name] = Difference(
            base=float(old.mean()),
            case=float(new.mean()),
            difference=float(gain.mean()),
            interval=bootstrap_interval(gain, confidence=confidence),
            share_higher=float((gain > 0.0).mean()),
            variance_ratio=float(gain.var()) / apart if apart > 0.0 else None,
        )
    return found
