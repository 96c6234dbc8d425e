"""Parameters of the trucks of a world, in one place where the differences can be read.

Entries marked [A] are assumptions of this project; the others follow the design notes, the model's
sections 3.4 and 5, revised by its experiments on headroom.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

NUM_HUBS = {"small": 1, "medium": 2, "large": 12}
"""Sort hubs by size."""


@dataclasses.dataclass(frozen=True)
class Trucking:
    """Parameters of a world's trucks."""

    waves: tuple[float, ...] = (0.15, 0.30, 0.35, 0.20)  # shares of a day's volume [A]
    truckloads_per_day: float = 1.4  # background volume of an outbound lane, mean over lanes
    near_share: float = 0.75  # of a region's volume, from the nearest centre [A]
    hub_truckloads_per_day: float = 0.7  # volume of a hub lane from elsewhere, mean over lanes [A]
    pallet_truckloads_per_day: float = 1.0  # background volume of a transfer lane [A]; 0: none
    # what is not foreseen of a day's volume, as log deviations of what shows 0, 1, 2 days before
    sd_by_days_ahead: tuple[float, ...] = (0.15, 0.25, 0.30)
    common_share: float = 0.3  # of that variance, common to the lanes of a region [A]
    wave_sd: float = 0.15  # of a wave's volume around its mean, unforeseen [A]
    slack_waves: tuple[int, ...] = (2, 5, 9)  # fastest, a day later, no rush [A]
    slack_shares: tuple[float, ...] = (0.45, 0.25, 0.30)
    pallet_slack_waves: tuple[int, ...] = (4, 8)  # [A]
    pallet_slack_shares: tuple[float, ...] = (0.5, 0.5)  # [A]
    truck_ft3: float = 3000.0  # of a 53 ft trailer, loaded
    payload_lb: float = 44000.0
    parcel_lb_per_ft3: float = 9.0  # [A]
    pallet_lb_per_ft3: float = 14.0  # [A]
    truck_cost: float = 150.0  # USD per trip
    cost_per_mile: float = 2.26  # USD
    miles_per_wave: float = 300.0  # 50 miles an hour for six hours
    stop_hours: float = 3.0  # of a trip, to load and unload [A]
    fleet_days: float = 1.3  # trucks that a mean day keeps busy, times this [A]
    hours_days: float = 1.2  # drivers' hours of a mean day, times this [A]; 0: not limited
    spot_factor: float = 2.0  # cost of a hired truck, times that of an own one
    spot_per_wave: float = 2.0  # trucks for hire at each pool [A]
    carrier_share: float = 0.05  # of a day's parcels that carriers take in a wave [A]
    has_hub: bool = True
    hub_share: float = 0.5  # of the volume that could go through the hub, for its fleet [A]
    return_delays: tuple[int, ...] = (0,)  # waves
    return_shares: tuple[float, ...] = (1.0,)
    pallet_fee_weight: float = 0.5  # of the fees of a parcel [A]
    fill_of_value: float = 0.8  # fill at which waiting parcels are charged ahead of time [A]
    lost_unit_cost: float = 10.0  # USD of contribution and goodwill for a sale lost [A]
    loading: str = "cube"  # parcels are volume, or "items" that a loader packs one by one
    item_ft3: float = 60.0  # mean volume of an item [A]
    item_log_sd: float = 0.8  # [A]
    loader: str = "first_fit_decreasing"  # a name of `packing.LOADERS`
    # books of the whole retailer (sales, stock, value) instead of those of freight alone
    keeps_retail_books: bool = False


@dataclasses.dataclass(frozen=True)
class Standing:
    """The standing rule of trucks by kind of lane: about what tuning finds in `steady`."""

    # truckloads held back: on lanes of transfers, outbound lanes, hub lanes, linehauls
    hold: tuple[float, float, float, float] = (-0.05, -0.05, 0.15, -0.55)
    # multiples of the break-even load; what a linehaul leaves can still go straight
    patience: tuple[float, float, float, float] = (0.0, 1.0, 0.4, 1e9)
    spot_patience: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 1e9)
    hub_slack: int = 1  # waves of slack that the way through a hub may cost


def trucking_of(overrides: Mapping[str, Any]) -> Trucking:
    """The parameters of a scenario.

    Args:
        overrides: field of `Trucking` -> value.

    Raises:
        ValueError: for an unknown field; the known ones are listed.
    """
    known = [field.name for field in dataclasses.fields(Trucking)]
    for name in overrides:
        if name not in known:
            raise ValueError(f"trucking: unknown field {name!r}; known: {', '.join(known)}")
    return Trucking(**overrides)
