"""DemandPanel.from_long: what it reads, and what each malformed table is told."""

import datetime
import sys
from pathlib import Path

import numpy as np
import pytest

from stockyard.envs.data import DemandPanel, PanelError

HEADER = "date,region,product,quantity,price\n"
GOOD = HEADER + (
    "2020-01-03,south,milk,2,1.5\n"
    "2020-01-01,north,milk,1,1.0\n"
    "2020-01-01 08:30:00,north,eggs,0.5,3\n"
    "2020-01-02,north,milk,4,9\n"
)


def write(folder: Path, text: str) -> Path:
    """Write a CSV file named sales.csv."""
    path = folder / "sales.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_absent_rows_are_zero_demand(tmp_path: Path) -> None:
    """Tables of sales leave out the days on which nothing sold."""
    panel = DemandPanel.from_long(write(tmp_path, GOOD))
    assert panel.start_date == datetime.date(2020, 1, 1)
    assert panel.products == ("eggs", "milk")
    assert panel.regions == ("north", "south")
    assert panel.source == "sales.csv"
    expected = np.zeros((3, 2, 2))
    expected[0, 0, 0], expected[0, 1, 0], expected[1, 1, 0], expected[2, 1, 1] = 0.5, 1, 4, 2
    np.testing.assert_array_equal(panel.demand, expected)


def test_the_price_is_the_median_over_the_rows_of_a_product(tmp_path: Path) -> None:
    """One mistyped price must not move the price of a product."""
    panel = DemandPanel.from_long(write(tmp_path, GOOD))
    assert panel.price is not None
    np.testing.assert_array_equal(panel.price, [3, 1.5])
    even = HEADER + "2020-01-01,n,a,1,1\n2020-01-02,n,a,1,2\n"
    even_price = DemandPanel.from_long(write(tmp_path, even)).price
    assert even_price is not None
    np.testing.assert_array_equal(even_price, [1.5])


def test_a_table_without_prices_has_unknown_prices(tmp_path: Path) -> None:
    """The price column is optional, and None is never mistaken for free."""
    text = "date,region,product,quantity\n2020-01-01,n,a,1\n"
    assert DemandPanel.from_long(write(tmp_path, text)).price is None
    assert DemandPanel.from_long(write(tmp_path, GOOD), price=None).price is None


def test_columns_go_by_the_names_given(tmp_path: Path) -> None:
    """Nobody should have to rewrite a large file to rename its columns."""
    path = write(tmp_path, "n,sku,day,shop\n3,a,2020-01-01,x\n")
    panel = DemandPanel.from_long(path, date="day", region="shop", product="sku", quantity="n")
    assert panel.demand.item() == 3


def test_a_byte_order_mark_blank_lines_and_quotes_are_read(tmp_path: Path) -> None:
    """Spreadsheets write all three."""
    text = '\ufeff"date",region,product,quantity\n\n2020-01-01,"a, b",x,1\n\n'
    assert DemandPanel.from_long(write(tmp_path, text)).regions == ("a, b",)


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        ("2020-01-09,n,a,-1,1", "quantity", "negative"),
        ("2020-01-09,n,a,nan,1", "quantity", "not finite"),
        ("2020-01-09,n,a,inf,1", "quantity", "not finite"),
        ("2020-01-09,n,a,many,1", "quantity", "not a number"),
        ("2020-01-09,n,a,,1", "quantity", "not a number"),
        ("2020-01-09,n,a,1,-2", "price", "negative"),
        ("2020-01-09,n,a,1,nan", "price", "not finite"),
        ("2020-01-09,n,a,1,-inf", "price", "not finite"),
        ("2020-01-09,n,a,1,", "price", "not a number"),
        ("2020-13-09,n,a,1,1", "date", "yyyy-mm-dd"),
        ("09/01/2020,n,a,1,1", "date", "yyyy-mm-dd"),
        ("20200109,n,a,1,1", "date", "yyyy-mm-dd"),
        (",n,a,1,1", "date", "yyyy-mm-dd"),
        ("9020-01-09,n,a,1,1", "date", "more than 20000"),
        ("2020-01-09, ,a,1,1", "region", "is empty"),
        ("2020-01-09,n,,1,1", "product", "is empty"),
        ("2020-01-09,n,a,1", "price", "4 fields, the header 5"),
        ("2020-01-09,n,a,1,1,1", "price", "6 fields, the header 5"),
    ],
)
def test_a_bad_cell_is_named_by_file_row_and_column(
    tmp_path: Path, row: str, column: str, problem: str
) -> None:
    """In a table of a million rows the message is all there is to find the cell."""
    path = write(tmp_path, HEADER + "2020-01-01,n,a,1,1\n" + row + "\n")
    with pytest.raises(PanelError, match=f"^sales.csv, row 3, column '{column}': .*{problem}"):
        DemandPanel.from_long(path)


