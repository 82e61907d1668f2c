"""Pictures on the page: SVG of the graph and of x, PNG of images, all as data addresses with a text alternative.

An SVG in an image follows the light or dark scheme of the reader by itself, and runs no script.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lcm.base.text import shortened
from lcm.model.graph import Graph
from lcm.report.answer import BEYOND, Answer
from lcm.report.palette import BLUE, GREY, INK, ORANGE, PALE, RED, SKY

_RADIUS, _LAYER, _WIDE, _MARGIN = 27, 106, 168, 40
_LONGEST_INSIDE, _LONGEST_NAME, _LONGEST_COLUMN = 6, 18, 24
_MOST_COLUMNS, _ROW, _PLOT = 40, 26, 150
_LETTER, _DIGIT, _GAP, _TIP = 6.8, 8.4, 12, 13
_BINS = 40

_STYLE = f"""
text{{font:14px system-ui,sans-serif;fill:{INK}}}
.small{{font-size:12.5px}}
.node{{fill:#fff;stroke:{INK};stroke-width:1.6}}
.up{{fill:#d6e8f5;stroke:{BLUE}}}
.down{{fill:#fbe3d6;stroke:{RED}}}
.set{{stroke-width:4}}
.edge{{fill:none;stroke:{GREY};stroke-width:1.8}}
.cut{{stroke-dasharray:3 5;opacity:.65}}
.tip{{fill:{GREY}}}
.live{{stroke:{BLUE};stroke-width:3;stroke-dasharray:9 6;animation:flow 1s linear infinite}}
.livetip,.newup{{fill:{BLUE}}}
.newdown{{fill:{RED}}}
.band{{fill:{PALE}}}
.axis{{stroke:{PALE}}}
.bar{{stroke-width:7}}
.barup{{stroke:{BLUE}}}
.bardown{{stroke:{RED}}}
.old{{fill:#fff;stroke:{INK};stroke-width:1.5}}
.ends{{stroke:{INK};stroke-width:1.6;fill:none}}
.hist{{fill:{GREY};opacity:.55}}
.mark{{stroke:{INK};stroke-width:2}}
@keyframes flow{{to{{stroke-dashoffset:-15}}}}
@media (prefers-reduced-motion:reduce){{.live{{animation:none}}}}
@media (prefers-color-scheme:dark){{
text{{fill:#eee}}
.node,.old{{fill:#1d2126;stroke:#eee}}
.up{{fill:#12354d;stroke:{SKY}}}
.down{{fill:#4a3008;stroke:{ORANGE}}}
.edge{{stroke:#9aa3ad}}
.tip,.hist{{fill:#9aa3ad}}
.live,.barup{{stroke:{SKY}}}
.livetip,.newup{{fill:{SKY}}}
.bardown{{stroke:{ORANGE}}}
.newdown{{fill:{ORANGE}}}
.band{{fill:#363d45}}
.axis{{stroke:#363d45}}
.ends,.mark{{stroke:#eee}}
}}
"""


def svg_address(width: float, height: float, body: Sequence[str]) -> str:
    """A data address of an SVG picture."""
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}"><style>{_STYLE}</style>{"".join(body)}</svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def png_address(image: NDArray[Any]) -> str:
    """A data address of an image (H, W, C)."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.squeeze().astype(np.uint8))).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def graph_address(answer: Answer) -> str:
    """The graph, causes on top: what changes is coloured, edges that carry an effect flow, cut edges are dotted."""
    places = _layers(answer.graph)
    width = float(places[:, 0].max()) + _WIDE
    height = float(places[:, 1].max()) + _MARGIN
    changed, done = set(answer.changed), set(answer.done)
    body = []
    for i, j in answer.graph.edges():
        live = i in changed and j in changed and j not in done
        body.append(_edge(places[i], places[j], "live" if live else "edge" + (" cut" if j in done else "")))
    for i, (name, place) in enumerate(zip(answer.names, places, strict=True)):
        body.append(_node(answer, i, name, place, i in done, i in changed))
    return svg_address(width, height, body)


def _layers(graph: Graph) -> NDArray[np.float64]:
    """Places (n, 2) of the nodes: a row for each generation, shifted so that few edges pass behind a node."""
    places = np.zeros((graph.n, 2))
    generations = graph.generations()
    widest = max(len(generation) for generation in generations)
    for depth, generation in enumerate(generations):
        start = (widest - len(generation)) / 2 + (0.3 if depth % 2 and len(generations) > 2 else 0.0)
        places[generation, 0] = _MARGIN + _WIDE * (start + np.arange(len(generation)))
        places[generation, 1] = _MARGIN + _LAYER * depth
    return places


def _edge(start: NDArray[np.float64], end: NDArray[np.float64], look: str) -> str:
    way = end - start
    length = float(np.hypot(*way))
    across = np.array([-way[1], way[0]]) / length
    # an edge over several rows bends around the nodes between
    bend = across * (0.16 * length if abs(way[1]) > 1.5 * _LAYER else 0.0)
    middle = (start + end) / 2 + bend
    first, last = start + _unit(middle - start) * _RADIUS, end - _unit(end - middle) * (_RADIUS + 9)
    along = _unit(end - middle)
    side = np.array([-along[1], along[0]]) * 5.5
    tip = [last + along * 9, last + side, last - side]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in tip)
    curve = f"M{first[0]:.1f} {first[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {last[0]:.1f} {last[1]:.1f}"
    live = look == "live"
    return f'<path class="edge {look}" d="{curve}"/><polygon class="{"livetip" if live else "tip"}" points="{points}"/>'


def _unit(way: NDArray[np.float64]) -> NDArray[np.float64]:
    return way / max(float(np.hypot(*way)), 1e-9)


def _node(answer: Answer, i: int, name: str, place: NDArray[np.float64], done: bool, changed: bool) -> str:
    x, y = place
    rises = answer.z_after[i] >= answer.z[i]
    look = (" up" if rises else " down") if changed else ""
    long = len(name) > _LONGEST_INSIDE
    value = f"{answer.z[i]:.2f} → {answer.z_after[i]:.2f}" if changed else f"{answer.z[i]:.2f}"
    beside = [shortened(name, _LONGEST_NAME)] if long else []
    lines = [*beside, f"do: {value}" if done else value]
    first = y + 4 - 8 * (len(lines) - 1)
    texts = [
        f'<text class="small" x="{x + _RADIUS + 7:g}" y="{first + 16 * k:g}">{escape(line)}</text>'
        for k, line in enumerate(lines)
    ]
    return (
        f'<circle class="node{look}{" set" if done else ""}" cx="{x:g}" cy="{y:g}" r="{_RADIUS}"/>'
        f'<text x="{x:g}" y="{y + 4:g}" text-anchor="middle">{escape(f"z{i}" if long else name)}</text>{"".join(texts)}'
    )


def graph_text(answer: Answer) -> str:
    """The picture of the graph in words."""
    edges = ", ".join(f"{answer.names[i]} to {answer.names[j]}" for i, j in answer.graph.edges()) or "none"
    moved = [f"{answer.names[i]} from {answer.z[i]:.2f} to {answer.z_after[i]:.2f}" for i in answer.changed]
    return f"Graph. Edges: {edges}. Changes: {', '.join(moved) or 'none'}."


def columns_address(answer: Answer) -> str:
    """x before and after for each column, over the range of the data; of many columns, those that change most."""
    kept = shown_columns(answer)
    longest = max((len(shortened(answer.columns[i], _LONGEST_COLUMN)) for i in kept), default=0)
    label = round(_LETTER * longest) + _GAP
    # as wide as the widest font needs, since numbers that are cut are other numbers
    values = round(_DIGIT * max((len(_before_after(answer, i)) for i in kept), default=0)) + _GAP
    body: list[str] = []
    for row, i in enumerate(kept):
        body += _column(answer, i, 14 + _ROW * row, label)
    return svg_address(label + _PLOT + values, 10 + _ROW * len(kept), body)


def shown_columns(answer: Answer) -> list[int]:
    """The columns of x that fit on the page, in their order."""
    low, high = answer.usual_range
    moved = np.abs(answer.x_after - answer.x) / (high - low)
    kept: list[int] = np.sort(np.argsort(-moved, kind="stable")[:_MOST_COLUMNS]).tolist()
    return kept


def cut_names(answer: Answer) -> list[str]:
    """The whole names of the columns whose names are cut in the picture of x."""
    return [answer.columns[i] for i in shown_columns(answer) if len(answer.columns[i]) > _LONGEST_COLUMN]


def _before_after(answer: Answer, i: int) -> str:
    before, after = f"{answer.x[i]:.3g}", f"{answer.x_after[i]:.3g}"
    return before if before == after else f"{before} → {after}"


def _column(answer: Answer, i: int, y: float, label: float) -> list[str]:
    def at(values: NDArray[Any]) -> float:
        return label + _PLOT * float(answer.positions(values)[i] + BEYOND) / (1.0 + 2.0 * BEYOND)

    before, after = at(answer.x), at(answer.x_after)
    way = "up" if answer.x_after[i] >= answer.x[i] else "down"
    moved = abs(after - before) > 0.5 or _before_after(answer, i) != f"{answer.x[i]:.3g}"
    usual = [at(end) for end in answer.usual_range]
    off_before, off_after = (int(answer.off_scale(values)[i]) for values in (answer.x, answer.x_after))
    return [
        _label(answer.columns[i], y, label),
        f'<path class="axis" d="M{label} {y:g}H{label + _PLOT}"/>',
        f'<path class="band" d="M{usual[0]:.1f} {y - 8:g}H{usual[1]:.1f}v16H{usual[0]:.1f}z"/>',
        # the bar ends where a triangle begins, which would else vanish in it
        f'<path class="bar bar{way}" d="M{before - _TIP * off_before:.1f} {y:g}H{after - _TIP * off_after:.1f}"/>',
        _whiskers(answer, i, at, y),
        _point("old", before, y, off_before),
        _point(f"new{way}", after, y, off_after) if moved else "",
        f'<text class="small" x="{label + _PLOT + 10}" y="{y + 4:g}">{_before_after(answer, i)}</text>',
    ]


def _point(look: str, x: float, y: float, off: int) -> str:
    """A dot, or at an end of the axis a triangle that points to where the value is."""
    if off == 0:
        return f'<circle class="{look}" cx="{x:.1f}" cy="{y:g}" r="4.5"/>'
    return f'<path class="{look} off" d="M{x:.1f} {y:g}l{-_TIP * off} -8v16z"/>'


def _whiskers(answer: Answer, i: int, at: Callable[[NDArray[Any]], float], y: float) -> str:
    """The interval below the dots: an end that is on the scale has a stroke, one beyond it an arrowhead."""
    if answer.low is None or answer.high is None:
        return ""
    low, high = at(answer.low), at(answer.high)
    ends = ""
    for x, off in ((low, int(answer.off_scale(answer.low)[i])), (high, int(answer.off_scale(answer.high)[i]))):
        ends += f"M{x:.1f} {y + 8:g}l{-5 * off} -3M{x:.1f} {y + 8:g}l{-5 * off} 3" if off else f"M{x:.1f} {y + 5:g}v6"
    return f'<path class="ends" d="M{low:.1f} {y + 8:g}H{high:.1f}{ends}"/>'


def _label(name: str, y: float, width: float) -> str:
    """The name from its first letter on; what is wider than its place is cut at the right."""
    return (
        f'<svg x="0" y="{y - 12:g}" width="{width - 4:g}" height="24"><title>{escape(name)}</title>'
        f'<text class="small" x="0" y="16">{escape(shortened(name, _LONGEST_COLUMN))}</text></svg>'
    )


def columns_text(answer: Answer) -> str:
    """The picture of x in words."""
    off = answer.off_scale(answer.x), answer.off_scale(answer.x_after)
    parts = [
        [f"{value:.3g}{' (off the scale)' if sides[i] else ''}" for value, sides in zip(values, off, strict=True)]
        for i, values in enumerate(zip(answer.x, answer.x_after, strict=True))
    ]
    listed = [f"{answer.columns[i]} {' to '.join(parts[i])}{_between(answer, i)}" for i in shown_columns(answer)]
    return f"Columns of x, before to after: {', '.join(listed)}."


def _between(answer: Answer, i: int) -> str:
    """The interval of a column in words; "" where the answer has none."""
    if answer.low is None or answer.high is None:
        return ""
    return f" (between {answer.low[i]:.3g} and {answer.high[i]:.3g})"


def place_address(values: NDArray[Any], ends: NDArray[np.float64], before: float) -> str:
    """Where a value lies among all observations: their histogram, and a mark; a triangle beyond its ends."""
    begin, end = map(float, ends)
    counts, _ = np.histogram(values, bins=_BINS, range=(begin, end))
    step = 400 / _BINS
    heights = 26 * counts / max(int(counts.max()), 1)
    bars = "".join(f"M{k * step:g} 28v{-height:.1f}h{step:g}v{height:.1f}z" for k, height in enumerate(heights))
    at = 400 * (before - begin) / (end - begin)
    side = int(at > 400) - int(at < 0)
    mark = f'<path class="mark" d="M{at:.1f} 0V28"/>'
    if side:
        mark = f'<path class="mark off" d="M{200 + 200 * side} 14l{-12 * side} -7v14z"/>'
    return svg_address(400, 28, [f'<path class="hist" d="{bars}"/>', mark])
