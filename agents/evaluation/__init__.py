"""Evaluation: the same tapes for every policy, and statistics that use that."""

from stockyard.agents.evaluation.files import write_bytes_atomic, write_json_atomic
from stockyard.agents.evaluation.report import render
from stockyard.agents.evaluation.rollout import Evaluation, evaluate
from stockyard.agents.evaluation.statistics import Comparison, Interval, compare

__all__ = [
    "Comparison",
    "Evaluation",
    "Interval",
    "compare",
    "evaluate",
    "render",
    "write_bytes_atomic",
    "write_json_atomic",
]