def test_rows_count_as_an_editor_shows_them(tmp_path: Path) -> None:
    """Blank lines and line breaks within quotes are lines of the file, too."""
    text = HEADER + '\n2020-01-01,"n\nm",a,1,1\n2020-01-01,n,a,x,1\n'
    with pytest.raises(PanelError, match="row 5, column 'quantity'"):
        DemandPanel.from_long(write(tmp_path, text))


def test_a_repeated_key_names_both_rows(tmp_path: Path) -> None:
    """Whether to add, drop or keep the last is the owner's decision."""
    text = GOOD + "2020-01-02,north,milk,1,1\n2020-01-03,south,milk,1,1\n"
    with pytest.raises(PanelError, match=r"row 6, column 'date, region, product': .* of row 5$"):
        DemandPanel.from_long(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sales.csv, row 1: the file is empty"),
        (HEADER, "sales.csv: there are no rows of data"),
        ("date,region,quantity\n", "sales.csv, row 1, column 'product': is missing"),
        ("date,date,region,product,quantity\n", "column 'date': is there more than once"),
    ],
)
def test_a_table_without_its_columns_or_rows_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    """An empty panel would run and mean nothing."""
    with pytest.raises(PanelError, match=message):
        DemandPanel.from_long(write(tmp_path, text))


def test_a_misspelt_price_column_is_missing(tmp_path: Path) -> None:
    """Only the default name is optional; a name that was asked for must be there."""
    with pytest.raises(PanelError, match="column 'cost': is missing"):
        DemandPanel.from_long(write(tmp_path, GOOD), price="cost")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Names decoded wrongly would be different names."""
    path = tmp_path / "sales.csv"
    path.write_bytes((HEADER + "2020-01-01,Málaga,a,1,1\n").encode("latin-1"))
    with pytest.raises(PanelError, match="sales.csv, after row .*utf-8"):
        DemandPanel.from_long(path)


def test_a_mapping_of_columns_reads_like_a_file() -> None:
    """Tables in memory need no detour over a file; dates may be dates."""
    table = {
        "date": [datetime.date(2020, 1, 1), np.datetime64("2020-01-02T05"), "2020-01-03"],
        "region": ["n", "n", "n"],
        "product": [7, 7, 7],
        "quantity": np.array([1, 2, 3]),
    }
    panel = DemandPanel.from_long(table)
    assert panel.products == ("7",)
    np.testing.assert_array_equal(panel.demand.ravel(), [1, 2, 3])


def test_errors_in_a_mapping_count_rows_from_one() -> None:
    """There is no header to count."""
    table = {"date": ["2020-01-01"], "region": [None], "product": ["a"], "quantity": [1]}
    with pytest.raises(PanelError, match="^orders, row 1, column 'region': is empty"):
        DemandPanel.from_long(table, file_name="orders")


def test_columns_of_different_length_are_refused() -> None:
    """Zipping them would drop the tail."""
    table = {"date": ["2020-01-01"], "region": ["n", "m"], "product": ["a"], "quantity": [1]}
    with pytest.raises(PanelError, match="^table, row 2, column 'region'"):
        DemandPanel.from_long(table)
    with pytest.raises(PanelError, match="^table, column 'product': is missing"):
        DemandPanel.from_long({"date": [], "region": []})


def test_a_data_frame_reads_like_a_file(tmp_path: Path) -> None:
    """Most owners of such tables have them in pandas; missing cells are empty cells."""
    import pandas

    path = write(tmp_path, GOOD)
    frame = pandas.read_csv(path)
    frame["date"] = pandas.to_datetime(frame["date"], format="ISO8601")
    panel = DemandPanel.from_long(frame)
    np.testing.assert_array_equal(panel.demand, DemandPanel.from_long(path).demand)
    frame.loc[1, "date"] = pandas.NaT
    with pytest.raises(PanelError, match="row 2, column 'date'"):
        DemandPanel.from_long(frame)
    frame = pandas.read_csv(path)
    for missing in (None, float("nan"), pandas.NA):
        frame["region"] = ["n", "n", "n", missing]
        with pytest.raises(PanelError, match="row 4, column 'region': is empty"):
            DemandPanel.from_long(frame)


def test_a_parquet_file_reads_like_a_csv_file(tmp_path: Path) -> None:
    """The same rows must give the same panel."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(
        {
            "date": [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
            "region": ["n", "n"],
            "product": ["a", "a"],
            "quantity": [1.0, 2.0],
        }
    )
    path = tmp_path / "sales.parquet"
    parquet.write_table(table, path)
    panel = DemandPanel.from_long(path)
    np.testing.assert_array_equal(panel.demand.ravel(), [1, 2])
    assert panel.price is None
    path.write_text("date,region\n")
    with pytest.raises(PanelError, match="^sales.parquet: "):
        DemandPanel.from_long(path)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is optional, so its absence must explain itself."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"pip install stockyard\[data\]"):
        DemandPanel.from_long(tmp_path / "sales.parquet")


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """A wrong path is not a malformed table."""
    with pytest.raises(FileNotFoundError):
        DemandPanel.from_long(tmp_path / "nothing.csv")
