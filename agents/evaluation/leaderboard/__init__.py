"""The leaderboard: benchmarks as data, submissions kept apart, results that others can check."""

from stockyard.agents.evaluation.leaderboard.benchmark import Benchmark, Entry, Limits, Track
from stockyard.agents.evaluation.leaderboard.board import board
from stockyard.agents.evaluation.leaderboard.plan import Plan, Store, plan
from stockyard.agents.evaluation.leaderboard.results import Results, assemble
from stockyard.agents.evaluation.leaderboard.submission import Submission, read

__all__ = [
    "Benchmark",
    "Entry",
    "Limits",
    "Plan",
    "Results",
    "Store",
    "Submission",
    "Track",
    "assemble",
    "board",
    "plan",
    "read",
]
