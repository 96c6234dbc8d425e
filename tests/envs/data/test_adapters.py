"""Readers of M5, Favorita and Online Retail, on tiny files in their layouts."""

import datetime
from pathlib import Path

import numpy as np
import pytest

from stockyard.envs.data import PanelError, read_favorita, read_m5, read_online_retail

M5_HEADER = "id,item_id,dept_id,cat_id,store_id,state_id,d_1,d_2,d_3\n"
M5_FILES = {
    "sales_train_validation.csv": M5_HEADER
    + "F_1_CA_1_validation,F_1,FOODS_1,FOODS,CA_1,CA,1,0,2\n"
    + "F_1_TX_1_validation,F_1,FOODS_1,FOODS,TX_1,TX,0,4,0\n"
    + "H_1_CA_1_validation,H_1,HOBBIES_1,HOBBIES,CA_1,CA,9,9,9\n",
    "calendar.csv": "date,wm_yr_wk,weekday,wday,month,year,d,event_name_1\n"
    "2011-01-29,11101,Saturday,1,1,2011,d_1,\n"
    "2011-01-30,11101,Sunday,2,1,2011,d_2,\n"
    "2011-01-31,11101,Monday,3,1,2011,d_3,\n"
    "2011-02-01,11101,Tuesday,4,2,2011,d_4,\n",
    "sell_prices.csv": "store_id,item_id,wm_yr_wk,sell_price\n"
    "CA_1,F_1,11101,2.00\nTX_1,F_1,11101,3.00\nCA_1,H_1,11101,5.00\n",
}


