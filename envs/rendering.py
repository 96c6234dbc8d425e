"""Pictures of an episode: the network on a map, and what happened over time.

Frames are small: sums over products of one replica, one frame per period. matplotlib is imported
where it draws, so that environments work without it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import to_numpy
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Flows
from stockyard.envs.network.tapes import Tape
from stockyard.envs.network.topology import Network

Floats = npt.NDArray[np.float64]

INK, MUTED, PALE = "#1f2933", "#7b8794", "#e4e7eb"
KIND_COLOURS = {
    "cross-dock": "#7c3aed",
    "regional centre": "#2563eb",
    "local centre": "#0d9488",
    "stock point": "#2563eb",
}
SPEED_COLOURS = ("#15803d", "#eab308", "#c2410c")
SPEED_NAMES = ("1 day", "2 days", "3-5 days")
LOST = "#d1d5db"
SOLD, ORDERED, MOVED = "#15803d", "#7c3aed", "#2563eb"

RECENT_DAYS = 7
"""Days over which the map averages flows."""


class Frame(NamedTuple):
    """One period of one replica, units of all products together unless said otherwise."""

    stock: Floats  # (N,) units on the shelf and staged at the end of the period
    stock_volume: Floats  # (N,) ft3 of them
    capacity: Floats | None  # (N,) ft3; None: unlimited
    yard: Floats  # (N,) units waiting at the dock
    under_way: float  # units between nodes
    transferred: Floats  # (E_tr,) units that left
    ordered: float  # units ordered from suppliers
    demand: Floats  # (R,) units wanted
    served: Floats  # (E_out,) units sold, by lane
    speed: Floats  # (R, tiers) units sold, by speed as offered
    in_stock: float  # share of demand for products that no shelf was short of


def frame_of(params: Params, tape: Tape, period: int, flows: Flows) -> Frame:
    """What pictures show of one period, for replica 0.

    Args:
        params: the network.
        tape: for the limits in force.
        period: the period that `flows` belongs to.
        flows: what moved in it.
    """
    network = params.network
    volume = network.products.volume
    state = flows.end
    on_shelf = _first(state.on_hand)
    if state.staged is not None:
        on_shelf = on_shelf.copy()
        np.add.at(on_shelf, network.transfers.tail, _first(state.staged))
    nothing = np.zeros(network.num_nodes)
    limit = tape.limit("storage_capacity", period)
    demand = _first(flows.demand)
    missed = _first(flows.out_of_stock).sum(axis=0) > 1e-9
    served, speed = _by_lane(params, flows)
    lanes = len(network.transfers.tail)
    return Frame(
        stock=on_shelf.sum(axis=1),
        stock_volume=on_shelf @ volume,
        capacity=None if limit is None else np.array(to_numpy(limit)[0]),
        yard=nothing if state.yard is None else _first(state.yard).sum(axis=1),
        under_way=float(sum(_first(slot).sum() for slot in state.transfers)),
        transferred=np.zeros(lanes)
        if flows.transferred is None
        else _first(flows.transferred).sum(axis=1),
        ordered=0.0 if flows.ordered is None else float(_first(flows.ordered).sum()),
        demand=demand.sum(axis=1),
        served=served,
        speed=speed,
        in_stock=1.0 - float(demand[:, missed].sum() / max(demand.sum(), 1e-9)),
    )


def _first(array: Any) -> Floats:
    """Replica 0."""
    return np.asarray(to_numpy(array)[0], dtype=np.float64)


def _by_lane(params: Params, flows: Flows) -> tuple[Floats, Floats]:
    """Units sold by outbound lane (E_out,), and by region and speed (R, tiers)."""
    network = params.network
    served = np.zeros(len(network.outbound.node))
    speed = np.zeros((network.num_regions, len(network.acceptance_by_tier)))
    regions = np.arange(network.num_regions)
    for rank, units in zip(params.ranks(flows.promise), flows.served, strict=True):
        sold = _first(units).sum(axis=1)
        there = rank.rank.lane >= 0
        np.add.at(served, rank.rank.lane[there], sold[there])
        np.add.at(speed, (regions[there], rank.rank.tier[there]), sold[there])
    return served, speed


def kinds_of(network: Network) -> list[str]:
    """What each node is: a cross-dock serves nobody, a local centre nobody within two days."""
    kinds = []
    slowest = len(network.acceptance_by_tier) - 1
    for node in range(network.num_nodes):
        tiers = set(network.outbound.tier[network.outbound.node == node].tolist())
        if slowest == 0 or not len(network.node_latitude):
            kinds.append("stock point")
        elif not tiers:
            kinds.append("cross-dock")
        else:
            kinds.append("regional centre" if tiers & set(range(1, slowest)) else "local centre")
    return kinds


def episode_figure(
    network: Network, frames: Sequence[Frame], periods_per_day: int = 1, title: str = ""
) -> Any:
    """A matplotlib figure: the map of the last days, and time series of the whole episode.

    Args:
        network: what is drawn.
        frames: one per period; without any, the map alone has something to show.
        periods_per_day: of the network.
        title: a line above it all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from stockyard.envs.rendering_map import draw_map

    figure = Figure(figsize=(14.0, 7.6), dpi=90)
    FigureCanvasAgg(figure)  # labels are placed by the size of their text
    has_space = bool(frames) and frames[-1].capacity is not None
    axes = figure.add_axes(
        (0.012, 0.355 if has_space else 0.07, 0.525, 0.565 if has_space else 0.84)
    )
    draw_map(network, frames[-RECENT_DAYS * periods_per_day :], axes)
    if has_space:
        _draw_space(network, frames, figure.add_axes((0.125, 0.065, 0.385, 0.2)), periods_per_day)
    if frames:
        where = figure.add_gridspec(1, 1, left=0.592, right=0.985, top=0.905, bottom=0.065)
        _draw_series(network, frames, figure, where[0, 0], periods_per_day)
    figure.text(0.012, 0.955, title, fontsize=13, color=INK, weight="bold", va="center")
    return figure


