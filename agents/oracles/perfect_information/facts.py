"""What a bound needs to know of one tape, read from an environment that was just reset."""

import dataclasses
from typing import Any

import numpy as np

from stockyard.agents.oracles.perfect_information.linear_program import Floats, Ints
from stockyard.envs.network.arrays import UNLIMITED, to_numpy
from stockyard.envs.network.economics import handling_values
from stockyard.envs.network.replenish import place_orders
from stockyard.envs.network.standing_rules import Idle, Recorded
from stockyard.envs.network.topology import Promise
from stockyard.envs.network.world import outlook_at, stock_values


@dataclasses.dataclass(frozen=True, eq=False)
class Orders:
    """How what is ordered at the review epochs of the episode arrives."""

    period: Ints  # (K,) review epochs, periods of the episode
    lead: Ints  # (K, M, E_in, P) periods until part m can be sold
    fraction: Floats  # (K, M, E_in, P) share of the order
    most: Floats  # (K, V) units that a supplier ships of one order; inf: no limit
    fixed: Floats | None  # (K, E_in, P) units, where buying is fixed by lane; else None
    # (K, P) bounds of what is ordered on all lanes together, where only the lanes are open
    together: tuple[Floats, Floats] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """One tape and the state at the start of its episode. Periods count from there."""

    env: Any
    row: int
    periods: int  # T
    decides_orders: bool
    demand: Floats  # (T, R, P) units
    limits: dict[str, Floats]  # field of Revealed -> (T, entities); inf: no limit
    promises: tuple[Promise, ...]  # (T,)
    orders: Orders
    on_hand: Floats  # (N, P) units
    yard: Floats  # (N, P)
    arriving: Floats  # (T, N, P) units under way at first, by the period at whose end they arrive
    later: Floats  # (E_tr, P) units under way between nodes at first that arrive after the end
    under_way: Floats  # (N, P) units under way between nodes at first, by head
    position: Floats  # (P,) units
    opening_value: float | None  # USD, of all whom the bound counts; None: nothing is valued
    cover: Floats  # (P,) units that count in full at the end
    handling_node: Floats  # (N,) USD per unit
    handling_transfer: Floats  # (E_tr,)

    @property
    def world(self) -> Any:
        """The world."""
        return self.env.world

    @property
    def params(self) -> Any:
        """The step's constants."""
        return self.env.params

    @property
    def is_welfare(self) -> bool:
        """Whether the surplus of retailer, sellers and customers counts, not profit alone."""
        return tuple(self.env.task.slots) == ("restock",)


def read(env: Any, row: int, free_split: bool = False) -> Facts:
    """Reads replica `row` of an unwrapped environment at the start of its episode.

    Args:
        env: after `reset`, before any step.
        row: replica.
        free_split: where buying is fixed, leave open on which lanes orders come.

    Raises:
        ValueError: for what the bound does not cover: backorders, trucks, several sellers' limits,
            placement whose orders are not recorded.
    """
    world, tape, state = env.world, env.tape, env.state
    network, start = world.network, world.burn_in
    decides_orders = _check(env)
    periods = env.horizon
    limits = {
        field: np.stack([_row(tape.limit(field, start + t), row) for t in range(periods)])
        for field in tape.limits
    }
    shape = (periods, network.num_nodes, network.num_products)
    arriving, under_way = np.zeros(shape), np.zeros(shape[1:])
    later = np.zeros((len(network.transfers.tail), network.num_products))
    for k, slot in enumerate(state.inbound):
        if k < periods:
            np.add.at(arriving[k], network.inbound.head, _row(slot, row))
    for k, slot in enumerate(state.transfers):
        units = _row(slot, row)
        np.add.at(under_way, network.transfers.head, units)
        if k < periods:
            np.add.at(arriving[k], network.transfers.head, units)
        else:
            later += units
    valued = world.economics.valuation != "none"
    first, last = (outlook_at(world, tape, start + t) for t in (0, periods)) if valued else ({}, {})
    values = stock_values(env.params, state, first)
    if tuple(env.task.slots) != ("restock",):
        values.pop("seller_inventory_value", None)
    value = sum(values.values()) if values else None
    days = round(world.economics.value_cover_days)
    node, transfer = handling_values(network, world.economics)
    return Facts(
        env=env,
        row=row,
        periods=periods,
        decides_orders=decides_orders,
        demand=to_numpy(tape.demand)[start : start + periods, row],
        limits={k: np.where(v >= UNLIMITED, np.inf, v) for k, v in limits.items()},
        promises=tuple(tape.at(start + t).promise for t in range(periods)),
        orders=_orders(env, row, periods, decides_orders, free_split),
        on_hand=_row(state.on_hand, row),
        yard=np.zeros(shape[1:]) if state.yard is None else _row(state.yard, row),
        arriving=arriving,
        later=later,
        under_way=under_way,
        position=_row(state.position, row),
        opening_value=None if value is None else float(to_numpy(value)[row]),
        cover=np.zeros(network.num_products) if value is None else _row(last[days], row),
        handling_node=node,
        handling_transfer=transfer,
    )


