"""geometry: decoders and the metrics that they pull back, product manifolds, groups that act, variables on a circle.

The part `decoders` compares the true decoder of paper_configs/toy2d.yaml with LCMs fitted to pairs, and with VAEs
(`beta-vae`) fitted to the same observations, each on its own. There are two seeds of each. It shows the magnification
√det JᵀJ over the encodings of held-out x, and geodesics from one x to eight others, the same for all. LCMs are in the
order and orientation of the true variables, which theorem 1 leaves open; the latent variables of VAEs are as fitted.
The other parts need no fit and take seconds: `manifolds`, `actions`, `equivariance` and `circle`, see
experiments/_geometry_parts.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from experiments._cells import run_once
from experiments._experiment import at_least_one, autoencoder_config, base_parser, fit_config
from experiments._experiment_data import draw_data
from experiments._report import write_report
from lcm.base.files import read_json, write_json, write_text
from lcm.report.tables import RESULTS_JSON, RESULTS_MARKDOWN, Column, to_markdown, to_text

if TYPE_CHECKING:
    from torch import Tensor

    from lcm.data.pairs import PairData
    from lcm.model.latent_causal_model import LatentCausalModel
    from lcm.model.pair_model import PairModel


@final
@dataclass(frozen=True)
class Size:
    """How much is run: pairs to fit on, steps of the LCM's flow and of the VAE (None: their defaults), geodesics."""

    pairs: int
    steps: int | None
    vae_steps: int | None
    geodesics: int


CONFIG = Path(__file__).resolve().parent.parent / "paper_configs" / "toy2d.yaml"
SEED = 0
MODELS = (("nature", SEED), ("LCM", 0), ("LCM", 1), ("VAE", 0), ("VAE", 1))
FULL, QUICK = Size(10_000, None, None, 50), Size(2_000, 300, 1_500, 20)
DRAWN, ROWS = 8, 2_000
DECODERS, PARTS = "decoders", ("manifolds", "actions", "equivariance", "circle")
COLUMNS = (
    Column("mcc", "MCC"),
    Column("length_ratio", "geodesic / straight length"),
    Column("length_ratio_least", "least ratio"),
    Column("gradient", "gradient left"),
    Column("magnification_spread", "spread of log magnification"),
    Column("reconstruction", "reconstruction error"),
    Column("fit_seconds", "fit time (s)", 1),
)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = base_parser("geometry", "Decoders and their metrics, product manifolds, groups, variables on a circle.")
    parser.add_argument("--geodesics", type=at_least_one, metavar="N", help="how many are measured")
    names = (DECODERS, *PARTS)
    parser.add_argument(
        "--parts", nargs="+", choices=names, default=names, metavar="PART", help=f"of {', '.join(names)}; default: all"
    )
    options = parser.parse_args(argv)

    import torch

    if options.threads is not None or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(options.threads or 1)
    (options.out / "figures").mkdir(parents=True, exist_ok=True)
    results = options.out / RESULTS_JSON
    # the table of the decoders is written over that of the other parts, which are kept
    found = read_json(results).get("parts", {}) if results.exists() else {}
    if DECODERS in options.parts:
        compare_decoders(chosen(options), options.out)
    found |= run_parts([name for name in PARTS if name in options.parts], options.out)
    add_parts(found, options.out)
    print(f"Results: {options.out}")


def compare_decoders(size: Size, out: Path) -> None:
    """The part on decoders: fit, measure and draw every model."""
    from lcm.data.pair_files import load_pairs

    data = draw_data(CONFIG, "seed0", SEED, size.pairs, out)
    train, test = load_pairs(data.train), load_pairs(data.test)
    records = []
    for kind, seed in MODELS:
        records.append(fit_cell(kind, seed, train, test, size, out))
        print(f"{model_name(kind, seed)}: {_one_line(records[-1])}", flush=True)
    title = "geometry: decoders of two variables"
    table = write_report(out, title, records, {"model": "model"}, COLUMNS, _settings(size, test))
    draw(test, out)
    print(f"\n{title}; median (range)\n\n{table}")


