"""Random small networks with states, decisions and tapes, for the laws of the step.

A case is drawn from one number with NumPy, so that a failing law is repeated by naming the number.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from stockyard.envs.network.dynamics import step
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.params import Params, array_maker
from stockyard.envs.network.state import Decisions, Exogenous, Flows, Revealed, Shipments, State
from stockyard.envs.network.topology import (
    InboundLanes,
    Network,
    OutboundLanes,
    Products,
    Promise,
    TransferLanes,
)

BATCH = 3
PERIODS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A network in NumPy float64 with everything that happens to it for `PERIODS` periods."""

    seed: int
    network: Network
    economics: Economics
    flags: dict[str, Any]
    state: State
    decisions: tuple[Decisions, ...]
    exogenous: tuple[Exogenous, ...]

    def __repr__(self) -> str:
        """What repeats the case."""
        return f"draw_case({self.seed}), {self.flags}"

    def params(self, backend: str = "numpy", dtype: str = "float64") -> Params:
        """The step's constants."""
        return Params(self.network, self.economics, **self.flags, backend=backend, dtype=dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Period:
    """One period of a run."""

    before: State
    decisions: Decisions
    exogenous: Exogenous
    flows: Flows
    after: State


def change(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same nest of tuples with `function` applied to its arrays."""
    if tree is None or isinstance(tree, int | float):
        return tree
    if isinstance(tree, tuple):
        parts = [change(part, function) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return function(tree)


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """The arrays of a nest of tuples, each with its path."""
    if tree is None or isinstance(tree, int | float):
        return []
    if isinstance(tree, tuple):
        names = getattr(tree, "_fields", range(len(tree)))
        return [
            leaf
            for name, part in zip(names, tree, strict=True)
            for leaf in leaves(part, f"{path}.{name}")
        ]
    return [(path, tree)]


def freeze(tree: Any) -> Any:
    """Read-only copies of NumPy arrays: any write in place then fails."""

    def copy(array: Any) -> Any:
        frozen = np.array(array)
        frozen.setflags(write=False)
        return frozen

    return change(tree, copy)


def as_numpy(tree: Any) -> Any:
    """The same nest with NumPy arrays."""
    return change(tree, lambda a: a if isinstance(a, np.ndarray) else a.detach().numpy())


def run(case: Case, backend: str = "numpy") -> list[Period]:
    """Runs the case; results are NumPy, and every array that goes in is read-only."""
    params = case.params(backend)
    make = array_maker(backend, "float64")
    state = change(case.state, make)
    periods = []
    for decisions, exogenous in zip(case.decisions, case.exogenous, strict=True):
        if backend == "numpy":
            state = freeze(state)
        after, flows = step(params, state, change(decisions, make), change(exogenous, make))
        told = (as_numpy(part) for part in (state, decisions, exogenous, flows, after))
        periods.append(Period(*told))
        state = after
    return periods


def everywhere(state: State) -> Any:
    """All stock there is, (B, P) units, summed from every place."""
    total = state.on_hand.sum(axis=1)
    for part in (state.yard, state.staged, *state.inbound, *state.transfers):
        if part is not None:
            total = total + part.sum(axis=1)
    return total


def draw_case(seed: int, **fixed: Any) -> Case:
    """Draws a case.

    Args:
        seed: the case's number.
        **fixed: features that must (True) or must not (False) be there: `whole_units`, `docks`,
            `outbound`, `supplier`, `parcels`, `transfer_trucks`, `backorder`, `substitution`,
            `textbook`, `parts`, `tiers`, `fluid_trucks`, `lots`, `weights`, `promises`.
    """
    rng = np.random.default_rng([seed, 20])

    def maybe(feature: str, chance: float = 0.5) -> bool:
        drawn = bool(rng.random() < chance)
        return bool(fixed.get(feature, drawn))

    whole, has_docks = maybe("whole_units", 0.3), maybe("docks")
    parcels, trucked = maybe("parcels", 0.4), maybe("transfer_trucks", 0.4)
    backorder, fluid = maybe("backorder", 0.3), maybe("fluid_trucks", 0.3)
    textbook, parts = maybe("textbook", 0.3), maybe("parts")
    lots, weights, promises = maybe("lots", 0.3), maybe("weights"), maybe("promises")
    substitution = 0.35 if maybe("substitution") else 0.0
    num_tiers = int(rng.integers(2, 4)) if maybe("tiers", 0.6) else 1
    v, docks, centres, r, p = (int(rng.integers(1, 1 + top)) for top in (3, 2, 3, 3, 5))
    nodes = docks + centres

    # lanes
    pairs = [(d, docks + c) for d in range(docks) for c in range(centres) if rng.random() < 0.8]
    if centres > 1 and rng.random() < 0.4:  # a chain from centre to centre
        pairs += [(docks + c, docks + c + 1) for c in range(centres - 1)]
    rng.shuffle(pairs)
    tail, head = ([pair[k] for pair in pairs] for k in (0, 1))
    heads = list(range(docks)) + ([docks] if rng.random() < 0.4 else [])
    if rng.random() < 0.3:
        heads.append(0)  # a second supplier into one node
    supplier = rng.integers(-1, v, (len(heads), p))
    supplier[0] = np.maximum(supplier[0], 0)
    shortest = 1 if has_docks else int(rng.integers(0, 2))
    transit = rng.integers(shortest, 3, len(pairs))
    moves_truck = np.full(len(pairs), np.inf)
    if trucked:
        moves_truck = np.where(rng.random(len(pairs)) < 0.7, rng.uniform(3, 20), np.inf)
        transit = np.maximum(transit, 1)
    sources = [(n, k) for k in range(r) for n in range(docks, nodes) if rng.random() < 0.75]
    if rng.random() < 0.3:
        sources.append((0, int(rng.integers(r))))
    for k in range(r):
        if all(region != k for _, region in sources):
            sources.append((int(rng.integers(nodes)), k))
    outs = len(sources)
    out_truck = np.full(outs, np.inf)
    if parcels:
        out_truck = np.where(rng.random(outs) < 0.8, rng.uniform(2, 15), np.inf)

    def some_units(mean: float) -> Any:
        """Minimum orders or cases of some of the lanes' products."""
        drawn = rng.uniform(0.3, 1.7, (len(heads), p)) * mean * (rng.random((len(heads), p)) < 0.7)
        return np.rint(drawn) if whole else drawn

    num_owners = int(rng.integers(1, 4))
    mix: tuple[float, ...] = ()
    if parcels:
        mix = ((1.0,), (0.55, 0.25, 0.2))[int(rng.integers(2))]
    network = Network(
        nodes=tuple(f"n{k}" for k in range(nodes)),
        regions=tuple(f"r{k}" for k in range(r)),
        products=Products(
            tuple(f"p{k}" for k in range(p)),
            volume=rng.uniform(0.1, 2.0, p),
            price=rng.uniform(10, 60, p),
            unit_cost=rng.uniform(5, 30, p),
            owner=rng.integers(0, num_owners, p),
            group=tuple(f"g{k}" for k in rng.integers(0, 2, p)),
            tariff_weight=rng.uniform(0.5, 3.0, p) if weights else 1.0,
        ),
        suppliers=tuple(f"s{k}" for k in range(v)),
        inbound=InboundLanes(
            head=heads,
            supplier=supplier,
            lead_time=rng.integers(shortest, 4, (len(heads), p)),
            unit_cost=rng.uniform(5, 30, (len(heads), p)),
            minimum_order=some_units(6.0) if lots else 0.0,
            case_pack=some_units(2.0) if lots else 0.0,
        ),
        transfers=TransferLanes(
            tail=tail,
            head=head,
            transit=transit,
            cost_per_unit=rng.uniform(0, 1, len(pairs)),
            truck_volume=moves_truck,
        )
        if pairs
        else TransferLanes(),
        outbound=OutboundLanes(
            node=[n for n, _ in sources],
            region=[k for _, k in sources],
            tier=rng.integers(0, num_tiers, outs),
            tariff=rng.uniform(0, 3, outs) if rng.random() < 0.6 else 0.0,
            truck_volume=out_truck,
        ),
        acceptance_by_tier=(1.0, 0.93, 0.8)[:num_tiers],
        substitution=substitution,
        slack_mix=mix,
    )
    lanes = len(pairs) + outs
    unmet = "backorder" if backorder else "lost"
    if textbook:
        economics = Economics.textbook(
            unmet=unmet,
            holding_per_unit=rng.uniform(0, 2, nodes),
            transit_holding_per_unit=rng.uniform(0, 1, len(pairs)),
            shortage_per_unit=rng.uniform(1, 20),
            fixed_order_cost=float(rng.integers(0, 2) * 5),
            cost_per_truck=rng.uniform(5, 20, lanes),
        )
    else:
        economics = Economics(
            unmet=unmet,
            cost_per_truck=rng.uniform(5, 20, lanes),
            expedite_left_behind=bool(rng.random() < 0.3),
            waiting_per_parcel=float(rng.uniform(0, 1)),
        )
    limited = {name: has_docks and rng.random() < 0.7 for name in ("storage", "dock", "yard")}
    flags = {
        "whole_units": whole,
        "fluid_trucks": fluid,
        "review_days": float(rng.integers(1, 8)),
        "has_docks": has_docks,
        **{f"{name}_is_limited": bool(value) for name, value in limited.items()},
        "outbound_is_limited": maybe("outbound", 0.4),
        "supplier_is_limited": maybe("supplier", 0.4),
    }

    def units(*shape: int, mean: float = 5.0, empty: float = 0.25) -> Any:
        drawn = rng.gamma(1.5, mean / 1.5, (BATCH, *shape)) * (rng.random((BATCH, *shape)) > empty)
        return np.rint(drawn) if whole else drawn

    carried = network.carries
    trucks_on = np.isfinite(moves_truck)
    state = State(
        on_hand=units(nodes, p, mean=12.0),
        yard=units(nodes, p) if has_docks else None,
        inbound=tuple(units(len(heads), p) * carried for _ in range(rng.integers(0, 4))),
        staged=units(len(pairs), p) * trucks_on[:, None] if network.has_transfer_trucks else None,
        transfers=tuple(
            units(len(pairs), p) for _ in range(rng.integers(0, 3) if len(pairs) else 0)
        ),
        backlog=units(r, p, mean=2.0) if backorder else None,
        parcels=units(outs, len(mix) + 2) if parcels else None,
        parcel_volume=None,
        position=np.zeros((BATCH, p)),
    )
    if state.parcels is not None:
        state = state._replace(parcel_volume=state.parcels * rng.uniform(0.5, 2.0))
    state = state._replace(position=everywhere(state))

    def capacity(entities: int, mean: float) -> Any:
        rows = BATCH if rng.random() < 0.3 else 1
        values = rng.uniform(0.2, 1.8, (rows, entities)) * mean
        values[rng.random((rows, entities)) < 0.1] = 0.0
        return np.rint(values) if whole else values

    promise = Promise(int(rng.integers(0, num_tiers)), tuple(network.acceptance_by_tier))
    decisions, exogenous = [], []
    for _ in range(PERIODS):
        limits = rng.uniform(0, 30.0 * p, (BATCH, network.products.num_owners, nodes))
        limits[rng.random(limits.shape) < 0.3] = np.inf
        orders = units(len(heads), p, mean=8.0) - 2.0
        moved = units(len(pairs), p, mean=6.0) - 1.0
        decisions.append(
            Decisions(
                orders=orders if rng.random() < 0.8 else None,
                transfers=moved if len(pairs) and rng.random() < 0.8 else None,
                limits=limits if rng.random() < 0.5 else None,
                trucks=rng.uniform(-0.5, 4.0, (BATCH, lanes)) if rng.random() < 0.8 else None,
                expedite=rng.uniform(-0.2, 1.2, (BATCH, outs)) if rng.random() < 0.5 else None,
            )
        )
        shipments = None
        if parts:
            first = rng.integers(shortest, 3, (BATCH, len(heads), p))
            lead = np.stack((first, first + rng.integers(0, 3, first.shape)), axis=1)
            fill, split = rng.random((2, BATCH, 1, len(heads), p))
            fill = np.where(rng.random(fill.shape) < 0.3, 1.0, fill)
            shares = np.concatenate((fill * split, fill * (1.0 - split)), axis=1)
            shipments = Shipments(lead.astype(float), shares)
        known = Revealed(
            forecast_daily=None,
            quoted_lead=None,
            storage_capacity=capacity(nodes, 30.0) if limited["storage"] else None,
            receiving_capacity=capacity(nodes, 10.0) if limited["dock"] else None,
            outbound_capacity=capacity(nodes, 8.0) if flags["outbound_is_limited"] else None,
            supplier_capacity=capacity(v, 6.0) if flags["supplier_is_limited"] else None,
            yard_capacity=capacity(nodes, 15.0) if limited["yard"] else None,
            truck_limit=np.rint(capacity(lanes, 3.0)) if rng.random() < 0.5 else None,
            storage_rent=capacity(1, 2.0) if rng.random() < 0.3 else None,
        )
        if promises and rng.random() < 0.6:  # other tiers are offered, and others accepted
            pickier = np.cumprod((1.0, *rng.uniform(0.6, 1.0, num_tiers - 1)))
            promise = Promise(int(rng.integers(0, num_tiers)), tuple(pickier.tolist()))
        background = units(outs, mean=2.0) if parcels and rng.random() < 0.5 else None
        exogenous.append(
            Exogenous(
                revealed=known,
                demand=units(r, p, mean=4.0),
                shipments=shipments,
                background_parcels=background,
                background_volume=None if background is None else background * 0.8,
                promise=promise,
            )
        )
    return Case(seed, network, economics, flags, state, tuple(decisions), tuple(exogenous))
