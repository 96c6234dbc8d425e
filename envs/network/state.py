"""The arrays that the network's step reads and writes; each is documented once, here.

Axis letters are explained in `stockyard.envs.network.arrays`. A field that a configuration does
not use is None (or an empty tuple), and the phases that serve it skip their work.
"""

from typing import NamedTuple

from stockyard.envs.network.arrays import Array
from stockyard.envs.network.topology import Promise

Ledger = dict[str, Array]
"""Account of `economics.PARTIES` -> (B,) USD."""


class SellerState(NamedTuple):
    """What platform and sellers have agreed, and what sellers remember. C are size classes."""

    limit: Array  # (B, S) ft3 on hand plus inbound in the whole network, without what was won
    won: Array  # (B, S) ft3 of further space, bought for the month
    fee: Array  # (B, S) USD per ft3-day of `won`
    price: Array  # (B, C) USD per ft3-day in a building
    outlook: Array  # (B, S, 2) ft3 announced as the limits of the two months after this one
    broken: Array  # (B, S) ft3 by which the last limit differed from what was announced for it
    earned_days: Array  # (B, 1) days of past sales that limits grow by, as announced
    clearing: Array  # (B, 1) USD per ft3-day at which the last auction cleared; 0: none
    request: Array  # (B, S) ft3 on hand plus inbound that was asked for at the last review
    granted: Array  # (B, S) average share of what was needed that limits allowed
    cut: Array  # (B, P) share by which the price is cut
    sales: Array  # (B, P) units sold from the network per day, a running average
    in_stock: Array  # (B, P) share of demand that met a stocked shelf, a running average


class FreightState(NamedTuple):
    """Where the trucks and drivers of the pools are, and what is on its way to hubs."""

    away: Array  # (B, S, G) own trucks that can be sent again in k + 1 periods, by k
    hours: Array | None  # (B, G) drivers' hours saved up; None: not limited
    # of (B, E_hub, K+3) parcels on linehauls, by the bin that they join; [k] joins in k + 1 periods
    to_hub: tuple[Array, ...]
    to_hub_volume: tuple[Array, ...]  # ft3 of them


class State(NamedTuple):
    """What the network holds at the start of a period, after receipts."""

    on_hand: Array  # (B, N, P) units that can be sold or moved, >= 0
    yard: (
        Array | None
    )  # (B, N, P) units arrived but not received, >= 0; None if docks are unlimited
    inbound: tuple[Array, ...]  # of (B, E_in, P) units from suppliers; [k] arrives in k + 1 periods
    staged: Array | None  # (B, E_tr, P) units waiting at the tail for a truck; None without trucks
    transfers: tuple[Array, ...]  # of (B, E_tr, P) units under way; [k] arrives in k + 1 periods
    backlog: Array | None  # (B, R, P) units owed to customers; None where sales are lost
    # (B, F, K+3) parcels: late, slack 0..K, no deadline; F is E_out without `Freight`; None: no
    # trucks
    parcels: Array | None
    parcel_volume: Array | None  # (B, F, K+3) ft3 of `parcels`
    # (B, P) units on hand, in yards, staged and under way: carried, not summed. It counts what
    # suppliers will deliver, which a buyer learns only when the last part of an order is due.
    position: Array
    sellers: SellerState | None = None  # None: nobody but the retailer decides
    freight: FreightState | None = None  # None: the network has no `Freight`


class Terms(NamedTuple):
    """What a platform offers its sellers for the coming month; S sellers, C size classes."""

    limit: Array  # (B, S) ft3 on hand plus inbound in the whole network; UNLIMITED: none
    earned_days: Array  # (B, 1) days of a seller's past sales, by volume, that its limit grows by
    price: Array  # (B, C) USD per ft3-day in a building
    offered: Array  # (B, 1) ft3 of further space in an auction
    reserve: Array  # (B, 1) USD per ft3-day, the lowest bid
    outlook: Array  # (B, S, 2) ft3 expected as the limits of the two months after