def run_parts(names: Sequence[str], out: Path) -> dict[str, list[dict[str, Any]]]:
    """Compute, print and draw parts that need no fit; returns the records of each."""
    import torch

    from experiments import _plot_manifolds as plot
    from experiments._geometry_parts import PARTS as parts

    found = {}
    for name in names:
        found[name] = parts[name].compute(torch.Generator().manual_seed(SEED))
        print(f"{parts[name].title}\n\n{to_text(parts[name].table(found[name]))}", flush=True)
    for name, drawing in (("manifolds", plot.draw_manifolds), ("circle", plot.draw_circle)):
        if name in found:
            drawing(out / "figures" / f"{name}.png", torch.Generator().manual_seed(SEED))
    if "equivariance" in found:
        plot.draw_groups(out / "figures" / "groups.png", found["equivariance"])
    return found


def add_parts(found: Mapping[str, Sequence[Mapping[str, Any]]], out: Path) -> None:
    """Add the records and the tables of parts to the results in `out`, below the table of the decoders."""
    from experiments._geometry_parts import PARTS as parts

    path, markdown = out / RESULTS_JSON, out / RESULTS_MARKDOWN
    results = read_json(path) if path.exists() else {"title": "geometry"}
    write_json(path, {**results, "parts": dict(found)})
    head = markdown.read_text(encoding="utf-8").split("\n## ")[0] if markdown.exists() else "# geometry\n"
    tables = [
        f"\n## {part.title}\n\n{part.note}\n\n{to_markdown(part.table(found[name]))}\n"
        f"Made by `lcm reproduce geometry -- --parts {name}`, seed {SEED}.\n"
        for name, part in parts.items()
        if name in found
    ]
    write_text(markdown, head + "".join(tables))


def chosen(options: argparse.Namespace) -> Size:
    """The full or the quick size, with what the options say instead."""
    size = QUICK if options.quick else FULL
    if options.steps is not None:
        size = replace(size, steps=options.steps, vae_steps=options.steps)
    return replace(size, pairs=options.pairs or size.pairs, geodesics=options.geodesics or size.geodesics)


def _settings(size: Size, test: PairData) -> dict[str, str]:
    """How the cells were run and what the columns mean, in words."""
    steps = f"{size.steps} of the LCM's flow and {size.vae_steps} of the VAE, not the defaults of a fit"
    return {
        "nature": "paper_configs/toy2d.yaml, seed 0",
        "pairs to fit on": str(size.pairs),
        "steps": "the defaults of a fit" if size.steps is None else steps,
        "geodesics": f"{size.geodesics}, between the same random pairs of {min(ROWS, len(test))} held-out x for all",
        "gradient left": "the largest; of an energy of 1, about its square could still be saved",
        "spread": "standard deviation of log √det G over the encodings of held-out x",
        "reconstruction error": "RMS of g(encoding of x) − x, over the standard deviation of x",
    }


def _one_line(record: dict[str, Any]) -> str:
    return f"MCC {record['mcc']:.4f}, geodesic / straight length {record['length_ratio']:.4f}"


def fit_cell(kind: str, seed: int, train: PairData, test: PairData, size: Size, out: Path) -> dict[str, Any]:
    """Fit and measure one model, unless that was done before; returns its record."""
    from lcm.data.pairs import data_hash
    from lcm.model.storage import save_model

    name = model_name(kind, seed)

    def compute() -> dict[str, Any]:
        start = time.perf_counter()
        model = fit_model(kind, seed, train, test, size)
        seconds = None if kind == "nature" else time.perf_counter() - start
        (out / "models").mkdir(exist_ok=True)
        save_model(model, out / "models" / f"{name}.safetensors")
        return {**measure(model, test, size.geodesics), "fit_seconds": seconds}

    settings = {"model": kind, "seed": seed, **asdict(size), "data_sha256": data_hash(train)}
    return run_once(out / "cells" / f"{name}.json", settings, compute)


def model_name(kind: str, seed: int) -> str:
    """The name of a model's files."""
    return f"{kind.lower()}{seed}"


def fit_model(kind: str, seed: int, train: PairData, test: PairData, size: Size) -> PairModel:
    """The true model, or one that is fitted; a latent causal model comes in the order and orientation of the truth."""
    from lcm.run.fitting import fit_pairs

    if kind == "nature":
        return nature()
    if kind == "VAE":
        return fit_pairs(train, autoencoder_config(2, seed, size.vae_steps)).model
    return aligned(fit_pairs(train, replace(fit_config(size.steps), n=2, seed=seed)).model, test)


