"""The linear program of a tape: every decision of the episode at once, demand and arrivals known.

It is a relaxation of the simulator's step: whatever a policy does is a feasible point that earns at
least what the policy earned. What is relaxed, phase by phase:

- Orders (P3): minima, cases and whole units are dropped; an order is any number of units within
  what the supplier ships. Each part arrives when the tape says, in proportion.
- Transfers (P4): any units to any node, no placement rule. What is at a node and on the way to it
  fits the largest capacity so far (transfers never exceed the present one, but old stock may).
- Demand (P5): a region's nodes serve at most the share of customers who accept their speed, nested
  by tier; which customer is served first is free. Unserved customers may try a substitute once.
- Docks (P8): which product is received first is free, so that goods waiting at a dock are one
  volume per node. A full yard's refusal costs its fee; waiting outside is charged as the yard, or
  as the refusal if that is cheaper. Stock above a capacity that fell pays the overflow rent.
- Terms (P1, P2): where terms for sellers are decided, a planner orders for everybody, and what
  counts is the surplus of all parties: what goods are worth to customers, less what is paid to
  others. `welfare` adds what that takes.
- Books (P7): exact but for the value of handling at the end: it counts in full for stock within
  the cover, and goods still at the dock count as received (with what that may hide added).

Source: section 6 of the model in the design notes.
"""

import functools
from typing import Any

import numpy as np

from stockyard.agents.oracles.perfect_information import customers, welfare
from stockyard.agents.oracles.perfect_information.facts import Facts
from stockyard.agents.oracles.perfect_information.linear_program import (
    Builder,
    Floats,
    Ints,
    LinearProgram,
)


def program_of(facts: Facts) -> LinearProgram:
    """The linear program of a tape: its optimum is at least any policy's return, USD."""
    return _Model(facts).build()


