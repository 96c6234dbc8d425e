"""The retail worlds: a catalogue, a network over US metros, capacities, and demand."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.data import DemandPanel, load_panel
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.forecast import (
    HORIZONS_DAYS,
    FittedForecaster,
    Forecaster,
    MartingaleForecaster,
)
from stockyard.envs.network.processes import (
    Capacities,
    DemandProcess,
    MartingaleDemand,
    PanelDemand,
    TwoPartArrivals,
)
from stockyard.envs.network.standing_rules import CoverOrder, ForecastSharePush, Idle
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.tapes import TapeSource
from stockyard.envs.network.topology import (
    InboundLanes,
    Network,
    OutboundLanes,
    Products,
    TransferLanes,
)
from stockyard.envs.network.world import Opening, World
from stockyard.envs.scenarios.layout import Layout, lay_out
from stockyard.envs.scenarios.presets import RETAIL, SIZES, Retail, Size

Floats = npt.NDArray[np.float64]

CATALOGUE = Streams("train", 0)
"""The catalogue is the same in all tapes: drawn per tape it would drown every policy effect.
Of the seeds 0, 1, ... this is the first whose catalogue of 12 passes `check_margins`."""

FIT_TAPES = 64
"""Bootstrapped training tapes from which the forecast of a replayed panel is fitted."""


def build_retail(size: str, task: str, demand: Any = None) -> World:
    """The `steady` world: no season, drifting levels, an AR(1) demand wave.

    Args:
        size: "small", "medium" or "large".
        task: name of the task.
        demand: a `DemandPanel` (then the world is that of `build_real`) or a demand process.
    """
    if isinstance(demand, DemandPanel):
        return build_real(size, task, demand)
    dims, retail = SIZES[size], RETAIL
    layout = lay_out(dims)
    names = tuple(f"product-{k:04d}" for k in range(dims.num_products))
    products = _draw_catalogue(names, retail)
    rate = _draw_each(
        "rate",
        names,
        lambda g: (
            retail.demand_mean
            * np.exp(retail.demand_log_sd * g.standard_normal() - retail.demand_log_sd**2 / 2.0)
        ),
    )
    process: DemandProcess
    if demand is None:
        days = dims.horizon_days + retail.burn_in_days + 2 * max(HORIZONS_DAYS) + 400
        dow = 1.0 + retail.day_of_week * np.cos(2.0 * np.pi * (np.arange(days) % 7 - 5.5) / 7.0)
        process = MartingaleDemand(baseline=dow[:, None] * rate, shares=layout.region_share)
    elif hasattr(demand, "draw") and hasattr(demand, "mean_rate"):
        process = demand
    else:
        raise ValueError(f"demand: must be a DemandPanel or a demand process, got {demand!r}")
    return _assemble(dims, retail, layout, products, process)


def build_real(size: str, task: str, demand: Any = None) -> World:
    """The `real` world: a demand panel replayed in bootstrapped blocks of two weeks.

    The panel's weeks are split into train, validation and test before bootstrapping. An item is
    sold in packs that bring its price to at least 30 USD [A]: a single grocery item would not pay
    for its own parcel. One demanded unit of the panel is one pack.

    Args:
        size: "small", "medium" or "large"; a panel with fewer products or regions gives fewer.
        task: name of the task.
        demand: a `DemandPanel` instead of the shipped one.
    """
    panel = load_panel() if demand is None else demand
    if not isinstance(panel, DemandPanel):
        raise ValueError(f"demand: scenario 'real' replays a DemandPanel, got {demand!r}")
    dims, retail = SIZES[size], RETAIL
    dims = dataclasses.replace(
        dims,
        num_products=min(dims.num_products, panel.num_products),
        num_regions=min(dims.num_regions, panel.num_regions),
    )
    panel = panel.aggregate(dims.num_products, dims.num_regions)
    layout = lay_out(dims)
    products = _draw_catalogue(tuple(panel.products), retail)
    if panel.price is not None:
        price = np.maximum(np.asarray(panel.price, dtype=np.float64), 0.01)
        packs = np.ceil(retail.price_median / price)
        price = price * np.maximum(packs, 1.0)
        cost = price * (products.unit_cost / products.price)
        products = dataclasses.replace(products, price=price, unit_cost=cost)
    groups = tuple(f"group-{k // retail.group_size}" for k in range(dims.num_products))
    if any(panel.category):
        groups = tuple(panel.category)
    products = dataclasses.replace(products, group=groups)
    process = PanelDemand(panel)
    rate = process.mean_rate(_NAMES_ONLY)
    share = rate.sum(axis=1) / rate.sum()
    layout = dataclasses.replace(layout, region_share=share)
    return _assemble(dims, retail, layout, products, process)


_NAMES_ONLY: Any = None  # PanelDemand.mean_rate reads the panel alone


def _draw_each(process: str, names: Sequence[str], draw: Any) -> Floats:
    """One value per product, from the product's own stream."""
    return np.array([float(draw(CATALOGUE.generator(process, name))) for name in names])


