"""A world: a network, its economics, what happens in it, and who decides by default."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.accounting import (
    cash_flows,
    freight_due,
    sellers_stock_value,
    stock_value,
)
from stockyard.envs.network.arrays import UNLIMITED, Array, batch_fastest
from stockyard.envs.network.dynamics import step
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.forecast import Forecaster
from stockyard.envs.network.params import Backend, Params, array_maker
from stockyard.envs.network.seller_traits import Sellers
from stockyard.envs.network.standing_rules import Rule
from stockyard.envs.network.state import (
    Decisions,
    Flows,
    FreightState,
    Ledger,
    SellerState,
    State,
    TruckPlan,
)
from stockyard.envs.network.tapes import Tape, TapeSource
from stockyard.envs.network.topology import Network

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Opening:
    """Stock at the start of the burn-in."""

    on_hand: Floats  # (N, P) units
    inbound: tuple[Floats, ...] = ()  # of (E_in, P) units; [k] arrives in k + 1 periods


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """Everything that defines an environment except what the agent sees and does."""

    network: Network
    economics: Economics
    source: TapeSource
    opening: Opening
    rules: Mapping[str, Rule]  # slot -> standing rule
    periods_per_step: int  # periods of the network between decisions of the agent
    horizon: int  # default length of an episode, periods
    max_order: Floats  # (P,) units, bound of one order
    burn_in: int = 0  # periods simulated by the standing rules before the episode
    whole_units: bool = False
    shows_history: bool = True  # observations carry forecasts, history, calendar, capacities
    # what observations show instead of the tape's own forecast (None): see tasks/shown_forecast.py
    forecast: Any = None
    sellers: Sellers | None = None  # who decides for the products that are not the retailer's
    reward_scale: float = 1.0  # USD; a fixed constant that training divides rewards by

    def __post_init__(self) -> None:
        """Checks that the cover over which stock is valued is forecast.

        Raises:
            ValueError: if it is not.
        """
        days, source = round(self.economics.value_cover_days), self.source
        if self.economics.valuation != "none" and source.forecaster is not None:
            if days not in source.outlook_days:
                raise ValueError(
                    f"source.outlook_days: must hold economics.value_cover_days ({days}), "
                    f"got {source.outlook_days}"
                )

    def params(self, backend: Backend, dtype: str) -> Params:
        """The step's constants in one backend and precision."""
        limits = self.source.capacities
        has_docks = any(x is not None for x in (limits.storage, limits.receiving, limits.yard))
        return Params(
            network=self.network,
            economics=self.economics,
            whole_units=self.whole_units,
            review_days=self.source.epoch_periods / self.network.periods_per_day,
            has_docks=has_docks,
            dock_is_limited=limits.receiving is not None,
            storage_is_limited=limits.storage is not None,
            yard_is_limited=limits.yard is not None,
            outbound_is_limited=limits.outbound is not None,
            supplier_is_limited=limits.supplier is not None,
            congestion=limits.congestion,
            sellers=self.sellers,
            backend=backend,
            dtype=dtype,
        )

    @property
    def forecaster(self) -> Forecaster | None:
        """The forecast that valuation and bounds use, and observations unless `forecast` is set."""
        return self.source.forecaster

    def opening_state(self, params: Params, batch: int) -> State:
        """The state before the burn-in, the same in every replica."""
        make = array_maker(params.backend, params.dtype, params.device)
        network = self.network
        p = network.num_products

        def everywhere(values: Any) -> Array:
            values = np.asarray(values, dtype=np.float64)
            return make(
                batch_fastest(np.broadcast_to(values, (batch, *values.shape)), values.dtype)
            )

        empty = np.zeros((len(network.inbound.head), p))
        inbound = tuple(everywhere(units) for units in self.opening.inbound)
        bins = len(network.slack_mix) + 2
        parcels = everywhere(np.zeros((network.num_parcel_lanes, bins)))
        return State(
            on_hand=everywhere(self.opening.on_hand),
            yard=everywhere(np.zeros((network.num_nodes, p))) if params.has_docks else None,
            inbound=inbound,
            staged=everywhere(np.zeros((len(network.transfers.tail), p)))
            if network.has_transfer_trucks
            else None,
            transfers=(),
            backlog=everywhere(np.zeros((network.num_regions, p))) if params.is_backorder else None,
            parcels=parcels if network.has_parcels else None,
            parcel_volume=parcels if network.has_parcels else None,
            position=everywhere(
                self.opening.on_hand.sum(axis=0)
                + sum(self.opening.inbound, start=empty).sum(axis=0)
            ),
            sellers=None if self.sellers is None else self._opening_sellers(everywhere),
            freight=None if network.freight is None else self._idle_fleet(everywhere),
        )

    def _opening_sellers(self, everywhere: Any) -> SellerState:
        """Sellers before anything was agreed: no limits, storage at the base price."""
        assert self.sellers is not None
        network, s = self.network, self.sellers.num_sellers
        rate = self.source.demand.mean_rate(network).sum(axis=0) * network.periods_per_day
        by_seller, common = everywhere(np.zeros(s)), everywhere(np.zeros(1))
        by_product = everywhere(np.zeros(network.num_products))
        price = self.economics.seller_storage_per_ft3_day
        return SellerState(
            limit=by_seller + UNLIMITED,
            won=by_seller,
            fee=by_seller,
            price=everywhere(np.full(self.sellers.num_size_classes, price)),
            outlook=everywhere(np.full((s, 2), UNLIMITED)),
            broken=by_seller,
            earned_days=common,
            clearing=common,
            request=by_seller,
            granted=by_seller + 1.0,
            cut=by_product,
            sales=everywhere(rate),
            in_stock=by_product + 1.0,
        )

    def _idle_fleet(self, everywhere: Any) -> FreightState:
        """All trucks at their pools, all drivers rested, nothing on its way to a hub."""
        freight, returns = self.network.freight, self.source.returns
        assert freight is not None
        longest = int(freight.round_trip.max()) + (0 if returns is None else returns.longest)
        hours = np.minimum(freight.most_hours, UNLIMITED) if freight.limits_hours else None
        return FreightState(
            away=everywhere(np.zeros((longest, len(freight.pools)))),
            hours=None if hours is None else everywhere(hours),
            to_hub=(),
            to_hub_volume=(),
        )