class SellerChoices(NamedTuple):
    """What sellers decide at a review where they are agents; None leaves it to their habits."""

    stock: Array  # (B, S) multiple of the stock that they would aim at
    request: Array  # (B, S) multiple of their need that they ask for
    cut: Array  # (B, S) share by which they cut prices, up to the largest cut


class TruckPlan(NamedTuple):
    """What the dispatch slot decides where the network has `Freight`."""

    trucks: Array | None = None  # (B, L) trucks wanted: the pool's own first, then hired ones
    expedite: Array | None = None  # (B, F) as in `Decisions`
    # (B, L) trucks of them up to which hired ones make up what own ones leave open; None: none
    spot: Array | None = None
    via_hub: Array | None = None  # (B, E_out) 1 where parcels may take the linehaul; None: nowhere


class Decisions(NamedTuple):
    """What the four slots decide for one period; None leaves a slot idle."""

    orders: Array | None = None  # (B, E_in, P) units to order from suppliers
    transfers: Array | None = None  # (B, E_tr, P) units to move between nodes
    limits: Array | None = None  # (B, O, N) ft3 an owner may have on hand plus inbound; inf = none
    trucks: Array | None = None  # (B, L) trucks, transfer lanes first
    expedite: Array | None = None  # (B, F) share of the due parcels given to a common carrier
    terms: Terms | None = None  # what sellers are offered from now on; None: as before
    choices: SellerChoices | None = None  # what sellers do, where they are agents themselves
    spot: Array | None = None  # as in `TruckPlan`
    via_hub: Array | None = None  # as in `TruckPlan`


class Revealed(NamedTuple):
    """What is known at the start of a period; rules and observations may read this, no more."""

    forecast_daily: Array | None  # (B, R, P) mean units per day over the next seven days
    quoted_lead: Array | None  # (B, E_in, P) periods that the supplier quotes for an order now
    storage_capacity: Array | None  # (B or 1, N) ft3
    receiving_capacity: Array | None  # (B or 1, N) ft3 per period
    outbound_capacity: Array | None  # (B or 1, N) units per period
    supplier_capacity: Array | None  # (B or 1, V) units per day
    yard_capacity: Array | None  # (B or 1, N) ft3
    truck_limit: Array | None  # (B or 1, E_tr + E_out) trucks per period
    storage_rent: Array | None  # (B or 1, 1) multiple of the base rent
    recorded_orders: Array | None = None  # (B, P) units that the rule `recorded` orders now
    # (B, 3, P) units per day expected in the coming month and the two after, where sellers are
    # offered terms
    forecast_months: Array | None = None
    fleet_size: Array | None = None  # (B or 1, G) trucks of a pool that are in service
    driver_hours: Array | None = None  # (B or 1, G) hours that drivers are given in this period
    spot_limit: Array | None = None  # (B or 1, G) trucks that can be hired in this period
    carrier_limit: Array | None = None  # (B or 1, G) parcels that common carriers take in a period


class Shipments(NamedTuple):
    """How an order placed in this period arrives: Gen-QOT's quantity over time (Andaz et al.)."""

    lead: Array  # (B, M, E_in, P) periods until part shipment m can be used, >= 0, whole
    fraction: Array  # (B, M, E_in, P) share of the order in part shipment m; sums to the fill <= 1


class Exogenous(NamedTuple):
    """One period of a tape: what happens whatever anybody decides."""

    revealed: Revealed
    demand: Array  # (B, R, P) purchase intents, units
    shipments: Shipments | None  # None: the lane's own lead time, filled whole
    background_parcels: Array | None  # (B, F) parcels of the rest of the assortment
    background_volume: Array | None  # (B, F) ft3 of them
    promise: Promise  # what customers are promised
    # (B, P) units a day that sellers expect over the coming four weeks, at review epochs; the
    # platform does not see it
    beliefs: Array | None = None
    return_delay: Array | None = None  # (B, L) periods by which trucks sent now return late