def _draw_catalogue(names: tuple[str, ...], retail: Retail) -> Products:
    def lognormal(process: str, median: float, sd: float, limits: tuple[float, float]) -> Floats:
        drawn = _draw_each(process, names, lambda g: median * np.exp(sd * g.standard_normal()))
        return np.clip(drawn, *limits)

    price = lognormal("price", retail.price_median, retail.price_log_sd, retail.price_range)
    low, high = retail.cost_ratio
    ratio = _draw_each("cost", names, lambda g: low + (high - low) * g.random())
    volume = lognormal("volume", retail.volume_median, retail.volume_log_sd, retail.volume_range)
    groups = tuple(f"group-{k // retail.group_size}" for k in range(len(names)))
    return Products(names, volume=volume, price=price, unit_cost=price * ratio, group=groups)


def check_margins(products: Products, economics: Economics, retail: Retail) -> None:
    """Refuses a catalogue on which ordering nothing would be right (trap E21).

    Raises:
        ValueError: unless the median unit contribution exceeds 4 USD and 95 % are positive.
    """
    handling = (
        economics.pick_pack_per_unit
        + economics.last_mile_per_unit
        + 2.0 * economics.receive_per_unit
        + retail.transfer_cost_per_unit
        + retail.tariff_by_tier[0]
    )
    contribution = products.price - products.unit_cost - handling
    if np.median(contribution) <= 4.0 or (contribution > 0).mean() < 0.95:
        raise ValueError(
            "products.price: contribution per unit is too small "
            f"(median {np.median(contribution):.2f} USD, {np.mean(contribution > 0):.0%} positive)"
        )


def _assemble(
    dims: Size, retail: Retail, layout: Layout, products: Products, demand: DemandProcess
) -> World:
    """Puts lanes, capacities, forecast, opening stock and rules together."""
    economics = Economics()
    check_margins(products, economics, retail)
    network = _network(dims, retail, layout, products)
    rate = demand.mean_rate(network)
    capacities = _capacities(dims, retail, network, rate)
    arrivals = TwoPartArrivals()
    forecaster = _forecaster(network, demand)
    shares = rate / np.maximum(rate.sum(axis=0), 1e-9)
    docks = dims.num_crossdocks
    regional = tuple(range(docks, docks + dims.num_regional_centres))
    return World(
        network=network,
        economics=economics,
        source=TapeSource(
            network=network,
            demand=demand,
            arrivals=arrivals,
            capacities=capacities,
            forecaster=forecaster,
            regional_shares=shares,
            epoch_periods=retail.review_days,
        ),
        opening=_opening(dims, retail, network, rate, capacities),
        rules={
            "restock": Idle(),
            "replenish": CoverOrder(retail.safety_days),
            "place": ForecastSharePush(retail.cover_days, rest_to=regional),
            "dispatch": Idle(),
        },
        periods_per_step=retail.review_days,
        horizon=dims.horizon_days,
        burn_in=retail.burn_in_days,
        max_order=np.maximum(rate.sum(axis=0) * retail.max_order_days, 1.0),
        reward_scale=float((rate.sum(axis=0) * products.price).sum() * retail.review_days),
    )