def draw_series(frames: Sequence[Frame], axes: Any, days_per_frame: float) -> None:
    """Draws units in stock, wanted and sold in the last week, and ordered, all products together.

    Args:
        frames: one per period.
        axes: matplotlib axes.
        days_per_frame: days between frames.
    """
    days = np.arange(1, len(frames) + 1) * days_per_frame
    stock = np.array([f.stock.sum() for f in frames])
    ordered = np.array([f.ordered for f in frames])
    week = np.ones(max(round(RECENT_DAYS / days_per_frame), 1))
    demand, sold = (
        np.convolve([float(values.sum()) for values in series], week)[: len(frames)]
        for series in ([f.demand for f in frames], [f.served for f in frames])
    )
    axes.fill_between(days, stock, color=MOVED, alpha=0.15, label="in stock")
    axes.plot(days, stock, color=MOVED, lw=1.2)
    axes.plot(days, demand, color=INK, lw=1.0, ls="--", label="wanted")
    axes.plot(days, sold, color=SOLD, lw=1.2, label="sold")
    axes.vlines(days[ordered > 0], 0, ordered[ordered > 0], color=ORDERED, lw=1.5, label="ordered")
    axes.set(xlabel="day", ylabel="units; demand and sales of a week", ylim=(0, None))
    axes.legend(fontsize=7, frameon=False, ncols=4, loc="upper center")


def pixels(figure: Any) -> npt.NDArray[np.uint8]:
    """A figure of `episode_figure` as an RGB picture, (H, W, 3)."""
    figure.canvas.draw()
    picture: npt.NDArray[np.uint8] = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    return picture


def _draw_series(
    network: Network, frames: Sequence[Frame], figure: Any, where: Any, periods_per_day: int
) -> None:
    """Panels one above the other, on one time axis in days."""
    frames = [frames[0]._replace(ordered=0.0), *frames]  # so that the first period has a width
    days = np.arange(len(frames)) / periods_per_day
    has_speeds = len(network.acceptance_by_tier) > 1
    panels = [_panel_stock, _panel_demand, _panel_in_stock]
    panels += [_panel_speed] if has_speeds else []
    panels += [_panel_flows]
    heights = {_panel_stock: 1.7, _panel_demand: 1.2, _panel_speed: 1.2}
    grid = where.subgridspec(
        len(panels), 1, height_ratios=[heights.get(p, 0.9) for p in panels], hspace=0.42
    )
    for k, panel in enumerate(panels):
        axes = figure.add_subplot(grid[k, 0])
        panel(network, frames, days, axes, periods_per_day)
        _plain(axes, days)
        if k == len(panels) - 1:
            axes.set_xlabel("day", fontsize=8.5, color=INK)
        else:
            axes.tick_params(labelbottom=False)


def _plain(axes: Any, days: Floats) -> None:
    """A quiet frame and a time axis that begins at 0."""
    axes.set_xlim(0.0, days[-1])
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=7.5, colors=MUTED, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)


def _draw_space(network: Network, frames: Sequence[Frame], axes: Any, periods_per_day: int) -> None:
    """How full every node's shelves were, a row per node."""
    stored = np.array([f.stock_volume for f in frames])
    space = np.array([f.capacity for f in frames])
    used = 100.0 * (stored / np.maximum(space, 1e-9)).T
    days = np.arange(1, len(frames) + 1) / periods_per_day
    picture = axes.imshow(
        used,
        aspect="auto",
        interpolation="nearest",
        cmap="YlGnBu",
        vmin=0.0,
        vmax=100.0,
        extent=(0.0, days[-1], network.num_nodes - 0.5, -0.5),
    )
    _plain(axes, days)
    axes.set_title("Space used, %", loc="left", fontsize=9, color=INK, pad=4)
    axes.set_xlabel("day", fontsize=8.5, color=INK)
    if network.num_nodes <= 14:
        axes.set_yticks(range(network.num_nodes), [_short(name) for name in network.nodes])
    else:  # one name per kind, in the middle of its rows
        kinds = kinds_of(network)
        rows = {kind: float(np.flatnonzero(np.array(kinds) == kind).mean()) for kind in kinds}
        axes.set_yticks(list(rows.values()), [f"{kind}s" for kind in rows])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    bar = axes.figure.colorbar(picture, ax=axes, fraction=0.03, pad=0.015)
    bar.ax.tick_params(labelsize=7.5, colors=MUTED, length=2.5)
    bar.outline.set_visible(False)


