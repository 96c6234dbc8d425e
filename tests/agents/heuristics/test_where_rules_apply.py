"""Every rule runs in every problem that it makes sense in, and says what it needs elsewhere."""

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.envs import textbook

P = textbook.Poisson(4)
PROBLEMS = {
    "newsvendor": textbook.newsvendor(P, 1, 9),
    "setup_cost": textbook.setup_cost(P, 1, 9, 30),
    "lost_sales": textbook.lost_sales(P, 2, 1, 9),
    "serial": textbook.serial(P, [1, 2], [2, 1], 9),
    "dual_sourcing": textbook.dual_sourcing(P, 2, 0, 1, 2, 1, 9),
    "one_warehouse": textbook.one_warehouse(P, 1, 1, 1, 2, 9, num_stores=2),
    "spillover": textbook.spillover(P, 1, 9, 2, num_locations=2),
    "transshipment": textbook.transshipment(P, 1, 9, 2, lead_time=1, num_locations=3),
    "shared_capacity": textbook.shared_capacity(P, 12, 1, 9, num_products=2),
    "restock_limit": textbook.restock_limit(P, 30, 1, 9, lead_time=2, num_products=2),
    "batch_dispatch": textbook.batch_dispatch(P, 10, 20, 1),
    "deadline_dispatch": textbook.deadline_dispatch(P, 2, 6, 12, 0.2, 10),
    "retail": {"id": "stockyard/Replenishment-v0", "size": "small"},
    "retail network": {"id": "stockyard/Network-v0", "size": "small", "slots": ("replenish",)},
    "retail placement": {"id": "stockyard/Network-v0", "size": "small", "slots": ("place",)},
    "trucks": {"id": "stockyard/TruckFill-v0", "size": "small"},
}
PARAMETERS = {
    "constant_order": {"quantity": 3},
    "base_stock": {"order_up_to": 9},
    "capped_base_stock": {"order_up_to": 9, "cap": 5},
    "s_S": {"reorder_point": 6, "order_up_to": 12},
    "modified_s_S": {"reorder_point": 6, "order_up_to": 12, "quantity": 5},
    "r_Q": {"reorder_point": 6, "quantity": 5},
    "projected_inventory_level": {"level": 7},
    "single_index": {"order_up_to": 14, "expedited_order_up_to": 11},
    "dual_index": {"expedited_order_up_to": 7, "regular_order_up_to": 14},
    "capped_dual_index": {"expedited_order_up_to": 7, "regular_order_up_to": 14, "cap": 3},
    "tailored_base_surge": {"expedited_order_up_to": 7, "quantity": 3},
    "echelon_base_stock": {},  # one level for each node, below
    "control_limit": {"threshold": 6},
    "full_only": {"hub_slack": -1},
    "due_and_top_up": {"patience": 0.4},
    "truck_hold": {"direct_hold": -0.2, "hub_slack": 1},
    "lane_hold": {"hold": -0.2},
    "time_and_quantity": {"quantity": 0.8},
    "break_even_expedite": {"later_share": 0.9},
    "truck_value": {"power": 1.5},
    "load_plan": {"window": 4},
    "truck_milp": {"waves": 3},
}
ORDERS = {
    *("newsvendor", "setup_cost", "lost_sales", "dual_sourcing", "spillover", "transshipment"),
    *("shared_capacity", "restock_limit", "retail", "retail network"),
}
RETAIL = {"retail", "retail network"}
IN_RETAIL = {
    "space_priced_newsvendor": {"space_use": 1.0},
    "capacity_priced_newsvendor": {"space_use": 1.0, "receiving_use": 1.0},
    "prebuilding_newsvendor": {"space_use": 1.0, "receiving_use": 1.0},
    "smoothed_base_stock": {"safety_factor": 0.5},
    "forecast_mpc": {"spread": 1.0},
}
FOLLOWS_FORECAST = {
    **IN_RETAIL,
    "priced_newsvendor": {"space_price": 0.2},
    "projected_inventory_level": {"cover_days": 14.0},
    "dual_balancing": {"space_price": 0.2},
}
APPLIES = {
    **dict.fromkeys(
        ("naive", "constant_order", "newsvendor", "base_stock", "capped_base_stock"), ORDERS
    ),
    **dict.fromkeys(("s_S", "modified_s_S", "r_Q"), ORDERS),
    **dict.fromkeys(("myopic", "myopic_2"), {"lost_sales"}),
    **dict.fromkeys(("projected_inventory_level", "dual_balancing"), {"lost_sales", *RETAIL}),
    "priced_newsvendor": ORDERS,
    **dict.fromkeys(IN_RETAIL, RETAIL),
    **dict.fromkeys(
        ("single_index", "dual_index", "capped_dual_index", "tailored_base_surge"),
        {"dual_sourcing"},
    ),
    "echelon_base_stock": {"serial", "one_warehouse"},
    "control_limit": {"batch_dispatch", "deadline_dispatch"},
    **dict.fromkeys(("dispatch_when_due", "dispatch_when_full_or_due"), {"deadline_dispatch"}),
    **dict.fromkeys(("all_now", "full_only", "due_and_top_up", "truck_hold"), {"trucks"}),
    **dict.fromkeys(("lane_hold", "time_and_quantity", "break_even_expedite"), {"trucks"}),
    **dict.fromkeys(("truck_value", "load_plan", "truck_milp"), {"trucks"}),
}