def _network(dims: Size, retail: Retail, layout: Layout, products: Products) -> Network:
    docks = dims.num_crossdocks
    centres = range(docks, len(layout.node_names))
    suppliers = tuple(f"supplier-{v:02d}" for v in range(dims.num_suppliers))
    # A supplier delivers to one cross-dock. Who makes a product is drawn by its name, so that a
    # product that changes rank leaves the others alone; a supplier may make none.
    drawn = _draw_each("supplier", products.names, lambda g: g.integers(dims.num_suppliers))
    supplier_of = drawn.astype(np.intp)
    dock_of = supplier_of % docks
    supplier = np.where(dock_of == np.arange(docks)[:, None], supplier_of, -1)
    tail = np.repeat(np.arange(docks), len(centres))
    head = np.tile(np.array(centres), docks)
    far = layout.node_distance[tail, head] > 800.0
    transit = np.where(far, retail.transfer_days_far, retail.transfer_days_near)
    node, region, tier = [], [], []
    for r in range(len(layout.region_names)):
        local = {
            n
            for n in centres
            if n >= docks + dims.num_regional_centres and layout.distance[n, r] < 1.0
        }
        ranked = sorted(centres, key=lambda n: (n not in local, layout.distance[n, r]))
        regional = [n for n in centres if n < docks + dims.num_regional_centres]
        nearest = min(regional, key=lambda n: layout.distance[n, r])
        chosen = ranked[: dims.sources_per_region]
        if nearest not in chosen:
            chosen[-1] = nearest
        for n in chosen:
            at_home = layout.distance[n, r] < 1.0
            node.append(n)
            region.append(r)
            tier.append(0 if at_home else 1 if n in regional else 2)
    distance = layout.distance[node, region]
    tariff = np.array(retail.tariff_by_tier)[tier] + retail.tariff_per_mile * distance
    return Network(
        nodes=layout.node_names,
        regions=layout.region_names,
        products=products,
        suppliers=suppliers,
        inbound=InboundLanes(
            head=np.arange(docks),
            supplier=supplier,
            lead_time=13,
            unit_cost=products.unit_cost,
        ),
        transfers=TransferLanes(
            tail=tail, head=head, transit=transit, cost_per_unit=retail.transfer_cost_per_unit
        ),
        outbound=OutboundLanes(
            node=node, region=region, tier=tier, tariff=tariff, distance=distance
        ),
        acceptance_by_tier=retail.acceptance_by_tier,
        substitution=retail.substitution,
        node_latitude=layout.latitude.tolist(),
        node_longitude=layout.longitude.tolist(),
    )


def _throughput(network: Network, rate: Floats) -> Floats:
    """Mean units per period through each node, (N, P), if first choices are always met."""
    through = np.zeros((network.num_nodes, network.num_products))
    np.add.at(through, network.ranks()[0].node, rate)
    for e, node in enumerate(network.inbound.head.tolist()):
        through[node] += rate.sum(axis=0) * network.carries[e]
    return through


def _capacities(dims: Size, retail: Retail, network: Network, rate: Floats) -> Capacities:
    docks, regional = dims.num_crossdocks, dims.num_regional_centres
    through = _throughput(network, rate)
    units, volume = through.sum(axis=1), through @ network.products.volume
    network_volume = float(rate.sum(axis=0) @ network.products.volume)
    storage = volume * retail.local_space_days
    storage[:docks] = volume[:docks] * retail.crossdock_space_days
    storage[docks : docks + regional] = network_volume * retail.regional_space_days / regional
    # A regional centre takes what local centres do not: size it for its share of the rest.
    inflow = volume.copy()
    inflow[docks : docks + regional] = np.maximum(
        volume[docks : docks + regional], network_volume / regional
    )
    receiving = inflow * retail.centre_receiving
    receiving[:docks] = inflow[:docks] * retail.crossdock_receiving
    supplied = np.array(
        [
            (rate.sum(axis=0) * (network.inbound.supplier == v).any(axis=0)).sum()
            for v in range(len(network.suppliers))
        ]
    )
    return Capacities(
        storage=storage,
        receiving=receiving,
        outbound=np.maximum(units * retail.outbound, 1.0),
        supplier=np.maximum(supplied * retail.supplier, 1.0),
        yard=inflow * retail.yard_days,
    )


def _forecaster(network: Network, demand: DemandProcess) -> Forecaster:
    h = network.periods_per_day
    if isinstance(demand, MartingaleDemand):
        return MartingaleForecaster(demand, h)
    samples = [
        demand.draw(Streams("train", 10**9 + k), network, max(HORIZONS_DAYS) * h).demand.sum(axis=1)
        for k in range(FIT_TAPES)
    ]
    sums = {
        days * h: np.stack([path[: days * h].sum(axis=0) for path in samples])
        for days in HORIZONS_DAYS
    }
    return FittedForecaster(demand.mean_rate(network).sum(axis=0), sums)


def _opening(
    dims: Size, retail: Retail, network: Network, rate: Floats, capacities: Capacities
) -> Opening:
    """Stock near the standing rule's long-run mean, within every capacity."""
    through = _throughput(network, rate)
    days = np.full(network.num_nodes, retail.cover_days)
    days[: dims.num_crossdocks] = 1.0
    on_hand = through * days[:, None]
    volume = on_hand @ network.products.volume
    assert capacities.storage is not None
    on_hand *= np.minimum(1.0, 0.8 * capacities.storage / np.maximum(volume, 1e-9))[:, None]
    # Two weekly orders are under way, one due in six days and one in thirteen.
    order = network.carries * rate.sum(axis=0) * retail.review_days
    empty = np.zeros_like(order)
    inbound = [empty] * 13
    inbound[5], inbound[12] = order, order
    return Opening(on_hand=on_hand, inbound=tuple(inbound))
