"""Draw the figure of docs/paper.md in which fits fail: `python -m docs.make_failures`, about two minutes.

The nature is that of paper_configs/toy2d.yaml with seed 0, on which every model but `flow` fails.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

import lcm
from lcm.base.config import load_config
from lcm.data.data_set import GenerateConfig
from lcm.data.nature.build import build_nature, torch_generator
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.report.style import INK, clean, new_figure, save_figure

HERE = Path(__file__).resolve().parent
MODELS = ("flow", "linear", "dvae")
PAIRS, SHOWN = 30_000, 3_000


def draw_failures(path: Path) -> None:
    """Draw the true variables, then those that each model learned, coloured by the true cause."""
    config = load_config(HERE.parent / "paper_configs" / "toy2d.yaml", GenerateConfig)
    nature = build_nature(config.nature, seed=0)
    with torch.no_grad():
        train = nature.sample_pairs(PAIRS, torch_generator(0, "fit"))
        test = nature.sample_pairs(SHOWN, torch_generator(0, "show"))
    x, z = test.x.numpy(), test.z.numpy()
    figure = new_figure(11.4, 3.3)
    axes = figure.subplots(1, 1 + len(MODELS))
    _draw(axes[0], z, z, "true variables", "z")
    for ax, model in zip(axes[1:], MODELS, strict=True):
        result = lcm.fit(train.x.numpy(), train.x_tilde.numpy(), model=model, n=2, quiet=True)
        learned = np.asarray(result.encode(x))
        correlation = correlation_matrix(z, learned)
        matched = learned[:, match_variables(correlation)]
        signs = np.sign([np.corrcoef(z[:, i], matched[:, i])[0, 1] for i in range(2)])
        _draw(ax, matched * signs, z, model, r"\hat{z}")
    save_figure(figure, path)


def _draw(ax: Axes, shown: NDArray[np.floating], true: NDArray[np.floating], title: str, symbol: str) -> None:
    place = np.argsort(np.argsort(true[:, 0])) / len(true)
    clean(ax).scatter(*shown.T, c=place, cmap="viridis", s=4, linewidths=0, rasterized=True)
    low, high = np.quantile(shown, [0.002, 0.998], axis=0)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.set_title(title, fontsize=11, color=INK)
    ax.set_xlabel(f"${symbol}_0$", fontsize=10)
    ax.set_ylabel(f"${symbol}_1$", fontsize=10, rotation=0, labelpad=8)


if __name__ == "__main__":
    draw_failures(HERE / "figures" / "failures.png")
