"""theorem, (1 ⇒ 2): for fits from good to bad, the gap to the nature's likelihood and the distance from the nature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from experiments._cells import run_once
from experiments._experiment import fit_config
from lcm.base.chunks import in_chunks
from lcm.base.config import load_config
from lcm.data.data_set import GenerateConfig
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import FullConfig
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.isomorphism import find_isomorphism
from lcm.model.decoder import MixingDecoderConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.likelihood import THICKNESS_FLOOR
from lcm.model.mechanism import AdditiveMechanismConfig
from lcm.run.fitting import fit_pairs

THICKNESS = 0.02
DATA_SEED = 0
TEST_PAIRS = 10_000
_TOY2D = Path(__file__).resolve().parent.parent / "paper_configs" / "toy2d.yaml"


@final
@dataclass(frozen=True)
class FitBudget:
    """Steps of the noise encoder (None for the default of a fit), and pairs to fit on."""

    steps: int | None
    pairs: int

    @property
    def name(self) -> str:
        """The name in tables and files."""
        return f"{'default' if self.steps is None else self.steps} steps, {self.pairs} pairs"


def natures() -> dict[str, NatureConfig]:
    """The ground truths, by their names in the figure."""
    toy = load_config(_TOY2D, GenerateConfig).nature
    full, additive = FullConfig(), AdditiveMechanismConfig()
    mixing = MixingDecoderConfig(strength=0.3)
    return {
        "n = 2, location-scale, flow": replace(toy, thickness=THICKNESS),
        "n = 3, linear, rotation": NatureConfig(3, full, thickness=THICKNESS),
        "n = 3, additive, mixing": NatureConfig(3, full, additive, decoder=mixing, thickness=THICKNESS),
    }


def run_fits(out: Path, names: Sequence[str], budgets: Sequence[FitBudget], seeds: int) -> list[dict[str, Any]]:
    """The record of every nature, budget and seed of the fit; each is one cell."""
    records = []
    for name in names:
        for budget in budgets:
            for seed in range(seeds):
                settings = {"nature": name, "budget": budget.name, "seed": seed, "data_seed": DATA_SEED}
                path = out / "cells" / f"fit-{_slug(name)}-{_slug(budget.name)}-seed{seed}.json"

                def compute(name: str = name, budget: FitBudget = budget, seed: int = seed) -> dict[str, Any]:
                    return _fit(natures()[name], budget, seed)

                records.append(run_once(path, settings, compute))
    return records


def _slug(name: str) -> str:
    return "-".join(name.replace("=", "").replace(",", "").split())


def _fit(config: NatureConfig, budget: FitBudget, seed: int) -> dict[str, Any]:
    nature = build_nature(config, DATA_SEED)
    train, test = (
        sample_data(nature, count, torch_generator(DATA_SEED, split))
        for split, count in (("train", budget.pairs), ("test", TEST_PAIRS))
    )
    result = fit_pairs(train, replace(fit_config(budget.steps), seed=seed))
    gap = _log_density(nature, test) - _log_density(result.model, test)
    found = find_isomorphism(nature, result.model, test)
    return {
        "n": nature.n,
        "steps": budget.steps,
        "pairs": budget.pairs,
        "gap": float(gap.mean()),
        "gap_standard_error": float(gap.std() / len(gap) ** 0.5),
        "distance": found.distance,
        "isomorphic": found.parts_agree,
        "graphs_equal": found.graphs_equal,
        "least_r2": float(found.r2.min()),
        "largest_leakage": float(found.leakage.max()),
        "reasons": list(found.judgement.part_reasons),
        "thickness": result.model.thickness.tolist(),
        "fit_seconds": result.seconds,
    }


@torch.no_grad()
def _log_density(model: LatentCausalModel, test: PairData) -> torch.Tensor:
    """log p(x, x̃) (N,) of every test pair at the model's own thickness, floored, in float64."""
    model.double()
    x, x_tilde = (torch.from_numpy(part).double() for part in (test.x, test.x_tilde))
    thickness = model.thickness.clamp_min(THICKNESS_FLOOR)
    density = in_chunks(lambda a, b: (model.pair_log_density(a, b, thickness),), x, x_tilde)[0]
    model.float()
    return density
