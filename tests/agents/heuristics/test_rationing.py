"""What is short is shared as each function says, alike in NumPy and in torch."""

import numpy as np
import pytest
import torch

from stockyard.agents.heuristics.rationing import (
    fair_cover,
    filled,
    in_room,
    level_share,
    rationed,
    shares,
    volume_of,
    within,
)

AMONG = np.array([True, False, True])
ROWS, PRODUCTS, CENTRES = 64, 6, 3


def drawn(rng, *shape):
    """Amounts of which a fourth are nothing."""
    return rng.gamma(1.0, 5.0, shape) * (rng.random(shape) > 0.25)


def cases():
    """Function of the module -> what it is called with: zeros, ties and plain numbers."""
    rng = np.random.default_rng(0)
    by_centre, by_product = (ROWS, PRODUCTS, CENTRES), (ROWS, PRODUCTS)
    volume = rng.gamma(2.0, 1.0, PRODUCTS)
    daily = drawn(rng, *by_centre)
    daily[::7] = 0.0  # demand nowhere
    tied = rng.integers(0, 3, by_centre).astype(float)
    units, weight = drawn(rng, *by_product), drawn(rng, *by_product)
    weight[:6] = 0.0
    room = drawn(rng, ROWS, CENTRES) * 4.0
    moved, position = drawn(rng, *by_centre), drawn(rng, *by_centre)
    return {
        "volume_of": (volume_of, (moved, volume)),
        "rationed": (rationed, (moved, units)),
        "shares": (lambda w: shares(w, AMONG), (daily,)),
        "filled": (filled, (position, daily, units)),
        "fair_cover": (fair_cover, (position, daily, units)),
        "level_share": (level_share, (units, weight, volume, drawn(rng, ROWS) * 8.0)),
        "within": (within, (units, volume, drawn(rng, ROWS, 1) * 8.0, tied[..., 0])),
        "within, centres": (within, (moved, volume[:, None], room[:, None], tied)),
        "in_room, alike": (lambda u, v, r: in_room(u, v, r, None), (moved, volume, room)),
        "in_room, by worth": (in_room, (moved, volume, room, tied)),
    }


@pytest.mark.parametrize("name", cases())
def test_both_backends_share_alike(name):
    """One source: a rule that a learner steers must be the rule that everybody else plays."""
    function, arguments = cases()[name]
    expected = function(*arguments)
    found = function(*(torch.from_numpy(one) for one in arguments))
    assert found.dtype == torch.float64 and np.isfinite(expected).all()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", cases())
def test_gradients_are_finite(name):
    """One that is not would spoil every weight; worth counts as given, and has none."""
    function, arguments = cases()[name]
    given = [torch.from_numpy(one).requires_grad_() for one in arguments]
    function(*given).sum().backward()
    found = [one.grad for one in given if one.grad is not None]
    assert len(found) >= len(given) - 1
    for gradient in found:
        assert torch.isfinite(gradient).all()


def test_no_more_is_shared_than_there_is():
    """Neither of stock nor of room, whatever is asked for."""
    by_name = cases()
    for name in ("rationed", "filled"):
        function, arguments = by_name[name]
        given = function(*arguments)
        assert (given >= 0.0).all()
        assert (given.sum(axis=-1) <= arguments[-1] * (1.0 + 1e-9)).all()
    for name in ("in_room, alike", "in_room, by worth"):
        function, (moved, volume, room, *worth) = by_name[name]
        given = function(moved, volume, room, *worth)
        assert (given >= 0.0).all() and (given <= moved + 1e-9).all()
        assert (volume_of(given, volume) <= room + 1e-9).all()


def test_shares_are_parts_of_one_among_the_chosen():
    """Equal ones where all weights are zero."""
    weight = np.array([[1.0, 5.0, 3.0], [0.0, 5.0, 0.0]])
    assert shares(weight, AMONG) == pytest.approx(np.array([[0.25, 0.0, 0.75], [0.5, 0.0, 0.5]]))


def test_fair_share_lifts_the_emptiest_centres_to_one_cover():
    """By hand: 10 units over covers 0, 2 and 9 days end at 4 days, 4 days and 9 days."""
    position, daily = np.array([0.0, 2.0, 9.0]), np.array([2.0, 1.0, 1.0])
    assert fair_cover(position, daily, np.array(10.0)) == pytest.approx([4.0])
    assert fair_cover(position, 0.0 * daily, np.array(10.0)) == pytest.approx([0.0])
    rng = np.random.default_rng(0)
    position, daily = rng.gamma(1.0, 5.0, (50, 4)), rng.gamma(1.0, 1.0, (50, 4))
    available = rng.gamma(1.0, 9.0, 50)
    cover = fair_cover(position, daily, available)
    assert np.maximum(cover * daily - position, 0.0).sum(axis=1) == pytest.approx(available)


def test_levels_fill_a_space_exactly():
    """min(units, level * weight) uses all the space, or all units fit."""
    rng = np.random.default_rng(2)
    units, weight = rng.gamma(1.0, 5.0, (40, 6)), rng.gamma(1.0, 1.0, (40, 6))
    units[rng.random((40, 6)) < 0.3] = 0.0
    volume, space = rng.gamma(1.0, 1.0, 6), rng.gamma(1.0, 20.0, 40)
    kept = level_share(units, weight, volume, space)
    assert (kept <= units + 1e-12).all()
    assert kept @ volume == pytest.approx(np.minimum(space, units @ volume))
    level = np.where(kept < units - 1e-9, kept / weight, np.nan)
    for row in level:
        assert np.isnan(row).all() or np.nanmax(row) == pytest.approx(np.nanmin(row))


def test_a_product_of_zero_weight_keeps_nothing_until_everything_fits():
    """The jump that the module tells of."""
    units, weight, volume = np.array([[4.0, 6.0]]), np.array([[0.0, 1.0]]), np.ones(2)
    for space, expected in ((9.9, [0.0, 6.0]), (10.0, [4.0, 6.0])):
        kept = level_share(units, weight, volume, np.array([space]))
        assert kept[0] == pytest.approx(expected)


def test_what_is_worth_most_goes_first():
    """By hand: 6 ft3 for four units each; what is tied goes in its order."""
    units, volume, space = np.full((1, 3), 4.0), np.ones(3), np.array([[6.0]])
    assert within(units, volume, space, np.array([[1.0, 3.0, 2.0]]))[0] == pytest.approx(
        [0.0, 4.0, 2.0]
    )
    assert within(units, volume, space, np.ones((1, 3)))[0] == pytest.approx([4.0, 2.0, 0.0])
