"""Fit a latent causal model to pairs by maximum likelihood (docs/theory.md sections 2 and 3, docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lcm.data.encode import encode_pairs
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.learn.code import coordinates
from lcm.learn.flow import fit_flow
from lcm.learn.prepared import Prepared, prepare
from lcm.learn.restarts import Restart, compare_restarts
from lcm.learn.result import Fitted
from lcm.learn.sensor_noise import learn_sensor_noise
from lcm.learn.training.loop import run_together
from lcm.learn.training.objective import Stages
from lcm.learn.training.tracker import Recorder
from lcm.model.image import ImageModel
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.peer import PEERS
from lcm.run.config import AUTO, FitConfig
from lcm.run.fittable import (
    require_differences,
    require_enough_dimensions,
    require_enough_pairs,
    require_measured,
    require_no_outlier,
)
from lcm.run.known import known_targets, require_usable
from lcm.run.peers import fit_peer
from lcm.run.related import related_columns
from lcm.run.result import FitResult
from lcm.run.support import support_of

_MAX_VARIABLES_FOR_ALL_SUBSETS = 16
_MOST_NUMBERS = 3
_ENCODED_ROWS = 5_000


def fit_pairs(
    data: PairData, config: FitConfig, device: torch.device | None = None, recorder: Recorder | None = None
) -> FitResult:
    """Fit from x and x̃ alone. The held-out likelihood of the explicit model ranks the restarts.

    Raises:
        ValueError: too few pairs, dim x < n, or a target set out of range.
        FloatingPointError: a likelihood that is not finite.
    """
    return fit_ensemble(data, [config], device or torch.device("cpu"), recorder)[0]


def fit_ensemble(
    data: Any,
    configs: Sequence[FitConfig],
    device: str | torch.device = "auto",
    recorder: Recorder | None = None,
    *,
    x_tilde: Any = None,
) -> list[FitResult]:
    """Fit one model for each config, all at the same time. Each result equals that of a single fit, to float tolerance.

    Fits of equal structure, such as fits with other seeds, run as one batched computation. Other fits take turns. The
    recorder numbers the restarts of all fits consecutively.

    Args:
        data, x_tilde: pairs for all configs, as anything that `lcm.load_pairs` takes; or, without x_tilde, a list of
            one data set for each config, all of one shape (N, d).
        configs: the settings of each fit.
        device: "auto", "cpu", "cuda" or a torch device.

    Raises:
        ValueError: no configs, data sets of unequal number or shape, or data that cannot be fitted.
        FloatingPointError: a likelihood that is not finite.

    Example:
        >>> import lcm
        >>> configs = [lcm.FitConfig(model="linear", seed=seed) for seed in (0, 1)]
        >>> [result.model.n for result in lcm.fit_ensemble(lcm.load_pairs("data/sample.safetensors"), configs)]
        [3, 3]
    """
    where = resolve_device(device)
    recorder = recorder or Recorder()
    pairs = _data_sets(data, x_tilde, len(configs))
    if pairs[0].is_images:
        return _fit_images(pairs, configs, where, recorder)
    numbers = [plausible_n(*fit) for fit in zip(pairs, configs, strict=True)]
    expanded = [
        (each, replace(config, n=n)) for each, config, tried in zip(pairs, configs, numbers, strict=True) for n in tried
    ]
    found = iter(_fit_all([each for each, _ in expanded], [config for _, config in expanded], where, recorder))
    return [_likeliest([next(found) for _ in tried], config) for config, tried in zip(configs, numbers, strict=True)]


def _likeliest(results: list[FitResult], config: FitConfig) -> FitResult:
    """The likeliest of fits with several numbers of variables, which all give densities in the same coordinates."""
    best = min(results, key=lambda result: result.held_out_nll)
    tried = tuple((result.model.n, result.held_out_nll) for result in results) if len(results) > 1 else ()
    return replace(best, config=config, tried=tried)


def _fit_all(
    pairs: list[PairData], configs: list[FitConfig], where: torch.device, recorder: Recorder
) -> list[FitResult]:
    """Fits of vectors with given numbers of variables, equal structures together."""
    targets = [target_distribution(choose_n(*fit), fit[1]) for fit in zip(pairs, configs, strict=True)]
    members: list[Stages[Fitted]] = []
    held_out = []
    for whole, config, family in zip(pairs, configs, targets, strict=True):
        each = whole.without_outliers
        require_usable(config, family.n)
        known = known_targets(each, config, family)
        atomic = bool((family.target_sets.sum(1) <= 1).all())
        share, seed, flat = config.validation_share, config.seed, config.model != "flow"
        standardisation = coordinates(each, family.n, flat, seed)
        prepared = prepare(each.x, each.x_tilde, family.n, share, seed, where, known, atomic, standardisation)
        held_out.append(prepared.held_out() if config.restarts > 1 else None)
        members += [_fit_once(prepared, family, config, restart) for restart in range(config.restarts)]
    found = run_together(members, recorder)
    results: list[FitResult] = []
    first = 0
    for each, config, rest in zip(pairs, configs, held_out, strict=True):
        results.append(_best(found[first : first + config.restarts], each, config, rest, first, recorder))
        first += config.restarts
    return results


def _fit_images(
    pairs: list[PairData], configs: Sequence[FitConfig], device: torch.device, recorder: Recorder
) -> list[FitResult]:
    """Fit to images, one fit after the other, since each fit can fill a machine."""
    several = len(configs) > 1
    return [
        _fit_to_images(each, config, device, Recorder(progress=recorder.progress) if several else recorder)
        for each, config in zip(pairs, configs, strict=True)
    ]


def _fit_to_images(data: PairData, config: FitConfig, device: torch.device, recorder: Recorder) -> FitResult:
    """Fit an autoencoder, and `config.model` to its codes. All restarts share the autoencoder."""
    from lcm.learn.autoencoder import fit_codes

    n = choose_n(data, config)
    share, seed = config.validation_share, config.seed
    autoencoder, codes = fit_codes(data, n, config.image, share, seed, device, recorder)
    (found,) = fit_ensemble(codes, [replace(config, n=n)], device, recorder)
    return replace(
        found,
        config=config,
        model=ImageModel(autoencoder, found.model).to(device),
        data=data,
        codes=codes,
        size=(len(codes), codes.n_dimensions),
        seconds=recorder.seconds,
        records=tuple(recorder.records),
    )


def _data_sets(data: Any, x_tilde: Any, count: int) -> list[PairData]:
    """One data set for each of `count` configs."""
    if count == 0:
        raise ValueError("configs: Expected at least one; got none.")
    several = isinstance(data, list | tuple) and x_tilde is None
    pairs = list(map(load_pairs, data)) if several else [load_pairs(data, x_tilde)] * count
    if len(pairs) != count:
        raise ValueError(f"data: Expected a data set for each of {count} configs; got {len(pairs)}.")
    for each in pairs:
        if each.x.shape != pairs[0].x.shape:
            raise ValueError(f"data: Expected data sets of one shape, {pairs[0].x.shape}; got {each.x.shape}.")
    return pairs


def _fit_once(prepared: Prepared, targets: TargetDistribution, config: FitConfig, restart: int) -> Stages[Fitted]:
    device = prepared.train[0].device

    def generator(stage: int) -> torch.Generator:
        seed = np.random.SeedSequence([config.seed, restart, stage]).generate_state(1)[0]
        return torch.Generator(device).manual_seed(int(seed))

    if restart > 0:
        prepared = prepared.restarted(np.random.default_rng([config.seed, restart]))
    own_targets = TargetDistribution(targets.n, targets.as_lists(), targets.probabilities.tolist()).to(device)
    if config.model in PEERS:
        return (yield from fit_peer(prepared, own_targets, config, generator))
    return (yield from fit_flow(prepared, own_targets, config.flow, generator, config.model == "linear"))


def _best(
    results: list[Fitted], data: PairData, config: FitConfig, held_out: PairData | None, first: int, recorder: Recorder
) -> FitResult:
    """The likeliest restart of one fit, whose restarts have the numbers from `first` on in the recorder."""
    scores = tuple(result.held_out_nll for result in results)
    best = int(np.argmin(np.nan_to_num(scores, nan=np.inf)))
    if not np.isfinite(scores[best]):
        raise FloatingPointError(f"the held-out log-likelihood of the model became {-scores[best]}")
    numbers = range(first, first + len(results))
    records = [
        record | {"restart": record["restart"] - first} for record in recorder.records if record["restart"] in numbers
    ]
    others: tuple[Restart, ...] = ()
    models = [result.model for result in results if isinstance(result.model, LatentCausalModel)]
    if results[best].implicit is not None and held_out is not None:
        others = compare_restarts(models, best, data, held_out)
    fitted, few = results[best], data.without_outliers.first(_ENCODED_ROWS)
    if fitted.implicit is not None and isinstance(fitted.model, LatentCausalModel):
        learn_sensor_noise(fitted.model, data.without_outliers)
    encoded = encode_pairs(fitted.model, few)
    return FitResult(
        **vars(fitted),
        config=config,
        data=data,
        size=(len(data.without_outliers), data.n_dimensions),
        columns=data.columns,
        related=related_columns(few, encoded.z.cpu().numpy()),
        support=support_of(encoded),
        seconds=recorder.seconds,
        records=tuple(records),
        restart=best,
        restart_nll=scores,
        other_restarts=others,
    )


def choose_n(data: PairData, config: FitConfig) -> int:
    """The number of causal variables: that of the config, else its estimate from the pairs (docs/method.md section 1).

    Raises:
        ValueError: data that cannot be fitted: too few pairs or dimensions, outliers, a code of missing values, or
            images that the convolutions cannot halve; or `n: auto` for images.
    """
    at = f"{data.source}: " if data.source else ""
    require_differences(data)
    require_measured(data)
    require_no_outlier(data)
    data = data.without_outliers
    if data.is_images:
        return _choose_n_of_images(data, config)
    n = config.n if isinstance(config.n, int) else data.estimated_n
    require_enough_dimensions(data, n)
    require_enough_pairs(data, n)
    if not 1 <= n <= data.spectrum.rank:
        raise ValueError(f"{at}x: Expected a numerical rank of at least n = {max(n, 1)}; got {data.spectrum.rank}.")
    return n


def plausible_n(data: PairData, config: FitConfig) -> tuple[int, ...]:
    """The numbers of variables to fit, ascending: one, or with `n: auto` up to three that the evidence leaves open.

    The least one with a code of as many coordinates (`lcm.learn.code`) needs no comparison: the other directions are
    functions of it.
    """
    n, core = choose_n(data, config), data.without_outliers
    if config.n != AUTO:
        return (n,)
    numbers = core.dimension_evidence.nearest(_MOST_NUMBERS)
    for each in numbers:
        if coordinates(core, each, False, config.seed).n == each < core.directions(each):
            return (each,)
    return numbers


def _choose_n_of_images(data: PairData, config: FitConfig) -> int:
    from lcm.learn.geodesic import estimate_image_n
    from lcm.model.image import require_halving

    try:
        require_halving(data.x.shape[1:], len(config.image.channels))
    except ValueError as error:
        raise ValueError(f"{data.source}: x: {error}" if data.source else f"x: {error}") from error
    if config.n == AUTO:
        raise ValueError(f"n: Expected a number, or null, for images; got {AUTO}.")
    n = config.n if isinstance(config.n, int) else estimate_image_n(data.x)
    require_enough_dimensions(data, n)
    require_enough_pairs(data, n)
    return n


def target_distribution(n: int, config: FitConfig) -> TargetDistribution:
    """The intervention family of the config over n variables, with uniform probabilities.

    Raises:
        ValueError: a target out of range, a set twice, or all subsets of more than 16 variables.
    """
    if config.targets == "all" and n > _MAX_VARIABLES_FOR_ALL_SUBSETS:
        raise ValueError(f"targets: Expected n <= {_MAX_VARIABLES_FOR_ALL_SUBSETS} for all subsets; got n = {n}.")
    try:
        if isinstance(config.targets, str):
            return TargetDistribution.family(n, config.targets)
        return TargetDistribution(n, config.targets, None)
    except ValueError as error:
        raise ValueError(f"targets: {error}") from error


def resolve_device(name: str | torch.device) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda". A torch device is returned as it is.

    Raises:
        ValueError: another name, or a device this machine does not have.
    """
    if isinstance(name, torch.device):
        return name
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: Expected auto, cpu or cuda; got {name!r}.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("device: Expected CUDA, as asked for; got a machine without it. Use cpu.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
