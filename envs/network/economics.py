"""Prices, costs and fees; the double-entry ledger; the value of stock.

Two ways of keeping the books share this file. Retail books (the default) pay for goods, handling,
freight and rent, and value stock at what was paid for it, so that the reward of a period is an
accrual profit. Textbook books charge holding, shortage and order costs and value nothing, so that
the reward of a period is exactly minus the textbook cost.
"""

import dataclasses
from typing import Any, Literal

import numpy as np

from stockyard.envs.network.topology import Network, Values

PARTIES: dict[str, tuple[str, str]] = {
    # account: (payer, payee)
    "sales": ("customers", "retailer"),
    "seller_sales": ("customers", "sellers"),
    "seller_fees": ("sellers", "retailer"),
    "seller_storage": ("sellers", "retailer"),
    "seller_overage": ("sellers", "retailer"),
    "seller_reservations": ("sellers", "retailer"),
    "seller_credits": ("retailer", "sellers"),
    "seller_capital": ("sellers", "lenders"),
    "merchant_sales": ("customers", "sellers"),
    "merchant_referrals": ("sellers", "retailer"),
    "merchant_purchases": ("sellers", "vendors"),
    "merchant_freight": ("sellers", "carriers"),
    "purchases": ("retailer", "vendors"),
    "seller_purchases": ("sellers", "vendors"),
    "fixed_order": ("retailer", "vendors"),
    "receiving": ("retailer", "labour"),
    "pick_pack": ("retailer", "labour"),
    "last_mile": ("retailer", "carriers"),
    "tariff": ("retailer", "carriers"),
    "transfer": ("retailer", "carriers"),
    "trucks": ("retailer", "carriers"),
    "spot": ("retailer", "carriers"),
    "expedite": ("retailer", "carriers"),
    "parcel_waiting": ("retailer", "carriers"),
    "late": ("retailer", "customers"),
    "storage": ("retailer", "landlords"),
    "yard": ("retailer", "landlords"),
    "overflow": ("retailer", "landlords"),
    "refusal": ("retailer", "carriers"),
    "capital": ("retailer", "lenders"),
    "holding": ("retailer", "landlords"),
    "goodwill": ("retailer", "reputation"),
    "shortage": ("retailer", "customers"),
    "inventory_value": ("inventory", "retailer"),
    "seller_inventory_value": ("inventory", "sellers"),
    "consumption": ("usefulness", "customers"),
}
"""Double entry: every account has one payer and one payee, so balances sum to zero.

`consumption` is what bought goods are worth to customers; `goodwill` is a retailer's loss of
later business, which it pays nobody in cash."""


