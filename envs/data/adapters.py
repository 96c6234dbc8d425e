"""Readers of public retail data sets in their own file layouts.

The data are not shipped: their owners ask that they be fetched from them. Every reader streams its
files, keeps only what it needs and raises `PanelError` for a cell that it cannot read.
"""

import datetime
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stockyard.envs.data._long import (
    Columns,
    LongRow,
    PanelError,
    check_max_products,
    column_index,
    csv_rows,
    malformed,
    open_csv,
    parse_amount,
    parse_day,
    read_rows,
    top_names,
)
from stockyard.envs.data.panel import DemandPanel

M5_SALES_FILES = ("sales_train_evaluation.csv", "sales_train_validation.csv")


def read_m5(folder: str | os.PathLike[str], *, max_products: int | None = None) -> DemandPanel:
    """Read the M5 competition (Makridakis et al. 2022, Int. J. Forecasting 38:1346-1364).

    Needs sales_train_evaluation.csv or sales_train_validation.csv (the first that is there),
    calendar.csv and sell_prices.csv. A region is a store, a product an item, its category the
    department, its price the median over stores and weeks; prices are unknown as a whole if an
    item has none.

    Args:
        folder: Folder with the files.
        max_products: Keep this many products, those with the most units, ties by name. None: all.

    Returns:
        The panel; `demand` is float32.

    Raises:
        PanelError: A file is malformed.
        FileNotFoundError: A file is missing.
        ValueError: `max_products` is below 1.
    """
    check_max_products(max_products)
    folder = Path(folder)
    sales_path = next(
        (folder / name for name in M5_SALES_FILES if (folder / name).exists()),
        folder / M5_SALES_FILES[0],
    )
    day_names, sales, departments = _m5_sales(sales_path)
    start_date = _m5_start_date(folder / "calendar.csv", day_names)
    totals: dict[str, float] = {}
    for (item, _), units in sales.items():
        totals[item] = totals.get(item, 0.0) + float(units.sum(dtype=np.float64))
    kept = top_names(totals, max_products or len(totals))
    products = tuple(sorted(kept))
    regions = tuple(sorted({store for _, store in sales}))
    demand = np.zeros((len(day_names), len(products), len(regions)), dtype=np.float32)
    for p, item in enumerate(products):
        for r, store in enumerate(regions):
            if (item, store) in sales:
                demand[:, p, r] = sales[item, store]
    return DemandPanel(
        demand=demand,
        start_date=start_date,
        products=products,
        regions=regions,
        price=_m5_prices(folder / "sell_prices.csv", products),
        category=tuple(departments[item] for item in products),
        source=f"M5 competition, {sales_path.name}",
    )


def _m5_sales(
    path: Path,
) -> tuple[list[str], dict[tuple[str, str], NDArray[np.float32]], dict[str, str]]:
    """Return the day columns, the units per (item, store) and the department of each item."""
    header, lines = open_csv(path, path.name)
    item_at, department_at, store_at = (
        column_index(header, name, path.name) for name in ("item_id", "dept_id", "store_id")
    )
    first_day = column_index(header, "d_1", path.name)
    day_names = header[first_day:]
    sales: dict[tuple[str, str], NDArray[np.float32]] = {}
    departments: dict[str, str] = {}
    for line, fields in lines:
        key = (fields[item_at], fields[store_at])
        if "" in key:
            raise malformed(path.name, line, ("item_id", "store_id")[key.index("")], "is empty")
        if key in sales:
            raise malformed(path.name, line, "item_id, store_id", f"{key} was there before")
        sales[key] = _m5_units(path.name, line, day_names, fields[first_day:])
        departments[key[0]] = fields[department_at]
    if not sales:
        raise PanelError(f"{path.name}: there are no rows of data")
    return day_names, sales, departments


def _m5_units(file: str, line: int, names: list[str], fields: list[str]) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            units = np.array(fields, dtype=np.float32)
        if (units >= 0).all() and np.isfinite(units).all():
            return units
    except ValueError:
        pass
    for name, field in zip(names, fields, strict=True):
        try:
            parse_amount(field)
        except ValueError as error:
            raise malformed(file, line, name, error) from None
    raise PanelError(f"{file}, row {line}: a number is too large")


def _m5_start_date(path: Path, day_names: list[str]) -> datetime.date:
    """Return the date of the first day column; the columns must be consecutive days."""
    day_of_name: dict[str, int] = {}
    for line, (name, text) in csv_rows(path, ("d", "date")):
        try:
            day_of_name[name] = parse_day(text)
        except ValueError as error:
            raise malformed(path.name, line, "date", error) from None
    for place, name in enumerate(day_names):
        if name not in day_of_name:
            raise PanelError(f"{path.name}, column 'd': {name!r} of the sales file is missing")
        if day_of_name[name] != day_of_name[day_names[0]] + place:
            raise PanelError(f"{path.name}, column 'date': {name!r} does not follow the day before")
    return datetime.date.fromordinal(day_of_name[day_names[0]])


