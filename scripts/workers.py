"""Cells of work spread over processes, or over a Ray cluster, each on one thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

Work = Callable[..., dict[str, Any]]
Cells = Sequence[tuple[Any, ...]]

LAUNCHERS = ("processes", "ray")
"""Where cells can run."""


def spread(
    work: Work, cells: Cells, count: int, launcher: str = "processes"
) -> Iterable[dict[str, Any]]:
    """Results as they come, with a bar.

    Args:
        work: what is done with a cell's arguments; it can be imported by name.
        cells: arguments.
        count: processes at a time; for "ray" 0 means as many as the cluster has cores.
        launcher: a name of `LAUNCHERS`; "ray" needs the extra `ray`, and takes a running cluster
            where RAY_ADDRESS names one.

    Raises:
        ValueError: for an unknown launcher.
    """
    from tqdm import tqdm

    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher: unknown {launcher!r}; known: {', '.join(LAUNCHERS)}")
    bar = tqdm(total=len(cells), unit="cell", mininterval=1.0 if sys.stderr.isatty() else 30.0)
    with bar:
        for done in _done(work, cells, count, launcher):
            yield done
            bar.update()


def _done(work: Work, cells: Cells, count: int, launcher: str) -> Iterator[dict[str, Any]]:
    if not cells:
        return
    if launcher == "ray":
        yield from _on_ray(work, cells, count)
        return
    if count == 1 or len(cells) < 2:
        for cell in cells:
            yield work(*cell)
        return
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))
    try:
        for done in as_completed([pool.submit(work, *cell) for cell in cells]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _on_ray(work: Work, cells: Cells, count: int) -> Iterator[dict[str, Any]]:
    """Runs cells as core tasks of Ray; a few wait for each core, so that no result is far off."""
    try:
        import ray
    except ImportError:
        raise ValueError(
            "launcher: ray needs the extra `ray`: pip install stockyard[ray]"
        ) from None
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        task = ray.remote(num_cpus=1)(work)
        cores = count or int(ray.cluster_resources().get("CPU", 1))
        waiting = list(reversed(cells))
        running: list[Any] = []
        while waiting or running:
            while waiting and len(running) < cores:
                running.append(task.remote(*waiting.pop()))
            ready, running = ray.wait(running, num_returns=1)
            yield from ray.get(ready)
    finally:
        if started:
            ray.shutdown()