class SellerFlows(NamedTuple):
    """What passed between platform and sellers within one period."""

    cut: Array  # (B, P) share by which prices were cut
    merchant: Array | None  # (B, P) units that sellers sent to customers themselves
    stored: Array  # (B, P) ft3 in buildings after fulfilment
    price: Array  # (B, P) USD per ft3-day of them
    over: Array  # (B, S) ft3 in buildings above the limit
    crowding: Array  # (B, 1) ft3 on shelves and in yards, everybody's, over the storage
    won: Array  # (B, S) ft3 of space bought
    fee: Array  # (B, S) USD per ft3-day of it
    broken: Array | None  # (B, S) ft3 of broken outlooks; None: nothing was announced


class FreightFlows(NamedTuple):
    """What trucks did in one period where the network has `Freight`."""

    at_hand: Array  # (B, G) own trucks that could be sent
    hours_left: Array | None  # (B, G) drivers' hours after dispatch; None: not limited
    own: Array  # (B, L) own trucks that ran
    spot: Array  # (B, L) hired trucks that ran
    load: Array  # (B, L) ft3 that they took
    sent_to_hub: Array | None  # (B, E_out, K+3) parcels on linehauls, by the bin they joined
    sent_to_hub_volume: Array | None  # (B, E_out, K+3) ft3 of them


class Flows(NamedTuple):
    """What moved within one period."""

    ordered: Array | None  # (B, E_in, P) units ordered after projection
    shipped: Array | None  # (B, E_in, P) units that suppliers will deliver of it
    shortfall: Array | None  # (B, E_in, P) units they will not deliver; None: all comes, on time
    last_lead: Array | None  # (B, E_in, P) periods until the last part shipment can be used
    transferred: Array | None  # (B, E_tr, P) units taken from the tail's stock
    demand: Array  # (B, R, P) purchase intents, units
    sold: Array  # (B, P) units handed to customers
    served: tuple[Array, ...]  # per rank of the regions' sources (B, R, P) units; sums to `sold`
    picked: tuple[Array, ...]  # per rank (B, R) units of all products; () if nothing needs it
    substituted: Array | None  # (B, R, P) units of `served` sold as a substitute; None: none
    abandoned: Array | None  # (B, R, P) intents given up because the promise was slow
    out_of_stock: Array  # (B, R, P) intents of the first pass that met an empty shelf
    lost: Array | None  # (B, R, P) intents that became no sale; None where unmet demand is owed
    room: Array | None  # (B, N) units that could still have been picked; None: no limit
    promise: Promise  # as in `Exogenous`: which ranks `served` refers to
    arrived: Array | None  # (B, N, P) units that reached a node at the end of the period
    received: Array | None  # (B, N, P) units put on the shelf at the end of the period
    # (B, P) units that came from suppliers, where transfers reach one of their nodes too; else None
    supplied: Array | None
    stored_volume: Array | None  # (B, N) ft3 on the shelf and staged before receiving
    overflow_volume: Array | None  # (B, N) ft3 of `stored_volume` above the capacity; None: none
    refused_volume: Array | None  # (B, N) ft3 that a full yard turned away
    trucks: Array | None  # (B, L) trucks that ran
    # (B, F, K+3) parcels that left the network by truck, by bin before the shift
    dispatched: Array | None
    dispatched_volume: Array | None  # (B, F, K+3) ft3 of them
    expedited: Array | None  # (B, F) parcels given to a common carrier
    expedited_volume: Array | None  # (B, F) ft3 of them
    newly_late: Array | None  # (B, F) parcels that missed their deadline in this period
    joined: Array | None  # (B, F) parcels sold or from the background that joined the bins
    joined_volume: Array | None  # (B, F) ft3 of them
    end: State  # after fulfilment and dispatch, before pipelines advance: what costs fall on
    storage_rent: Array | None  # (B or 1, 1) multiple of the base rent
    sellers: SellerFlows | None = None
    freight: FreightFlows | None = None  # None: the network has no `Freight`