def _m5_prices(path: Path, products: tuple[str, ...]) -> NDArray[np.float64] | None:
    prices = {item: array("d") for item in products}
    for line, (item, text) in csv_rows(path, ("item_id", "sell_price")):
        if item in prices:
            try:
                prices[item].append(parse_amount(text))
            except ValueError as error:
                raise malformed(path.name, line, "sell_price", error) from None
    if not all(prices.values()):
        return None
    return np.array([np.median(prices[item]) for item in products])


def read_favorita(
    folder: str | os.PathLike[str],
    *,
    returns: Literal["drop", "error"] = "drop",
    max_products: int | None = None,
) -> DemandPanel:
    """Read train.csv of the Corporación Favorita grocery competition (Kaggle 2017).

    A region is a store, a product an item; prices are not published. Units may be fractions
    (kilograms). The full file has 125 million rows: give `max_products`.

    Args:
        folder: Folder with train.csv.
        returns: Negative units are goods that came back. "drop" leaves such rows out, so that the
            day has no demand; "error" refuses them.
        max_products: Keep this many products, those with the most units, ties by name; reads the
            file twice. None: all.

    Returns:
        The panel; `demand` is float64.

    Raises:
        PanelError: The file is malformed, or has returns and `returns` is "error".
        FileNotFoundError: There is no train.csv.
        ValueError: `returns` is unknown or `max_products` is below 1.
    """
    if returns not in ("drop", "error"):
        raise ValueError(f"returns must be drop or error, not {returns!r}")
    path = Path(folder) / "train.csv"
    columns = Columns("date", "store_nbr", "item_nbr", "unit_sales", None)

    def rows() -> Iterator[LongRow]:
        for line, fields in csv_rows(path, columns[:4]):
            if returns == "error" or not _is_negative(fields[3]):
                yield LongRow(line, *fields)

    arrays = read_rows(path.name, columns, rows, duplicates="error", max_products=max_products)
    return DemandPanel(**arrays._asdict(), source="Corporación Favorita, train.csv")


def read_online_retail(
    path: str | os.PathLike[str],
    *,
    encoding: str = "utf-8-sig",
    max_products: int | None = None,
) -> DemandPanel:
    """Read Online Retail, a CSV of the UCI repository (Chen 2015, doi:10.24432/C5BW33).

    A region is a country, a product a stock code. Lines of one day, country and product are
    summed. Left out are invoices whose number does not begin with a digit (C: cancelled, A: bad
    debt), lines with a quantity <= 0 (returns, breakage) and stock codes that do not begin with a
    digit (POST, DOT, M, BANK CHARGES: no goods). The price is the median over the lines.

    Args:
        path: The CSV file, with dates as month/day/year hour:minute or in ISO form.
        encoding: Encoding of the file; copies in "latin-1" are about.
        max_products: Keep this many products, those with the most units, ties by name; reads the
            file twice. None: all.

    Returns:
        The panel; `demand` is float64.

    Raises:
        PanelError: The file is malformed.
        FileNotFoundError: There is no such file.
        ValueError: `max_products` is below 1.
    """
    path = Path(path)
    columns = Columns("InvoiceDate", "Country", "StockCode", "Quantity", "UnitPrice")
    names = ("InvoiceNo", *(name for name in columns if name is not None))

    def rows() -> Iterator[LongRow]:
        for line, (invoice, date, country, product, quantity, price) in csv_rows(
            path, names, encoding
        ):
            if not invoice.strip():
                raise malformed(path.name, line, "InvoiceNo", "is empty")
            is_goods = invoice.strip()[0].isdigit() and product.strip()[:1] in "0123456789"
            if is_goods and not _is_negative(quantity):
                yield LongRow(line, _iso_date(date), country, product, quantity, price)

    arrays = read_rows(path.name, columns, rows, duplicates="sum", max_products=max_products)
    return DemandPanel(**arrays._asdict(), source=f"Online Retail (UCI), {path.name}")


def _iso_date(text: str) -> str:
    """Return month/day/year of a text in ISO form; any other text as it is."""
    month, slash, rest = text.split(" ")[0].partition("/")
    day, _, year = rest.partition("/")
    return f"{year}-{month:0>2}-{day:0>2}" if slash else text


def _is_negative(text: str) -> bool:
    """Tell whether a text is a number below 0; what is no number is reported elsewhere."""
    try:
        return float(text) < 0
    except ValueError:
        return False
