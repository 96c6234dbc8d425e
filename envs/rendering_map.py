"""The network on a map: stock at nodes, flows on lanes, demand and delivery speed of regions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.topology import Network
from stockyard.envs.rendering import (
    INK,
    KIND_COLOURS,
    LOST,
    MUTED,
    SPEED_COLOURS,
    SPEED_NAMES,
    Frame,
    kinds_of,
)

Floats = npt.NDArray[np.float64]

FULL = "#dc2626"
"""Colour of a node whose shelf is nearly full."""

NEARLY_FULL = 0.95

DEGREE = 0.79
"""Width of a degree of longitude over one of latitude at 38 degrees north."""

COUNTRY = """
    124.7,48.4 122.8,49.0 95.2,49.0 95.1,49.4 94.6,48.7 92.0,48.3 89.6,48.0 92.0,46.7 90.4,46.6
    87.4,46.5 84.8,46.5 84.0,46.0 83.4,45.2 83.3,44.3 83.9,43.7 82.9,44.0 82.4,43.0 83.1,42.1
    83.4,41.7 82.7,41.5 81.7,41.5 80.1,42.2 78.9,42.8 79.0,43.3 76.8,43.3 76.2,44.0 75.0,45.0
    71.5,45.0 70.8,45.4 70.2,46.3 69.2,47.4 68.2,47.3 67.8,45.7 67.0,44.8 68.8,44.3 70.2,43.6
    70.8,42.8 70.9,42.2 70.0,41.8 71.2,41.5 73.6,41.0 72.0,41.1 73.9,40.6 74.1,39.7 74.9,38.9
    75.4,39.4 75.1,38.5 75.9,37.1 76.0,36.8 75.5,35.3 76.6,34.7 77.9,33.9 79.2,33.2 80.9,32.0
    81.4,30.7 81.0,29.2 80.5,28.4 80.0,26.8 80.3,25.3 81.2,25.2 81.8,26.1 82.8,27.8 82.7,28.8
    83.8,29.9 85.0,29.6 86.4,30.4 88.0,30.3 89.5,30.3 89.2,29.1 90.8,29.1 92.2,29.6 93.8,29.7
    95.0,29.2 96.6,28.4 97.4,27.3 97.2,25.9 99.1,26.4 99.5,27.5 100.6,28.9 101.4,29.8 102.7,29.7
    103.2,29.0 104.5,29.6 105.0,30.7 106.5,31.8 108.2,31.8 108.2,31.3 111.1,31.3 114.8,32.5
    117.1,32.5 118.4,33.8 120.6,34.6 121.9,36.6 122.5,37.8 123.8,39.3 124.3,40.4 124.1,42.0
    124.5,42.8 123.9,46.2
