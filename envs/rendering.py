"""Pictures: the network on a map, and stock, demand and orders over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.topology import Network

INK, MUTED = "#1f2933", "#9aa5b1"
STOCK, SOLD, WANTED, ORDER = "#2563eb", "#15803d", "#c2410c", "#7c3aed"


def draw_network(network: Network, axes: Any) -> None:
    """Draws nodes and transfer lanes on matplotlib axes; positions from latitude and longitude."""
    x, y = np.asarray(network.node_longitude), np.asarray(network.node_latitude)
    if not len(x):
        x, y = np.arange(network.num_nodes) * 1.0, np.zeros(network.num_nodes)
    for tail, head in zip(network.transfers.tail, network.transfers.head, strict=True):
        axes.plot(x[[tail, head]], y[[tail, head]], color=MUTED, linewidth=0.8, zorder=1)
    feeds = np.isin(np.arange(network.num_nodes), network.inbound.head)
    serves = np.isin(np.arange(network.num_nodes), network.outbound.node)
    for chosen, marker, label in ((feeds & ~serves, "s", "cross-dock"), (serves, "o", "centre")):
        axes.scatter(x[chosen], y[chosen], marker=marker, s=36, zorder=2, label=label)
    if network.num_nodes <= 8:
        places = {(x[k], y[k]): k for k in range(network.num_nodes)}  # one name where two coincide
        for k, name in ((k, network.nodes[k]) for k in places.values()):
            axes.annotate(
                name.split(" ", 1)[-1],
                (x[k], y[k]),
                textcoords="offset points",
                xytext=(5, 6 + 9 * (k % 2)),
                fontsize=7,
                color=INK,
            )
    axes.margins(0.3)
    axes.set(xlabel="longitude", ylabel="latitude", title="network")
    axes.legend(fontsize=7, frameon=False)


def draw_series(frames: Sequence[Mapping[str, Any]], axes: Any, days_per_frame: float) -> None:
    """Draws units on hand, wanted, sold and ordered per decision, all products together.

    Args:
        frames: one mapping per decision: `on_hand`, `demand`, `sold`, `ordered` in units.
        axes: matplotlib axes.
        days_per_frame: days between frames.
    """
    days = np.arange(1, len(frames) + 1) * days_per_frame
    series = {key: np.array([float(np.sum(f[key])) for f in frames]) for key in frames[0]}
    axes.fill_between(days, series["on_hand"], color=STOCK, alpha=0.15, label="on hand")
    axes.plot(days, series["on_hand"], color=STOCK, linewidth=1.2)
    axes.plot(days, series["demand"], color=WANTED, linewidth=1.0, linestyle="--", label="demand")
    axes.plot(days, series["sold"], color=SOLD, linewidth=1.2, label="sold")
    axes.step(days, series["ordered"], color=ORDER, linewidth=0.9, where="mid", label="ordered")
    axes.set(xlabel="day", ylabel="units per decision", ylim=(0, None))
    axes.legend(fontsize=7, frameon=False, ncols=4, loc="upper center")


def draw_episode(
    network: Network, frames: Sequence[Mapping[str, Any]], days_per_frame: float = 1.0
) -> npt.NDArray[np.uint8]:
    """The picture that `render` returns: map and time series side by side, (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 3.6), dpi=90, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    draw_network(network, left)
    if frames:
        draw_series(frames, right, days_per_frame)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: Any = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    picture: npt.NDArray[np.uint8] = np.asarray(pixels)[..., :3].copy()
    return picture
