"""One period of the network: the phases in their fixed order, and nothing else.

Order of events within a period (part of the specification of every environment):

1. P0 the state is observed; goods received overnight are on the shelf.
2. P1 limits on what an owner may have on hand plus inbound are in force; at the beginning of a
   month the platform announces terms. P2 sellers answer and order, at review epochs.
3. P3 purchase orders are placed. An order with lead time l can be sold in l periods.
4. P4 transfers between nodes are taken from start-of-period stock. Orders and transfers that take
   no time arrive now.
5. P5 demand arrives; nodes serve it.
6. P6 trucks leave with what stood at P0.
7. P7 costs fall due on the stock that is left (`accounting.cash_flows`).
8. P8 pipelines advance, docks receive, parcels sold today join the bins.
"""

from stockyard.envs.network.dispatch import dispatch, join_parcels
from stockyard.envs.network.fulfil import fulfil
from stockyard.envs.network.mechanisms import announce
from stockyard.envs.network.params import Params
from stockyard.envs.network.place import move
from stockyard.envs.network.receive import land, receive
from stockyard.envs.network.replenish import place_orders
from stockyard.envs.network.sellers import billed, remember, respond
from stockyard.envs.network.state import Decisions, Exogenous, Flows, State, TruckPlan


def step(
    params: Params, state: State, decisions: Decisions, exogenous: Exogenous
) -> tuple[State, Flows]:
    """Simulates one period.

    Pure: no randomness, no writes into its arguments; NumPy or torch, whichever the arrays are.

    Args:
        params: what no period changes.
        state: start of the period.
        decisions: what the four slots decide; None leaves a slot idle.
        exogenous: this period of the tape.

    Returns:
        The state at the start of the next period, and what moved.
        `accounting.cash_flows` turns flows into money.
    """
    staged_at_start, orders, broken = state.staged, decisions.orders, None
    if params.sellers is not None:
        state = announce(params, state, decisions.terms, exogenous)
        if decisions.terms is not None and state.sellers is not None:
            broken = state.sellers.broken
        state, orders = respond(params, state, orders, exogenous, decisions.choices)
    state, ordered = place_orders(params, state, orders, decisions.limits, exogenous)
    state, transferred, landed_transfers = move(params, state, decisions.transfers, exogenous)
    landed_orders = None if ordered is None else ordered.landed
    state = land(params, state, landed_orders, landed_transfers)
    state, sales, merchant = fulfil(params, state, exogenous)
    plan = TruckPlan(decisions.trucks, decisions.expedite, decisions.spot, decisions.via_hub)
    state, gone, freight = dispatch(params, state, plan, staged_at_start, exogenous)
    end, bill = state, None
    if params.sellers is not None:
        bill = billed(params, state, merchant, exogenous)._replace(broken=broken)
        state = remember(params, state, sales.sold, sales.out_of_stock, sales.demand)
    state, receipts = receive(params, state, exogenous)
    state, joined, joined_volume = join_parcels(params, state, sales.served, exogenous)
    flows = Flows(
        None if ordered is None else ordered.ordered,
        None if ordered is None else ordered.shipped,
        None if ordered is None else ordered.shortfall,
        None if ordered is None else ordered.last_lead,
        transferred,
        *sales,
        exogenous.promise,
        *receipts,
        *gone,
        joined,
        joined_volume,
        end,
        exogenous.revealed.storage_rent,
        bill,
        freight,
    )
    return state, flows
