"""Sizes and parameters of the retail worlds, in one place where the differences can be read.

Defaults follow the design notes: the model's section 5, revised by its experiments on headroom
(receiving and space tight enough to bind together, margins per cubic foot that differ). Entries
marked [A] are assumptions of this project.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a retail network is."""

    num_suppliers: int
    num_crossdocks: int
    num_regional_centres: int
    num_local_centres: int
    num_regions: int
    num_products: int
    horizon_days: int
    sources_per_region: int  # centres that may serve a region [A]
    num_sellers: int = 0  # third parties, who own most of the products


SIZES: dict[str, Size] = {
    "small": Size(3, 1, 1, 2, 3, 12, 182, 3),
    "medium": Size(10, 2, 3, 5, 8, 200, 364, 4),
    "large": Size(50, 6, 12, 28, 24, 2000, 546, 5),
}


@dataclasses.dataclass(frozen=True)
class Retail:
    """Parameters of a retail world; capacities in days of mean volume or multiples of the mean."""

    review_days: int = 7
    burn_in_days: int = 28
    crossdock_space_days: float = 4.0
    regional_space_days: float = 6.0  # with the cross-dock: 10 days of the network's volume
    local_space_days: float = 8.0  # of the own regions' volume
    crossdock_receiving: float = 1.10  # x mean volume
    centre_receiving: float = 1.50  # x mean volume [A]
    outbound: float = 1.8  # x mean units
    supplier: float = 1.6  # x mean units
    yard_days: float = 6.0  # of the node's mean volume [A]
    cover_days: float = 6.0  # that the placement rule pushes to every centre [A]
    acceptance_by_tier: tuple[float, ...] = (1.0, 0.93, 0.80)
    tariff_by_tier: tuple[float, ...] = (0.40, 1.75, 3.25)  # USD per parcel
    tariff_per_mile: float = 0.00015  # USD, so that of two equal tiers the nearer serves [A]
    transfer_cost_per_unit: float = 0.25
    transfer_days_near: int = 1
    transfer_days_far: int = 2  # beyond 800 miles [A]
    tariff_by_volume: bool = False  # times .5 + .5 volume / .25 ft3: dimensional weight
    substitution: float = 0.0  # the model's .35 comes with scenarios that are about it
    group_size: int = 3  # products of a subcategory [A]
    price_median: float = 30.0
    price_log_sd: float = 0.5
    price_range: tuple[float, float] = (16.0, 120.0)
    cost_ratio: tuple[float, float] = (0.55, 0.70)
    volume_median: float = 0.25  # ft3
    volume_log_sd: float = 0.9
    volume_range: tuple[float, float] = (0.04, 1.5)
    demand_mean: float = 20.0  # units per day and product, all regions
    demand_log_sd: float = 0.9
    day_of_week: float = 0.12  # amplitude
    regional_sd: float = 0.0  # log deviation of a wave of each region and product
    regional_half_life_days: float = 10.0
    lead_days: float = 13.0  # mean, quoted at normal congestion
    direct_extra_days: int = 2  # of orders sent straight to a centre
    direct_surcharge: float = 0.03  # share of the unit cost for that [A]
    has_direct_lanes: bool = False
    minimum_order_days: float = 0.0  # of mean demand
    case_pack: float = 0.0  # units; 0: single units
    safety_days: float = 7.0  # of the standing replenishment rule [A]
    recorded_minimum_days: float = 18.0  # of mean demand: smallest order of the rule `recorded`
    max_order_days: float = 150.0  # bound of one order in days of mean demand [A]
    # where sellers decide for their products
    own_products: float = 0.2  # share of the catalogue that is the retailer's
    third_party_share: float = 0.6  # of units sold
    third_party_cost_ratio: tuple[float, float] = (0.30, 0.45)
    storage_wave_sd: float = 0.0  # log deviation of all storage, which other business shares
    storage_wave_half_life_days: float = 60.0
    has_congestion: bool = False  # docks slow down as buildings fill up


@dataclasses.dataclass(frozen=True)
class SellerSettings:
    """Sellers of a world: shares of kinds, and fields of `Sellers`, `Beliefs` and `Promotions`."""

    kinds: tuple[float, ...] = (0.4, 0.4, 0.2)  # truthful, inflating, hoarding
    merchant_share: float = 0.35
    num_size_classes: int = 3
    demand_shape: float = 1.8
    holding_days: float = 28.0
    obsolescence: float = 0.02
    anticipation: float = 0.25
    most_cut: float = 0.10
    cut_elasticity: float = 2.5
    payment: str = "uniform"
    bias_sd: float = 0.25
    noise_sd: float = 0.10
    insight: float = 0.5
    insight_days: int = 56
    promotion_share: float = 0.08  # of weeks
    promotion_lift: float = 2.5


