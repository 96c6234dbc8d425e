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


_REPLENISHMENT = "stockyard.agents.heuristics.replenishment"
register("naive", f"{_REPLENISHMENT}:naive", summary="orders what sold in the last review period")
register("constant_order", f"{_REPLENISHMENT}:constant_order", summary="orders a fixed quantity")
register(
    "newsvendor",
    f"{_REPLENISHMENT}:newsvendor",
    summary="orders up to the critical quantile of the forecast over the protection interval",
)
register(
    "base_stock",
    f"{_REPLENISHMENT}:base_stock",
    summary="orders up to a level",
)
register(
    "capped_base_stock",
    f"{_REPLENISHMENT}:capped_base_stock",
    summary="orders up to a level, never more than a cap at once",
)
register(
    "s_S",
    f"{_REPLENISHMENT}:s_S",
    summary="orders up to S when the inventory position is at or below s",
)
register("sb3", "stockyard.agents.learners.sb3:load", kind="learner", summary="Stable-Baselines3")