"""
"""The contiguous United States in degrees west and north, drawn by hand to half a degree."""

LAKE_MICHIGAN = "87.4,41.7 86.4,42.2 86.3,43.7 85.3,45.2 86.6,45.9 87.6,44.9 87.6,43.8 87.8,42.4"


def draw_map(network: Network, frames: Sequence[Frame], axes: Any) -> None:
    """Draws nodes, lanes and regions on matplotlib axes.

    A node's outline grows with its space and its filling with the stock in it; a transfer lane is
    as wide as the flow over it; a region's ring grows with its demand and shows how fast it was
    served, grey what was lost.

    Args:
        network: what is drawn; without coordinates it is laid out from left to right.
        frames: the periods over which flows are averaged; stock is that of the last.
        axes: matplotlib axes.
    """
    axes.set_axis_off()
    anchors, labels = _anchors(network)
    count = len(anchors)
    size = float(np.clip(1.0 - (count - 12) / 90.0, 0.5, 1.0))  # smaller where there are many
    is_map = bool(len(network.node_latitude))
    if is_map:
        _draw_backdrop(axes)
    else:
        axes.set_xlim(anchors[:, 0].min() - 1.0, anchors[:, 0].max() + 1.0)
        axes.set_ylim(anchors[:, 1].min() - 1.4, anchors[:, 1].max() + 1.2)
    pixel = axes.transData.transform
    nodes, regions = _node_radii(network, frames) * size, _region_radii(network, frames) * size
    radii = np.concatenate((nodes, regions)) * axes.figure.dpi / 72.0
    at = _spread_out(pixel(anchors), radii + 1.5 * size)
    places = axes.transData.inverted().transform(at)
    node_at, region_at = places[: network.num_nodes], places[network.num_nodes :]
    _draw_lanes(network, frames, node_at, region_at, axes, size)
    _draw_nodes(network, frames, node_at, nodes, axes)
    _draw_regions(frames, region_at, regions, axes)
    _draw_labels(labels, at, radii, axes)
    _draw_legend(network, axes)


def _anchors(network: Network) -> tuple[Floats, list[str]]:
    """Where nodes, then regions belong, (N + R, 2), and the name of each place."""
    names = [name.split(" ", 1)[-1] for name in network.nodes]
    if not len(network.node_latitude):
        return _in_layers(network), [*network.nodes, *network.regions]
    from stockyard.envs.data import load_metros

    node_at = np.column_stack((network.node_longitude, network.node_latitude))
    metros = load_metros()
    index = {name: k for k, name in enumerate(metros.names)}
    first = network.ranks()[0].node
    region_at = np.array(
        [
            (metros.longitude[index[name]], metros.latitude[index[name]])
            if name in index
            else node_at[first[r]]
            for r, name in enumerate(network.regions)
        ]
    )
    both = np.concatenate((node_at, region_at)) * (DEGREE, 1.0)
    return both, [name.split(",")[0] for name in (*names, *network.regions)]


def _in_layers(network: Network) -> Floats:
    """A layout for networks without coordinates: suppliers' nodes left, regions right."""
    depth = np.zeros(network.num_nodes)
    for _ in range(network.num_nodes):
        for tail, head in zip(network.transfers.tail, network.transfers.head, strict=True):
            depth[head] = max(depth[head], depth[tail] + 1)
    columns = [*depth.tolist(), *[depth.max() + 1] * network.num_regions]
    at = np.zeros((len(columns), 2))
    for column in sorted(set(columns)):
        members = [k for k, c in enumerate(columns) if c == column]
        for k, member in enumerate(members):
            at[member] = (3.0 * column, (len(members) - 1) / 2.0 - k)
    return at


def _draw_backdrop(axes: Any) -> None:
    """The country's outline, roughly, and its metropolitan areas."""
    from stockyard.envs.data import load_metros

    country = _coordinates(COUNTRY)
    axes.fill(*country.T, facecolor="#f5f7fa", edgecolor="#cbd2d9", lw=0.8, zorder=0)
    axes.fill(*_coordinates(LAKE_MICHIGAN).T, facecolor="white", edgecolor="#cbd2d9", lw=0.8)
    metros = load_metros()
    x, y = metros.longitude * DEGREE, metros.latitude
    main = (y > 24.0) & (y < 50.0) & (metros.longitude > -126.0)  # the rest is off the map
    size = 2.0 + 60.0 * metros.population[main] / metros.population.max()
    axes.scatter(x[main], y[main], s=size, color="#d9dee4", lw=0, zorder=0)
    low, high = country.min(axis=0) - (1.0, 0.8), country.max(axis=0) + (1.0, 0.6)
    # degrees of both directions get the same number of pixels
    pixels = np.array((axes.bbox.width, axes.bbox.height))
    half = 0.5 * pixels * ((high - low) / pixels).max()
    middle = 0.5 * (low + high)
    axes.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axes.set_ylim(middle[1] - half[1], middle[1] + half[1])


def _coordinates(text: str) -> Floats:
    """Degrees west and north, written in pairs, as places on the map."""
    pairs = np.array([pair.split(",") for pair in text.split()], dtype=np.float64)
    return np.asarray(pairs * (-DEGREE, 1.0))


def _node_radii(network: Network, frames: Sequence[Frame]) -> Floats:
    """Radius of each node's outline in points, its area in proportion to space or most stock."""
    space = np.ones(network.num_nodes)
    if frames:
        last = frames[-1].capacity
        space = np.max([f.stock for f in frames], axis=0) if last is None else last
    return np.asarray(7.0 + 13.0 * np.sqrt(space / max(float(space.max()), 1e-9)))


def _region_radii(network: Network, frames: Sequence[Frame]) -> Floats:
    """Radius of each region's ring in points, its area in proportion to demand."""
    demand = np.ones(network.num_regions)
    if frames:
        demand = np.sum([f.demand for f in frames], axis=0)
    return np.asarray(4.0 + 9.0 * np.sqrt(demand / max(float(demand.max()), 1e-9)))


