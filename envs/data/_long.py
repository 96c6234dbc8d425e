"""Reading long tables: one row per date, region and product."""

import csv
import datetime
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_DAYS = 20_000  # about 55 years: a longer span is a mistyped date, not a panel


class PanelError(ValueError):
    """Demand data that cannot be read; the message names the file, the row and the column."""


def malformed(file: str, row: int, column: str, problem: object) -> PanelError:
    """Return the error for one cell; `row` counts from 1, in a CSV file the header is row 1."""
    return PanelError(f"{file}, row {row}, column {column!r}: {problem}")


class Columns(NamedTuple):
    """Names of the columns of a long table."""

    date: str
    region: str
    product: str
    quantity: str
    price: str | None  # None: the table has no prices


class LongRow(NamedTuple):
    """One row as it was read, not yet checked."""

    row: int
    date: Any
    region: Any
    product: Any
    quantity: Any
    price: Any = None


class LongArrays(NamedTuple):
    """A long table as dense arrays."""

    demand: NDArray[np.float64]  # (T, P, R) units, >= 0
    start_date: datetime.date  # date of demand[0]
    products: tuple[str, ...]  # P names, sorted
    regions: tuple[str, ...]  # R names, sorted
    price: NDArray[np.float64] | None  # (P,) median price per unit, >= 0


def parse_day(value: Any) -> int:
    """Return the ordinal of a date, a datetime or an ISO text (yyyy-mm-dd, time allowed)."""
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[D]").item()
    if isinstance(value, datetime.date) and value == value:  # pandas.NaT differs from itself
        return value.toordinal()
    text = value.strip() if isinstance(value, str) else ""
    if text[4:5] == "-" and text[7:8] == "-":
        try:
            return datetime.datetime.fromisoformat(text).toordinal()
        except ValueError:
            pass
    raise ValueError(f"{value!r} is not a date in the form yyyy-mm-dd")


def parse_amount(value: Any) -> float:
    """Return a finite number >= 0."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not finite")
    if number < 0:
        raise ValueError(f"{value!r} is negative")
    return number


def parse_label(value: Any) -> str:
    """Return a name that is not empty; numbers are taken as text."""
    if not isinstance(value, str):
        try:
            value = "" if value is None or value != value else str(value)
        except TypeError:  # pandas.NA has no truth value
            value = ""
    text: str = value.strip()
    if not text:
        raise ValueError("is empty")
    return text


def open_csv(
    path: Path, file: str, encoding: str = "utf-8-sig"
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header of a CSV file and an iterator over (line number, fields)."""
    lines = _csv_lines(path, file, encoding)
    _, header = next(lines, (1, []))
    if not header:
        raise PanelError(f"{file}, row 1: the file is empty, a header was expected")
    return header, _complete_rows(lines, header, file)


def _csv_lines(path: Path, file: str, encoding: str) -> Iterator[tuple[int, list[str]]]:
    line = 0
    try:
        with path.open(newline="", encoding=encoding) as stream:
            reader = csv.reader(stream)
            for fields in reader:
                if fields:  # blank lines are no rows
                    yield line + 1, fields  # a quoted field may span lines: name the first
                line = reader.line_num
    except (csv.Error, UnicodeDecodeError) as error:
        raise PanelError(f"{file}, after row {line}: {error}") from error


def _complete_rows(
    lines: Iterator[tuple[int, list[str]]], header: list[str], file: str
) -> Iterator[tuple[int, list[str]]]:
    for line, fields in lines:
        if len(fields) != len(header):
            column = header[min(len(fields), len(header) - 1)]
            problem = f"the row has {len(fields)} fields, the header {len(header)}"
            raise malformed(file, line, column, problem)
        yield line, fields


def column_index(header: Sequence[str], column: str, file: str) -> int:
    """Return the place of `column` in a header row."""
    names = [name.strip() for name in header]
    if names.count(column) != 1:
        problem = "is there more than once" if column in names else "is missing"
        raise malformed(file, 1, column, f"{problem}; the columns are {names}")
    return names.index(column)


