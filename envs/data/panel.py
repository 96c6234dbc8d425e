"""Recorded demand: units per day, product and region."""

import datetime
import importlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from stockyard.envs.data._long import (
    Columns,
    LongRow,
    PanelError,
    column_index,
    malformed,
    open_csv,
    read_rows,
)

DAYS_PER_WEEK: Final = 7
DAYS_PER_BLOCK: Final = 2 * DAYS_PER_WEEK
SPLIT_OF_BLOCK: Final = ("train", "train", "validation", "train", "test")  # repeats over the blocks
SPLITS: Final = ("train", "validation", "test")


class Table(Protocol):
    """A mapping of column names to columns: a dict, a pandas DataFrame, ..."""

    def keys(self) -> Iterable[Any]:
        """Return the column names."""

    def __getitem__(self, column: str, /) -> Any:
        """Return one column, an iterable."""


@dataclass(frozen=True, eq=False)
class DemandPanel:
    """Units demanded per day, product and region.

    The arrays are read-only views, so that a panel may be shared.

    Attributes:
        demand: (T, P, R) units per day, >= 0, T days, P products, R regions; any real dtype.
        start_date: Date of `demand[0]`; the days are consecutive.
        products: P names, distinct.
        regions: R names, distinct.
        price: (P,) price per unit, >= 0; None where prices are unknown.
        category: P names of product groups; "" where unknown. Empty means all unknown.
        source: Where the data come from, in one line.
    """

    demand: NDArray[Any]
    start_date: datetime.date
    products: tuple[str, ...]
    regions: tuple[str, ...]
    price: NDArray[np.float64] | None = None
    category: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ValueError: A field has the wrong shape or value; the message names it.
        """
        demand = _read_only(self.demand)
        object.__setattr__(self, "demand", demand)
        if demand.ndim != 3 or 0 in demand.shape:
            raise ValueError(f"demand must have shape (T, P, R), none 0, not {demand.shape}")
        if demand.dtype.kind not in "iuf":
            raise ValueError(f"demand must hold real numbers, not {demand.dtype}")
        if not (demand.min() >= 0 and np.isfinite(demand.max())):  # NaN fails both
            raise ValueError("demand must be finite and >= 0")
        if type(self.start_date) is not datetime.date:
            raise ValueError(f"start_date must be a datetime.date, not {self.start_date!r}")
        for field, num_names in (("products", demand.shape[1]), ("regions", demand.shape[2])):
            names = tuple(getattr(self, field))
            object.__setattr__(self, field, names)
            if len(names) != num_names:
                raise ValueError(f"{field} must have {num_names} names, not {len(names)}")
            if len(set(names)) != num_names or not all(isinstance(n, str) and n for n in names):
                raise ValueError(f"{field} must be distinct names, none empty")
        category = tuple(self.category) or ("",) * self.num_products
        object.__setattr__(self, "category", category)
        if len(category) != self.num_products:
            raise ValueError(f"category must have {self.num_products} names, not {len(category)}")
        if self.price is None:
            return
        price = _read_only(np.asarray(self.price, dtype=np.float64))
        object.__setattr__(self, "price", price)
        if price.shape != (self.num_products,):
            raise ValueError(f"price must have shape ({self.num_products},), not {price.shape}")
        if not (np.isfinite(price).all() and (price >= 0).all()):
            raise ValueError("price must be finite and >= 0; where prices are unknown it is None")

    @property
    def num_days(self) -> int:
        """Number of days T."""
        return int(self.demand.shape[0])

    @property
    def num_products(self) -> int:
        """Number of products P."""
        return int(self.demand.shape[1])

    @property
    def num_regions(self) -> int:
        """Number of regions R."""
        return int(self.demand.shape[2])

    @classmethod
    def from_long(
        cls,
        path_or_table: str | os.PathLike[str] | Table,
        *,
        date: str = "date",
        region: str = "region",
        product: str = "product",
        quantity: str = "quantity",
        price: str | None = "price",
        file_name: str | None = None,
    ) -> Self:
        """Read a long table: one row per date, region and product.

        A date, region and product without a row had no demand. The days run from the first date
        of the table to the last; products and regions are sorted by name; the price of a product
        is the median over its rows.

        Args:
            path_or_table: A CSV file in UTF-8 with a header, a Parquet file (suffix .parquet or
                .pq; needs the extra `data`), or a mapping of column names to columns such as a
                dict or a pandas DataFrame.
            date: Column of dates: yyyy-mm-dd, also with a time, or date objects.
            region: Column of region names, none empty.
            product: Column of product names, none empty.
            quantity: Column of units, finite and >= 0.
            price: Column of prices per unit, finite and >= 0. A table without a column "price"
                has no prices; any other name must be there. None: ignore prices.
            file_name: What errors call the table; by default the name of the file.

        Returns:
            The panel; `demand` is float64.

        Raises:
            PanelError: The table is malformed: a missing column, a bad cell, a repeated date,
                region and product, no rows. The message names the file, the column and the row.
                In a CSV file rows count as an editor shows them, the header is row 1; in other
                tables the first row of data is row 1.
            FileNotFoundError: There is no such file.
            ImportError: A Parquet file is asked for and pyarrow is not installed.
        """
        wanted = Columns(date, region, product, quantity, price)
        if not isinstance(path_or_table, str | os.PathLike):
            file = file_name or "table"
            columns, rows = _table_rows(path_or_table, wanted, file)
        else:
            path = Path(path_or_table)
            file = file_name or path.name
            if path.suffix.lower() in (".parquet", ".pq"):
                columns, rows = _table_rows(_read_parquet(path, file), wanted, file)
            else:
                columns, rows = _csv_rows(path, wanted, file)
        arrays = read_rows(file, columns, lambda: rows, duplicates="error")
        return cls(**arrays._asdict(), source=file)

    def aggregate(self, num_products: int, num_regions: int) -> Self:
        """Return a smaller panel: the greatest products, the regions folded together.

        Args:
            num_products: Products kept, those with the most units first, ties by name.
            num_regions: Regions of the result: region k goes to k % num_regions.

        Returns:
            The panel; `demand` is float64.

        Raises:
            ValueError: More are asked for than there are, or fewer than 1.
        """
        for field, asked, there in (
            ("num_products", num_products, self.num_products),
            ("num_regions", num_regions, self.num_regions),
        ):
            if not 1 <= asked <= there:
                raise ValueError(f"{field} must be between 1 and {there}, not {asked}")
        units = self.demand.sum(axis=(0, 2), dtype=np.float64)
        order = sorted(range(self.num_products), key=lambda p: (-units[p], self.products[p]))
        kept = order[:num_products]
        demand = np.zeros((self.num_days, num_products, num_regions))
        for k in range(self.num_regions):
            demand[:, :, k % num_regions] += self.demand[:, kept, k]
        return type(self)(
            demand=demand,
            start_date=self.start_date,
            products=tuple(self.products[p] for p in kept),
            regions=tuple(_joined(self.regions[k::num_regions]) for k in range(num_regions)),
            price=None if self.price is None else self.price[kept],
            category=tuple(self.category[p] for p in kept),
            source=self.source,
        )

    def split_days(self, split: str) -> NDArray[np.int64]:
        """Return the days of one split, ascending.

        Weeks are counted from `start_date`. Each two consecutive whole weeks are a block; the
        blocks go to train, train, validation, train, test, and so on over again, so that every
        split sees every season (60 %, 20 %, 20 %). Days after the last whole block belong to no
        split.

        Args:
            split: "train", "validation" or "test".

        Returns:
            (D,) indices into the days of `demand`; D is a multiple of 14.

        Raises:
            ValueError: The split is unknown, or the panel is too short to fill all three.
        """
        return self._split_blocks(split).ravel()

    def bootstrap_days(
        self, generator: np.random.Generator, periods: int, split: str
    ) -> NDArray[np.int64]:
        """Draw a sequence of days from one split: a block bootstrap.

        Blocks of two whole weeks are drawn with replacement and put one after the other, so the
        sequence keeps the day of the week, the dependence within two weeks and, because all
        products and regions share the days, the dependence between them. It does not keep the
        season: the blocks are exchangeable. The blocks are fixed and do not overlap (Carlstein
        1986, Annals of Statistics 14:1171-1179); Künsch (1989, Annals of Statistics
        17:1217-1241) lets them start anywhere and Politis and Romano (1994, JASA 89:1303-1313)
        let their length vary, and both would break the day of the week.

        Args:
            generator: Source of randomness; one integer is drawn per block begun, in order, so
                a longer sequence begins with the shorter one.
            periods: Days to draw, >= 1.
            split: "train", "validation" or "test".

        Returns:
            (periods,) indices into the days of `demand`; day t falls on the weekday of
            `start_date` plus t.

        Raises:
            ValueError: As `split_days`, or `periods` is below 1.
        """
        if periods < 1:
            raise ValueError(f"periods must be at least 1, not {periods}")
        blocks = self._split_blocks(split)
        num_draws = -(-periods // DAYS_PER_BLOCK)
        drawn = [int(generator.integers(len(blocks))) for _ in range(num_draws)]
        return blocks[drawn].ravel()[:periods]

    def _split_blocks(self, split: str) -> NDArray[np.int64]:
        """Return the (K, 14) days of the blocks of a split."""
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
        num_blocks = self.num_days // DAYS_PER_BLOCK
        if num_blocks < len(SPLIT_OF_BLOCK):
            needed = len(SPLIT_OF_BLOCK) * DAYS_PER_BLOCK
            raise ValueError(f"splits need a panel of {needed} days, demand has {self.num_days}")
        days = np.arange(num_blocks * DAYS_PER_BLOCK, dtype=np.int64).reshape(num_blocks, -1)
        split_of_block = np.resize(np.array(SPLIT_OF_BLOCK), num_blocks)
        blocks: NDArray[np.int64] = days[split_of_block == split]
        return blocks


def _read_only(values: Any) -> NDArray[Any]:
    view = np.asarray(values).view()
    view.flags.writeable = False
    return view


def _joined(names: tuple[str, ...]) -> str:
    """Name a group of regions; the first name alone makes it distinct."""
    return "+".join(names) if len(names) <= 3 else f"{names[0]}+{len(names) - 1} more"


def _present(wanted: Columns, names: list[str]) -> Columns:
    """Drop the price column if it has its default name and is not there."""
    is_absent = wanted.price == "price" and "price" not in names
    return wanted._replace(price=None) if is_absent else wanted


def _csv_rows(path: Path, wanted: Columns, file: str) -> tuple[Columns, Iterator[LongRow]]:
    header, lines = open_csv(path, file)
    columns = _present(wanted, [name.strip() for name in header])
    pick = itemgetter(*(column_index(header, name, file) for name in columns if name is not None))
    return columns, (LongRow(line, *pick(fields)) for line, fields in lines)


def _table_rows(table: Table, wanted: Columns, file: str) -> tuple[Columns, Iterator[LongRow]]:
    names = [str(name) for name in table.keys()]
    columns = _present(wanted, names)
    values = []
    for name in columns:
        if name is None:
            continue
        if name not in names:
            raise PanelError(f"{file}, column {name!r}: is missing; the columns are {names}")
        values.append(list(table[name]))
        if len(values[-1]) != len(values[0]):
            row = min(len(values[-1]), len(values[0])) + 1
            raise malformed(file, row, name, f"the columns {columns.date!r} and it end apart")
    cells = zip(*values, strict=True)
    return columns, (LongRow(row, *fields) for row, fields in enumerate(cells, start=1))


def _read_parquet(path: Path, file: str) -> Table:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError(
            f"{file}: Parquet files need pyarrow; pip install stockyard[data]"
        ) from error
    try:
        table: Table = parquet.read_table(path).to_pydict()
    except ValueError as error:  # what pyarrow raises for a file that is not Parquet
        raise PanelError(f"{file}: {error}") from error
    return table
