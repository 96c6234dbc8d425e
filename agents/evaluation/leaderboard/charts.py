"""Pictures of the page as inline SVG; colours are variables of the page, so that they go dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Box = tuple[float, float, float, float]

CURVES = 8
"""Rows of a performance profile that are drawn in colour."""


def scale(value: float, low: float, high: float, start: float, end: float) -> float:
    """Where a value lies on an axis, in pixels; outside of it, at its end."""
    share = (min(max(value, low), high) - low) / max(high - low, 1e-12)
    return start + share * (end - start)


def interval_bar(
    value: float, low: float, high: float, least: float, most: float, kind: str
) -> str:
    """A point with its interval on the axis from `least` to `most`; a rule marks zero and one."""
    width, height = 130, 14
    x = [scale(v, least, most, 6, width - 6) for v in (low, high, value, 0.0, 1.0)]
    return (
        f'<svg class="bar" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{value:.3f}, interval {low:.3f} to {high:.3f}">'
        f'<line class="axis" x1="6" x2="{width - 6}" y1="7" y2="7"/>'
        f'<line class="axis" x1="{x[3]:.1f}" x2="{x[3]:.1f}" y1="1" y2="13"/>'
        f'<line class="axis" x1="{x[4]:.1f}" x2="{x[4]:.1f}" y1="1" y2="13"/>'
        f'<line class="reach {kind}" x1="{x[0]:.1f}" x2="{max(x[1], x[0] + 1):.1f}" y1="7" y2="7"/>'
        f'<circle class="dot {kind}" cx="{x[2]:.1f}" cy="7" r="4"/></svg>'
    )


def profile(
    levels: Sequence[float], curves: Mapping[str, Sequence[float]], order: Sequence[str]
) -> str:
    """Share of episodes above each score, the best rows in colour, from where they part."""
    width, height, left, bottom = 640, 300, 44, 40
    right, top = width - 12, 10
    shown = list(order[:CURVES])
    parting = [i for i in range(len(levels)) if any(curves[name][i] < 1.0 for name in shown)]
    first = max(min(parting, default=0) - 2, 0)
    lowest, highest = levels[first], levels[-1]
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="'
        f'{escape(_told(levels, curves, shown))}">'
    ]
    parts += _axes(
        (lowest, highest),
        (0.0, 1.0),
        (left, right, height - bottom, top),
        ("score", "share of episodes above"),
    )
    for name in [*[n for n in reversed(order) if n not in shown], *reversed(shown)]:
        points = " ".join(
            f"{scale(x, lowest, highest, left, right):.1f},"
            f"{scale(y, 0.0, 1.0, height - bottom, top):.1f}"
            for x, y in list(zip(levels, curves[name], strict=True))[first:]
        )
        colour = f"line c{shown.index(name)}" if name in shown else "line faint"
        parts.append(
            f'<polyline class="{colour}" points="{points}"><title>{escape(name)}</title></polyline>'
        )
    return "".join([*parts, "</svg>"])


def _told(
    levels: Sequence[float], curves: Mapping[str, Sequence[float]], shown: Sequence[str]
) -> str:
    middle = min(range(len(levels)), key=lambda i: abs(levels[i] - 0.5))
    parts = [f"{name} {curves[name][middle]:.0%}" for name in shown]
    return f"Performance profile; share of episodes above a score of 0.5: {', '.join(parts)}"


def frontier(points: Sequence[Mapping[str, Any]], plot: Mapping[str, Any]) -> str:
    """One metric against another, with the rows that no other row beats in both.

    Args:
        points: `name`, `kind`, `x` and `y` of each row.
        plot: `title`, `x`, `y`, `x_is_better` and `y_is_better` ("high" or "low").
    """
    width, height, left, bottom = 640, 340, 66, 44
    right, top = width - 16, 14
    xs, ys = [p["x"] for p in points], [p["y"] for p in points]
    x_range, y_range = _padded(xs), _padded(ys)
    best = undominated(points, plot)
    label = f"{plot['title']}: {plot['y']} against {plot['x']}; not dominated: {', '.join(best)}"
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}">'
    ]
    parts += _axes(
        x_range,
        y_range,
        (left, right, height - bottom, top),
        tuple(str(plot[axis]).replace("_", " ") for axis in ("x", "y")),
    )

    def place(point: Mapping[str, Any]) -> tuple[float, float]:
        return (
            scale(point["x"], *x_range, left, right),
            scale(point["y"], *y_range, height - bottom, top),
        )

    line = sorted(place(p) for p in points if p["name"] in best)
    if len(line) > 1:
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        parts.append(f'<polyline class="front" points="{joined}"/>')
    for point in points:
        x, y = place(point)
        title = f"{point['name']}: {point['x']:.4g}, {point['y']:.4g}"
        parts.append(
            f'<circle class="dot {point["kind"]}" cx="{x:.1f}" cy="{y:.1f}" r="5">'
            f"<title>{escape(title)}</title></circle>"
        )
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in map(place, points)]
    for point in points:
        if point["name"] in best:
            parts += _label(point["name"], *place(point), (left, top, width, height), taken)
    return "".join([*parts, "</svg>"])


def _label(name: str, x: float, y: float, space: Box, taken: list[Box]) -> list[str]:
    """The name of a point, where there is room for it; else nothing: pointing at it tells it."""
    wide = 6.6 * len(name)
    for anchor, at, below in [
        ("start", x + 9, 4),
        ("end", x - 9, 4),
        ("middle", x, -10),
        ("middle", x, 19),
        ("start", x + 6, -9),
        ("end", x - 6, -9),
        ("start", x + 6, 17),
        ("end", x - 6, 17),
    ]:
        start = at - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
        box = (start, y + below - 10, start + wide, y + below + 3)
        inside = box[0] >= space[0] and box[1] >= space[1] and box[2] <= space[2]
        if inside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            place = f'x="{at:.1f}" y="{y + below:.1f}" text-anchor="{anchor}"'
            return [f"<text {place}>{escape(name)}</text>"]
    return []


def undominated(points: Sequence[Mapping[str, Any]], plot: Mapping[str, Any]) -> list[str]:
    """The rows that no other is at least as good as in both metrics and better in one."""
    signs = {axis: -1.0 if plot.get(f"{axis}_is_better") == "low" else 1.0 for axis in ("x", "y")}
    values = {p["name"]: tuple(signs[axis] * p[axis] for axis in ("x", "y")) for p in points}
    return [
        name
        for name, own in values.items()
        if not any(
            all(b >= a for a, b in zip(own, other, strict=True)) and other != own
            for other in values.values()
        )
    ]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or max(abs(high) * 0.05, 1e-9)
    return low - room, high + room


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within a range, at most so many: steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-12)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * size for size in (1, 2, 5, 10, 20) if span / (power * size) <= most - 1)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    box: Box,
    names: tuple[str, ...],
) -> list[str]:
    """Axes with round marks; `box` is left, right, bottom and top."""
    left, right, bottom, top = box
    parts = []
    for value in ticks(*x_range):
        x = scale(value, *x_range, left, right)
        end = "end" if x > right - 8 else "middle"
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{top}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="{end}">{_short(value)}</text>'
        )
    for value in ticks(*y_range):
        y = scale(value, *y_range, bottom, top)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    middle = (left + right) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{bottom + 32}" text-anchor="middle">{escape(names[0])}</text>'
    )
    across = (bottom + top) / 2
    parts.append(
        f'<text x="12" y="{across:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 12 {across:.0f})">{escape(names[1])}</text>'
    )
    return parts


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{round(value, 10):.6g}"