def _spread_out(anchors: Floats, radii: Floats) -> Floats:
    """Moves circles apart, in pixels, that would overlap; they stay as near as they can."""
    count = len(anchors)
    turn = np.arange(count) * 2.399963  # the golden angle: coinciding places part in all directions
    at = anchors + 0.5 * np.column_stack((np.cos(turn), np.sin(turn)))
    apart = radii[:, None] + radii[None]
    np.fill_diagonal(apart, 0.0)
    for round_number in range(400):
        gap = at[:, None] - at[None]
        distance = np.sqrt((gap**2).sum(axis=2)) + 1e-9
        push = np.maximum(apart - distance, 0.0) / distance
        at = at + 0.35 * (gap * push[:, :, None]).sum(axis=1)
        if round_number < 300:
            at = at + 0.03 * (anchors - at)
    return at


def _draw_lanes(
    network: Network,
    frames: Sequence[Frame],
    node_at: Floats,
    region_at: Floats,
    axes: Any,
    size: float,
) -> None:
    """Transfers as bowed arrows, sales as straight lines in the colour of their speed."""
    from matplotlib.patches import FancyArrowPatch

    lanes, outbound = network.transfers, network.outbound
    moved = np.mean([f.transferred for f in frames], axis=0) if frames else np.ones(len(lanes.tail))
    sold = np.mean([f.served for f in frames], axis=0) if frames else np.zeros(len(outbound.node))
    most = max(float(moved.max(initial=0.0)), float(sold.max(initial=0.0)), 1e-9)
    for lane, units in enumerate(sold):
        if units > 1e-3 * most:
            ends = np.stack((node_at[outbound.node[lane]], region_at[outbound.region[lane]]))
            colour = SPEED_COLOURS[min(int(outbound.tier[lane]), 2)]
            width = size * 7.0 * np.sqrt(units / most)
            axes.plot(*ends.T, color=colour, lw=width, alpha=0.35, solid_capstyle="round", zorder=2)
    for lane, units in enumerate(moved):
        if units > 1e-3 * most:
            arrow = FancyArrowPatch(
                node_at[lanes.tail[lane]],
                node_at[lanes.head[lane]],
                connectionstyle="arc3,rad=0.18",
                arrowstyle="-",
                lw=size * 7.0 * np.sqrt(units / most),
                color="#334155",
                alpha=0.45,
                capstyle="round",
                zorder=1,
            )
            axes.add_patch(arrow)


def _draw_nodes(
    network: Network, frames: Sequence[Frame], at: Floats, radii: Floats, axes: Any
) -> None:
    """An outline for the space and a filling for the stock; red where it is nearly full."""
    share = np.full(network.num_nodes, 0.5)
    if frames:
        last = frames[-1]
        space = last.capacity if last.capacity is not None else last.stock.max()
        share = (last.stock if last.capacity is None else last.stock_volume) / np.maximum(
            space, 1e-9
        )
    for k, kind in enumerate(kinds_of(network)):
        marker = "s" if kind == "cross-dock" else "o"
        edge = FULL if share[k] >= NEARLY_FULL else KIND_COLOURS[kind]
        area = (2.0 * radii[k]) ** 2 * (0.7 if marker == "s" else 1.0)
        axes.scatter(
            *at[k], s=area, marker=marker, facecolor="white", edgecolor=edge, lw=1.6, zorder=4
        )
        filled = area * min(max(float(share[k]), 0.0), 1.0)
        axes.scatter(*at[k], s=filled, marker=marker, color=KIND_COLOURS[kind], lw=0, zorder=5)