def csv_rows(
    path: Path, columns: Sequence[str], encoding: str = "utf-8-sig"
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line number, the fields of two or more `columns`) of a CSV file."""
    header, lines = open_csv(path, path.name, encoding)
    pick = itemgetter(*(column_index(header, column, path.name) for column in columns))
    for line, fields in lines:
        yield line, pick(fields)


class LongRows:
    """The rows of one long table, checked and coded as integers while they are added."""

    def __init__(
        self, file: str, columns: Columns, kept_products: frozenset[str] | None = None
    ) -> None:
        """Start an empty table.

        Args:
            file: Name of the file, for errors.
            columns: Names of the columns, for errors; `price` None means rows carry no price.
            kept_products: Products to store; the days and regions of all rows count. None: all.
        """
        self._file = file
        self._columns = columns
        self._kept_products = kept_products
        self._day_of_text: dict[str, int] = {}
        self._region_ids: dict[str, int] = {}
        self._product_ids: dict[str, int] = {}
        self._label_of_text: dict[str, str] = {}
        self._day_range: list[tuple[int, int]] = []  # (day, row) of the first and the last day
        self._row = array("q")
        self._day = array("q")
        self._region = array("q")
        self._product = array("q")
        self._quantity = array("d")
        self._price = array("d")

    def add(self, row: LongRow) -> None:
        """Check one row and store it.

        Raises:
            PanelError: A cell is malformed.
        """
        column: str | None = self._columns.date
        price = 0.0
        try:
            day = self._parse_day(row.date)
            column = self._columns.region
            region = self._parse_label(row.region)
            column = self._columns.product
            product = self._parse_label(row.product)
            column = self._columns.quantity
            quantity = parse_amount(row.quantity)
            column = self._columns.price
            if column is not None:
                price = parse_amount(row.price)
        except ValueError as error:
            raise malformed(self._file, row.row, str(column), error) from None
        self._widen_days(day, row.row)
        region_id = self._region_ids.setdefault(region, len(self._region_ids))
        if self._kept_products is not None and product not in self._kept_products:
            return
        self._row.append(row.row)
        self._day.append(day)
        self._region.append(region_id)
        self._product.append(self._product_ids.setdefault(product, len(self._product_ids)))
        self._quantity.append(quantity)
        self._price.append(price)

    def _parse_day(self, value: Any) -> int:
        if not isinstance(value, str) or len(value) > 10:
            return parse_day(value)
        day = self._day_of_text.get(value)
        if day is None:
            day = self._day_of_text[value] = parse_day(value)
        return day

    def _parse_label(self, value: Any) -> str:
        if not isinstance(value, str):
            return parse_label(value)
        label = self._label_of_text.get(value)
        if label is None:
            label = self._label_of_text[value] = parse_label(value)
        return label

    def _widen_days(self, day: int, row: int) -> None:
        if not self._day_range:
            self._day_range = [(day, row), (day, row)]
        elif day < self._day_range[0][0]:
            self._day_range[0] = (day, row)
        elif day > self._day_range[1][0]:
            self._day_range[1] = (day, row)

    def to_arrays(self, duplicates: Literal["error", "sum"]) -> LongArrays:
        """Return the dense arrays of all rows.

        Args:
            duplicates: What to do with several rows of one date, region and product.

        Raises:
            PanelError: There are no rows, rows repeat a key, or the dates span too many days.
        """
        if not self._row:
            raise PanelError(f"{self._file}: there are no rows of data")
        (first_day, _), (last_day, last_row) = self._day_range
        num_days = last_day - first_day + 1
        if num_days > MAX_DAYS:
            problem = f"is {num_days} days after the first date, more than {MAX_DAYS}"
            raise malformed(self._file, last_row, self._columns.date, problem)
        products, product_of_id = _sorted_names(self._product_ids)
        regions, region_of_id = _sorted_names(self._region_ids)
        product = product_of_id[np.asarray(self._product)]
        region = region_of_id[np.asarray(self._region)]
        shape = (num_days, len(products), len(regions))
        key = np.ravel_multi_index((np.asarray(self._day) - first_day, product, region), shape)
        if duplicates == "error":
            self._refuse_duplicates(key)
        demand = np.bincount(key, weights=np.asarray(self._quantity), minlength=math.prod(shape))
        return LongArrays(
            demand=demand.astype(np.float64, copy=False).reshape(shape),
            start_date=datetime.date.fromordinal(first_day),
            products=products,
            regions=regions,
            price=None
            if self._columns.price is None
            else _group_medians(product, np.asarray(self._price)),
        )

    def _refuse_duplicates(self, key: NDArray[np.int64]) -> None:
        order = np.argsort(key, kind="stable")
        is_repeat = key[order[1:]] == key[order[:-1]]
        if not is_repeat.any():
            return
        repeats = order[1:][is_repeat]
        place = int(np.argmin(repeats))
        first, second = self._row[order[:-1][is_repeat][place]], self._row[repeats[place]]
        names = ", ".join(self._columns[:3])
        raise malformed(self._file, second, names, f"repeats the key of row {first}")


def _sorted_names(ids: dict[str, int]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names in order and the place in that order of each id."""
    names = tuple(sorted(ids))
    place_of_id = np.empty(len(names), dtype=np.int64)
    place_of_id[[ids[name] for name in names]] = np.arange(len(names))
    return names, place_of_id


def _group_medians(group: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median value of each group 0, 1, ...; no group is empty."""
    ordered = value[np.lexsort((value, group))]
    count = np.bincount(group)
    start = np.cumsum(count) - count
    medians: NDArray[np.float64] = (
        ordered[start + (count - 1) // 2] + ordered[start + count // 2]
    ) / 2
    return medians


def top_names(totals: dict[str, float], num_names: int) -> frozenset[str]:
    """Return the names with the greatest totals, ties by name."""
    return frozenset(sorted(totals, key=lambda name: (-totals[name], name))[:num_names])


def read_rows(
    file: str,
    columns: Columns,
    rows: Callable[[], Iterable[LongRow]],
    *,
    duplicates: Literal["error", "sum"],
    max_products: int | None = None,
) -> LongArrays:
    """Read a stream of rows into dense arrays.

    Args:
        file: Name of the file, for errors.
        columns: Names of the columns.
        rows: Starts the stream. It is called twice if `max_products` is given: once to rank the
            products, once to store the rows of those that are kept.
        duplicates: What to do with several rows of one date, region and product.
        max_products: Keep this many products, those with the most units, ties by name.

    Raises:
        PanelError: A row is malformed.
        ValueError: `max_products` is below 1.
    """
    kept_products = None
    if max_products is not None:
        check_max_products(max_products)
        totals: dict[str, float] = {}
        for row in rows():
            try:
                quantity = parse_amount(row.quantity)
                product = parse_label(row.product)
            except ValueError:
                break  # the second reading meets this row again and names its column
            totals[product] = totals.get(product, 0.0) + quantity
        kept_products = top_names(totals, max_products)
    table = LongRows(file, columns, kept_products)
    for row in rows():
        table.add(row)
    return table.to_arrays(duplicates)


def check_max_products(max_products: int | None) -> None:
    """Raise ValueError unless `max_products` is None or at least 1."""
    if max_products is not None and max_products < 1:
        raise ValueError(f"max_products must be at least 1 or None, not {max_products}")
