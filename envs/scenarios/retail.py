"""The retail worlds: a catalogue, a network over US metros, capacities, and demand."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.data import DemandPanel, load_panel
from stockyard.envs.network.beliefs import Beliefs
from stockyard.envs.network.capacities import Capacities, CapacityWave, Congestion
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.forecast import (
    HORIZONS_DAYS,
    FittedForecaster,
    Forecaster,
    MartingaleForecaster,
)
from stockyard.envs.network.martingale import MartingaleDemand
from stockyard.envs.network.processes import DemandProcess, PanelDemand, TwoPartArrivals
from stockyard.envs.network.recorded import OrderRecorder
from stockyard.envs.network.seller_traits import Sellers, of_kinds
from stockyard.envs.network.shocks import Promotions
from stockyard.envs.network.standing_rules import (
    CoverOrder,
    ForecastSharePush,
    Idle,
    Recorded,
    Rule,
)
from stockyard.envs.network.standing_terms import ForecastNeed
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.tapes import TapeSource
from stockyard.envs.network.topology import (
    InboundLanes,
    Network,
    OutboundLanes,
    Products,
    TransferLanes,
)
from stockyard.envs.network.world import MONTH_DAYS, Opening, World
from stockyard.envs.scenarios import changes
from stockyard.envs.scenarios.catalogue import (
    check_margins,
    draw_each,
    draw_products,
    draw_rates,
    owners,
    share_rates,
)
from stockyard.envs.scenarios.layout import Layout, lay_out
from stockyard.envs.scenarios.presets import (
    ECONOMICS,
    Retail,
    SellerSettings,
    Size,
    retail_of,
    size_of,
)
from stockyard.envs.scenarios.scenario import Scenario

Floats = npt.NDArray[np.float64]

FIT_TAPES = 64
"""Bootstrapped training tapes from which the forecast of a replayed panel is fitted."""


def build_retail(
    scenario: Scenario, size: str, task: str, demand: Any = None, layout: Layout | None = None
) -> World:
    """Builds the world of a scenario.

    Args:
        scenario: what is particular to it.
        size: "small", "medium" or "large".
        task: name of the task.
        demand: a `DemandPanel` to replay, or a demand process, instead of the scenario's own.
        layout: where things are; None: laid out over the country.
    """
    retail, dims = retail_of(task, scenario.retail), size_of(size, task)
    if isinstance(demand, DemandPanel) or (demand is None and scenario.source == "panel"):
        return _replayed(scenario, dims, retail, task, demand)
    layout = lay_out(dims) if layout is None else layout
    names = tuple(f"product-{k:04d}" for k in range(dims.num_products))
    owner = owners(dims.num_products, dims.num_sellers, retail)
    products = draw_products(names, retail, owner)
    process: DemandProcess
    if demand is None:
        days = dims.horizon_days + retail.burn_in_days + 2 * max(HORIZONS_DAYS) + 400
        dow = 1.0 + retail.day_of_week * np.cos(2.0 * np.pi * (np.arange(days) % 7 - 5.5) / 7.0)
        parts = {
            "regional_sd": retail.regional_sd,
            "regional_half_life_days": retail.regional_half_life_days,
            **changes.demand_parts(scenario, names, dims, retail),
        }
        if dims.num_sellers:
            settings = SellerSettings(**scenario.sellers)
            parts["promotions"] = Promotions(
                (owner > 0).astype(np.float64), settings.promotion_share, settings.promotion_lift
            )
        rates = share_rates(draw_rates(names, retail), owner, retail)
        process = MartingaleDemand(
            baseline=dow[:, None] * rates, shares=layout.region_share, **parts
        )
    elif hasattr(demand, "draw") and hasattr(demand, "mean_rate"):
        process = demand
    else:
        raise ValueError(f"demand: must be a DemandPanel or a demand process, got {demand!r}")
    return _assemble(scenario, dims, retail, task, layout, products, process)


def _replayed(scenario: Scenario, dims: Size, retail: Retail, task: str, demand: Any) -> World:
    """A world whose demand is a panel, replayed in bootstrapped blocks of two weeks.

    The panel's weeks are split into train, validation and test before bootstrapping. An item is
    sold in packs that bring its price to at least 30 USD [A]: a single grocery item would not pay
    for its own parcel. One demanded unit of the panel is one pack. A panel with fewer products or
    regions than the size asks for gives fewer.
    """
    panel = load_panel() if demand is None else demand
    dims = dataclasses.replace(
        dims,
        num_products=min(dims.num_products, panel.num_products),
        num_regions=min(dims.num_regions, panel.num_regions),
    )
    panel = panel.aggregate(dims.num_products, dims.num_regions)
    layout = lay_out(dims)
    products = draw_products(tuple(panel.products), retail)
    if panel.price is not None:
        price = np.maximum(np.asarray(panel.price, dtype=np.float64), 0.01)
        packs = np.ceil(retail.price_median / price)
        price = price * np.maximum(packs, 1.0)
        cost = price * (products.unit_cost / products.price)
        products = dataclasses.replace(products, price=price, unit_cost=cost)
    if any(panel.category):
        products = dataclasses.replace(products, group=tuple(panel.category))
    process = PanelDemand(panel)
    rate = process.mean_rate(_NAMES_ONLY)
    share = rate.sum(axis=1) / rate.sum()
    layout = dataclasses.replace(layout, region_share=share)
    return _assemble(scenario, dims, retail, task, layout, products, process)


_NAMES_ONLY: Any = None  # PanelDemand.mean_rate reads the panel alone


def _assemble(
    scenario: Scenario,
    dims: Size,
    retail: Retail,
    task: str,
    layout: Layout,
    products: Products,
    demand: DemandProcess,
) -> World:
    """Puts lanes, capacities, forecast, opening stock and rules together."""
    economics = Economics(**{**ECONOMICS.get(task, {}), **scenario.economics})
    check_margins(products, economics, retail)
    daily = np.zeros(0) if not retail.minimum_order_days else demand.mean_rate(_NAMES_ONLY).sum(0)
    network = _network(dims, retail, layout, products, daily * retail.minimum_order_days)
    rate = demand.mean_rate(network)
    capacities = _capacities(dims, retail, network, rate)
    capacities = dataclasses.replace(
        capacities,
        changes=changes.limit_changes(scenario, network, dims, retail),
        rent_season=changes.rent_season(scenario),
        waves=_waves(retail),
        congestion=Congestion() if retail.has_congestion else None,
    )
    docks = dims.num_crossdocks
    # of the mean, the share that is fixed and the share that varies stay what they are
    usual = retail.lead_days / (TwoPartArrivals.fixed_days + TwoPartArrivals.variable_days)
    arrivals = TwoPartArrivals(
        fixed_days=usual * TwoPartArrivals.fixed_days,
        variable_days=usual * TwoPartArrivals.variable_days,
        lane_extra_days=np.where(network.inbound.head < docks, 0.0, retail.direct_extra_days),
        fills_whole=products.owner > 0 if dims.num_sellers else False,
        changes=changes.lead_changes(scenario, network, dims, retail),
    )
    opening = _opening(dims, retail, network, rate, capacities, demand)
    buying: Rule = CoverOrder(retail.safety_days)
    recorder = None
    if task == "placement":
        buying = Recorded()
        recorder = OrderRecorder(
            network=network,
            on_hand=opening.on_hand.sum(axis=0),
            inbound=tuple(units.sum(axis=0) for units in opening.inbound),
            minimum=rate.sum(axis=0) * retail.recorded_minimum_days,
            safety_days=retail.safety_days,
        )
    per_step = {"placement": 1, "restock_limits": MONTH_DAYS}.get(task, retail.review_days)
    settings = SellerSettings(**scenario.sellers)
    regional = tuple(range(docks, docks + dims.num_regional_centres))
    return World(
        network=network,
        economics=economics,
        source=TapeSource(
            network=network,
            demand=demand,
            arrivals=arrivals,
            capacities=capacities,
            forecaster=_forecaster(network, demand),
            epoch_periods=retail.review_days,
            promises=changes.promises(scenario, network, dims, retail),
            recorder=recorder,
            beliefs=_beliefs(settings) if dims.num_sellers else None,
            outlook_days=tuple(sorted({*HORIZONS_DAYS, round(economics.value_cover_days)})),
            outlook_periods=per_step,
        ),
        opening=opening,
        rules={
            "restock": ForecastNeed() if dims.num_sellers else Idle(),
            "replenish": buying,
            "place": ForecastSharePush(retail.cover_days, rest_to=regional),
            "dispatch": Idle(),
        },
        periods_per_step=per_step,
        horizon=dims.horizon_days,
        burn_in=retail.burn_in_days,
        max_order=np.maximum(rate.sum(axis=0) * retail.max_order_days, 1.0),
        sellers=_sellers(settings, network) if dims.num_sellers else None,
        reward_scale=float((rate.sum(axis=0) * products.price).sum() * per_step),
    )


def _waves(retail: Retail) -> tuple[CapacityWave, ...]:
    """How storage varies, which other business shares."""
    if not retail.storage_wave_sd:
        return ()
    wave = CapacityWave("storage", retail.storage_wave_sd, retail.storage_wave_half_life_days)
    return (wave,)


def _sellers(settings: SellerSettings, network: Network) -> Sellers:
    """The sellers; what kind each is, is drawn by its number."""
    count = network.products.num_owners - 1
    names = tuple(f"seller-{s + 1}" for s in range(count))
    drawn = draw_each("kind", names, lambda g: g.random())
    # by rank, so that the shares hold however few there are
    rank = (np.argsort(np.argsort(drawn)) + 0.5) / count
    truthful, inflating, hoarding = settings.kinds
    return Sellers(
        network,
        **of_kinds((truthful, inflating, hoarding), rank),
        merchant_share=settings.merchant_share,
        num_size_classes=settings.num_size_classes,
        demand_shape=settings.demand_shape,
        holding_days=settings.holding_days,
        obsolescence=settings.obsolescence,
        anticipation=settings.anticipation,
        most_cut=settings.most_cut,
        cut_elasticity=settings.cut_elasticity,
        payment="pay_as_bid" if settings.payment == "pay_as_bid" else "uniform",
    )


def _beliefs(settings: SellerSettings) -> Beliefs:
    return Beliefs(settings.bias_sd, settings.noise_sd, settings.insight, settings.insight_days)


def _network(
    dims: Size, retail: Retail, layout: Layout, products: Products, minimum_order: Floats
) -> Network:
    """The network; `minimum_order` (P,) in units, empty for none."""
    docks = dims.num_crossdocks
    centres = range(docks, len(layout.node_names))
    suppliers = tuple(f"supplier-{v:02d}" for v in range(dims.num_suppliers))
    # A supplier delivers to one cross-dock. Who makes a product is drawn by its name, so that a
    # product that changes rank leaves the others alone; a supplier may make none.
    drawn = draw_each("supplier", products.names, lambda g: float(g.integers(dims.num_suppliers)))
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
    into, lead = np.arange(docks), np.full(docks, retail.lead_days)
    cost = np.broadcast_to(products.unit_cost, supplier.shape)
    if retail.has_direct_lanes:  # every supplier also delivers to every centre, later and dearer
        into = np.concatenate((into, np.array(centres)))
        later = np.full(len(centres), retail.lead_days + retail.direct_extra_days)
        lead = np.concatenate((lead, later))
        supplier = np.concatenate((supplier, np.tile(supplier_of, (len(centres), 1))))
        dear = products.unit_cost * (1.0 + retail.direct_surcharge)
        cost = np.concatenate((cost, np.tile(dear, (len(centres), 1))))
    return Network(
        nodes=layout.node_names,
        regions=layout.region_names,
        products=products,
        suppliers=suppliers,
        inbound=InboundLanes(
            head=into,
            supplier=supplier,
            lead_time=np.rint(lead)[:, None],
            unit_cost=cost,
            minimum_order=minimum_order if minimum_order.size else 0.0,
            case_pack=retail.case_pack,
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
    """Mean units per period through each node, (N, P), if first choices are always met.

    Centres of one metro that are equally near share its demand.
    """
    through = np.zeros((network.num_nodes, network.num_products))
    lanes = network.outbound
    for region in range(network.num_regions):
        own = np.flatnonzero(lanes.region == region)
        rank = lanes.tier[own] * 1e6 + lanes.distance[own]
        first = lanes.node[own[rank <= rank.min() + 1e-6]]
        through[first] += rate[region] / len(first)
    through[network.inbound.head] += rate.sum(axis=0) * _first_lane(network)
    return through


def _first_lane(network: Network) -> npt.NDArray[np.bool_]:
    """(E_in, P) the first lane that carries each product: the one into its cross-dock."""
    lane = network.carries.argmax(axis=0)
    return np.asarray(np.arange(len(network.carries))[:, None] == lane)


def _capacities(dims: Size, retail: Retail, network: Network, rate: Floats) -> Capacities:
    docks, regional = dims.num_crossdocks, dims.num_regional_centres
    through = _throughput(network, rate)
    units, volume = through.sum(axis=1), through @ network.products.volume
    network_volume = float(rate.sum(axis=0) @ network.products.volume)
    storage = volume * retail.local_space_days
    storage[:docks] = volume[:docks] * retail.crossdock_space_days
    storage[docks : docks + regional] = network_volume * retail.regional_space_days / regional
    # A regional centre takes what local centres do not: size it for its share of all.
    inflow, picked = volume.copy(), units.copy()
    share = slice(docks, docks + regional)
    inflow[share] = np.maximum(volume[share], network_volume / regional)
    picked[share] = np.maximum(units[share], rate.sum() / regional)
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
        outbound=np.maximum(picked * retail.outbound, 1.0),
        supplier=np.maximum(supplied * retail.supplier, 1.0),
        yard=inflow * retail.yard_days,
        storage_rent=np.ones(1),
    )


def _forecaster(network: Network, demand: DemandProcess) -> Forecaster:
    h = network.periods_per_day
    if isinstance(demand, MartingaleDemand):
        return MartingaleForecaster(demand, h)
    samples = [
        demand.draw(Streams("train", 10**9 + k), network, max(HORIZONS_DAYS) * h).demand
        for k in range(FIT_TAPES)
    ]
    sums = {
        days * h: np.stack([path[: days * h].sum(axis=(0, 1)) for path in samples])
        for days in HORIZONS_DAYS
    }
    weeks = np.stack([path[: 7 * h].sum(axis=0) for path in samples])
    return FittedForecaster(demand.mean_rate(network), sums, weeks, h)


def _opening(
    dims: Size,
    retail: Retail,
    network: Network,
    rate: Floats,
    capacities: Capacities,
    demand: DemandProcess,
) -> Opening:
    """Stock near the standing rule's long-run mean, within every capacity."""
    through = _throughput(network, rate)
    days = np.full(network.num_nodes, retail.cover_days)
    days[: dims.num_crossdocks] = 1.0
    sold = np.ones(network.num_products)
    if isinstance(demand, MartingaleDemand) and demand.launches is not None:
        sold = sold - demand.launches.affected  # nobody stocks what is not sold yet
    on_hand = through * days[:, None] * sold
    volume = on_hand @ network.products.volume
    assert capacities.storage is not None
    on_hand *= np.minimum(1.0, 0.8 * capacities.storage / np.maximum(volume, 1e-9))[:, None]
    # Two weekly orders are under way, one due in six days and one in thirteen.
    order = _first_lane(network) * (rate.sum(axis=0) * retail.review_days * sold)
    empty = np.zeros_like(order)
    inbound = [empty] * 13
    inbound[5], inbound[12] = order, order
    return Opening(on_hand=on_hand, inbound=tuple(inbound))
