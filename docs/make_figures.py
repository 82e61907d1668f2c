"""Draw the figures of the README and of docs/instruments.md: `python -m docs.make_figures`, with the extra `chamber`.

All panels of the first show the nature of paper_configs/toy2d.yaml itself. Nothing is fitted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from experiments._instruments import INSTRUMENTS
from experiments._plot_instruments import draw_instruments
from lcm.base.config import load_config
from lcm.data.data_set import GenerateConfig
from lcm.data.nature.build import build_nature, torch_generator
from lcm.report.graph import draw_graph
from lcm.report.style import BLUE, GREY, INK, ORANGE, PALE, new_figure, save_figure

HERE = Path(__file__).resolve().parent
CLOUD, ARROWS = 4000, 28
COLORS = (BLUE, ORANGE)


def draw_idea(path: Path) -> None:
    """Draw four panels: pairs, noise encodings, causal variables, and the graph."""
    config = load_config(HERE.parent / "paper_configs" / "toy2d.yaml", GenerateConfig)
    nature = build_nature(config.nature, seed=1)
    with torch.no_grad():
        pairs = nature.sample_pairs(CLOUD, torch_generator(0, "figure"))
    x, x_tilde, z, z_tilde, noise, noise_tilde = (part.numpy() for part in pairs[:6])
    targets = pairs.targets.numpy()
    chosen = _spread(noise, noise_tilde, targets)
    figure = new_figure(12.4, 3.7)
    axes = figure.subplots(1, 4)
    _draw_arrows(axes[0], x, x_tilde, chosen, np.zeros_like(targets))
    _draw_arrows(axes[1], noise, noise_tilde, chosen, targets)
    _draw_arrows(axes[2], z, z_tilde, chosen, targets)
    draw_graph(axes[3], nature.scm.graph.adjacency)
    axes[3].set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
    captions = (
        ("given: pairs", "$x$ and $\\tilde{x}$, and nothing else", "x"),
        ("noise encodings", "each pair differs in one coordinate", "\\varepsilon"),
        ("causal variables", "setting $z_0$ moves $z_1$, not the reverse", "z"),
        ("the graph", "so $z_0$ is a cause of $z_1$", ""),
    )
    for ax, (title, text, symbol) in zip(axes, captions, strict=True):
        ax.set_title(f"{title}\n", fontsize=12, color=INK)
        ax.text(0.5, 1.03, text, transform=ax.transAxes, ha="center", fontsize=9.5, color=INK)
        if symbol:
            ax.set_xlabel(f"${symbol}_0$", fontsize=11)
            ax.set_ylabel(f"${symbol}_1$", fontsize=11, rotation=0, labelpad=8)
    handles = [
        Line2D([], [], color=GREY, linewidth=2, label="intervention on an unknown variable"),
        Line2D([], [], color=BLUE, linewidth=2, label="intervention found to be on $z_0$"),
        Line2D([], [], color=ORANGE, linewidth=2, label="intervention found to be on $z_1$"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    save_figure(figure, path)


def _spread(noise: NDArray[np.float32], noise_tilde: NDArray[np.float32], targets: NDArray[np.bool_]) -> list[int]:
    """Rows of pairs that differ clearly, start far apart, and share the two targets evenly."""
    reach = np.abs(noise_tilde - noise).max(1)
    rows = np.flatnonzero((reach > 0.7) & (reach < 2.2) & (np.abs(noise).max(1) < 2.0))
    kept: list[int] = []
    for row in rows:
        fair = sum(targets[kept, 0]) * 2 <= len(kept) if targets[row, 0] else sum(targets[kept, 1]) * 2 <= len(kept)
        if fair and all(np.linalg.norm(noise[row] - noise[other]) > 0.55 for other in kept):
            kept.append(int(row))
        if len(kept) == ARROWS:
            break
    return kept


def _draw_arrows(
    ax: Axes,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    chosen: list[int],
    targets: NDArray[np.bool_],
) -> None:
    ax.scatter(before[:, 0], before[:, 1], s=3, color=PALE, linewidths=0, rasterized=True)
    start, move = before[chosen], (after - before)[chosen]
    colors = [COLORS[int(row[1])] if row.any() else GREY for row in targets[chosen]]
    ax.quiver(*start.T, *move.T, angles="xy", scale_units="xy", scale=1.0, color=colors, width=0.008, headwidth=4.5)
    ax.scatter(start[:, 0], start[:, 1], s=9, color=colors, zorder=3)
    shown = np.concatenate([before[chosen], after[chosen]])
    low, high = shown.min(0), shown.max(0)
    margin = 0.12 * (high - low)
    ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(GREY)


if __name__ == "__main__":
    draw_idea(HERE / "figures" / "idea.png")
    draw_instruments(HERE / "figures" / "instruments.png", tuple(INSTRUMENTS))
