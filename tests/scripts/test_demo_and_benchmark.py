"""The README's first command and the benchmark run, small."""

import json

from stockyard.scripts import benchmark, demo


def test_demo_leaves_a_table_a_run_and_a_picture(tmp_path):
    """What `make demo` prints must be where it says."""
    picture = demo.run(tmp_path, steps=2_000, tapes=8)
    assert picture.stat().st_size > 10_000
    rows = json.loads((tmp_path / "comparison.json").read_text())["comparisons"]
    assert {row["name"] for row in rows} == {"naive", "newsvendor", "base_stock", "ppo"}
    assert (tmp_path / "ppo" / "run.json").is_file()


def test_benchmark_measures_every_case():
    """A case that cannot run would drop out of the committed table."""
    figures = benchmark.measure(seconds=0.05)
    assert len(figures) == 7
    assert all(figure.median > 0 for figure in figures)
