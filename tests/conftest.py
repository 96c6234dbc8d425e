"""What every test needs: one thread a process, and no files left in the checkout."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Holds torch to one thread: test workers would fight over the cores."""
    import torch

    torch.set_num_threads(1)
