"""Rules for two suppliers, one slow and cheap (regular), one fast and dear (expedited).

The expedited position is the stock on hand, less backlog, plus the orders of either supplier that
arrive within the expedited lead time; the regular position is all stock and orders, less backlog.
The expedited order is decided first, and counts in the regular position. Quantities are (B, 1, 2):
regular, expedited.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

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
from stockyard.agents.heuristics.demand import demand_quantile

REGULAR, EXPEDITED = 0, 1
"""Lanes of a product, the slower one first."""


class DualSourcingRule(Heuristic):
    """Orders up to one level from the expedited supplier, and up to another from the regular one.

    The rules differ in the position that the expedited level is compared with, and in what bounds
    or replaces the regular order.
    """

    def __init__(
        self,
        facts: Facts,
        name: str,
        *,
        expedited_order_up_to: float,
        regular_order_up_to: float | None = None,
        cap: float | None = None,
        quantity: float | None = None,
        has_single_index: bool = False,
    ) -> None:
        """Takes the numbers.

        Args:
            facts: the environment.
            name: of the rule, for errors.
            expedited_order_up_to: S_e, units.
            regular_order_up_to: S_r, units; None with a constant regular order.
            cap: largest regular order, units; None: none.
            quantity: the constant regular order, units.
            has_single_index: whether S_e, too, is compared with the regular position.

        Raises:
            ValueError: if the environment has not two suppliers, or a number makes no sense.
        """
        super().__init__(facts)
        self._expedited_slots = expedited_lead_time(facts, name)
        for field, value in (
            ("expedited_order_up_to", expedited_order_up_to),
            ("regular_order_up_to", regular_order_up_to),
            ("cap", cap),
            ("quantity", quantity),
        ):
            if value is not None and not np.isfinite(value):
                raise ValueError(f"{field}: must be finite, got {value!r}")
        for field, value in (("cap", cap), ("quantity", quantity)):
            if value is not None and value < 0:
                raise ValueError(f"{field}: must be >= 0, got {value!r}")
        self._expedited, self._regular = expedited_order_up_to, regular_order_up_to
        self._cap, self._quantity = cap, quantity
        self._has_single_index = has_single_index

    def decide(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[npt.NDArray[Any], Any]:
        """Orders from the expedited supplier, then from the regular one."""
        position = np.asarray(observation["inventory_position"], dtype=np.float64)
        compared = position if self._has_single_index else self._soon(observation)
        expedited = np.maximum(self._expedited - compared, 0.0)
        if self._quantity is not None:
            regular = np.full_like(position, self._quantity)
        else:
            assert self._regular is not None
            regular = np.maximum(self._regular - position - expedited, 0.0)
        if self._cap is not None:
            regular = np.minimum(regular, self._cap)
        return np.stack((regular, expedited), axis=2), state

    def _soon(self, observation: Observation) -> Floats:
        """Stock, less backlog, and orders that an expedited order would not beat, (B, 1)."""
        units = np.asarray(observation["on_hand"], dtype=np.float64).sum(axis=-1)
        if "backlog" in observation:
            units = units - observation["backlog"]
        if "on_order_quoted" in observation and self._expedited_slots:
            units = units + observation["on_order_quoted"][..., : self._expedited_slots].sum(-1)
        return np.asarray(units)


def expedited_lead_time(facts: Facts, rule: str) -> int:
    """Periods until an expedited order can be sold.

    Raises:
        ValueError: if the environment is not one product of two suppliers, the slower one first.
    """
    network = facts.world.network
    if (
        facts.slots != ("replenish",)
        or facts.action_parts is not None
        or facts.has_forecast
        or network.carries.shape != (2, 1)
        or not network.carries.all()
    ):
        raise ValueError(
            f"{rule}: needs one product with two suppliers, as in textbook.dual_sourcing"
        )
    lead = np.broadcast_to(network.inbound.lead_time, (2, 1))[:, 0]
    if lead[REGULAR] < lead[EXPEDITED]:
        raise ValueError(f"{rule}: needs the slower supplier first, got lead times {lead.tolist()}")
    return int(lead[EXPEDITED])


def _critical_level(facts: Facts, periods: int) -> tuple[float, float]:
    """Newsvendor level of the demand of some periods, and half the width to search around it."""
    holding, penalty = float(facts.holding_costs[0, 0]), float(facts.penalty_costs[0, 0])
    fractile = float(np.clip(penalty / max(penalty + holding, 1e-9), 0.1, 0.995))
    demand = facts.demand()
    half = max(2.0, float(np.ceil(demand.sd * np.sqrt(periods))))
    return demand_quantile(demand, periods, fractile), half


def _two_levels(facts: Facts, rule: str) -> tuple[Parameter, Parameter]:
    """S_e around the newsvendor level of a fast order, and how far S_r lies above it.

    S_r - S_e, and not S_r, for the pipeline hangs on the difference alone (Veeraraghavan &
    Scheller-Wolf 2008), and the two levels lie on a ridge.
    """
    demand, whole = facts.demand(), facts.world.whole_units
    fast = expedited_lead_time(facts, rule)
    level, half = _critical_level(facts, fast + 1)
    periods = facts.lead_time - fast
    between = demand.mean * periods
    wide = max(2.0, float(np.ceil(demand.sd * np.sqrt(max(periods, 1)))))
    low, high = float(np.floor(max(between - wide, 0.0))), float(np.ceil(between + wide))
    return (
        Parameter("expedited_order_up_to", level - half, level + half, whole),
        Parameter("difference", low, high, whole, 0.0),
    )


def _single_space(facts: Facts) -> tuple[Parameter, ...]:
    demand, whole = facts.demand(), facts.world.whole_units
    fast = expedited_lead_time(facts, "single_index")
    level, half = _critical_level(facts, fast + 1)
    return (
        Parameter("net_stock", level - half, level + half, whole),
        Parameter("difference", 0.0, float(np.ceil(2.0 * demand.mean)), whole, 0.0),
    )


QUANTILES = (np.arange(200) + 0.5) / 200
"""Levels of the quantiles whose mean stands for an expectation."""


def _single_levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    """S_r from the stock that it leaves when the regular pipeline is what it is on average.

    In each period the regular supplier is sent min(D, S_r - S_e), the demand of the period before.
    """
    demand, difference = facts.demand(), values["difference"]
    periods = facts.lead_time - expedited_lead_time(facts, "single_index")
    sent = [min(demand_quantile(demand, 1, float(u)), difference) for u in QUANTILES]
    pipeline = periods * float(np.mean(sent))
    level = values["net_stock"] + (round(pipeline) if facts.world.whole_units else pipeline)
    return {"order_up_to": level, "expedited_order_up_to": level - difference}


@tuned_by(_single_space, _single_levels)
def single_index(
    env: Any, order_up_to: float | None = None, expedited_order_up_to: float | None = None
) -> DualSourcingRule:
    """Single index: both suppliers are ordered by the position of all stock and orders.

    An expedited order brings it up to S_e, then a regular one up to S_r >= S_e: of each period's
    demand the regular supplier makes up for as much as S_r - S_e, the expedited one for the rest
    (Scheller-Wolf, Veeraraghavan & van Houtum, Effective dual sourcing with a single index policy,
    working paper, Carnegie Mellon University, 2007).

    Args:
        env: a built dual-sourcing problem.
        order_up_to: S_r, units.
        expedited_order_up_to: S_e, units; None beside S_r: nothing is expedited.
    """
    facts = Facts(env)
    if order_up_to is None:
        if expedited_order_up_to is not None:
            raise ValueError("order_up_to: must be given beside expedited_order_up_to")
        expedited_lead_time(facts, "single_index")
        return single_index(env, **tuned("single_index", facts))
    expedited = -1e9 if expedited_order_up_to is None else expedited_order_up_to
    if expedited > order_up_to:
        raise ValueError(f"expedited_order_up_to: must be at most order_up_to, got {expedited!r}")
    return DualSourcingRule(
        facts,
        "single_index",
        expedited_order_up_to=expedited,
        regular_order_up_to=order_up_to,
        has_single_index=True,
    )


def _dual_space(facts: Facts) -> tuple[Parameter, ...]:
    return _two_levels(facts, "dual_index")


def _dual_levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    return {
        "expedited_order_up_to": values["expedited_order_up_to"],
        "regular_order_up_to": values["expedited_order_up_to"] + values["difference"],
    }


@tuned_by(_dual_space, _dual_levels)
def dual_index(
    env: Any,
    expedited_order_up_to: float | None = None,
    regular_order_up_to: float | None = None,
) -> DualSourcingRule:
    """Dual index: each supplier has an order-up-to level for its own position.

    Veeraraghavan & Scheller-Wolf, Now or later: a simple policy for effective dual sourcing in
    capacitated systems, Operations Research 56, 2008.

    Args:
        env: a built dual-sourcing problem.
        expedited_order_up_to: S_e, units.
        regular_order_up_to: S_r, units.
    """
    facts = Facts(env)
    if expedited_order_up_to is None and regular_order_up_to is None:
        expedited_lead_time(facts, "dual_index")
        return dual_index(env, **tuned("dual_index", facts))
    if expedited_order_up_to is None or regular_order_up_to is None:
        raise ValueError("expedited_order_up_to, regular_order_up_to: both must be given")
    return DualSourcingRule(
        facts,
        "dual_index",
        expedited_order_up_to=expedited_order_up_to,
        regular_order_up_to=regular_order_up_to,
    )


def _capped_space(facts: Facts) -> tuple[Parameter, ...]:
    demand, whole = facts.demand(), facts.world.whole_units
    most = float(np.ceil(demand.mean + 2.0 * demand.sd))
    first, second = _two_levels(facts, "capped_dual_index")
    return (first, second, Parameter("cap", 0.0, most, whole, 0.0))


def _capped_levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    return _dual_levels(facts, values) | {"cap": values["cap"]}


@tuned_by(_capped_space, _capped_levels)
def capped_dual_index(
    env: Any,
    expedited_order_up_to: float | None = None,
    regular_order_up_to: float | None = None,
    cap: float | None = None,
) -> DualSourcingRule:
    """Capped dual index: a dual index whose regular order never exceeds a cap.

    Between dual index (no cap) and tailored base-surge (a regular level too high to bind); the
    structure of the robust optimum (Sun & Van Mieghem, Robust dual sourcing inventory management:
    optimality of capped dual index policies and smoothing, Manufacturing & Service Operations
    Management 21, 2019).

    Args:
        env: a built dual-sourcing problem.
        expedited_order_up_to: S_e, units.
        regular_order_up_to: S_r, units.
        cap: largest regular order, units.
    """
    facts = Facts(env)
    if expedited_order_up_to is None and regular_order_up_to is None and cap is None:
        expedited_lead_time(facts, "capped_dual_index")
        return capped_dual_index(env, **tuned("capped_dual_index", facts))
    if expedited_order_up_to is None or regular_order_up_to is None or cap is None:
        raise ValueError(
            "expedited_order_up_to, regular_order_up_to, cap: all must be given, or none"
        )
    return DualSourcingRule(
        facts,
        "capped_dual_index",
        expedited_order_up_to=expedited_order_up_to,
        regular_order_up_to=regular_order_up_to,
        cap=cap,
    )


def _surge_space(facts: Facts) -> tuple[Parameter, ...]:
    demand, whole = facts.demand(), facts.world.whole_units
    level = _two_levels(facts, "tailored_base_surge")[0]
    return (level, Parameter("quantity", 0.0, demand.mean, whole, 0.0))


@tuned_by(_surge_space)
def tailored_base_surge(
    env: Any, expedited_order_up_to: float | None = None, quantity: float | None = None
) -> DualSourcingRule:
    """Tailored base-surge: a constant regular order, and expedited orders up to a level.

    Allon & Van Mieghem, Global dual sourcing: tailored base-surge allocation to near- and offshore
    production, Management Science 56, 2010; for its performance, Janakiraman, Seshadri & Sheopuri,
    Analysis of tailored base-surge policies in dual sourcing inventory systems, Management Science
    61, 2015.

    Args:
        env: a built dual-sourcing problem.
        expedited_order_up_to: S_e, units.
        quantity: the regular order of every period, units; below mean demand, or stock grows.
    """
    facts = Facts(env)
    if expedited_order_up_to is None and quantity is None:
        expedited_lead_time(facts, "tailored_base_surge")
        return tailored_base_surge(env, **tuned("tailored_base_surge", facts))
    if expedited_order_up_to is None or quantity is None:
        raise ValueError("expedited_order_up_to, quantity: both must be given")
    return DualSourcingRule(
        facts,
        "tailored_base_surge",
        expedited_order_up_to=expedited_order_up_to,
        quantity=quantity,
    )
