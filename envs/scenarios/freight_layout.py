"""Where the centres and sort hubs of a network with trucks stand."""

import dataclasses

import numpy as np
import numpy.typing as npt

from stockyard.envs.data import load_metros
from stockyard.envs.scenarios.layout import Layout, great_circle_miles, greedy_median
from stockyard.envs.scenarios.presets import Size

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CENTRE = "Columbus, OH"
"""The metro around which networks of trucks are laid out: half the people live within 500 miles."""

REACH_MILES = {3: 500.0, 8: 700.0}
"""Number of regions -> how far from the centre things are; other numbers: anywhere."""

OUT_OF_TOWN_MILES = 60.0
"""Centres and hubs are at least so far from the regions' metros, where there is land."""

HUBS_PER_NODE = 2
"""A centre sends linehauls to so many hubs, the nearest."""


@dataclasses.dataclass(frozen=True, eq=False)
class FreightLayout:
    """A layout with hubs, and the miles to and from them."""

    nodes: Layout  # cross-docks and centres
    hub_names: tuple[str, ...]
    to_hub: Floats  # (N, H) miles
    from_hub: Floats  # (H, R) miles
    hubs_per_node: int = HUBS_PER_NODE


def lay_out_freight(size: Size, num_hubs: int) -> FreightLayout:
    """Places regions, hubs, centres and cross-docks.

    Regions are the most populous metros within reach. Hubs, and then centres, stand at a greedy
    k-median of the regions' people out of town, cross-docks at one of the centres.

    Args:
        size: how many of each.
        num_hubs: how many hubs.
    """
    metros = load_metros()
    apart = great_circle_miles(metros.latitude, metros.longitude, metros.latitude, metros.longitude)
    middle = metros.names.index(CENTRE)
    reach = REACH_MILES.get(size.num_regions, np.inf)
    near = np.flatnonzero(apart[middle] <= reach)
    regions = near[np.argsort(-metros.population[near], kind="stable")[: size.num_regions]]
    home = regions[np.argmin(apart[np.ix_(near, regions)], axis=1)]
    people = np.array([metros.population[near][home == region].sum() for region in regions])
    share = people / people.sum()

    def placed(free: Ints, to: Ints, weight: Floats, count: int) -> Ints:
        return free[greedy_median(apart[np.ix_(to, free)], weight, count)]

    free = near[apart[np.ix_(near, regions)].min(axis=1) > OUT_OF_TOWN_MILES]
    hubs = placed(free, regions, share, num_hubs)
    free = np.setdiff1d(free, hubs)
    centres = placed(free, regions, share, size.num_regional_centres)
    free = np.setdiff1d(free, centres)
    docks = placed(free, centres, np.ones(len(centres)), size.num_crossdocks)
    node = np.concatenate((docks, centres))
    kinds = ["IXD"] * len(docks) + ["FC"] * len(centres)
    layout = Layout(
        node_names=tuple(f"{kind} {metros.names[m]}" for kind, m in zip(kinds, node, strict=True)),
        node_metro=node,
        region_names=tuple(metros.names[r] for r in regions),
        region_share=share,
        distance=apart[np.ix_(node, regions)],
        node_distance=apart[np.ix_(node, node)],
        latitude=np.asarray(metros.latitude)[node],
        longitude=np.asarray(metros.longitude)[node],
    )
    return FreightLayout(
        nodes=layout,
        hub_names=tuple(f"HUB {metros.names[m]}" for m in hubs),
        to_hub=apart[np.ix_(node, hubs)],
        from_hub=apart[np.ix_(hubs, regions)],
    )
