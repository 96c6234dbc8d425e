"""The shipped panel and metro table."""

import datetime
import subprocess
import sys

import numpy as np
import pytest

from stockyard.envs.data import load_metros, load_panel


def test_the_shipped_panel_is_what_its_readme_says() -> None:
    """Scenarios and leaderboard rows rest on these numbers."""
    panel = load_panel()
    assert panel.demand.shape == (364, 2000, 24)
    assert panel.start_date == datetime.date(2017, 1, 1)
    assert np.count_nonzero(panel.demand) == 620_553
    assert panel.demand.sum(dtype=np.float64) == 941_273
    np.testing.assert_array_equal(panel.demand, np.round(panel.demand))
    assert panel.price is not None
    assert 0.1 < panel.price.min() < panel.price.max() < 20
    assert "" not in panel.category


def test_every_product_and_region_of_the_shipped_panel_sells() -> None:
    """A product without demand would make an environment without decisions."""
    demand = load_panel().demand
    assert demand.sum(axis=(0, 2)).min() > 100
    assert demand.sum(axis=(0, 1)).min() > 20_000


def test_days_of_the_shipped_panel_are_local_days() -> None:
    """Read as UTC, evening shoppers would fall on the next day and Christmas would have sales."""
    units = load_panel().demand.sum(axis=(1, 2))
    assert units[(datetime.date(2017, 12, 25) - datetime.date(2017, 1, 1)).days] == 0
    weekday_means = units.reshape(52, 7).mean(axis=0)
    assert set(np.argsort(weekday_means)[-2:]) == {0, 6}  # Sunday and Saturday


def test_the_shipped_panel_has_all_splits_and_small_sizes() -> None:
    """26 blocks: 16 to train, 5 to validate, 5 to test."""
    panel = load_panel()
    assert [len(panel.split_days(s)) // 14 for s in ("train", "validation", "test")] == [16, 5, 5]
    small = panel.aggregate(12, 6)
    assert small.demand.mean(axis=(0, 2)).min() > 1


def test_loading_twice_gives_the_same_object() -> None:
    """Many environments share one panel."""
    assert load_panel() is load_panel()
    assert load_metros() is load_metros()


def test_the_metros_are_the_large_cities_of_the_contiguous_states() -> None:
    """Distances and demand weights of the networks come from this table."""
    metros = load_metros()
    assert len(metros.names) == len(set(metros.names)) == 120
    assert metros.names[:3] == ("New York City, NY", "Los Angeles, CA", "Chicago, IL")
    assert {"Dallas, TX", "Houston, TX", "Washington, DC"} <= set(metros.names[:10])
    assert not any(name.endswith(("AK", "HI", "PR")) for name in metros.names)
    assert (np.diff(metros.population) <= 0).all()
    assert metros.population.min() > 200_000
    assert ((metros.latitude > 24.5) & (metros.latitude < 49.5)).all()
    assert ((metros.longitude > -125) & (metros.longitude < -66.5)).all()
    with pytest.raises(ValueError, match="read-only"):
        metros.population[0] = 0


def test_importing_the_data_package_reads_no_data_and_no_pandas() -> None:
    """`import stockyard.envs` must stay fast."""
    code = (
        "import sys, stockyard.envs.data as data\n"
        "assert not {'pandas', 'pyarrow'} & set(sys.modules)\n"
        "assert data.load_panel.cache_info().currsize == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