class Stretch(NamedTuple):
    """What happened over several periods."""

    flows: Sequence[Flows]
    ledger: Ledger  # the money of all its periods


def simulate(
    world: World,
    params: Params,
    state: State,
    tape: Tape,
    period: int,
    periods: int,
    decisions: Decisions,
    unreported: Array | None = None,
) -> tuple[State, Stretch]:
    """Runs `periods` periods; slots that `decisions` leaves open follow the standing rules.

    Orders are placed at review epochs, every `TapeSource.epoch_periods` periods; transfers that the
    agent decides leave in the first period only; terms are announced in the first period, by the
    standing rule where the agent leaves them open; limits, trucks and all other standing rules hold
    in every period.

    Args:
        world: the rules.
        params: the step's constants.
        state: start of period `period`.
        tape: the batch of tapes.
        period: index into the tape.
        periods: how many to simulate.
        decisions: the agent's; None in a slot asks the standing rule.
        unreported: (B, P) units that will not be delivered and that nobody knows of yet: a standing
            replenishment rule counts on them. None: none.

    Returns:
        The state after the last period, all flows, and their money.
    """
    flows = []
    rules = world.rules
    for k in range(periods):
        exogenous = tape.at(period + k)
        known = exogenous.revealed
        orders, limits = decisions.orders, decisions.limits
        transfers = decisions.transfers
        plan: Any = TruckPlan(
            decisions.trucks, decisions.expedite, decisions.spot, decisions.via_hub
        )
        if (period + k) % world.source.epoch_periods:
            orders = None  # no review in this period
        elif orders is None and "replenish" in rules:
            orders = rules["replenish"](params, as_booked(state, unreported), known)
        terms = decisions.terms if k == 0 else None
        rule = rules.get("restock")
        if getattr(rule, "announces_terms", False):
            if decisions.terms is None and rule is not None and is_month(world, period + k):
                terms = rule(params, state, known)
        elif limits is None and rule is not None:
            limits = rule(params, state, known)
        if transfers is not None and k > 0:
            transfers = None  # what was asked for has been taken
        elif transfers is None and "place" in rules:
            transfers = rules["place"](params, state, known)
        if plan.trucks is None and "dispatch" in rules:
            ruled = rules["dispatch"](params, state, known)
            plan = ruled if isinstance(ruled, TruckPlan) else plan._replace(trucks=ruled)
        decided = Decisions(
            orders,
            transfers,
            limits,
            plan.trucks,
            plan.expedite,
            terms,
            decisions.choices,
            plan.spot,
            plan.via_hub,
        )
        state, moved = step(params, state, decided, exogenous)
        flows.append(moved)
    return state, Stretch(flows, cash_flows(params, flows))


MONTH_DAYS = 28
"""Days for which terms with sellers hold."""


def is_month(world: World, period: int) -> bool:
    """Whether terms with sellers are announced in a period."""
    return period % (MONTH_DAYS * world.network.periods_per_day) == 0


def as_booked(state: State, unreported: Array | None) -> State:
    """The state in a buyer's books: open orders count in full until they are reported short."""
    if unreported is None:
        return state
    return state._replace(position=state.position + unreported)


def outlook_at(world: World, tape: Tape, period: int) -> dict[int, Array]:
    """What the forecast expects at the start of a period: days -> (B or 1, P) units over them.

    The days are `TapeSource.outlook_days`: those shown, and the cover over which stock is valued.
    """
    if world.forecaster is None:
        return {}
    means, _ = tape.outlook_at(period)
    return {days: means[:, k] for k, days in enumerate(tape.outlook_days)}


def stock_values(params: Params, state: State, outlook: Mapping[int, Array]) -> Ledger:
    """What stock is worth to those who hold it, (B,) USD; empty where nothing is valued.

    Changes of the values are the accounts of these names.
    """
    if params.economics.valuation == "none" or not outlook:
        return {} if state.freight is None else {"inventory_value": -freight_due(params, state)}
    cover = outlook[round(params.economics.value_cover_days)]
    values = {"inventory_value": stock_value(params, state, cover)}
    if params.sellers is not None:
        values["seller_inventory_value"] = sellers_stock_value(params, state, cover)
    return values


def value_of(params: Params, state: State, outlook: Mapping[int, Array]) -> Array | None:
    """Value of the retailer's stock less what waiting parcels will cost, (B,) USD; None: none."""
    return stock_values(params, state, outlook).get("inventory_value")