@pytest.fixture
def m5(tmp_path: Path) -> Path:
    """Return a folder with three tiny M5 files."""
    for name, text in M5_FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def spoil(path: Path, old: str, new: str) -> None:
    """Replace a piece of a file that is there once."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_m5_days_are_columns_and_regions_are_stores(m5: Path) -> None:
    """An item that a store does not list has no demand there."""
    panel = read_m5(m5)
    assert panel.start_date == datetime.date(2011, 1, 29)
    assert (panel.products, panel.regions) == (("F_1", "H_1"), ("CA_1", "TX_1"))
    assert panel.category == ("FOODS_1", "HOBBIES_1")
    np.testing.assert_array_equal(panel.demand[:, 0], [[1, 0], [0, 4], [2, 0]])
    np.testing.assert_array_equal(panel.demand[:, 1], [[9, 0], [9, 0], [9, 0]])
    assert panel.price is not None
    np.testing.assert_array_equal(panel.price, [2.5, 5])


def test_m5_keeps_the_items_with_the_most_units(m5: Path) -> None:
    """The stores stay, also those that the kept items are not sold in."""
    panel = read_m5(m5, max_products=1)
    assert panel.products == ("H_1",)
    assert panel.regions == ("CA_1", "TX_1")


def test_m5_prices_are_unknown_as_a_whole_if_one_is(m5: Path) -> None:
    """A panel has a price for each product or none."""
    spoil(m5 / "sell_prices.csv", "CA_1,H_1,11101,5.00\n", "")
    assert read_m5(m5).price is None


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("sales_train_validation.csv", "TX,0,4,0", "TX,0,x,0", "row 3, column 'd_2': 'x' is not"),
        ("sales_train_validation.csv", "TX,0,4,0", "TX,0,-4,0", "row 3, column 'd_2': .*negative"),
        ("sales_train_validation.csv", "TX,0,4,0", "TX,0,nan,0", "row 3, column 'd_2': .*finite"),
        ("sales_train_validation.csv", "TX,0,4,0", "TX,0,1e39,0", "row 3: a number is too large"),
        ("sales_train_validation.csv", "TX,0,4,0", "TX,0,4", "row 3, column 'd_3': .*8 fields"),
        ("sales_train_validation.csv", "store_id", "shop", "row 1, column 'store_id': is missing"),
        ("sales_train_validation.csv", "TX_1,TX", "CA_1,TX", "row 3, .*was there before"),
        ("sales_train_validation.csv", ",TX_1,TX", ",,TX", "row 3, column 'store_id': is empty"),
        ("calendar.csv", "2011-01-30", "30.1.2011", "row 3, column 'date': '30.1.2011'"),
        ("calendar.csv", "2011-01-30", "2011-03-30", "'d_2' does not follow the day before"),
        ("calendar.csv", ",d_3,", ",d_9,", "'d_3' of the sales file is missing"),
        ("sell_prices.csv", "3.00", "-3", "row 3, column 'sell_price': .*negative"),
    ],
)
def test_m5_errors_name_file_row_and_column(
    m5: Path, file: str, old: str, new: str, message: str
) -> None:
    """The files have thirty thousand rows and two thousand columns."""
    spoil(m5 / file, old, new)
    with pytest.raises(PanelError, match=f"^{file}, .*{message}"):
        read_m5(m5)


def test_m5_prefers_the_longer_evaluation_file(m5: Path) -> None:
    """Both are published together; evaluation repeats validation and goes on for 28 days."""
    (m5 / "sales_train_evaluation.csv").write_text(
        "id,item_id,dept_id,cat_id,store_id,state_id,d_1,d_2,d_3,d_4\n"
        "F_1_CA_1_evaluation,F_1,FOODS_1,FOODS,CA_1,CA,1,0,2,7\n"
    )
    assert read_m5(m5).num_days == 4


def test_m5_without_its_files_is_not_found(tmp_path: Path) -> None:
    """The message of the system names the file."""
    with pytest.raises(FileNotFoundError, match="sales_train_evaluation"):
        read_m5(tmp_path)


FAVORITA = (
    "id,date,store_nbr,item_nbr,unit_sales,onpromotion\n"
    "0,2013-01-01,25,103665,7.0,\n"
    "1,2013-01-02,25,105574,1.5,False\n"
    "2,2013-01-03,1,105574,-2.0,True\n"
    "3,2013-01-04,1,105574,3.0,True\n"
)


def test_favorita_returns_are_dropped_unless_refused(tmp_path: Path) -> None:
    """What came back is no demand, and the reader may want to decide that himself."""
    (tmp_path / "train.csv").write_text(FAVORITA)
    panel = read_favorita(tmp_path)
    assert (panel.products, panel.regions) == (("103665", "105574"), ("1", "25"))
    assert panel.price is None
    np.testing.assert_array_equal(panel.demand[:, 1], [[0, 0], [0, 1.5], [0, 0], [3, 0]])
    with pytest.raises(PanelError, match="^train.csv, row 4, column 'unit_sales': .*negative"):
        read_favorita(tmp_path, returns="error")
    with pytest.raises(ValueError, match="^returns must be drop or error"):
        read_favorita(tmp_path, returns="keep")  # type: ignore[arg-type]


def test_favorita_keeps_days_and_stores_of_items_it_drops(tmp_path: Path) -> None:
    """The calendar must not depend on how many items are kept."""
    (tmp_path / "train.csv").write_text(FAVORITA.replace("7.0", "70"))
    panel = read_favorita(tmp_path, max_products=1)
    assert panel.products == ("103665",)
    assert panel.demand.shape == (4, 1, 2)
    with pytest.raises(ValueError, match="^max_products"):
        read_favorita(tmp_path, max_products=0)


def test_favorita_refuses_repeats_and_bad_cells(tmp_path: Path) -> None:
    """The layout has one row per date, store and item."""
    path = tmp_path / "train.csv"
    path.write_text(FAVORITA + "4,2013-01-01,25,103665,1,\n")
    with pytest.raises(PanelError, match="row 6, .*repeats the key of row 2"):
        read_favorita(tmp_path)
    path.write_text(FAVORITA + "4,2013-01-05,25,103665,one,\n")
    with pytest.raises(PanelError, match="row 6, column 'unit_sales': 'one' is not a number"):
        read_favorita(tmp_path, max_products=1)


RETAIL = (
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    '536365,85123A,"HEART, WHITE",6,12/1/2010 8:26,2.55,17850,United Kingdom\n'
    "536366,85123A,HEART,4,12/1/2010 9:26,2.95,17850,United Kingdom\n"
    "536370,22728,CLOCK,24,12/3/2010 8:45,3.75,12583,France\n"
    "C536379,85123A,HEART,-1,12/1/2010 9:41,27.5,14527,United Kingdom\n"
    "C536380,85123A,HEART,1,12/1/2010 9:41,27.5,14527,United Kingdom\n"
    "536381,85123A,broken,-10,12/1/2010 9:41,0,,United Kingdom\n"
    "A563185,B,Adjust bad debt,1,8/12/2011 14:50,11062.06,,United Kingdom\n"
    "536382,POST,POSTAGE,3,12/1/2010 8:45,18,12583,France\n"
)


def test_online_retail_sums_lines_and_drops_what_is_no_sale(tmp_path: Path) -> None:
    """Cancellations, returns, bad debt and postage are in the file and are not demand."""
    path = tmp_path / "online_retail.csv"
    path.write_text(RETAIL)
    panel = read_online_retail(path)
    assert panel.start_date == datetime.date(2010, 12, 1)
    assert (panel.products, panel.regions) == (("22728", "85123A"), ("France", "United Kingdom"))
    np.testing.assert_array_equal(panel.demand[:, 0], [[0, 0], [0, 0], [24, 0]])
    np.testing.assert_array_equal(panel.demand[:, 1], [[0, 10], [0, 0], [0, 0]])
    assert panel.price is not None
    np.testing.assert_allclose(panel.price, [3.75, 2.75])
    assert read_online_retail(path, max_products=1).products == ("22728",)


def test_online_retail_takes_iso_dates_and_latin_text(tmp_path: Path) -> None:
    """Copies of the file differ in both."""
    path = tmp_path / "retail.csv"
    path.write_bytes(
        RETAIL.replace("12/1/2010 8:26", "2010-12-01 08:26:00").encode("latin-1")
        + "536383,22728,CAFÉ,1,12/3/2010 8:45,3.75,1,France\n".encode("latin-1")
    )
    assert read_online_retail(path, encoding="latin-1").demand.sum() == 35
    with pytest.raises(PanelError, match="^retail.csv, after row"):
        read_online_retail(path)


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("12/1/2010 8:26", "13/13/2010 8:26", "InvoiceDate"),
        (",6,", ",six,", "Quantity"),
        (",2.55,", ",-2.55,", "UnitPrice"),
        ("17850,United Kingdom\n536366", "17850,\n536366", "Country"),
        ("536365,", ",", "InvoiceNo"),
    ],
)
def test_online_retail_errors_name_row_and_column(
    tmp_path: Path, old: str, new: str, column: str
) -> None:
    """The first line of data is row 2."""
    path = tmp_path / "retail.csv"
    path.write_text(RETAIL)
    spoil(path, old, new)
    with pytest.raises(PanelError, match=f"^retail.csv, row 2, column '{column}'"):
        read_online_retail(path)