def _row(values: Any, row: int) -> Floats:
    """Replica `row` of an array whose first axis may be 1 for all."""
    array: Floats = np.asarray(to_numpy(values), dtype=np.float64)
    return np.asarray(array[row if len(array) > 1 else 0])


def _check(env: Any) -> bool:
    """Whether the agent decides orders; refuses what the bound does not cover."""
    world, state, slots = env.world, env.state, env.task.slots
    if state.backlog is not None:
        raise ValueError("the perfect-information bound covers lost sales, not backorders")
    if state.parcels is not None or state.staged is not None:
        raise ValueError("the perfect-information bound covers transport at a tariff, not trucks")
    if tuple(slots) == ("restock",):
        return _check_objective(env)
    if state.sellers is not None:
        raise ValueError("where sellers decide, the bound covers terms for them, and no other slot")
    if "replenish" in slots:
        return True
    if "place" not in slots:
        raise ValueError(f"the perfect-information bound covers no task that decides {slots}")
    if not isinstance(world.rules.get("replenish"), Recorded):
        raise ValueError("rules: with placement alone, replenish must be 'recorded'")
    if not isinstance(world.rules.get("restock", Idle()), Idle):
        raise ValueError("rules: recorded orders must not be cut by limits on sellers")
    return False


def _check_objective(env: Any) -> bool:
    """True: a planner orders for everybody. Refuses objectives but that of all parties together.

    Raises:
        ValueError: where payments between the parties count.
    """
    objective = env.task.objective
    if not objective.platform == objective.sellers == objective.customers == 1.0:
        raise ValueError(
            "objective: the perfect-information bound is that of all parties' surplus, weights 1"
        )
    return True


def _orders(env: Any, row: int, periods: int, decides: bool, free_split: bool) -> Orders:
    world, tape, params = env.world, env.tape, env.params
    network, start = world.network, world.burn_in
    absolute = np.arange(start, start + periods)
    absolute = absolute[absolute % tape.epoch_periods == 0]
    epoch = absolute // tape.epoch_periods
    shape = (len(epoch), 1, *network.carries.shape)
    if tape.lead is None:
        lead = np.broadcast_to(network.inbound.lead_time, shape).astype(np.int64)
        fraction = np.ones(shape)
    else:
        lead = np.rint(to_numpy(tape.lead)[epoch, row]).astype(np.int64)
        fraction = to_numpy(tape.fraction)[epoch, row].astype(np.float64)
    most = np.full((len(epoch), len(network.suppliers)), np.inf)
    if params.supplier_is_limited:
        daily = [_row(tape.limit("supplier_capacity", int(t)), row) for t in absolute]
        most = np.where(np.stack(daily) >= UNLIMITED, np.inf, np.stack(daily) * params.review_days)
    fixed, together = None, None
    if not decides:
        wanted, placed = zip(*(_recorded(env, int(t), row) for t in absolute), strict=True)
        fixed = np.stack(placed)
        if free_split:
            together = _on_any_lanes(params, np.stack(wanted), fixed)
            fixed = None
    return Orders(absolute - start, lead, fraction, most, fixed, together)


def _recorded(env: Any, period: int, row: int) -> tuple[Floats, Floats]:
    """Recorded orders of a review, (E_in, P): as wanted, and as placed."""
    exogenous = env.tape.at(period)
    wanted = env.world.rules["replenish"](env.params, env.state, exogenous.revealed)
    _, ordered = place_orders(env.params, env.state, wanted, None, exogenous)
    assert ordered is not None
    return _row(wanted, row), _row(ordered.ordered, row)


def _on_any_lanes(params: Any, wanted: Floats, placed: Floats) -> tuple[Floats, Floats]:
    """What may be ordered of each product, (K, P), if its recorded order is split over lanes.

    Suppliers cut all lanes alike, so the sum stays as placed; lots and whole units, which round
    every lane on its own, can move it by half a lot a lane, or a unit.
    """
    total = placed.sum(axis=1)
    lanes = params.network.inbound
    lot = np.maximum(lanes.minimum_order, lanes.case_pack) / 2.0
    ease = (lot + float(params.whole_units)) * params.network.carries
    if not ease.any():
        return total, total
    return np.zeros_like(total), wanted.sum(axis=1) + ease.sum(axis=0)