class _Model:
    """Columns and rows of one program; `entry` is the period from which arrivals can be sold."""

    def __init__(self, facts: Facts) -> None:
        self.facts, self.params = facts, facts.params
        self.network, self.economics = facts.world.network, facts.world.economics
        self.builder = Builder()
        self.block = customers.blocks(self.network)
        products = self.network.products
        self.own = (products.owner == 0) | facts.is_welfare  # whose stock and purchases count
        self.is_valued = facts.opening_value is not None
        self.salvage = self.economics.salvage_fraction if self.is_valued else 1.0
        self.book = products.unit_cost * self.own if self.is_valued else np.zeros(len(self.own))
        per_day = self.economics.capital_rate_per_year / 365.0 * self.params.days_per_period
        self.capital = products.unit_cost * self.own * per_day  # (P,) USD per unit and period
        self.fee = self.economics.receive_per_unit
        # What a unit that waits at a dock at the end saves beside one on the shelf, at most.
        kept = self.salvage * self.own if self.is_valued else 0.0
        self.spared = self.fee * (1.0 - kept) * float(self.params.has_docks)  # (P,) or a number

    def build(self) -> LinearProgram:
        """Adds all parts."""
        if self.params.has_docks and self.params.pays_holding:
            raise ValueError("holding_per_unit: not covered by the bound where docks are limited")
        self._columns()
        self._stock()
        self._orders()
        if self.params.counts_volume or self.params.has_docks:
            self._space()
        self._room_at_heads()
        drawn = welfare.drawn_customers(self.builder, self.facts, self.block)
        customers.add(self.builder, self.facts, self.sold, self.block, drawn)
        self._sales()
        welfare.add_merchants(self.builder, self.facts, self.sold, self.block)
        self._transfers()
        self._end()
        return self.builder.build(
            {"ordered": self.ordered, "moved": self.moved, "sold": self.sold, "left": self.left}
        )

    @functools.cached_property
    def most(self) -> Floats:
        """(P,) units that some optimum never exceeds anywhere: opening stock, demand and cover.

        More would be bought to be written down. Fixed orders are what they are.
        """
        facts, orders = self.facts, self.facts.orders
        rounded = 1.0 + float(self.params.whole_units) * orders.lead[:, :, :, 0].size
        if orders.fixed is not None:
            return np.asarray(facts.position + orders.fixed.sum(axis=(0, 1)) + rounded)
        if orders.together is not None:
            return np.asarray(facts.position + orders.together[1].sum(axis=0) + rounded)
        paid = np.where(self.network.carries, self.network.inbound.unit_cost, np.inf).min(axis=0)
        if (paid < self.salvage * self.book).any():
            raise ValueError(
                "inbound.unit_cost: below salvage value, so that no order is too large"
            )
        demand = facts.demand.sum(axis=(0, 1)) * (1.0 + welfare.most_gained(facts))
        together = np.bincount(self.block, demand)[self.block]
        return np.asarray(facts.position + facts.cover + together + rounded)

    def _columns(self) -> None:
        facts, network, build = self.facts, self.network, self.builder
        lanes, sources = network.transfers, network.outbound
        reach = facts.on_hand + facts.yard + facts.arriving.sum(axis=0) > 0
        np.logical_or.at(reach, network.inbound.head, network.carries)
        for _ in range(network.num_nodes):  # a path has at most N nodes
            np.logical_or.at(reach, lanes.head, reach[lanes.tail])
        fill = facts.orders.fraction.sum(axis=1)
        largest = np.where(fill > 1e-9, self.most / np.maximum(fill, 1e-9), 0.0)
        carried = np.broadcast_to(network.carries, fill.shape)
        lower: Any = 0.0
        upper: Any = np.inf
        if facts.orders.fixed is not None:
            lower = upper = facts.orders.fixed
            largest = facts.orders.fixed
        elif facts.orders.together is not None:
            largest = np.broadcast_to(facts.orders.together[1][:, None], fill.shape)
        self.ordered = build.columns(
            carried, largest, lower=lower, upper=upper, block=self.block
        )  # (K, E_in, P)

        def each(entities: Any) -> Ints:
            where = np.broadcast_to(entities, (facts.periods, *entities.shape))
            return build.columns(where, self.most, block=self.block)

        self.moved = each(reach[lanes.tail])  # (T, E_tr, P)
        self.sold = each(reach[sources.node])  # (T, E_out, P)
        # At a node after sales, on the shelf or waiting at the dock: (T, N, P)
        self.left = each(reach)
        self.reach = reach
        self.fill = fill

    def _stock(self) -> None:
        """What is left at a node is what was left the day before, with arrivals, less what went."""
        facts, build, network = self.facts, self.builder, self.network
        right = np.zeros((facts.periods + 1, *facts.on_hand.shape))
        right[1:] = facts.arriving
        right[0] += facts.on_hand + facts.yard
        self.entering = right  # (T + 1, N, P) constants, by entry
        where = np.broadcast_to(self.reach, right[:-1].shape)
        rows = build.rows(where, right[:-1], equal=True, block=self.block)
        self.balance = rows
        build.add(rows, self.left, 1.0)
        build.add(rows[1:], self.left[:-1], -1.0)
        for lane, tail in enumerate(network.transfers.tail.tolist()):
            build.add(rows[:, tail], self.moved[:, lane], 1.0)
        for lane, node in enumerate(network.outbound.node.tolist()):
            build.add(rows[:, node], self.sold[:, lane], 1.0)

    def _orders(self) -> None:
        """Orders and transfers enter stock; suppliers ship what they can."""
        facts, build, network = self.facts, self.builder, self.network
        orders = facts.orders
        entry = orders.period[:, None, None, None] + orders.lead
        reached = (entry <= facts.periods) & network.carries & (orders.fraction > 0)
        k, m, lane, product = np.nonzero(reached)
        part = orders.fraction[k, m, lane, product]
        column, node = self.ordered[k, lane, product], network.inbound.head[lane]
        # (units column, share that arrives, entry, node, product) of every part shipment
        self.parts = (column, part, entry[k, m, lane, product], node, product)
        if self.params.whole_units:
            self._rounded_parts(k, m, lane, product)
        waited = orders.lead[k, m, lane, product] > 0
        column, part, at, node, product = self.parts
        waited = np.resize(waited, len(column))
        build.pay(column, -self.fee * part * waited)
        now = at < facts.periods
        build.add(self.balance[at[now], node[now], product[now]], column[now], -part[now])
        sent = np.arange(facts.periods)[:, None] + network.transfers.transit
        self.transfer_entry = sent  # (T, E_tr)
        t, e = np.nonzero(sent < facts.periods)
        build.add(self.balance[sent[t, e], network.transfers.head[e]], self.moved[t, e], -1.0)
        suppliers = np.arange(len(network.suppliers))
        serves = network.inbound.supplier == suppliers[:, None, None]  # (V, E_in, P)
        rows = build.rows(np.ones(orders.most.shape, dtype=np.bool_), orders.most)
        if orders.fixed is None:
            build.add(rows[:, :, None, None], self.ordered[:, None], serves)
        if orders.together is not None:
            low, high = orders.together
            same = bool((low == high).all())
            everything = np.ones(low.shape, dtype=np.bool_)
            rows = build.rows(everything, high, equal=same, block=self.block)
            build.add(rows[:, None], self.ordered, 1.0)
        self._pay_for(self.ordered, self.fill, orders.period[:, None, None])

    def _rounded_parts(self, k: Ints, m: Ints, lane: Ints, product: Ints) -> None:
        """Whole units: a part may differ from its share by less than a unit, and is paid for."""
        build, orders = self.builder, self.facts.orders
        shape = orders.lead.shape
        where = np.broadcast_to(self.network.carries, shape)
        off = build.columns(where, 1.0, lower=-1.0, upper=1.0, block=self.block)
        self._pay_for(off, np.ones(shape), orders.period[:, None, None, None])
        extra = (off[k, m, lane, product], np.ones(len(k)))
        column, part, entry, node, product = self.parts
        self.parts = (
            np.concatenate((column, extra[0])),
            np.concatenate((part, extra[1])),
            np.tile(entry, 2),
            np.tile(node, 2),
            np.tile(product, 2),
        )
        self.rounded = off

    def _pay_for(self, columns: Ints, shipped: Floats, period: Ints) -> None:
        """Price, capital and salvage value of what is shipped."""
        price = self.network.inbound.unit_cost * self.own if self.params.pays_purchases else 0.0
        held = self.capital * (self.facts.periods - period)
        worth = self.salvage * self.book + self.spared
        self.builder.pay(columns, shipped * (worth - price - held))

    def _space(self) -> None:
        """Shelves, docks and yards, by volume: (T, N)."""
        facts, build, volume = self.facts, self.builder, self.network.products.volume
        economics, days = self.economics, self.params.days_per_period
        t, n = facts.periods, self.network.num_nodes
        every = np.ones((t, n), dtype=np.bool_)
        most = float(self.most @ volume)
        shelf = build.columns(every, most)
        rent = economics.storage_rent_per_ft3_day * days
        if rent:
            multiple = facts.limits.get("storage_rent", np.ones((t, 1)))
            build.pay(shelf, -rent * multiple)
        stored = build.rows(every, 0.0, equal=True)
        build.add(stored, shelf, 1.0)
        build.add(stored[:, :, None], self.left, -volume)
        if not self.params.has_docks:
            return
        limits = facts.limits
        unlimited = np.full((t, n), np.inf)
        receiving = limits["receiving_capacity"] if self.params.dock_is_limited else unlimited
        received = build.columns(every, most, upper=receiving)
        waiting = build.columns(np.ones((t + 1, n), dtype=np.bool_), most)
        self.waiting = waiting
        opening = facts.yard @ volume
        build.add(stored, waiting[:-1], 1.0)
        right = np.concatenate((opening[None], facts.arriving @ volume))
        rows = build.rows(np.ones((t + 1, n), dtype=np.bool_), right, equal=True)
        build.add(rows, waiting, 1.0)
        build.add(rows[1:], waiting[:-1], -1.0)
        build.add(rows[1:], received, 1.0)
        column, part, entry, node, product = self.parts
        build.add(rows[entry, node], column, -part * volume[product])
        moment, lane = np.nonzero(self.transfer_entry <= t)
        heads = self.network.transfers.head[lane]
        into = rows[self.transfer_entry[moment, lane], heads]
        build.add(into[:, None], self.moved[moment, lane], -volume)
        if self.params.storage_is_limited:
            # Only a capacity that fell leaves stock above it; nothing more is received then.
            capacity = limits["storage_capacity"]
            before = np.concatenate(((facts.on_hand @ volume)[None], capacity[:-1]))
            highest = np.maximum.accumulate(before)
            room = np.where(np.isfinite(capacity), np.maximum(highest, capacity) - capacity, 0.0)
            over = build.columns(every, most, upper=room)
            build.pay(over, -economics.overflow_rent_per_ft3_day * days)
            rows = build.rows(every, capacity)
            for part_of, sign in ((shelf, 1.0), (received, 1.0), (over, -1.0)):
                build.add(rows, part_of, sign)
        refused = None
        yard_rent = economics.yard_rent_per_ft3_day * days
        if not self.params.yard_is_limited:
            build.pay(waiting[:-1], -yard_rent)
            welfare.add_congestion(build, facts, shelf, received, waiting, refused)
            return
        charged = min(yard_rent, economics.yard_refusal_per_ft3)
        build.pay(waiting[:-1], -charged)
        refused = build.columns(every, most)
        build.pay(refused, charged - economics.yard_refusal_per_ft3)
        capacity = np.maximum(np.maximum.accumulate(limits["yard_capacity"]), opening)
        rows = build.rows(every, capacity)
        for part_of, sign in ((waiting[1:], 1.0), (received, 1.0), (refused, -1.0)):
            build.add(rows, part_of, sign)
        welfare.add_congestion(build, facts, shelf, received, waiting, refused)

    def _room_at_heads(self) -> None:
        """What is at a node and on the way to it, right after transfers left: (T, N) ft3."""
        if not self.params.storage_is_limited:
            return
        facts, build, network = self.facts, self.builder, self.network
        volume, lanes = network.products.volume, network.transfers
        fed = np.zeros(network.num_nodes, dtype=np.bool_)
        fed[lanes.head] = True
        ordered = facts.orders.fixed
        used = network.carries.any(axis=1) if ordered is None else ordered.any(axis=(0, 2))
        fed[network.inbound.head[used]] = False  # orders fill a node whatever its space
        from_suppliers = facts.arriving.sum(axis=(0, 2)) - facts.under_way.sum(axis=1)
        fed &= from_suppliers <= 1e-6
        where = np.broadcast_to(fed, (facts.periods, network.num_nodes))
        opening = (facts.on_hand + facts.yard + facts.under_way) @ volume
        capacity = np.maximum(np.maximum.accumulate(facts.limits["storage_capacity"]), opening)
        total = build.columns(where, float(self.most @ volume), upper=capacity)
        right = np.zeros(where.shape)
        right[0] = opening
        rows = build.rows(where, right, equal=True)
        build.add(rows, total, 1.0)
        build.add(rows[1:], total[:-1], -1.0)
        for lane, node in enumerate(network.outbound.node.tolist()):
            build.add(rows[1:, node, None], self.sold[:-1, lane], volume)
        for lane, (tail, head) in enumerate(zip(lanes.tail, lanes.head, strict=True)):
            build.add(rows[:, tail, None], self.moved[:, lane], volume)
            build.add(rows[:, head, None], self.moved[:, lane], -volume)

    def _sales(self) -> None:
        """Price less handling, tariff and the stock's value; goodwill and shortage not paid."""
        facts, build, network, economics = self.facts, self.builder, self.network, self.economics
        products, sources = network.products, network.outbound
        margin = np.zeros((len(sources.node), network.num_products))
        if facts.is_welfare:
            margin += welfare.worth_by_lane(facts)
            margin -= economics.pick_pack_per_unit + economics.last_mile_per_unit
        elif self.economics.valuation != "none":
            margin += products.price * self.own
            fee = (
                economics.seller_referral_fraction * products.price + economics.seller_fee_per_unit
            )
            margin += fee * ~self.own - economics.pick_pack_per_unit - economics.last_mile_per_unit
        margin -= sources.tariff[:, None] * products.tariff_weight
        short = np.asarray(economics.shortage_per_unit, dtype=np.float64)
        short = np.broadcast_to(
            short if short.ndim == 2 else np.broadcast_to(short, (network.num_regions,))[:, None],
            (network.num_regions, network.num_products),
        )
        lost = economics.goodwill_per_lost_unit + short
        build.constant -= float((facts.demand * lost).sum())
        held = self.capital * (facts.periods - np.arange(facts.periods))[:, None, None]
        worth = self.salvage * self.book + self.spared
        build.pay(self.sold, margin + lost[sources.region] + held - worth)
        build.constant += float(facts.position @ (worth - self.capital * facts.periods))
        if self.params.outbound_is_limited:
            room = facts.limits["outbound_capacity"]
            rows = build.rows(np.ones(room.shape, dtype=np.bool_), room)
            build.add(rows[:, sources.node, None], self.sold, 1.0)
        if self.params.pays_holding:
            rate = np.asarray(self.params.a.holding, dtype=np.float64)
            build.pay(self.left, -(rate if rate.ndim == 2 else rate[:, None]))

    def _transfers(self) -> None:
        """Cost of moving, and of receiving what arrives by the end."""
        facts, build, network = self.facts, self.builder, self.network
        cost = network.transfers.cost_per_unit[:, None]
        if self.params.pays_transit_holding:
            rate = np.asarray(self.params.a.transit_holding, dtype=np.float64)[:, None]
            remaining = (facts.periods - np.arange(facts.periods))[:, None]
            periods = np.minimum(network.transfers.transit, remaining)[:, :, None]
            cost = cost + rate * periods
            for k, slot in enumerate(facts.env.state.transfers):
                units = np.asarray(slot[facts.row], dtype=np.float64)
                build.constant -= float((units * rate).sum()) * min(k + 1, facts.periods)
        build.pay(self.moved, -cost)
        if not self.fee:
            return
        build.constant -= self.fee * float(facts.arriving.sum() + facts.yard.sum())
        moment, lane = np.nonzero(
            (self.transfer_entry <= facts.periods) & (network.transfers.transit > 0)
        )
        build.pay(self.moved[moment, lane], -self.fee)

    def _end(self) -> None:
        """The value of what is left, and of the handling paid for it, less the opening value."""
        facts, build = self.facts, self.builder
        if facts.opening_value is None:
            return
        build.constant -= facts.opening_value
        gain = 1.0 - self.salvage
        every = np.ones(len(self.own), dtype=np.bool_)
        within = build.columns(every, facts.cover, upper=facts.cover, block=self.block)
        build.pay(within, gain * self.book - self.spared)
        rows = build.rows(every, facts.position, block=self.block)
        build.add(rows, within, 1.0)
        build.add(rows, self.ordered, -self.fill)
        if self.params.whole_units:
            build.add(rows, self.rounded, -1.0)
        build.add(rows, self.sold, 1.0)
        node, transfer = facts.handling_node, facts.handling_transfer
        dearest = max(float(node.max()), float(transfer.max(initial=0.0)))
        ceiling = dearest * facts.cover * self.own
        full = build.columns(every, ceiling, upper=ceiling, block=self.block)
        build.pay(full, gain)
        known = self.entering[-1].T @ node + facts.later.T @ transfer
        rows = build.rows(every, known, block=self.block)
        build.add(rows, full, 1.0)
        build.constant += float(self.salvage * (known @ self.own))

        def handled(columns: Any, product: Any, paid: Any) -> None:
            paid = paid * self.own[product]
            build.pay(columns, self.salvage * paid)
            build.add(rows[product], columns, -paid)

        products = np.arange(len(self.own))
        handled(self.left[-1], products, node[:, None])
        column, part, entry, head, product = self.parts
        last = entry == facts.periods
        handled(column[last], product[last], part[last] * node[head[last]])
        t, e = np.nonzero(self.transfer_entry == facts.periods)
        handled(self.moved[t, e], products, node[self.network.transfers.head[e]][:, None])
        t, e = np.nonzero(self.transfer_entry > facts.periods)
        handled(self.moved[t, e], products, transfer[e][:, None])
        self._refused_at_the_end(handled, products)

    def _refused_at_the_end(self, handled: Any, products: Ints) -> None:
        """Transfers that a full yard refused last, which were dearer than the cheapest way in."""
        facts, build, lanes = self.facts, self.builder, self.network.transfers
        if not self.params.yard_is_limited:
            return
        more = facts.handling_transfer - (facts.handling_node[lanes.head] - self.fee)
        dear = np.flatnonzero(more > 1e-9)
        volume = self.network.products.volume
        where = np.broadcast_to(self.own, (len(dear), len(self.own)))
        refused = build.columns(where, self.most)
        build.pay(refused, -self.economics.yard_refusal_per_ft3 * volume)
        handled(refused, products, more[dear][:, None])
        rows = build.rows(np.ones(self.network.num_nodes, dtype=np.bool_), 0.0)
        build.add(rows, self.waiting[-1], -1.0)
        build.add(rows[lanes.head[dear]][:, None], refused, volume)
