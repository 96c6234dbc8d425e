"""The build script: a rebuild equals the shipped files, and a difference is named."""

from pathlib import Path

import numpy as np
import pytest

from stockyard.envs.data._shipped import DATA_FOLDER, METRO_FILE, PANEL_FILE
from stockyard.scripts import build_data


def stored_panel() -> dict[str, np.ndarray]:
    """Return the arrays of the shipped panel."""
    with np.load(DATA_FOLDER / PANEL_FILE) as arrays:
        return dict(arrays)


def test_a_difference_is_named() -> None:
    """A gate must be seen to fail once."""
    panel, metros = stored_panel(), (DATA_FOLDER / METRO_FILE).read_text(encoding="utf-8")
    assert build_data.differences(DATA_FOLDER, panel, metros) == []
    changed = {**panel, "quantity": panel["quantity"].copy()}
    changed["quantity"][-1] += 1
    del changed["price"]
    assert build_data.differences(DATA_FOLDER, changed, metros + "x") == [
        "completejourney.npz: price",
        "completejourney.npz: quantity",
        "us_metros.csv",
    ]


def test_the_check_fails_and_names_the_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Continuous integration sees the exit status, a person the name."""
    metros = (DATA_FOLDER / METRO_FILE).read_text(encoding="utf-8")
    monkeypatch.setattr(build_data, "PINS", {})
    monkeypatch.setattr(build_data, "build_panel", stored_panel)
    monkeypatch.setattr(build_data, "build_metros", list)
    monkeypatch.setattr(build_data, "metro_csv", lambda rows: metros)
    folder = ["--folder", str(tmp_path)]
    assert build_data.main(folder) == 0
    assert build_data.main(["--check", *folder]) == 0
    panel = stored_panel()
    panel["price"] = panel["price"] + 1
    np.savez_compressed(tmp_path / PANEL_FILE, **panel)
    assert build_data.main(["--check", *folder]) == 1
    assert capsys.readouterr().err == "differs: completejourney.npz: price\n"


def test_another_version_of_a_source_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other versions hold other data; the message says what to install."""
    for package in ("numpy", "no_such_package"):
        monkeypatch.setattr(build_data, "PINS", {package: "0.0.1"})
        with pytest.raises(SystemExit):
            build_data.main(["--check"])
        assert f"needs {package} 0.0.1" in capsys.readouterr().err


def test_the_shipped_files_can_be_rebuilt() -> None:
    """Data that cannot be rebuilt cannot be checked; needs the extra `data`, which `dev` brings."""
    assert build_data.main(["--check"]) == 0