def nature() -> LatentCausalModel:
    """The model that the data are from."""
    from lcm.base.config import load_config
    from lcm.data.data_set import GenerateConfig
    from lcm.data.nature.build import build_nature

    return build_nature(load_config(CONFIG, GenerateConfig).nature, SEED)


def aligned(model: LatentCausalModel, test: PairData) -> LatentCausalModel:
    """The isomorphic model whose variables are in the order of the true ones and increase with them."""
    import numpy as np
    import torch

    from lcm.isomorphism import Isomorphism
    from lcm.isomorphism.matching import correlation_matrix, match_variables
    from lcm.model.elementwise import AffineMap

    assert test.z is not None
    learned = model.encode(torch.as_tensor(test.x)).z.detach().numpy()
    match = match_variables(correlation_matrix(test.z, learned))
    signs = np.ones(model.n, dtype=np.float32)
    for true, column in enumerate(match):
        signs[column] = np.sign(np.corrcoef(test.z[:, true], learned[:, column])[0, 1]) or 1.0
    scale = torch.as_tensor(signs)
    element = Isomorphism(np.argsort(match).tolist(), *(AffineMap(model.n, scale=scale.clone()) for _ in range(2)))
    return element.apply(model).requires_grad_(False)


def measure(model: PairModel, test: PairData, geodesics: int) -> dict[str, Any]:
    """The geometry of one decoder at the encodings of held-out x."""
    import numpy as np

    from lcm.geometry import find_geodesics, log_magnification
    from lcm.isomorphism.matching import correlation_matrix, match_variables

    # geodesics are minima: float64 has the digits to find them to the end
    model = model.double()
    assert test.z is not None
    z, x = encodings(model, test)
    found = find_geodesics(model, *random_pairs(z, geodesics), tolerance=1e-3)
    ratio = (found.length / found.straight_length).numpy()
    log_volume = log_magnification(model, z)
    correlation = correlation_matrix(test.z[:ROWS], z.numpy())
    match = match_variables(correlation)
    record = {
        "mcc": float(np.mean([correlation[i, j] for i, j in enumerate(match)])),
        "length_ratio": float(ratio.mean()),
        "length_ratio_least": float(ratio.min()),
        "magnification_spread": float(log_volume.std()),
        "reconstruction": float((model.decode(z) - x).square().mean().sqrt() / x.std()),
        "gradient": float(found.gradient.max()),
    }
    model.float()
    return record


def encodings(model: PairModel, test: PairData) -> tuple[Tensor, Tensor]:
    """z (N, 2) and x (N, 2) of the first held-out observations, in float64."""
    import torch

    x = torch.as_tensor(test.x[:ROWS]).double()
    return model.encode(x).z.detach(), x


def random_pairs(z: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Starts and ends of geodesics: random pairs of rows, the same for every model."""
    import torch

    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(SEED))
    count = min(count, len(z) // 2)
    return z[order[:count]], z[order[-count:]]


def star(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rows of an x in the middle of the data and, around it, of those nearest to `count` directions, 1.8 sd away."""
    import torch

    angle = 2.0 * torch.pi * (torch.arange(count, dtype=x.dtype) + 0.5) / count
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), (x - x.mean(0)).T, upper=False).T
    goals = 1.8 * torch.stack([angle.cos(), angle.sin()], 1)
    middle = torch.cdist(torch.zeros(1, 2, dtype=x.dtype), whitened).argmin(1)
    return middle.expand(count), torch.cdist(goals, whitened).argmin(1)


def draw(test: PairData, out: Path) -> None:
    """Draw the figure from the models that were saved."""
    import lcm.peer  # noqa: F401, its models can be loaded once it is imported
    from experiments._magnification import magnification_panel
    from experiments._plot_geometry import draw_magnification
    from lcm.model.storage import load_model

    titles = {"nature": "the true decoder", "LCM": "LCM from pairs, seed {}", "VAE": "VAE without pairs, seed {}"}
    panels = []
    for kind, seed in MODELS:
        model = load_model(out / "models" / f"{model_name(kind, seed)}.safetensors").double()
        z, x = encodings(model, test)
        start, end = star(x, DRAWN)
        symbol = "z" if kind == "nature" else r"\hat{z}"
        panels.append(magnification_panel(titles[kind].format(seed), model, z, (z[start], z[end]), symbol=symbol))
    draw_magnification(out / "figures" / "magnification.png", panels)


if __name__ == "__main__":
    main(sys.argv[1:])
