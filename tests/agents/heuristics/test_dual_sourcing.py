"""Two suppliers: orders by hand, and parameters that make no sense."""

import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.envs import textbook

SLOW_3_FAST_1 = textbook.dual_sourcing(textbook.Uniform(0, 4), 3, 1, 100, 110, 5, 495)
SLOW_2_FAST_0 = textbook.dual_sourcing(textbook.Uniform(0, 4), 2, 0, 100, 110, 5, 495)


def observed(on_hand, backlog, on_order):
    """One observation of a batch."""
    fields = {
        "on_hand": [on_hand],
        "backlog": [backlog],
        "on_order_quoted": on_order,
        "inventory_position": [on_hand - backlog + sum(on_order)],
    }
    return {name: np.array([values], dtype=np.float32) for name, values in fields.items()}


@pytest.mark.parametrize(
    ("name", "parameters", "regular", "expedited"),
    [
        # 2 on hand and 1 by tomorrow: 3 soon; 7 with the 4 that come the day after
        ("dual_index", {"expedited_order_up_to": 5, "regular_order_up_to": 12}, 3, 2),
        (
            "capped_dual_index",
            {"expedited_order_up_to": 5, "regular_order_up_to": 12, "cap": 2},
            2,
            2,
        ),
        ("tailored_base_surge", {"expedited_order_up_to": 5, "quantity": 1}, 1, 2),
        ("single_index", {"order_up_to": 12, "expedited_order_up_to": 8}, 4, 1),
        ("single_index", {"order_up_to": 12}, 5, 0),
    ],
)
def test_orders_are_the_literatures(name, parameters, regular, expedited):
    """Expedited first, by what comes within its lead time; regular by everything."""
    rule = agents.make(name, SLOW_3_FAST_1, **parameters)
    assert rule.predict(observed(2, 0, [1, 4]))[0].tolist() == [[[regular, expedited]]]


def test_with_no_lead_time_only_stock_and_backlog_count_as_soon():
    """What arrives tomorrow does not serve today."""
    rule = agents.make("dual_index", SLOW_2_FAST_0, expedited_order_up_to=4, regular_order_up_to=8)
    assert rule.predict(observed(0, 2, [5]))[0].tolist() == [[[0, 6]]]


@pytest.mark.parametrize(
    ("name", "parameters", "match"),
    [
        ("single_index", {"expedited_order_up_to": 4}, "order_up_to"),
        ("single_index", {"order_up_to": 4, "expedited_order_up_to": 5}, "at most order_up_to"),
        ("dual_index", {"expedited_order_up_to": 4}, "both"),
        ("dual_index", {"expedited_order_up_to": np.nan, "regular_order_up_to": 4}, "finite"),
        ("capped_dual_index", {"expedited_order_up_to": 4, "regular_order_up_to": 5}, "cap"),
        ("tailored_base_surge", {"expedited_order_up_to": 4, "quantity": -1}, "quantity"),
        ("tailored_base_surge", {"quantity": 1}, "both"),
    ],
)
def test_wrong_parameters_are_named(name, parameters, match):
    """A rule with nonsense in it must not run as if it had sense."""
    with pytest.raises(ValueError, match=match):
        agents.make(name, SLOW_2_FAST_0, **parameters)


def test_single_sourcing_rules_use_the_regular_supplier():
    """Base-stock with two suppliers is what dual sourcing is compared with."""
    rule = agents.make("base_stock", SLOW_2_FAST_0, order_up_to=10)
    assert rule.predict(observed(2, 0, [3]))[0].tolist() == [[[5, 0]]]