def _short(name: str) -> str:
    """A node's name without the state and the number of its kind."""
    kind, _, place = name.partition(" ")
    kind = "local" if kind.startswith("FC-local") else kind
    return f"{kind} {place.split(',')[0]}" if place else name


def _head(axes: Any, title: str, with_legend: bool = True) -> None:
    """A panel's title on the left and its legend on the right, both above the axes."""
    axes.set_title(title, loc="left", fontsize=9, color=INK, pad=4)
    if with_legend:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.01, 0.97),
            ncols=5,
            fontsize=7.5,
            frameon=False,
            handlelength=1.1,
            columnspacing=1.1,
            handletextpad=0.45,
            borderpad=0.0,
            labelcolor=INK,
        )


def _panel_stock(
    network: Network, frames: Sequence[Frame], days: Floats, axes: Any, periods_per_day: int
) -> None:
    """Units by kind of node, waiting in yards, and between nodes, one on top of the other."""
    kinds = np.array(kinds_of(network))
    stock = np.array([f.stock for f in frames])
    layers = {k: stock[:, kinds == k].sum(axis=1) for k in KIND_COLOURS if (kinds == k).any()}
    colours = [KIND_COLOURS[k] for k in layers]
    for name, colour, values in (
        ("under way", "#93c5fd", np.array([f.under_way for f in frames])),
        ("yard", "#f59e0b", np.array([f.yard.sum() for f in frames])),
    ):
        if values.any():
            layers[name] = values
            colours.append(colour)
    names = [name.removesuffix(" centre") for name in layers]
    axes.stackplot(days, *layers.values(), labels=names, colors=colours, alpha=0.85, lw=0)
    axes.set_ylim(0, None)
    _units(axes)
    _head(axes, "Stock, units")


def _panel_demand(
    network: Network, frames: Sequence[Frame], days: Floats, axes: Any, periods_per_day: int
) -> None:
    """Units wanted and sold per day; between the lines lies what was lost."""
    demand = np.array([f.demand.sum() for f in frames]) * periods_per_day
    sold = np.array([f.served.sum() for f in frames]) * periods_per_day
    axes.fill_between(
        days, sold, np.maximum(demand, sold), color=SPEED_COLOURS[2], alpha=0.25, lw=0
    )
    axes.plot(days, demand, color=INK, lw=0.9, label="wanted")
    axes.plot(days, sold, color=SOLD, lw=1.3, label="sold")
    axes.set_ylim(0, None)
    _units(axes)
    _head(axes, "Demand, units per day")


def _panel_in_stock(
    network: Network, frames: Sequence[Frame], days: Floats, axes: Any, periods_per_day: int
) -> None:
    """Share of demand for products that no shelf was short of that day."""
    rate = 100.0 * np.array([f.in_stock for f in frames])
    axes.plot(days, rate, color=MOVED, lw=1.3)
    axes.fill_between(days, rate, color=MOVED, alpha=0.10, lw=0)
    axes.set_ylim(0, 104)
    axes.set_yticks((0, 50, 100))
    _head(axes, "In-stock rate, %", with_legend=False)


def _panel_speed(
    network: Network, frames: Sequence[Frame], days: Floats, axes: Any, periods_per_day: int
) -> None:
    """Share of units sold by delivery speed."""
    units = np.array([f.speed.sum(axis=0) for f in frames])
    shares = 100.0 * units / np.maximum(units.sum(axis=1, keepdims=True), 1e-9)
    names = [SPEED_NAMES[min(k, 2)] for k in range(units.shape[1])]
    colours = [SPEED_COLOURS[min(k, 2)] for k in range(units.shape[1])]
    axes.stackplot(days, *shares.T, labels=names, colors=colours, alpha=0.85, lw=0)
    axes.set_ylim(0, 100)
    axes.set_yticks((0, 50, 100))
    _head(axes, "Delivery speed, % of sales")


def _panel_flows(
    network: Network, frames: Sequence[Frame], days: Floats, axes: Any, periods_per_day: int
) -> None:
    """Units ordered from suppliers and moved between nodes, per period."""
    ordered = np.array([f.ordered for f in frames])
    moved = np.array([f.transferred.sum() for f in frames])
    if moved.any():
        axes.plot(days, moved, color=MOVED, lw=1.1, label="moved")
    shown = ordered > 0
    if shown.any():
        axes.vlines(days[shown], 0, ordered[shown], color=ORDERED, lw=2.0, label="ordered")
    axes.set_ylim(0, None)
    _units(axes)
    _head(axes, "Orders and transfers, units", with_legend=bool(moved.any() or shown.any()))


def _units(axes: Any) -> None:
    """A few ticks, with 12000 written as 12k."""
    from matplotlib.ticker import MaxNLocator

    def short(value: float, _: int) -> str:
        return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"

    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(short)
