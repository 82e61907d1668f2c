"""The figure of `limits`: a panel for each row, its first seed as a picture and all seeds as dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import SubFigure

from experiments._limits_fits import GRAPH, N
from experiments._limits_rows import BLOCKS, UNREACHED
from experiments._plot_limits import aligned_to, draw_found, draw_latent_space, draw_strip, draw_torus_pairs
from experiments._theorem.torus import torus_counterexample
from lcm.data.nature.build import torch_generator
from lcm.data.pair_files import load_pairs
from lcm.isomorphism.views import encoded_variables
from lcm.model.graph import Graph
from lcm.model.storage import load_model
from lcm.report.graph import draw_graph
from lcm.report.style import INK, new_figure, save_figure

Records = Sequence[Mapping[str, Any]]

_TITLES = {
    "control": "All assumptions hold",
    "no-support": r"Never intervened on: $z_2$, $z_3$",
    "never-atomic": "Interventions never atomic",
    "independent": "Independent pairs",
    "shifted": "Soft interventions: a shift",
    "soft": "Soft interventions: other mechanisms",
}
_FRAMES: dict[str, Sequence[Sequence[int]]] = {"no-support": (UNREACHED,), "never-atomic": BLOCKS}
_STRIPS: dict[str, dict[str, str]] = {
    "control": {"noise_mcc": "MCC of noise", "z_mcc": "MCC of $z$"},
    "no-support": {
        "reached_r2": r"$R^2$ of $\varepsilon_0$, $\varepsilon_1$",
        "block_r2": "of the block",
        "single_r2": "alone in it",
    },
    "never-atomic": {"block_r2": r"$R^2$ of a block", "single_r2": "alone in it"},
    "independent": {"noise_mcc": "MCC of noise", "z_mcc": "MCC of $z$"},
    "shifted": {"noise_mcc": "MCC of noise", "z_mcc": "MCC of $z$"},
    "soft": {"noise_mcc": "MCC of noise", "z_mcc": "MCC of $z$"},
}
_MATRICES = {
    "control": "noise_correlation",
    "no-support": "noise_correlation",
    "never-atomic": "told_correlation",
    "independent": "noise_correlation",
}
_TORUS_PAIRS = 45


def draw_limits(path: Path, records: Mapping[str, Records], models: Path) -> None:
    """Draw the rows that have records, at least one; `models` is the folder of the autoencoders and causal models."""
    matrices = [name for name in _MATRICES if name in records]
    graphs = [name for name in ("shifted", "soft") if name in records]
    bands = {
        "observations": ("observations" in records, 2.3),
        "matrices": (bool(matrices), 3.6),
        "graphs": (bool(graphs) or "torus" in records, 3.4),
    }
    heights = {name: height for name, (shown, height) in bands.items() if shown}
    figure = new_figure(13.5, sum(heights.values()))
    parts = np.ravel(np.asarray(figure.subfigures(len(heights), 1, height_ratios=list(heights.values()))))
    letters = iter("abcdefgh")
    for name, part in zip(heights, parts, strict=True):
        if name == "observations":
            _name(part, next(letters), "Observations only, and pairs of the same data")
            _draw_observations(part, records["observations"], models)
        elif name == "matrices":
            for panel, row in zip(_panels(part, [1.0] * len(matrices)), matrices, strict=True):
                _name(panel, next(letters), _TITLES[row])
                _draw_matrix(panel, row, records[row])
        else:
            with_torus = "torus" in records
            widths = [1.0] * len(graphs) + [2.3] * with_torus
            for panel, row in zip(_panels(part, widths), [*graphs, *["torus"] * with_torus], strict=True):
                _name(panel, next(letters), _TITLES.get(row, "Angles: two models with the same pairs"))
                _draw_torus(panel, records[row]) if row == "torus" else _draw_graphs(panel, row, records[row])
    save_figure(figure, path)


def _panels(part: Any, widths: Sequence[float]) -> Sequence[SubFigure]:
    panels: Sequence[SubFigure] = np.ravel(part.subfigures(1, len(widths), width_ratios=widths)).tolist()
    return panels


def _name(panel: Any, letter: str, title: str) -> None:
    panel.suptitle(f"$\\bf{{{letter}}}$  {title}", fontsize=10.5, color=INK, x=0.02, ha="left")


def _draw_observations(part: Any, records: Records, models: Path) -> None:
    folder = models / f"observations-seed{records[0]['seed']}"
    test = load_pairs(folder / "test.safetensors")
    assert test.z is not None
    count = len(records[0]["elbo"])
    axes = part.subplots(1, 2 * count + 1, width_ratios=[*[1.0] * (2 * count), 1.5])
    for start, name, shown in ((0, "vae", "autoencoder"), (count, "lcm", "causal model")):
        spaces = [encoded_variables(load_model(folder / f"{name}{index}.safetensors"), test) for index in range(count)]
        for index, space in enumerate(spaces):
            bound = f"ELBO {records[0]['elbo'][index]:.2f} nats".replace("-", "−") if name == "vae" else ""
            title = f"{shown} {index + 1}\n{bound}"
            draw_latent_space(axes[start + index], aligned_to(spaces[0], space), test.z[:, 0], title)
    strip = {
        "autoencoders": [value for record in records for value in record["vae_r2"]],
        "causal models": [value for record in records for value in record["lcm_r2"]],
    }
    draw_strip(axes[-1], {name: np.clip(values, 0.0, 1.0).tolist() for name, values in strip.items()})
    axes[-1].set_title("$R^2$ between two of a kind,\nleast of both variables", fontsize=8.5, color=INK)
    axes[-1].set_box_aspect(0.5)


def _draw_matrix(panel: Any, row: str, records: Records) -> None:
    upper, lower = _upper_and_lower(panel)
    draw_found(upper.subplots(), records[0][_MATRICES[row]], _FRAMES.get(row, ()))
    _draw_seeds(lower, {label: key for key, label in _STRIPS[row].items()}, records)


def _upper_and_lower(panel: Any) -> Sequence[SubFigure]:
    """Two parts with separate margins, because the labels of the lower one would take room from the upper."""
    parts: Sequence[SubFigure] = panel.subfigures(2, 1, height_ratios=[1.0, 0.36]).tolist()
    return parts


def _draw_seeds(part: SubFigure, keys: Mapping[str, str], records: Records) -> None:
    draw_strip(part.subplots(), {label: [record[key] for record in records] for label, key in keys.items()})


def _draw_graphs(panel: Any, row: str, records: Records) -> None:
    upper, lower = _upper_and_lower(panel)
    axes = upper.subplots(1, 2)
    assert GRAPH.edges is not None
    truth = Graph.from_edges(N, GRAPH.edges).adjacency
    draw_graph(axes[0], truth, title="true")
    draw_graph(axes[1], records[0]["learned"], title="learned", true_adjacency=truth)
    _draw_seeds(lower, {label: key for key, label in _STRIPS[row].items()}, records)


@torch.no_grad()
def _draw_torus(panel: Any, records: Records) -> None:
    """The pairs of one model as both models encode them, and both graphs."""
    model, turned = torus_counterexample(thickness=0.0)
    pairs = model.sample_pairs(_TORUS_PAIRS, torch_generator(0, "figure"))
    change = torch.remainder(pairs.z_tilde - pairs.z + torch.pi, 2.0 * torch.pi) - torch.pi
    sheared = torch.stack([change[:, 0], change[:, 0] + change[:, 1]], 1)
    upper, lower = _upper_and_lower(panel)
    axes = upper.subplots(1, 4, width_ratios=[1.0, 0.8, 1.0, 0.8])
    views = (
        (model, pairs.z, change, "z", r"$\mathcal{M}$"),
        (turned, turned.encode(pairs.x).z, sheared, "z'", r"$\mathcal{M}'$"),
    )
    for index, (each, z, moved, symbol, name) in enumerate(views):
        square, graph = axes[2 * index : 2 * index + 2]
        draw_torus_pairs(square, z.numpy(), moved.numpy(), pairs.targets.numpy(), symbol)
        square.set_title(f"read by {name}", fontsize=8.5, color=INK, pad=3)
        draw_graph(graph, each.scm.graph.adjacency, order=(0, 1))
    _draw_seeds(lower, {"$p$ of equal pairs": "p_value", r"$\tilde{p}_1$ not uniform": "control_p_value"}, records)
