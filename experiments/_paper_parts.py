"""The parts of the published comparison and its extensions: their data, their models, and what they vary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from experiments._experiment import Plan, make_cell
from experiments._experiment_data import draw_config, given_data
from lcm.app.sweep.cells import Cell, DataSet
from lcm.base.config import load_config, structure_config
from lcm.data.data_set import GenerateConfig, SplitConfig
from lcm.data.nature.config import NatureConfig
from lcm.run.config import FitConfig

CONFIGS = Path(__file__).resolve().parent.parent / "paper_configs"
FLEXIBLE = ("flow", "linear")
DEGRADED = ("flow", "linear", "ilcm-vae", "dvae")
REDUCED_STEPS = {
    "ilcm-vae": ("implicit_vae", 4_000),
    "elcm-flow": ("explicit", 1_000),
    "elcm-vae": ("explicit", 2_000),
    "dvae": ("disentanglement", 4_000),
    "beta-vae": ("disentanglement", 4_000),
    "vae-supervised-interventions": ("disentanglement", 4_000),
}
"""Per peer, the section of its settings and its steps in the reduced protocol, which all parts but the first use."""

MODELS = (*FLEXIBLE, *REDUCED_STEPS)

SIZES, LARGE_SIZES = (2, 4, 8, 16), (20, 30)
PAIRS = (1_000, 3_000, 10_000, 30_000, 100_000)
NOISE = (0.0, 0.003, 0.01, 0.03, 0.1)
FITTED_N, DIMENSIONS = (3, 4, 5, 6), 8
TARGETS = (
    ("atomic-or-empty", "atomic-or-empty"),
    ("atomic-or-empty", "atomic"),
    ("atomic", "atomic-or-empty"),
    ("all", "atomic-or-empty"),
    ("all", "all"),
)
"""The intervention family of the data, and the family that is fitted."""


@final
@dataclass(frozen=True)
class Request:
    """The options: models, files of pairs for the first part, settings of a fit, and the plan.

    reduced: whether peers use the steps of `REDUCED_STEPS` and one model seed instead of their own steps and all seeds.
    """

    models: tuple[str, ...]
    files: tuple[tuple[Path, Path], ...]
    config: FitConfig
    plan: Plan
    sizes: tuple[int, ...] = SIZES
    large_sizes: tuple[int, ...] = LARGE_SIZES
    reduced: bool = True


@final
@dataclass(frozen=True)
class Part:
    """One table and figure.

    Attributes:
        title: heading.
        cells: the fits.
        by: keys of the records that make a row, with their headings, the model last.
        against: the key on the horizontal axis of the figure; None for a table alone.
        logarithmic: keys with a logarithmic axis.
        models: the models that can take part.
    """

    title: str
    cells: Callable[[Request], Iterator[Cell]]
    by: Mapping[str, str]
    against: str | None = None
    logarithmic: Sequence[str] = ()
    models: tuple[str, ...] = MODELS


def _cells(request: Request, data: DataSet, model_seeds: int, models: Sequence[str], **keys: Any) -> Iterator[Cell]:
    for model in models:
        if model in request.models:
            for seed in range(model_seeds):
                config = replace(request.config, model=model, **keys.get("settings", {}))
                config = _budgeted(config, model) if request.reduced else config
                own = {key: value for key, value in keys.items() if key != "settings"}
                label = "-".join([model, *(str(value) for key, value in own.items() if key in ("fitted_n", "fitted"))])
                yield make_cell(data, seed, config, label, **own)


def _budgeted(config: FitConfig, model: str) -> FitConfig:
    """The settings with at most the steps of the reduced protocol."""
    if model not in REDUCED_STEPS:
        return config
    section, steps = REDUCED_STEPS[model]
    own = config.peers[section]
    return replace(config, peers={**config.peers, section: replace(own, steps=min(own.steps, steps))})


def _nature(request: Request, name: str, seed: int, n: int, pairs: int | None = None, **changes: Any) -> DataSet:
    """Data of the scaling family with normalised weights; `changes` replace settings of the nature."""
    base: dict[str, Any] = {"n": n, "mechanism": {"kind": "linear", "normalise": True}}
    noise = changes.pop("observation_noise", 0.0)
    nature = structure_config({**base, **changes}, NatureConfig, f"paper: {name}")
    most = request.plan.size.pairs
    splits = SplitConfig(train=pairs or most, val=1, test=min(10_000, most))
    return draw_config(GenerateConfig(nature, splits, noise, seed), name, request.plan.out)


def reference(request: Request) -> Iterator[Cell]:
    """The files that were given, with every model and the seeds of the plan."""
    request = replace(request, reduced=False)
    for files in request.files:
        yield from _cells(request, given_data(*files), request.plan.size.model_seeds, MODELS)


def scaling(request: Request) -> Iterator[Cell]:
    """Disentanglement against n: data seeds of the plan; its model seeds for `FLEXIBLE`, which alone have the larger n.

    The other models have one model seed in the reduced protocol, and those of the plan otherwise.
    """
    size = request.plan.size
    for n in request.sizes:
        for seed in range(size.data_seeds):
            data = _nature(request, f"n{n}-seed{seed}", seed, n)
            for model in MODELS:
                seeds = size.model_seeds if model in FLEXIBLE or not request.reduced else 1
                yield from _cells(request, data, seeds, [model])
    for n in request.large_sizes:
        for seed in range(size.data_seeds):
            data = _nature(request, f"n{n}-seed{seed}", seed, n)
            yield from _cells(request, data, size.model_seeds, FLEXIBLE)


def toy2d(request: Request) -> Iterator[Cell]:
    """Two variables behind a nonlinear map, all models."""
    plan = request.plan
    for seed in range(plan.size.data_seeds):
        config = load_config(CONFIGS / "toy2d.yaml", GenerateConfig)
        splits = SplitConfig(train=plan.size.pairs, val=1, test=min(10_000, plan.size.pairs))
        data = draw_config(replace(config, pairs=splits, seed=seed), f"toy2d-seed{seed}", plan.out)
        yield from _cells(request, data, 1, MODELS)


def samples(request: Request) -> Iterator[Cell]:
    """Fewer pairs."""
    for pairs in (pairs for pairs in PAIRS if pairs <= request.plan.size.pairs):
        for seed in range(request.plan.size.data_seeds):
            yield from _cells(request, _nature(request, f"pairs{pairs}-seed{seed}", seed, 4, pairs), 1, DEGRADED)


def noise(request: Request) -> Iterator[Cell]:
    """Noise on every entry of x, in twice as many dimensions as variables."""
    for share in NOISE:
        for seed in range(request.plan.size.data_seeds):
            decoder = {"kind": "rotation", "dim_x": DIMENSIONS}
            name = f"noise{share}-seed{seed}"
            data = _nature(request, name, seed, 4, decoder=decoder, observation_noise=share)
            yield from _cells(request, data, 1, DEGRADED, noise=share, settings={"n": 4})


def wrong_n(request: Request) -> Iterator[Cell]:
    """A wrong number of variables, told to the fit; slightly noisy, so that x spans more dimensions."""
    for seed in range(request.plan.size.data_seeds):
        decoder = {"kind": "rotation", "dim_x": DIMENSIONS}
        data = _nature(request, f"wrong-n-seed{seed}", seed, 4, decoder=decoder, observation_noise=0.01)
        for n in FITTED_N:
            yield from _cells(request, data, 1, DEGRADED, fitted_n=n, settings={"n": n})


def wrong_targets(request: Request) -> Iterator[Cell]:
    """An intervention family other than that of the data."""
    for family, fitted in TARGETS:
        for seed in range(request.plan.size.data_seeds):
            data = _nature(request, f"{family}-seed{seed}", seed, 4, intervention={"targets": family})
            yield from _cells(request, data, 1, DEGRADED, family=family, fitted=fitted, settings={"targets": fitted})


PARTS: dict[str, Part] = {
    "reference": Part("The published pairs", reference, {"data": "data", "n": "n", "model": "model"}),
    "scaling": Part("Number of variables", scaling, {"n": "n", "model": "model"}, "n", ("fit_seconds",)),
    "toy2d": Part("toy2d", toy2d, {"model": "model"}),
    "samples": Part("Number of pairs", samples, {"n_pairs": "pairs", "model": "model"}, "n_pairs", ("n_pairs",)),
    "noise": Part("Noise in x, shares of its deviation", noise, {"noise": "noise", "model": "model"}, "noise"),
    "wrong-n": Part("A wrong n; 4 is right", wrong_n, {"fitted_n": "n fitted", "model": "model"}, "fitted_n"),
    "wrong-targets": Part(
        "A wrong intervention family", wrong_targets, {"family": "data", "fitted": "fitted", "model": "model"}
    ),
}
