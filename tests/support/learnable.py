"""Small problems that learners are tested on, and settings with which they take no time."""

from stockyard.envs import textbook
from stockyard.envs.textbook import Normal, Poisson

LOST_SALES = textbook.lost_sales(
    demand=Poisson(5), lead_time=1, holding_cost=1, penalty_cost=4, horizon=60
)
NEWSVENDOR = textbook.newsvendor(demand=Normal(50, 10), holding_cost=1, penalty_cost=9, horizon=60)
SHARED = textbook.shared_capacity(
    demand=(Poisson(3), Poisson(5), Poisson(8)),
    capacity=18,
    holding_costs=1,
    penalty_costs=(4, 9, 5),
    horizon=60,
)
STEADY = {"id": "stockyard/Replenishment-v0", "scenario": "steady", "size": "small"}
QUICK = {
    "n_envs": 16,
    "width": 8,
    "segment_steps": 10,
    "lookahead_steps": 4,
    "burn_in_steps": 4,
    "tape_steps": 60,
    "device": "cpu",
}
