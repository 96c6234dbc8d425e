"""The policies that compete on the network, and the one evaluator that compares them.

Importing this package loads neither torch nor Stable-Baselines3: what needs them is imported when
it is first used.
"""

from typing import TYPE_CHECKING, Any

from stockyard.agents.policy import Policy, load, make, register, registered

if TYPE_CHECKING:
    from stockyard.agents.evaluation import Evaluation, compare, evaluate
    from stockyard.agents.tuning import TuningResult, tune

__all__ = [
    "Evaluation",
    "Policy",
    "TuningResult",
    "compare",
    "evaluate",
    "load",
    "make",
    "register",
    "registered",
    "tune",
]

_HOME = {
    "Evaluation": "stockyard.agents.evaluation",
    "TuningResult": "stockyard.agents.tuning",
    "compare": "stockyard.agents.evaluation",
    "evaluate": "stockyard.agents.evaluation",
    "tune": "stockyard.agents.tuning",
}


def __getattr__(name: str) -> Any:
    """Imports the larger parts when they are first asked for."""
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_HEURISTICS = {
    "replenishment": {
        "naive": "orders what sold in the last review period",
        "constant_order": "orders a fixed quantity",
        "newsvendor": "orders up to the critical quantile of demand over lead time and review",
        "base_stock": "orders up to a level",
        "capped_base_stock": "orders up to a level, never more than a cap at once",
    },
    "capacity_priced": {
        "priced_newsvendor": "newsvendor whose fractiles pay a fixed price for space",
        "space_priced_newsvendor": "newsvendor at the price at which expected stock fits the space",
        "capacity_priced_newsvendor": "the same with a second price, on receiving",
        "prebuilding_newsvendor": "the same, buying ahead of announced cuts of receiving",
    },
    "forecast_mpc": {
        "forecast_mpc": "the first orders of a linear program on the forecast, solved each review",
    },
    "smoothing": {
        "smoothed_base_stock": "base-stock with a cap on the volume of all orders together",
    },
    "lots": {
        "s_S": "orders up to S when the inventory position is at or below s",
        "modified_s_S": "orders up to S, at most q, when the position is at or below s",
        "r_Q": "orders the fewest lots of Q that bring the position above r",
    },
    "lost_sales": {
        "myopic": "orders for the least expected cost of the period in which the order arrives",
        "myopic_2": "orders for the least expected cost of that period and the next",
        "projected_inventory_level": "orders so that expected stock on arrival is at a level",
        "dual_balancing": "balances expected holding against expected lost sales of the order",
    },
    "dual_sourcing": {
        "single_index": "expedites to one level, orders to another, by the same position",
        "dual_index": "expedites up to a level of what comes soon, orders up to one of all",
        "capped_dual_index": "dual index with a cap on the regular order",
        "tailored_base_surge": "orders a fixed quantity, expedites up to a level",
    },
    "echelons": {
        "echelon_base_stock": "lifts each echelon of a series, or of stores, to its level",
    },
    "placement": {
        "hub_only": "sends all stock to the regional centres",
        "forecast_share_push": "fills every centre to a cover of its forecast",
        "cover_equalisation": "lifts the centres of least cover, all to the same days",
        "local_first_with_reserve": "fills local centres first; the dock keeps a reserve",
    },
    "placement_margin": {
        "marginal_profit_greedy": "gives the next unit to the centre where it earns most",
        "spillover_aware": "the same, counting what a unit earns in other regions",
    },
    "placement_lp": {
        "lp_dual_prices": "gives units by marginal profit at a linear program's prices of space",
        "dlp_resolve": "follows a linear program on mean demand, solved anew every day",
    },
    "placement_reserve": {
        "pooled_reserve": "fair base covers, a pooled reserve at the dock, then local overflow",
    },
    "restock_limits": {
        "no_limit": "lets every seller send in what it likes",
        "equal_split": "gives every seller the same space",
        "proportional": "shares space in proportion to requests",
        "linear": "cuts all requests by the same volume",
        "uniform": "grants requests up to a common level",
        "turn_and_earn": "lets past sales earn space",
        "index_tiers": "limits sellers in two tiers by their inventory index",
        "forecast_need": "limits sellers to days of their forecast demand",
        "density_caps": "the same, more for goods worth more per ft3",
        "adaptive_need": "the same, less where buildings are crowded or storage will be short",
    },
    "restock_lp": {
        "rolling_lp": "limits sellers to what a linear program on the forecast stocks",
    },
    "restock_prices": {
        "constant_price": "charges a fixed price for storage",
        "class_prices": "charges a fixed price for each size class",
        "congestion_price": "raises the price while buildings are fuller than a target",
        "scarcity_price": "prices storage by forecast need over announced storage",
        "auction": "auctions space beyond a small limit",
        "adaptive_auction": "auctions less where buildings are crowded",
        "priced_need": "limits by forecast, and a price that follows scarcity",
        "priced_auction": "limits by forecast, a price of storage, and an auction of the rest",
    },
    "commitment": {
        "kept_outlook": "limits as another rule announced them one and two months before",
        "kept_density_caps": "density caps, smoothed towards what was announced",
        "kept_adaptive_need": "adaptive caps, smoothed towards what was announced",
        "kept_priced_need": "a price, and caps smoothed towards what was announced",
    },
    "dispatch": {
        "control_limit": "sends a truck when a threshold of parcels waits",
        "dispatch_when_due": "sends trucks when parcels are due",
        "dispatch_when_full_or_due": "sends trucks when they are full, or parcels are due",
    },
    "truck_fill": {
        "all_now": "sends whatever waits with as many trucks as it takes",
        "full_only": "sends full trucks; what is due before goes by carrier",
        "due_and_top_up": "sends trucks for what is due, filled up, and full ones",
        "truck_hold": "holds back a quantity on lanes of a kind, and has patience with the due",
        "lane_hold": "the same with two numbers for every lane",
        "time_and_quantity": "sends trucks at a quantity or after an interval",
    },
    "truck_values": {
        "break_even_expedite": "weighs trucks against carriers and what waiting would cost",
        "truck_value": "the same with an approximate value of what is left behind",
        "load_plan": "fewest trucks for what is due soon, near to a reference plan",
    },
    "truck_rolling": {
        "truck_milp": "the first wave of a mixed-integer program on the forecast",
    },
}
for _module, _rules in _HEURISTICS.items():
    for _name, _summary in _rules.items():
        register(_name, f"stockyard.agents.heuristics.{_module}:{_name}", summary=_summary)
register(
    "sb3", "stockyard.agents.learners.sb3_policy:load", kind="learner", summary="Stable-Baselines3"
)
register(
    "hindsight",
    "stockyard.agents.learners.hindsight:load",
    kind="learner",
    summary="gradients through the simulator",
)
register(
    "shared_ppo",
    "stockyard.agents.learners.shared_ppo:load",
    kind="learner",
    summary="PPO with a network that products share",
)