def _draw_regions(frames: Sequence[Frame], at: Floats, radii: Floats, axes: Any) -> None:
    """A ring by delivery speed; grey is the demand that was lost."""
    if not frames:
        axes.scatter(*at.T, s=(2.0 * radii) ** 2, facecolor="white", edgecolor=MUTED, zorder=4)
        return
    speed = np.sum([f.speed for f in frames], axis=0)
    demand = np.sum([f.demand for f in frames], axis=0)
    for k, place in enumerate(at):
        lost = max(float(demand[k] - speed[k].sum()), 0.0)
        parts = np.array([*speed[k], lost]) / max(float(speed[k].sum()) + lost, 1e-9)
        colours = [*[SPEED_COLOURS[min(t, 2)] for t in range(speed.shape[1])], LOST]
        start = 0.0
        for part, colour in zip(parts, colours, strict=True):
            _draw_slice(axes, place, radii[k], start, start + part, colour)
            start += part
        axes.scatter(*place, s=(1.1 * radii[k]) ** 2, color="white", lw=0, zorder=7)


def _draw_slice(
    axes: Any, place: Floats, radius: float, start: float, stop: float, colour: str
) -> None:
    """A slice of a pie of a radius in points, clockwise from the top; start and stop in [0, 1]."""
    if stop - start < 1e-3:
        return
    angle = 2.0 * np.pi * np.linspace(start, stop, max(int(60 * (stop - start)), 2) + 1)
    outline = np.column_stack((np.sin(angle), np.cos(angle)))
    shape = outline if stop - start > 0.999 else np.concatenate(([[0.0, 0.0]], outline))
    # matplotlib scales a marker by its farthest vertex
    reach = np.abs(shape).max()
    area = (2.0 * radius * reach) ** 2
    axes.scatter(*place, marker=shape, s=area, color=colour, lw=0, zorder=6)


def _draw_labels(labels: list[str], at: Floats, radii: Floats, axes: Any) -> None:
    """Names every place once, beside its symbols, where there is room; else it has no name."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    renderer = axes.figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    taken = [
        Bbox.from_extents(x - r, y - r, x + r, y + r) for (x, y), r in zip(at, radii, strict=True)
    ]
    for name in dict.fromkeys(labels):
        members = [k for k, label in enumerate(labels) if label == name]
        box = Bbox.union([taken[k] for k in members])
        text = axes.text(0, 0, name, fontsize=8, color=INK, zorder=9, ha="center", va="center")
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        extent = text.get_window_extent(renderer)
        w, h = extent.width / 2.0 + 2.0, extent.height / 2.0 + 1.0
        x, y = (box.x0 + box.x1) / 2.0, (box.y0 + box.y1) / 2.0
        for spot in (
            (x, box.y0 - h),
            (x, box.y1 + h),
            (box.x1 + w, y),
            (box.x0 - w, y),
            (box.x1 + w, box.y0),
            (box.x0 - w, box.y0),
            (box.x1 + w, box.y1),
            (box.x0 - w, box.y1),
        ):
            own = Bbox.from_extents(spot[0] - w, spot[1] - h, spot[0] + w, spot[1] + h)
            inside = own.x0 > frame.x0 and own.x1 < frame.x1 and own.y0 > frame.y0 + 20.0
            if inside and not own.count_overlaps(taken):
                text.set_position(axes.transData.inverted().transform(spot))
                taken.append(own)
                break
        else:
            text.remove()


def _draw_legend(network: Network, axes: Any) -> None:
    """One line below the map."""
    from matplotlib.lines import Line2D

    def dot(colour: str, marker: str = "o") -> Any:
        return Line2D([], [], color=colour, marker=marker, lw=0, markersize=7)

    kinds = [k for k in KIND_COLOURS if k in kinds_of(network)]
    entries: list[tuple[Any, str]] = [
        (dot(KIND_COLOURS[k], "s" if k == "cross-dock" else "o"), k) for k in kinds
    ]
    entries.append((Line2D([], [], color="#334155", alpha=0.45, lw=3), "transfers"))
    if len(network.acceptance_by_tier) > 1:
        entries += [
            (Line2D([], [], color=c, lw=3), n)
            for c, n in zip(SPEED_COLOURS, SPEED_NAMES, strict=True)
        ]
    else:
        entries.append((Line2D([], [], color=SPEED_COLOURS[0], lw=3), "sold"))
    entries.append((Line2D([], [], color=LOST, lw=3), "lost"))
    axes.legend(
        [handle for handle, _ in entries],
        [name for _, name in entries],
        loc="lower left",
        bbox_to_anchor=(0.0, -0.07),
        ncols=len(entries),
        fontsize=8,
        frameon=False,
        handletextpad=0.45,
        columnspacing=1.3,
        labelcolor=INK,
    )
