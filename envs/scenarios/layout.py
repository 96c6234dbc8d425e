"""Default networks of any size, laid out over the metropolitan areas of the United States."""

import dataclasses

import numpy as np
import numpy.typing as npt

from stockyard.envs.data import load_metros
from stockyard.envs.scenarios.presets import Size

Floats = npt.NDArray[np.float64]

EARTH_RADIUS_MILES = 3958.8


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Where things are. Nodes: cross-docks first, then regional, then local centres."""

    node_names: tuple[str, ...]
    node_metro: npt.NDArray[np.int64]  # (N,) index into the metro table
    region_names: tuple[str, ...]
    region_share: Floats  # (R,) of population, each metro counted to its nearest region
    distance: Floats  # (N, R) miles from node to region
    node_distance: Floats  # (N, N) miles
    latitude: Floats  # (N,) degrees
    longitude: Floats  # (N,)


def great_circle_miles(
    latitude_a: Floats, longitude_a: Floats, latitude_b: Floats, longitude_b: Floats
) -> Floats:
    """Distances between all points of a and b, (A, B) miles, by the haversine formula."""
    lat_a, lon_a = np.radians(latitude_a)[:, None], np.radians(longitude_a)[:, None]
    lat_b, lon_b = np.radians(latitude_b)[None], np.radians(longitude_b)[None]
    half = (
        np.sin((lat_b - lat_a) / 2.0) ** 2
        + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2.0) ** 2
    )
    return np.asarray(2.0 * EARTH_RADIUS_MILES * np.arcsin(np.sqrt(half)))


def greedy_median(distance: Floats, weight: Floats, count: int) -> list[int]:
    """Greedy k-median: each choice lowers the weighted distance to the nearest choice most."""
    chosen: list[int] = []
    nearest = np.full(distance.shape[0], np.inf)
    for _ in range(count):
        reach = np.minimum(nearest[:, None], distance)
        cost = weight @ reach
        cost[chosen] = np.inf
        best = int(np.argmin(cost))
        chosen.append(best)
        nearest = np.minimum(nearest, distance[:, best])
    return chosen


def lay_out(size: Size) -> Layout:
    """Places regions, centres and cross-docks.

    Regions are the most populous metros; all others count to the nearest. Regional centres stand
    at a greedy k-median of the population, local centres in the most populous regions that have no
    regional centre (then again from the top), cross-docks at a greedy k-median of the centres.

    Args:
        size: how many of each.

    Returns:
        Names, shares and distances.

    Raises:
        ValueError: if more regions are asked for than the metro table holds.
    """
    metros = load_metros()
    if size.num_regions > len(metros.names):
        raise ValueError(f"num_regions: at most {len(metros.names)}, got {size.num_regions}")
    apart = great_circle_miles(metros.latitude, metros.longitude, metros.latitude, metros.longitude)
    regions = np.argsort(-metros.population, kind="stable")[: size.num_regions]
    home = regions[np.argmin(apart[:, regions], axis=1)]
    population = np.array([metros.population[home == region].sum() for region in regions])
    share = population / population.sum()
    among = apart[np.ix_(regions, regions)]
    regional = greedy_median(among, share, min(size.num_regional_centres, len(regions)))
    by_share = np.argsort(-share, kind="stable").tolist()
    free = [r for r in by_share if r not in regional]
    local = [(free + by_share)[k % len(by_share)] for k in range(size.num_local_centres)]
    centres = [int(regions[r]) for r in regional + local]
    docks = greedy_median(apart[centres], np.ones(len(centres)), size.num_crossdocks)
    node_metro = np.array(docks + centres)
    kinds = (
        ["IXD"] * len(docks) + ["FC"] * len(regional) + [f"FC-local-{k}" for k in range(len(local))]
    )
    names = tuple(f"{kind} {metros.names[m]}" for kind, m in zip(kinds, node_metro, strict=True))
    return Layout(
        node_names=names,
        node_metro=node_metro,
        region_names=tuple(metros.names[r] for r in regions),
        region_share=share,
        distance=apart[np.ix_(node_metro, regions)],
        node_distance=apart[np.ix_(node_metro, node_metro)],
        latitude=np.asarray(metros.latitude)[node_metro],
        longitude=np.asarray(metros.longitude)[node_metro],
    )