@dataclasses.dataclass(frozen=True, eq=False)
class Economics:
    """Money, in USD. Durations in days, converted to periods once, by `Params`.

    Sources of the retail defaults: MODEL section 5 of the design notes, revised by its experiments:
    stock valued at full cost within 54 days of forecast, goodwill 2 USD a lost unit.

    Raises:
        ValueError: naming the field that is out of range.
    """

    unmet: Literal["lost", "backorder"] = "lost"
    valuation: Literal["cost", "none"] = "cost"
    # retail
    pick_pack_per_unit: float = 1.20
    last_mile_per_unit: float = 2.60
    receive_per_unit: float = 0.15
    storage_rent_per_ft3_day: float = 0.50 / 30.0
    yard_rent_per_ft3_day: float = 0.25
    yard_refusal_per_ft3: float = 0.50
    overflow_rent_per_ft3_day: float = 10.0 / 30.0
    capital_rate_per_year: float = 0.25
    goodwill_per_lost_unit: float = 2.0
    value_cover_days: float = 54.0
    salvage_fraction: float = 0.35
    seller_referral_fraction: float = 0.15
    seller_fee_per_unit: float = 4.50
    seller_storage_per_ft3_day: float = 0.78 / 30.0  # until a platform sets another price
    seller_overage_per_ft3_day: float = 10.0 / 30.0  # on stock in buildings above the limit
    seller_credit_fraction: float = 0.15  # of sales from space that was bought, up to its fee
    merchant_cost_per_unit: float = 6.50  # of a unit that a seller sends itself [A]
    # what a delivered unit is worth to its customer above the price, share of it, by tier [A]
    surplus_by_tier: tuple[float, ...] = (0.30, 0.28, 0.24)
    # freight
    cost_per_truck: Values = 0.0  # (L,) USD, of the pool's own where the network has `Freight`
    expedite_per_parcel: float = 3.0
    expedite_left_behind: bool = False  # due parcels that no truck took are expedited, not late
    late_per_parcel: float = 5.0
    late_per_parcel_day: float = 1.0
    waiting_per_parcel: float = 0.0  # per period, on parcels that stay after dispatch
    # textbook
    fixed_order_cost: float = 0.0  # per product and lane with an order
    holding_per_unit: Values = 0.0  # (N,) or (N, P) per period, on stock at the end of the period
    transit_holding_per_unit: Values = 0.0  # (E_tr,) per period, on units under way
    shortage_per_unit: Values = 0.0  # (R,) or (R, P) per unit lost, or per period and unit owed

    def __post_init__(self) -> None:
        """Checks the names of modes and the signs of all numbers."""
        for field, known in (("unmet", ("lost", "backorder")), ("valuation", ("cost", "none"))):
            if getattr(self, field) not in known:
                raise ValueError(f"{field}: must be one of {known}, got {getattr(self, field)!r}")
        for spec in dataclasses.fields(self):
            value: Any = getattr(self, spec.name)
            if isinstance(value, str):
                continue
            numbers = np.asarray(value, dtype=np.float64)
            if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
                raise ValueError(f"{spec.name}: must be finite and >= 0, got {value!r}")

    @classmethod
    def textbook(cls, **costs: Any) -> "Economics":
        """Books with every retail rate at zero; name the textbook costs that apply."""
        rates: dict[str, Any] = {
            spec.name: 0.0
            for spec in dataclasses.fields(cls)
            if spec.name.endswith(("_per_unit", "_per_ft3_day", "_per_ft3", "_per_year", "_unit"))
            or spec.name.startswith(("late_", "expedite_per"))
        }
        return cls(**{**rates, "valuation": "none", **costs})


def handling_values(network: Network, economics: Economics) -> tuple[Values, Values]:
    """Handling paid so far per unit: received at a node (N,), under way on a transfer lane (E_tr,).

    Stock is valued at cost plus this, so that receiving and moving goods is neither a loss now nor
    a hidden gain later. Where a node is fed in several ways, the cheapest counts: goods that arrive
    in the period they were sent (lead time or transit 0) pass no dock and pay no receiving.
    """
    value = np.full(network.num_nodes, np.inf)
    supply, lanes = network.inbound, network.transfers
    at_once = ((supply.lead_time == 0) & network.carries).any(axis=1)
    np.minimum.at(value, supply.head, np.where(at_once, 0.0, economics.receive_per_unit))
    received = np.where(lanes.transit == 0, 0.0, economics.receive_per_unit)
    for _ in range(network.num_nodes):  # a path has at most N nodes
        for tail, head, cost in zip(
            lanes.tail, lanes.head, lanes.cost_per_unit + received, strict=True
        ):
            value[head] = min(value[head], value[tail] + cost)
    value[np.isinf(value)] = 0.0
    return value, value[lanes.tail] + lanes.cost_per_unit


def party_balances(ledger: dict[str, Any]) -> dict[str, Any]:
    """Each party's net receipts from ledger amounts signed as the retailer sees them.

    Args:
        ledger: account -> (B,) USD; positive where the retailer receives. Accounts between other
            parties are positive for the payee.

    Returns:
        Party -> (B,) USD. The balances sum to zero over all parties.
    """
    balances: dict[str, Any] = {}
    for account, amount in ledger.items():
        payer, payee = PARTIES[account]
        received = -amount if payer == "retailer" else amount
        balances[payee] = balances.get(payee, 0.0) + received
        balances[payer] = balances.get(payer, 0.0) - received
    return balances
