"""DemandPanel: its checks, aggregation, splits and bootstrap."""

import datetime
import pickle

import numpy as np
import pytest

from stockyard.envs.data import DemandPanel

START = datetime.date(2020, 1, 1)  # a Wednesday


def make_panel(num_days: int = 147, num_products: int = 3, num_regions: int = 5) -> DemandPanel:
    """Return a panel whose every cell is different."""
    shape = (num_days, num_products, num_regions)
    return DemandPanel(
        demand=np.arange(np.prod(shape), dtype=float).reshape(shape),
        start_date=START,
        products=tuple(f"p{k}" for k in range(num_products)),
        regions=tuple(f"r{k}" for k in range(num_regions)),
        price=np.arange(num_products, dtype=float),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("demand", np.zeros((2, 1))),
        ("demand", np.zeros((0, 1, 1))),
        ("demand", np.full((2, 1, 1), -1.0)),
        ("demand", np.full((2, 1, 1), np.nan)),
        ("demand", np.full((2, 1, 1), np.inf)),
        ("demand", np.array([[["a"]], [["b"]]])),
        ("start_date", datetime.datetime(2020, 1, 1)),
        ("start_date", "2020-01-01"),
        ("products", ("a", "b")),
        ("products", ("",)),
        ("regions", ()),
        ("price", np.array([np.nan])),
        ("price", np.array([-1.0])),
        ("price", np.array([1.0, 2.0])),
        ("category", ("a", "b")),
    ],
)
def test_a_wrong_field_is_refused_by_name(field: str, value: object) -> None:
    """A panel that exists is sound, so nothing behind it has to check again."""
    fields = {
        "demand": np.zeros((2, 1, 1)),
        "start_date": START,
        "products": ("a",),
        "regions": ("x",),
    }
    DemandPanel(**fields)
    with pytest.raises(ValueError, match=f"^{field} "):
        DemandPanel(**{**fields, field: value})


def test_repeated_names_are_refused() -> None:
    """Names are keys of reports; two alike would merge silently."""
    with pytest.raises(ValueError, match="^products must be distinct"):
        DemandPanel(np.zeros((1, 2, 1)), START, ("a", "a"), ("x",))


def test_arrays_are_read_only_and_the_callers_array_stays_writable() -> None:
    """A shared panel must not change, yet taking it must not lock what the caller owns."""
    demand = np.zeros((1, 1, 1))
    panel = DemandPanel(demand, START, ("a",), ("x",), price=np.ones(1))
    for values in (panel.demand, panel.price):
        assert values is not None
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 2
    demand[...] = 1


def test_categories_default_to_unknown() -> None:
    """The length of the field is promised even when nothing is known."""
    assert make_panel().category == ("", "", "")


def test_a_panel_survives_pickling() -> None:
    """Environments that hold a panel are sent to worker processes."""
    panel = make_panel()
    copy = pickle.loads(pickle.dumps(panel))
    np.testing.assert_array_equal(copy.demand, panel.demand)
    assert copy.products == panel.products


def test_aggregate_keeps_the_top_products_with_ties_by_name() -> None:
    """The choice must not depend on the order of the table."""
    demand = np.array([[[1.0], [5.0], [5.0]]])
    panel = DemandPanel(demand, START, ("a", "z", "b"), ("x",), np.arange(3.0), ("A", "Z", "B"))
    small = panel.aggregate(2, 1)
    assert small.products == ("b", "z")
    assert small.category == ("B", "Z")
    assert small.price is not None
    np.testing.assert_array_equal(small.price, [2, 1])


def test_aggregate_folds_regions_round_robin_and_loses_no_unit() -> None:
    """Region k goes to k % num_regions; folding is a sum."""
    panel = make_panel()
    small = panel.aggregate(3, 2)
    assert small.regions == ("r0+r2+r4", "r1+r3")
    kept = [panel.products.index(name) for name in small.products]
    np.testing.assert_array_equal(small.demand[:, :, 1], panel.demand[:, kept][:, :, [1, 3]].sum(2))
    assert small.demand.sum() == panel.demand.sum()
    assert panel.aggregate(1, 1).regions == ("r0+4 more",)


@pytest.mark.parametrize(("num_products", "num_regions"), [(4, 1), (1, 6), (0, 1), (1, 0)])
def test_aggregate_refuses_more_than_there_are(num_products: int, num_regions: int) -> None:
    """A smaller panel than asked for would pass unnoticed."""
    with pytest.raises(ValueError, match="must be between 1 and"):
        make_panel().aggregate(num_products, num_regions)


def test_splits_are_disjoint_whole_fortnights() -> None:
    """A test day seen in training would flatter every policy; 147 days hold 10 blocks."""
    panel = make_panel()
    days = {split: panel.split_days(split) for split in ("train", "validation", "test")}
    assert {split: len(values) for split, values in days.items()} == {
        "train": 84,
        "validation": 28,
        "test": 28,
    }
    np.testing.assert_array_equal(np.sort(np.concatenate(list(days.values()))), np.arange(140))
    np.testing.assert_array_equal(
        days["validation"], np.concatenate([np.arange(28, 42), np.arange(98, 112)])
    )


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    """A misspelt split must not fall back to another."""
    with pytest.raises(ValueError, match="train, validation, test, not 'eval'"):
        make_panel().split_days("eval")


def test_a_panel_without_a_block_for_each_split_is_refused() -> None:
    """Below 70 days the test split would be empty."""
    with pytest.raises(ValueError, match="70 days, demand has 69"):
        make_panel(num_days=69).split_days("train")
    assert len(make_panel(num_days=70).split_days("test")) == 14


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_bootstrap_keeps_the_weekday_and_stays_in_its_split(split: str) -> None:
    """The weekly pattern is the strongest one in the data, and splits must not leak."""
    panel = make_panel()
    days = panel.bootstrap_days(np.random.default_rng(0), 100, split)
    assert days.shape == (100,)
    np.testing.assert_array_equal(days % 7, np.arange(100) % 7)
    assert set(days.tolist()) <= set(panel.split_days(split).tolist())
    np.testing.assert_array_equal(np.diff(days[:14]), 1)


def test_a_longer_bootstrap_begins_with_the_shorter_one() -> None:
    """A longer horizon must not change what happens before."""
    panel = make_panel()
    long = panel.bootstrap_days(np.random.default_rng(3), 200, "train")
    for periods in (1, 13, 14, 15, 100):
        short = panel.bootstrap_days(np.random.default_rng(3), periods, "train")
        np.testing.assert_array_equal(short, long[:periods])


def test_bootstrap_reaches_every_block_of_the_split() -> None:
    """An index off by one would never draw the last block."""
    panel = make_panel()
    days = panel.bootstrap_days(np.random.default_rng(1), 14 * 200, "train")
    assert set(days.tolist()) == set(panel.split_days("train").tolist())


def test_bootstrap_of_no_periods_is_refused() -> None:
    """An empty tape is a mistake of the caller."""
    with pytest.raises(ValueError, match="^periods "):
        make_panel().bootstrap_days(np.random.default_rng(0), 0, "train")
