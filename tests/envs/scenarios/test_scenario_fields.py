"""A scenario's fields are checked where they are read, and `like` means one thing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockyard.envs.network.streams import Streams
from stockyard.envs.scenarios import Scenario, build_world, names
from stockyard.envs.scenarios.checks import RETAIL, Between
from stockyard.envs.scenarios.presets import OVERRIDES, Retail, retail_of
from stockyard.envs.scenarios.scenario import DemandChange, LimitChange, scenario_data


def changed(field: str, **entry: Any) -> dict[str, Any]:
    """A scenario with one change."""
    usual = {"start": 0.1} if field == "promise_changes" else {"key": "a", "start": 0.1, "days": 3}
    return {field: [{**usual, **entry}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    (changed("demand_changes", days=2.5), "demand_changes[0].days: must be a whole number >= 1, "),
    (changed("demand_changes", days=True), "demand_changes[0].days: must be a whole number >= 1, "),
    (changed("demand_changes", days=0), "demand_changes[0].days: must be a whole number >= 1, "),
    (changed("demand_changes", is_event=1), "demand_changes[0].is_event: must be true or false"),
    (changed("demand_changes", is_event=True), "demand_changes[0].is_event: the calendar shows"),
    (changed("demand_changes", factor=-1), "demand_changes[0].factor: must be a number >= 0"),
    (changed("demand_changes", factor="2"), "demand_changes[0].factor: must be a number >= 0"),
    (changed("demand_changes", common_sd=0.5), "demand_changes[0].announced_days: an uncertain"),
    (changed("demand_changes", key=""), "demand_changes[0].key: must not be empty"),
    (changed("demand_changes", key=3), "demand_changes[0].key: must be a string, got 3"),
    (
        changed("demand_changes", products=[0.5, 0.2]),
        "demand_changes[0].products: must be an ascending pair of numbers in [0, 1], got",
    ),
    (
        changed("demand_changes", start=[0.5, 2]),
        "demand_changes[0].start: must lie in [0, 1] or be an ascending pair of numbers in [0, 1]",
    ),
    (
        changed("lead_changes", announced_days=-1),
        "lead_changes[0].announced_days: must be a whole number >= 0 or be null, got -1",
    ),
    (changed("lead_changes", factor=0), "lead_changes[0].factor: must be a number > 0, got 0"),
    (changed("lead_changes", factor=float("inf")), "lead_changes[0].factor: must be a number > 0"),
    (changed("limit_changes", factor=float("nan")), "limit_changes[0].factor: must be a number"),
    (changed("limit_changes", limit="b"), "limit_changes[0].limit: unknown 'b'; known: storage, "),
    (changed("limit_changes", nodes=["docks"]), "limit_changes[0].nodes: unknown ('docks',); kn"),
    (
        changed("limit_changes", limit="supplier", nodes="docks"),
        "limit_changes[0].nodes: means nothing for the limit 'supplier'",
    ),
    (changed("limit_changes", suppliers=[0, 0.5]), "limit_changes[0].suppliers: means nothing"),
    (changed("limit_changes", lift=2), "limit_changes[0]: unknown field 'lift'; known: key, "),
    (
        changed("promise_changes", min_offered_tier=3),
        "promise_changes[0].min_offered_tier: must be a whole number in [0, 2], got 3",
    ),
    (
        changed("promise_changes", acceptance_by_tier=[1, 0.8, 0.9]),
        "promise_changes[0].acceptance_by_tier: must be 3 numbers that start at 1 and fall, in (0,",
    ),
    (changed("promise_changes", acceptance_by_tier=[1, 0.8]), "promise_changes[0].acceptance_by"),
    (changed("promise_changes", start=[0.1, 0.2]), "promise_changes[0].start: must lie in [0, 1]"),
    ({"season": {"amplitude": 1.0}}, "season.amplitude: must lie in [0, 1), got 1.0"),
    ({"season": {"ramp_days": 0}}, "season.ramp_days: must be a whole number >= 1, got 0"),
    ({"season": {"phase": 1}}, "season: unknown field 'phase'; known: amplitude, peak_day, "),
    ({"season": 3}, "season: must be a mapping, got 3"),
    ({"rent_season": {"price": 3}}, "rent_season: unknown field 'price'; known: factor, "),
    ({"rent_season": {"first_day": 100, "last_day": 9}}, "rent_season.first_day: must be at most"),
    ({"launches": {"affected": 1}}, "launches: unknown field 'affected'; known: start, share, log"),
    ({"launches": {"share": 2}}, "launches.share: must lie in [0, 1], got 2"),
    ({"launches": {"hit_share": 0.9}}, "launches.hit_share: must lie in [0, 1] with flop_share"),
    ({"launches": {"flop_share": 0.9, "flop_factor": 0, "hit_factor": 0}}, "launches.flop_factor:"),
    ({"demand": {"baseline": 1}}, "demand: unknown field 'baseline'; known: drift_sd_per_year, "),
    ({"demand": {"whole_units": 1}}, "demand.whole_units: must be true or false, got 1"),
    ({"demand": {"wave_sd": [0.5]}}, "demand.wave_sd: must be a number >= 0, got"),
    ({"economics": {"rent": 1}}, "economics: unknown field 'rent'; known: unmet, "),
    ({"economics": {"unmet": "kept"}}, "economics.unmet: unknown 'kept'; known: lost, backorder"),
    ({"economics": {"pick_pack_per_unit": "a"}}, "economics.pick_pack_per_unit: must be a number"),
    ({"economics": {"cost_per_truck": "a"}}, "economics.cost_per_truck: must be a number, or a"),
    ({"retail": {"review_days": 7.0}}, "retail.review_days: must be a whole number >= 1, got 7.0"),
    ({"retail": {"burn_in_days": -1}}, "retail.burn_in_days: must be a whole number >= 0, got -1"),
    ({"retail": {"price_range": [9, 4]}}, "retail.price_range: must be an ascending pair of numb"),
    ({"retail": {"local_space_days": 0}}, "retail.local_space_days: must be a number > 0, got 0"),
    ({"retail": {"has_direct_lanes": "no"}}, "retail.has_direct_lanes: must be true or false"),
    ({"retail": {"tariff_by_tier": [1, 2]}}, "retail.tariff_by_tier: must be 3 numbers, each >= 0"),
    ({"retail": [1]}, "retail: must be a mapping, got [1]"),
    ({"demand_changes": {"key": "a"}}, "demand_changes: must be a list, got"),
    ({"about": 3}, "about: must be a string, got 3"),
]


@pytest.mark.parametrize(("data", "problem"), WRONG, ids=[problem for _, problem in WRONG])
def test_a_wrong_value_is_told_by_its_path(data: dict[str, Any], problem: str) -> None:
    """Types and ranges are checked when a scenario is read, before any world is built."""
    with pytest.raises(ValueError) as error:
        Scenario.from_mapping({"name": "x", **data})
    assert str(error.value).startswith(problem)


def test_objects_are_checked_like_data() -> None:
    """A `Scenario` made in Python meets the same rules; NumPy's numbers are numbers."""
    with pytest.raises(ValueError, match=r"^demand_changes\[0\]\.days: must be a whole number"):
        Scenario("x", demand_changes=[DemandChange("a", 0.1, 2.5)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^demand_changes\[0\]: must be a DemandChange"):
        Scenario("x", demand_changes=[LimitChange("a", 0.1, 2)])  # type: ignore[list-item]
    numbers: Any = {"days": np.int64(3), "factor": np.float32(2.0)}
    assert Scenario("x", demand_changes=[DemandChange("a", np.float64(0.1), **numbers)])


def test_what_comes_with_the_project_passes() -> None:
    """Every named scenario, and the parameters of every task."""
    for name in names():
        assert Scenario.from_mapping({"like": name}).name == name
    for task in ("replenishment", *OVERRIDES):
        assert Scenario("x", retail=vars(retail_of(task, {})))
    assert set(RETAIL) <= set(vars(Retail()))
    assert str(Between(0.0, 1.0, "(]")) == "(0, 1]"


@pytest.mark.parametrize("task", ["replenishment", "placement"])
def test_the_least_of_what_is_allowed_makes_a_world(task: str) -> None:
    """No burn-in, no cover and free freight: what passes the checks can be built and drawn."""
    least = {"burn_in_days": 0, "cover_days": 0.0, "lead_days": 1.0, "safety_days": 0.0}
    free = {"tariff_by_tier": [0, 0, 0], "tariff_per_mile": 0, "review_days": 1, "group_size": 1}
    data = {"name": "x", "retail": {**least, **free, "cost_ratio": [0.3, 0.3]}}
    world = build_world(data, "small", task)
    tape = world.source.draw(world.params("numpy", "float64"), [Streams("train", 0)], 28)
    assert np.isfinite(tape.demand).all()


def test_the_rent_can_change() -> None:
    """`limit: storage_rent` multiplies the one rent of all shelves while its window holds."""
    change = {"key": "a", "start": 0.0, "days": 14, "limit": "storage_rent", "factor": 2.5}
    world = build_world({"name": "x", "limit_changes": [change]})
    tape = world.source.draw(world.params("numpy", "float64"), [Streams("train", 0)], 60)
    rent = tape.limits["storage_rent"][:, 0, 0]
    np.testing.assert_array_equal(np.flatnonzero(rent == 2.5), np.arange(28, 42))
    assert (np.delete(rent, np.arange(28, 42)) == 1.0).all()


def test_like_merges_mappings_and_replaces_lists(tmp_path: Path) -> None:
    """Through a chain of files, names and data; a file is found beside the one that names it."""
    (tmp_path / "first.yaml").write_text("like: peak_event\nretail: {lead_days: 9.0}\n")
    (tmp_path / "second.yaml").write_text(
        "like: first.yaml\nretail: {local_space_days: 4.0}\nlimit_changes: []\n"
    )
    second = Scenario.from_yaml(tmp_path / "second.yaml")
    assert second.name == "second"
    assert second.retail == {"lead_days": 9.0, "local_space_days": 4.0}
    assert second.limit_changes == () and len(second.demand_changes) == 6
    third = Scenario.from_mapping(
        {"like": str(tmp_path / "second.yaml"), "retail": {"lead_days": 8}}
    )
    assert third.name == "second"
    assert third.retail == {"lead_days": 8, "local_space_days": 4.0}
    assert Scenario.from_mapping({"like": {"like": "steady"}}).name == "steady"
    assert scenario_data({"like": "seasonal"}) == scenario_data("seasonal")


def test_a_broken_file_is_told_by_its_name(tmp_path: Path) -> None:
    """What is no YAML, no mapping, or like itself."""
    broken, ring = tmp_path / "broken.yaml", tmp_path / "ring.yaml"
    broken.write_text("retail: {lead_days: 9.0\n")
    with pytest.raises(ValueError, match=r"broken\.yaml: is no YAML: "):
        build_world(str(broken))
    broken.write_text("- 3\n")
    with pytest.raises(ValueError, match=r"broken\.yaml: must hold a mapping"):
        build_world(broken)
    ring.write_text("like: ring.yaml\n")
    with pytest.raises(ValueError, match=r"like: .*ring\.yaml leads back to itself"):
        build_world(ring)