def test_the_table_names_every_heuristic():
    """A new rule must say where it applies."""
    assert set(APPLIES) <= set(agents.registered())
    assert all(entry.summary for entry in agents.registered().values())


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", APPLIES)
def test_a_rule_runs_or_says_what_it_needs(name, problem):
    """No rule fails late, or runs where it has no meaning."""
    specification = PROBLEMS[problem]
    parameters = dict(PARAMETERS.get(name, {}))
    if name == "echelon_base_stock":
        parameters["order_up_to"] = [10, 20] if problem == "serial" else [10, 10, 30]
    if problem in RETAIL or name in IN_RETAIL:
        parameters = dict(FOLLOWS_FORECAST.get(name, parameters))
    if problem not in APPLIES[name]:
        with pytest.raises(ValueError, match=name):
            agents.make(name, specification, **parameters)
        with pytest.raises(ValueError, match=name):  # before any search begins
            agents.make(name, specification)
        return
    run = agents.evaluate(
        agents.make(name, specification, **parameters), specification, num_tapes=2, periods=28
    )
    assert np.isfinite(run.returns).all()


@pytest.mark.parametrize(
    ("built", "played"),
    [("lost_sales", "newsvendor"), ("transshipment", "spillover"), ("spillover", "transshipment")],
)
def test_a_rule_built_for_another_environment_is_refused(built, played):
    """The error names the fields of both sides."""
    rule = agents.make("base_stock", PROBLEMS[built], order_up_to=9)
    with gym.make(**PROBLEMS[built]) as mine, gym.make(**PROBLEMS[played]) as env:
        observation, _ = env.reset(seed=0)
        assert rule.predict(mine.reset(seed=0)[0])[0].shape == mine.action_space.shape
        ours, theirs = (sorted(e.observation_space.spaces) for e in (mine, env))
        match = f"built for .* shows {r' .*'.join(ours)} .*; this .* has {r' .*'.join(theirs)} "
        with pytest.raises(ValueError, match=match):
            rule.predict(observation)
        with pytest.raises(ValueError, match="built for an environment"):
            rule.predict({})


def test_rules_order_for_each_location_by_its_own_stock():
    """Spillover, L = 2: 9 - 3 - 4 at one, 7 - 1 - 0 at the other; transshipment owes its own."""
    env = textbook.spillover(P, 1, 9, 2, lead_time=2, num_locations=2)
    observation = {"on_hand": [3, 1], "inbound": [4, 0], "inventory_position": [8]}
    batch = {name: np.array([values], dtype=np.float32) for name, values in observation.items()}
    rule = agents.make("base_stock", env, order_up_to=[9, 7])
    assert rule.predict(batch)[0].tolist() == [[2, 6]]
    rule = agents.make("r_Q", env, reorder_point=[9, 1], quantity=5)
    assert rule.predict(batch)[0].tolist() == [[5, 5]]  # 7 + 5 > 9; 1 is not above 1
    owing = textbook.transshipment(P, 1, 9, 2, lead_time=1, num_locations=2)
    observation = {"on_hand": [3, 0], "backlog": [2], "backlog_by_region": [0, 2]}
    observation["inventory_position"] = [1]
    batch = {name: np.array([values], dtype=np.float32) for name, values in observation.items()}
    assert agents.make("base_stock", owing, order_up_to=9).predict(batch)[0].tolist() == [[6, 11]]


def test_lots_and_caps_are_the_literatures():
    """By hand, L = 2: s = 12, S = 18, q = 4; and lots of 4 above r = 12."""
    env = PROBLEMS["lost_sales"]

    def order(name, position, **parameters):
        fields = {"inventory_position": position, "on_hand": position, "on_order_quoted": 0}
        batch = {field: np.array([[value]]) for field, value in fields.items()}
        return float(agents.make(name, env, **parameters).predict(batch)[0][0, 0])

    modified = {"reorder_point": 12, "order_up_to": 18, "quantity": 4}
    assert [order("modified_s_S", x, **modified) for x in (13, 12, 16)] == [0, 4, 0]
    assert order("modified_s_S", 12, **{**modified, "quantity": 9}) == 6
    lots = {"reorder_point": 12, "quantity": 4}
    assert [order("r_Q", x, **lots) for x in (13, 12, 9, 8, 0)] == [0, 4, 4, 8, 16]


@pytest.mark.parametrize(
    ("name", "parameters", "match"),
    [
        ("r_Q", {"quantity": 4}, "reorder_point"),
        ("r_Q", {"reorder_point": 4}, "quantity"),
        ("r_Q", {"reorder_point": 4, "quantity": 0}, "quantity"),
        ("modified_s_S", {"reorder_point": 4, "order_up_to": 8}, "quantity"),
    ],
)
def test_wrong_lots_are_named(name, parameters, match):
    """A rule with nonsense in it must not run as if it had sense."""
    with pytest.raises(ValueError, match=match):
        agents.make(name, PROBLEMS["lost_sales"], **parameters)


def test_rules_that_follow_the_forecast_order_at_reviews_only():
    """In Network-v0 a retail step is a day, and orders between reviews are void."""
    envs = gym.make_vec(num_envs=2, **PROBLEMS["retail network"])
    rule = agents.make("r_Q", envs, safety_factor=1.0, lot_reviews=1.0)
    observation, _ = envs.reset(seed=0)
    ordered = []
    for _ in range(15):
        action, _ = rule.predict(observation)
        ordered.append(bool((action > 0).any()))
        observation, _, _, _, info = envs.step(action)
        # at reviews suppliers may cut orders; between them nothing is asked for
        assert ordered[-1] or (info["clip_fraction"] == 0).all()
    reviews = [k for k, some in enumerate(ordered) if some]
    assert reviews and all(k % 7 == reviews[0] % 7 for k in reviews)


def test_listing_the_rules_imports_none_of_them():
    """`import stockyard.agents` stays light."""
    code = (
        "import json, sys, stockyard.agents as a; a.registered(); "
        "print(json.dumps([m for m in sys.modules if 'heuristics.' in m]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []
