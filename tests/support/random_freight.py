"""Random small networks whose trucks come from pools, on top of `random_networks`."""

import dataclasses
from typing import Any

import numpy as np
from random_networks import BATCH, Case, draw_case

from stockyard.envs.network.freight import Freight, Hubs
from stockyard.envs.network.state import FreightState


def draw_freight_case(seed: int, **fixed: Any) -> Case:
    """Draws a case with `Freight`.

    Args:
        seed: the case's number.
        **fixed: features that must or must not be there: `hubs`, `pallets`, `hours`, and those of
            `random_networks.draw_case`.
    """
    rng = np.random.default_rng([seed, 21])

    def maybe(feature: str, chance: float = 0.5) -> bool:
        drawn = bool(rng.random() < chance)
        return bool(fixed.pop(feature, drawn))

    has_hubs, has_pallets, has_hours = maybe("hubs", 0.7), maybe("pallets"), maybe("hours")
    case = draw_case(seed, **{"parcels": True, "backorder": False, **fixed})
    network = case.network
    outs, moves = len(network.outbound.node), len(network.transfers.tail)
    has_pallets = has_pallets and moves > 0
    hubs = _hubs(rng, network) if has_hubs else None
    extra = (0, 0) if hubs is None else (len(hubs.region), len(hubs.line_tail))
    lanes, pools = moves + outs + sum(extra), int(rng.integers(1, 4))
    parcel_lanes = outs + extra[0] + (moves if has_pallets else 0)
    freight = Freight(
        pools=tuple(f"g{k}" for k in range(pools)),
        pool=rng.integers(0, pools, lanes),
        round_trip=rng.integers(1, 4, lanes),
        spot_cost=rng.uniform(10, 40, lanes),
        duty_hours=rng.uniform(1, 9, lanes),
        most_hours=rng.uniform(5, 30, pools) if has_hours else np.inf,
        hubs=hubs,
        has_pallets=has_pallets,
        fee_weight=rng.uniform(0.2, 1.0, parcel_lanes),
        value_per_ft3=rng.uniform(0, 1, parcel_lanes),
    )
    network = dataclasses.replace(network, freight=freight)
    economics = dataclasses.replace(case.economics, cost_per_truck=rng.uniform(5, 20, lanes))

    def units(*shape: int, mean: float = 5.0) -> Any:
        return rng.gamma(1.5, mean / 1.5, (BATCH, *shape)) * (rng.random((BATCH, *shape)) > 0.25)

    bins = len(network.slack_mix) + 2
    parcels = units(parcel_lanes, bins)
    state = case.state._replace(
        parcels=parcels,
        parcel_volume=parcels * rng.uniform(0.5, 2.0),
        freight=FreightState(
            away=np.rint(units(6, pools, mean=1.0)),
            hours=rng.uniform(0, 5, (BATCH, pools)) if has_hours else None,
            to_hub=tuple(units(extra[0], bins) for _ in range(2)) if extra[0] else (),
            to_hub_volume=tuple(units(extra[0], bins) for _ in range(2)) if extra[0] else (),
        ),
    )

    def pool_limit(mean: float, whole: bool = False) -> Any:
        drawn = rng.uniform(0.0, 2.0 * mean, (BATCH, pools))
        return np.rint(drawn) if whole else drawn

    decisions, exogenous = [], []
    for decided, happens in zip(case.decisions, case.exogenous, strict=True):
        limit = happens.revealed.truck_limit
        known = happens.revealed._replace(
            truck_limit=None if limit is None else np.rint(rng.uniform(0, 4, (1, lanes))),
            fleet_size=pool_limit(5.0, whole=True),
            driver_hours=pool_limit(15.0) if has_hours else None,
            spot_limit=pool_limit(1.5, whole=True) if rng.random() < 0.7 else None,
            carrier_limit=pool_limit(6.0) if rng.random() < 0.7 else None,
        )
        some = rng.random() < 0.8
        background = units(parcel_lanes, mean=2.0) if some else None
        exogenous.append(
            happens._replace(
                revealed=known,
                background_parcels=background,
                background_volume=None if background is None else background * 0.8,
                return_delay=rng.integers(0, 3, (BATCH, lanes)).astype(float) if some else None,
            )
        )
        decisions.append(
            decided._replace(
                trucks=rng.uniform(-0.5, 3.0, (BATCH, lanes)) if rng.random() < 0.9 else None,
                spot=rng.uniform(-0.5, 3.0, (BATCH, lanes)) if rng.random() < 0.7 else None,
                expedite=rng.uniform(-0.2, 1.2, (BATCH, parcel_lanes))
                if rng.random() < 0.6
                else None,
                via_hub=rng.uniform(-0.2, 1.2, (BATCH, outs)) if rng.random() < 0.8 else None,
            )
        )
    return dataclasses.replace(
        case,
        network=network,
        economics=economics,
        state=state,
        decisions=tuple(decisions),
        exogenous=tuple(exogenous),
    )


def _hubs(rng: Any, network: Any) -> Hubs:
    """One or two hubs, and a way through one of them for most lanes."""
    count = int(rng.integers(1, 3))
    lines: dict[tuple[int, int], int] = {}
    lanes: dict[tuple[int, int], int] = {}
    via_line, via_lane = [], []
    for k, (node, region) in enumerate(
        zip(network.outbound.node.tolist(), network.outbound.region.tolist(), strict=True)
    ):
        if k and rng.random() < 0.3:
            via_line.append(-1)
            via_lane.append(-1)
            continue
        hub = int(rng.integers(count))
        via_line.append(lines.setdefault((node, hub), len(lines)))
        via_lane.append(lanes.setdefault((hub, region), len(lanes)))
    return Hubs(
        names=tuple(f"h{k}" for k in range(count)),
        hub=[h for h, _ in lanes],
        region=[r for _, r in lanes],
        truck_volume=rng.uniform(2, 15, len(lanes)),
        line_tail=[n for n, _ in lines],
        line_hub=[h for _, h in lines],
        line_transit=rng.integers(1, 3, len(lines)),
        line_truck_volume=rng.uniform(2, 15, len(lines)),
        via_line=via_line,
        via_lane=via_lane,
        via_slack=rng.integers(0, 3, len(via_line)),
    )