RESTOCK_LIMITS: dict[str, Any] = {
    # between what sellers would like to keep and what there is, tight space; see docs
    "crossdock_space_days": 4.0,
    "regional_space_days": 6.0,
    "local_space_days": 8.0,
    "crossdock_receiving": 1.35,
    "storage_wave_sd": 0.15,
    "has_congestion": True,
}
"""Restock limits: what it overrides of `Retail`."""

ECONOMICS: dict[str, dict[str, Any]] = {
    "restock_limits": {
        "yard_rent_per_ft3_day": 20.0 / 30.0,
        "overflow_rent_per_ft3_day": 20.0 / 30.0,
    },
}
"""Task -> what it overrides of `Economics`."""

PLACEMENT: dict[str, Any] = {
    "review_days": 7,
    # a cross-dock that cannot store and inbound in lumps: together they make the task
    "crossdock_space_days": 3.0,
    "regional_space_days": 16.0,
    "local_space_days": 5.0,
    "crossdock_receiving": 1.5,  # lumps of 18 days must get in [A]
    "tariff_by_tier": (0.40, 2.25, 4.25),
    "tariff_by_volume": True,
    "cost_ratio": (0.60, 0.72),
    "regional_sd": 0.6,
    "has_direct_lanes": True,
}
"""Placement: what it overrides of `Retail`."""

TRUCK_FILL: dict[str, Any] = {
    "day_of_week": 0.24,
    # shelves and docks that do not bind: what is missing waits for a truck
    "crossdock_space_days": 10.0,
    "regional_space_days": 24.0,
    "crossdock_receiving": 2.0,
    "centre_receiving": 3.0,
}
"""Truck fill: what it overrides of `Retail`; the trucks themselves are in `trucking.Trucking`."""

OVERRIDES = {
    "placement": PLACEMENT,
    "restock_limits": RESTOCK_LIMITS,
    "truck_fill": TRUCK_FILL,
}
"""Task -> what it overrides of `Retail`; other tasks override nothing."""

SIZE_OVERRIDES: dict[tuple[str, str], dict[str, int]] = {
    ("restock_limits", "small"): {"num_products": 20, "num_sellers": 8, "horizon_days": 336},
    ("restock_limits", "medium"): {"num_sellers": 40, "horizon_days": 336},
    ("restock_limits", "large"): {
        "num_products": 3000,
        "num_sellers": 500,
        "horizon_days": 336,
    },
    # no local centres: 6, 40 and 400 lanes to customers
    ("truck_fill", "small"): {
        "num_regional_centres": 2,
        "num_local_centres": 0,
        "horizon_days": 28,
        "sources_per_region": 2,
    },
    ("truck_fill", "medium"): {
        "num_regional_centres": 5,
        "num_local_centres": 0,
        "num_products": 40,
        "horizon_days": 28,
        "sources_per_region": 5,
    },
    ("truck_fill", "large"): {
        "num_crossdocks": 2,
        "num_regional_centres": 40,
        "num_local_centres": 0,
        "num_products": 40,
        "horizon_days": 28,
        "sources_per_region": 16,
    },
    ("placement", "small"): {"num_products": 24, "horizon_days": 84},
    ("placement", "medium"): {"horizon_days": 84},
    ("placement", "large"): {"horizon_days": 84},
}
"""(task, size) -> what is overridden of `Size`."""


def size_of(size: str, task: str) -> Size:
    """The size of a name under a task."""
    return dataclasses.replace(SIZES[size], **SIZE_OVERRIDES.get((task, size), {}))


def retail_of(task: str, overrides: Mapping[str, Any]) -> Retail:
    """The parameters of a task, and then of a scenario.

    Args:
        task: name of the task.
        overrides: field of `Retail` -> value.

    Raises:
        ValueError: for an unknown field; the known ones are listed.
    """
    known = [field.name for field in dataclasses.fields(Retail)]
    for name in overrides:
        if name not in known:
            raise ValueError(f"retail: unknown field {name!r}; known: {', '.join(known)}")
    return Retail(**{**OVERRIDES.get(task, {}), **overrides})
