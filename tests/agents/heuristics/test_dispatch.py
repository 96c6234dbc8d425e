"""Trucks by hand: control limits and due dates."""

import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.envs import textbook

BATCH = textbook.batch_dispatch(textbook.Poisson(3), 10, 20, 1, max_trucks=3)
DATED = textbook.deadline_dispatch(textbook.Poisson(3), 2, 6, 12, 0.2, 10, max_trucks=2)


def trucks(name, problem, *parcels, **parameters):
    """Trucks for parcels by bin: late, slack 0, 1, ..., no deadline."""
    rows = np.array(parcels, dtype=np.float32)
    observation = {"parcels": rows, "inventory_position": np.zeros((len(rows), 1))}
    observation["on_hand"] = np.zeros((len(rows), 1))
    return agents.make(name, problem, **parameters).predict(observation)[0][:, 0].tolist()


def test_a_truck_leaves_at_the_control_limit():
    """Threshold 4, trucks of 10: 4 to 13 parcels take one, 14 take two; three is the most."""
    rows = [[0, 0, units] for units in (3, 4, 13, 14, 90)]
    assert trucks("control_limit", BATCH, *rows, threshold=4) == [0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("parcels", "when_due", "when_full_or_due"),
    [
        ([0, 0, 3, 2, 0], 0, 0),
        ([0, 0, 3, 3, 0], 0, 1),  # full, none due
        ([0, 1, 0, 0, 0], 1, 1),
        ([0, 7, 0, 0, 0], 2, 2),
        ([0, 1, 6, 6, 0], 1, 2),
    ],
)
def test_trucks_leave_when_parcels_are_due_or_trucks_full(parcels, when_due, when_full_or_due):
    """Trucks of 6."""
    assert trucks("dispatch_when_due", DATED, parcels) == [when_due]
    assert trucks("dispatch_when_full_or_due", DATED, parcels) == [when_full_or_due]


@pytest.mark.parametrize("threshold", [0, -1, [1, 2]])
def test_a_wrong_threshold_is_named(threshold):
    """No parcels are no reason for a truck."""
    with pytest.raises(ValueError, match="threshold"):
        agents.make("control_limit", BATCH, threshold=threshold)


def test_due_dates_are_needed_where_a_rule_goes_by_them():
    """Parcels without a deadline would wait forever."""
    with pytest.raises(ValueError, match="dispatch_when_due: needs parcels with deadlines"):
        agents.make("dispatch_when_due", BATCH)
