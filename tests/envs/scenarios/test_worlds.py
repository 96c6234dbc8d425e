"""Default networks are laid out sensibly, and their numbers hang together."""

import numpy as np
import pytest

from stockyard.envs.data import DemandPanel
from stockyard.envs.scenarios import build_world
from stockyard.envs.scenarios.catalogue import check_margins, draw_products
from stockyard.envs.scenarios.layout import great_circle_miles, lay_out
from stockyard.envs.scenarios.presets import SIZES, Retail
from stockyard.envs.scenarios.retail import _network


def test_distances_are_great_circles():
    """New York to Los Angeles is about 2,450 miles."""
    there = great_circle_miles(
        np.array([40.7]), np.array([-74.0]), np.array([34.05]), np.array([-118.25])
    )
    assert there[0, 0] == pytest.approx(2450, abs=15)


@pytest.mark.parametrize("size", SIZES)
def test_layouts_have_the_size_they_say(size):
    """Every size has its cross-docks, centres and regions, and shares that sum to one."""
    layout = lay_out(SIZES[size])
    dims = SIZES[size]
    nodes = dims.num_crossdocks + dims.num_regional_centres + dims.num_local_centres
    assert len(layout.node_names) == len(set(layout.node_names)) == nodes
    assert len(layout.region_names) == dims.num_regions
    assert layout.region_share.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("scenario", ["steady", "real"])
@pytest.mark.parametrize("size", ["small", "medium"])
def test_worlds_are_consistent(scenario, size):
    """Opening stock fits the shelves, every region can be served, margins are positive."""
    world = build_world(scenario, size)
    network, limits = world.network, world.source.capacities
    used = world.opening.on_hand @ network.products.volume
    assert (used <= limits.storage + 1e-9).all()
    assert set(network.outbound.region.tolist()) == set(range(network.num_regions))
    assert (network.products.price > network.products.unit_cost).all()
    assert network.carries.any(axis=0).all()


def test_every_region_is_reached_in_a_day_where_a_centre_stands():
    """Tier 0 is a lane of no distance; a regional centre reaches the rest in two days."""
    network = build_world("steady", "medium").network
    home = network.outbound.distance < 1.0
    assert (network.outbound.tier[home] == 0).all()
    assert (network.outbound.tier[~home] > 0).all()


def test_a_users_panel_replaces_the_shipped_one():
    """Researchers bring their own demand."""
    rng = np.random.default_rng(0)
    from datetime import date

    panel = DemandPanel(
        demand=rng.poisson(3.0, (140, 5, 2)).astype(float),
        start_date=date(2024, 1, 1),
        products=tuple("abcde"),
        regions=("east", "west"),
        price=np.array([30.0, 45.0, 60.0, 33.0, 70.0]),
    )
    world = build_world("real", "small", demand=panel)
    assert world.network.num_products == 5
    assert world.network.num_regions == 2


def test_a_catalogue_without_margin_is_refused():
    """If every sale loses money, ordering nothing is optimal and the task is inverted."""
    import dataclasses

    from stockyard.envs.network.economics import Economics

    products = build_world("steady").network.products
    poor = dataclasses.replace(products, unit_cost=products.price)
    with pytest.raises(ValueError, match="contribution"):
        check_margins(poor, Economics(), Retail())


def test_yards_hold_days_of_mean_volume():
    """A yard is as large as its node's mean inflow says, however wide the dock."""
    world = build_world("steady", "small")
    network, limits = world.network, world.source.capacities
    dims = SIZES["small"]
    daily = world.source.demand.mean_rate(network).sum(axis=0) @ network.products.volume
    docks = slice(0, dims.num_crossdocks)
    assert limits.yard[docks].sum() == pytest.approx(daily * Retail().yard_days)
    assert limits.receiving[docks].sum() == pytest.approx(daily * Retail().crossdock_receiving)
    centres = slice(dims.num_crossdocks, None)
    days = limits.yard[centres] / limits.receiving[centres]
    np.testing.assert_allclose(days, Retail().yard_days / Retail().centre_receiving)


def test_who_supplies_a_product_is_its_own_affair():
    """A product that changes rank, or comes anew, does not move the others to other suppliers."""

    def supplier_of(order):
        names = tuple(f"product-{k:04d}" for k in order)
        products = draw_products(names, Retail())
        supplier = _network(
            SIZES["small"], Retail(), lay_out(SIZES["small"]), products, np.zeros(0)
        )
        return dict(zip(names, supplier.inbound.supplier.max(axis=0).tolist(), strict=True))

    usual, other = supplier_of(range(12)), supplier_of([40, *reversed(range(11))])
    assert {name: usual[name] for name in other if name in usual} == {
        name: v for name, v in other.items() if name in usual
    }
    assert set(usual.values()) == {0, 1, 2}
