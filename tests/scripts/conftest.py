"""What tests of commands need: an empty folder, and a command's exit code, output and errors."""

import sys

import pytest


@pytest.fixture
def place(monkeypatch, tmp_path):
    """An empty folder to run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    return tmp_path


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command's module in this process and returns exit code, output and errors."""

    def run(module, *arguments):
        name = module.__name__.rpartition(".")[2].replace("_", "-")
        monkeypatch.setattr(sys, "argv", [f"stockyard-{name}", *arguments])
        try:
            module.main()
            code = 0
        except SystemExit as stop:
            code = stop.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        out, err = capsys.readouterr()
        return code or 0, out, err

    return run
