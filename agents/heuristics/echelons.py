"""Echelon base-stock rules for several stages: a serial system, one warehouse and its stores.

The echelon of a node is the node and all that it supplies, directly or not. Its position is the
stock in the echelon and on the way to it, less what its customers are owed. Each node is sent what
lifts its echelon's position to its level, as far as the stock of the node before it goes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Heuristic,
    Observation,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)

ALLOCATIONS = ("proportional", "equal", "weighted")
"""How a short node shares its stock; see `echelon_base_stock`."""

HALVINGS = 50
"""Steps of the bisection that finds a common share: to 1e-15 of the range."""


class Echelons:
    """The tree of nodes: who is sent stock by whom, and what belongs to whose echelon."""

    def __init__(self, facts: Facts, rule: str = "echelon_base_stock") -> None:
        """Reads the tree.

        Args:
            facts: the environment.
            rule: its name, for errors.

        Raises:
            ValueError: if the network is not a tree that one supplier feeds at its root.
        """
        network = facts.world.network
        lanes = network.transfers
        self.tail, self.head = np.asarray(lanes.tail), np.asarray(lanes.head)
        slots = ("replenish", "place") if len(self.tail) else ("replenish",)
        facts.require_slots(rule, *slots)
        n = network.num_nodes
        is_tree = len(self.head) == n - 1 == len(set(self.head.tolist()))
        root = np.asarray(network.inbound.head)
        if (
            facts.has_forecast
            or facts.action_parts is None
            or network.num_products != 1
            or not is_tree
            or len(root) != 1
            or int(root[0]) in self.head
        ):
            raise ValueError(
                f"{rule}: needs one product and a tree of nodes that one supplier feeds, as in "
                "textbook.serial and textbook.one_warehouse"
            )
        self.facts, self.num_nodes, self.root = facts, n, int(root[0])
        self.lane_into = np.full(n, -1)
        self.lane_into[self.head] = np.arange(n - 1)
        self.contains = np.eye(n, dtype=bool)  # [k, j]: j is in the echelon of k
        for _ in range(n):
            for tail, head in zip(self.tail, self.head, strict=True):
                self.contains[tail] |= self.contains[head]
        depth = [int(self.contains[:, k].sum()) for k in range(n)]
        self.order = sorted(range(n), key=lambda k: (-depth[k], k))  # downstream first
        nearest = network.ranks()[0].node
        self.owner = np.eye(n)[nearest]  # (R, N): whose customers a region's are
        transit = np.concatenate((lanes.transit, np.zeros(0, dtype=np.int64)))
        lead = np.array([transit[e] if e >= 0 else facts.lead_time for e in self.lane_into])
        self.lead_time = np.array([self._below(k, lead) for k in range(n)])
        regions = self.contains @ self.owner.T  # (N, R)
        laws = [facts.law(r, 0) for r in range(network.num_regions)]
        self.mean = regions @ np.array([law.mean for law in laws])  # (N,) units per period
        self.sd = np.sqrt(regions @ np.array([law.sd**2 for law in laws]))
        self.penalty = (regions * facts.penalty_costs[:, 0]).sum(axis=1) / regions.sum(axis=1)

    def _below(self, node: int, lead: Floats) -> float:
        """Longest time from an order of `node` to the shelf of a store below, periods."""
        below = [self._below(int(k), lead) for k in self.head[self.tail == node]]
        return float(lead[node]) + max(below, default=0.0)

    def positions(self, observation: Observation) -> Floats:
        """Echelon positions, (B, N) units."""
        units = np.asarray(observation["on_hand"], dtype=np.float64)[:, 0]
        if "in_transit" in observation:
            units = units.copy()
            units[:, self.head] += observation["in_transit"][:, 0].sum(axis=-1)
        if "backlog_by_region" in observation:
            units = units - observation["backlog_by_region"][:, 0] @ self.owner
        positions: Floats = units @ self.contains.T
        # The root's own orders are in the position of the whole network.
        positions[:, self.root] = observation["inventory_position"][:, 0]
        return positions


class EchelonBaseStock(Heuristic):
    """Lifts the position of every echelon to its level."""

    def __init__(
        self,
        facts: Facts,
        order_up_to: Sequence[float],
        allocation: str,
        weights: Sequence[float] | None,
    ) -> None:
        """Takes the levels; see `echelon_base_stock`."""
        super().__init__(facts)
        self._tree = tree = Echelons(facts)
        n = tree.num_nodes
        levels = np.asarray(order_up_to, dtype=np.float64)
        if levels.shape != (n,) or not np.isfinite(levels).all():
            raise ValueError(
                f"order_up_to: must be {n} finite numbers, one for each node, downstream first"
            )
        self._levels = np.empty(n)
        self._levels[tree.order] = levels
        if allocation not in ALLOCATIONS:
            raise ValueError(f"allocation: unknown {allocation!r}; known: {', '.join(ALLOCATIONS)}")
        self._allocation = allocation
        self._weights = tree.sd * np.sqrt(tree.lead_time + 1.0)
        if weights is not None:
            given = np.asarray(weights, dtype=np.float64)
            if given.shape != (len(tree.head),) or not (given > 0).all():
                raise ValueError(
                    f"weights: must be {len(tree.head)} numbers > 0, one for each lane"
                )
            self._weights = np.ones(n)
            self._weights[tree.head] = given
        self._whole = facts.world.whole_units

    def decide(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        """Orders, and transfers out of the stock that each node has."""
        tree = self._tree
        need = np.maximum(self._levels - tree.positions(observation), 0.0)
        if self._whole:
            need = np.round(need)
        action = [need[:, tree.root : tree.root + 1]]
        if len(tree.tail):
            stock = np.asarray(observation["on_hand"], dtype=np.float64)[:, 0]
            sent = np.empty((len(need), len(tree.tail)))
            for tail in set(tree.tail.tolist()):
                lanes = np.flatnonzero(tree.tail == tail)
                heads = tree.head[lanes]
                sent[:, lanes] = allocate(
                    need[:, heads],
                    stock[:, tail],
                    self._allocation,
                    self._weights[heads],
                    self._whole,
                )
            action.append(sent)
        return np.concatenate(action, axis=1), state


def allocate(
    need: Floats, stock: Floats, allocation: str, weights: Floats, whole_units: bool
) -> Floats:
    """Shares stock among those who need it.

    Args:
        need: (B, n) units >= 0.
        stock: (B,) units >= 0.
        allocation: one of `ALLOCATIONS`; see `echelon_base_stock`.
        weights: (n,) share of the shortage that each bears, for "weighted".
        whole_units: whether shares must be whole; then those with the largest fractions are
            rounded up, so that no unit is left that anybody needs.

    Returns:
        (B, n) units, at most `need`, together at most `stock`.
    """
    total = need.sum(axis=1)
    if (total <= stock).all():
        return need
    if allocation == "proportional":
        share = need * np.minimum(stock / np.maximum(total, 1e-12), 1.0)[:, None]
    elif allocation == "equal":
        share = _filled(lambda each: np.minimum(need, each), need.max(axis=1), stock)
    else:
        most = (need / weights).max(axis=1)
        share = _filled(
            lambda each: np.maximum(need - weights * (most[:, None] - each), 0.0), most, stock
        )
    if not whole_units:
        return np.asarray(share)
    whole = np.floor(share + 1e-6)
    spare = np.minimum(stock, total) - whole.sum(axis=1)
    rank = np.argsort(np.argsort(-(share - whole), axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(np.minimum(whole + (rank < np.round(spare)[:, None]), need))


def _filled(shares: Any, most: Floats, stock: Floats) -> Floats:
    """The largest shares, growing in one number from 0 to `most`, that the stock can give."""
    low, high = np.zeros((len(stock), 1)), most[:, None] * 1.0
    enough = shares(high).sum(axis=1) <= stock
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        fits = shares(middle).sum(axis=1, keepdims=True) <= stock[:, None]
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return np.asarray(shares(np.where(enough[:, None], most[:, None], low)))


def _bounds(tree: Echelons) -> tuple[Floats, Floats]:
    """Newsvendor bounds of the echelon levels, (N,) units each (Shang & Song 2003).

    For a node with echelon holding costs h_j and those below it, on the demand D over the time from
    its order to the customer: the fractiles (p + H) / (p + total) and (p + H) / (p + H + h), with H
    the echelon holding costs of the nodes above. Exact bounds in series with backorders; where
    sales are lost, or stores differ, a place to begin.
    """
    holding = tree.facts.holding_costs[:, 0]
    above = np.array(
        [holding[tree.tail[e]] if e >= 0 else 0.0 for e in tree.lane_into]
    )  # local cost of the sender: all echelon costs above
    stores = [k for k in range(tree.num_nodes) if k not in tree.tail]
    total = np.array(
        [max(holding[j] for j in stores if tree.contains[k, j]) for k in range(tree.num_nodes)]
    )
    cover = tree.lead_time + 1.0
    mean, sd = tree.mean * cover, tree.sd * np.sqrt(cover)

    def level(fractile: Floats) -> Floats:
        return np.asarray(mean + ndtri(np.clip(fractile, 0.05, 0.999)) * sd)

    low = level((tree.penalty + above) / np.maximum(tree.penalty + total, 1e-9))
    high = level((tree.penalty + above) / np.maximum(tree.penalty + holding, 1e-9))
    return np.minimum(low, high), np.maximum(low, high)


def _groups(tree: Echelons) -> list[list[int]]:
    """Places in the order of levels of nodes that are alike, and share a coordinate."""
    holding = tree.facts.holding_costs[:, 0]
    groups: dict[tuple[float, ...], list[int]] = {}
    for place, k in enumerate(tree.order):
        sender = float(tree.tail[tree.lane_into[k]]) if k != tree.root else -1.0
        alike = (sender, tree.mean[k], tree.sd[k], tree.lead_time[k], holding[k], tree.penalty[k])
        groups.setdefault(tuple(float(x) for x in alike), []).append(place)
    return list(groups.values())


def _space(facts: Facts) -> tuple[Parameter, ...]:
    tree = Echelons(facts)
    low, high = _bounds(tree)
    spread = np.maximum(0.75 * tree.sd * np.sqrt(tree.lead_time + 1.0), 2.0)
    parameters = []
    for k, places in enumerate(_groups(tree)):
        node = tree.order[places[0]]
        parameters.append(
            Parameter(
                f"order_up_to_{k + 1}",
                float(np.floor(low[node] - spread[node])),
                float(np.ceil(high[node] + spread[node])),
                facts.world.whole_units,
            )
        )
    return tuple(parameters)


def _levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    tree = Echelons(facts)
    levels = [0.0] * tree.num_nodes
    for k, places in enumerate(_groups(tree)):
        for place in places:
            levels[place] = values[f"order_up_to_{k + 1}"]
    return {"order_up_to": levels}


@tuned_by(_space, _levels)
def echelon_base_stock(
    env: Any,
    order_up_to: Sequence[float] | None = None,
    allocation: str = "proportional",
    weights: Sequence[float] | None = None,
) -> EchelonBaseStock:
    """Echelon base-stock: optimal in series with backorders (Clark & Scarf 1960).

    With one warehouse and many stores it is the standard approximation (Federgruen & Zipkin 1984),
    and what the warehouse cannot send in full is shared by the `allocation`:

    - "proportional": in proportion to what each store needs, whole units by largest remainder;
    - "equal": the same quantity for every store, but never more than it needs;
    - "weighted": each store bears its share of the shortage, in proportion to the standard
      deviation of its demand over lead time and review: equal fractiles (Eppen & Schrage 1981;
      van der Heijden, Diks & de Kok 1997).

    Args:
        env: a built environment in which orders and transfers of a tree are decided.
        order_up_to: echelon levels, units, downstream first: of a series from the stage that serves
            customers to the one that orders; of the stores in turn, and the warehouse last.
        allocation: "proportional", "equal" or "weighted".
        weights: shares of a shortage, one for each transfer lane, instead of those of "weighted".

    References:
        Clark & Scarf, Management Science 6, 1960; Federgruen & Zipkin, Management Science 30, 1984;
        Eppen & Schrage, in Multi-Level Production/Inventory Control Systems, 1981; van der Heijden,
        Diks & de Kok, International Journal of Production Economics 49, 1997; for the tuner's first
        levels Shang & Song, Management Science 49, 2003.
    """
    facts = Facts(env)
    if weights is not None and allocation != "weighted":
        raise ValueError('weights: need allocation="weighted"')
    if order_up_to is None:
        Echelons(facts)
        given: dict[str, Any] = {"allocation": allocation}
        if weights is not None:
            given["weights"] = weights
        order_up_to = tuned("echelon_base_stock", facts, given)["order_up_to"]
    return EchelonBaseStock(facts, order_up_to, allocation, weights)
