"""Refit a model to random halves of its pairs, and keep the refits in the folder of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, final, overload

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.base.files import read_tensors, write_tensors
from lcm.base.rows import take_rows
from lcm.data.encode import encode_codes, encode_pairs, require_same_dimensions
from lcm.data.named_columns import in_fitted_order
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.isomorphism.monotone import fit_monotone, mapped, normal_scores, quantile_map
from lcm.learn.training.tracker import Recorder
from lcm.model.image import ImageModel
from lcm.model.pair_model import PairModel
from lcm.model.storage import load_model, save_model
from lcm.run.fitting import fit_ensemble
from lcm.run.refits import Band, Refits
from lcm.run.result import FitResult
from lcm.run.run_folder import MAPS_FILE, REFITS_FOLDER, claimed_refits

LEAST_HALVES = 4
_ROWS = 10_000
_SEED = 20_261
_ARRAYS = ("permutations", "strengths", "positions", "images")
_BAND_ROWS = 5_000
_LEVELS = np.concatenate([[0.0, 1e-3, 5e-3], np.linspace(0.01, 0.99, 99), [0.995, 0.999, 1.0]])


def refit(
    result: FitResult,
    pairs: Any = None,
    x_tilde: Any = None,
    *,
    halves: int = 8,
    device: str | torch.device = "auto",
    quiet: bool = False,
) -> FitResult:
    """The same result with refits to random halves of its pairs, which give its answers intervals.

    The refits run as one batched computation, which costs about as much as so many fits of half of the pairs. Those of
    images share the autoencoder, so that its error is not counted.

    Args:
        result: a fit of vectors or images whose model has mechanisms.
        pairs, x_tilde: the pairs of the fit, if the result does not hold them; anything that `lcm.load_pairs` takes.
        halves: number of refits, at least 4.

    Raises:
        ValueError: fewer than 4 refits, no pairs, pairs of another shape, or halves that are too small to fit.
        NotImplementedError: a model without mechanisms.

    Example:
        >>> import lcm
        >>> pairs = lcm.load_pairs("data/sample.safetensors")
        >>> result = lcm.refit(lcm.fit(pairs, model="linear", quiet=True), halves=4, quiet=True)
        >>> answer = result.counterfactual(pairs.x[:1], lcm.Do({0: 1.0}), interval=0.9)
        >>> bool((answer.low < answer.high).all())
        True
    """
    if halves < LEAST_HALVES:
        raise ValueError(f"halves: Expected at least {LEAST_HALVES} refits; got {halves}.")
    result.model.causal_model()
    data = result.data if pairs is None else load_pairs(pairs, x_tilde)
    if data is None:
        raise ValueError("pairs: Expected the pairs of the fit, as this result does not hold them; got none.")
    data = in_fitted_order(data, result.columns)
    require_same_dimensions(result.model, data)
    vectors = (encode_codes(result.model, data) if isinstance(result.model, ImageModel) else data).without_outliers
    config = replace(result.config, n=result.model.n, restarts=1)
    parts = [_half(vectors, np.random.default_rng([config.seed, _SEED, k])) for k in range(halves)]
    configs = [replace(config, seed=config.seed + 1 + k) for k in range(halves)]
    found = fit_ensemble(parts, configs, device, Recorder(progress=not quiet))
    models, strengths = [each.model for each in found], [each.edge_strength for each in found]
    refits = _aligned(result.model, models, strengths, data)
    band = refits.band(result.model, data.first(_BAND_ROWS).x)
    return replace(result, refits=replace(refits, drawn=band))


def _half(data: PairData, rng: np.random.Generator) -> PairData:
    rows = np.sort(rng.permutation(len(data))[: len(data) // 2])
    targets = None if data.targets is None else data.targets[rows]
    return PairData(x=take_rows(data.x, rows), x_tilde=take_rows(data.x_tilde, rows), targets=targets)


def _aligned(model: PairModel, models: list[PairModel], strengths: list[NDArray[np.float64]], data: PairData) -> Refits:
    """Match the variables of refits with those of the model, by their values in up to 10,000 observations."""
    few = data.first(_ROWS)
    z = encode_pairs(model, few).z.double().cpu().numpy()
    # a little apart, since quantiles of repeated values coincide
    positions = np.quantile(z, _LEVELS, axis=0) + 1e-9 * z.std(0) * np.arange(len(_LEVELS))[:, None]
    whole, permutations, images = [], [], []
    for each in models:
        wrapped = ImageModel(model.autoencoder, each) if isinstance(model, ImageModel) else each
        other = encode_pairs(wrapped, few).z.double().cpu().numpy()
        permutation = match_variables(correlation_matrix(z, other))
        other = other[:, permutation]
        between = fit_monotone(normal_scores(z), normal_scores(other))
        images.append(mapped(quantile_map(z, other, between), positions))
        whole.append(wrapped)
        permutations.append(permutation)
    renumbered = [strength[np.ix_(order, order)] for strength, order in zip(strengths, permutations, strict=True)]
    return Refits(tuple(whole), np.stack(permutations), np.stack(renumbered), positions, np.stack(images))


def save_refits(folder: Path, refits: Refits) -> None:
    """Keep refits in the folder of a finished run, in place of earlier ones.

    Raises:
        ValueError: another process writes to the run, or one of its files or folders is a link that leads out of it.
    """
    # the models of stored refits are read before their files go
    models = list(refits.models)
    with claimed_refits(folder) as inside:
        # the maps are removed first and written last, so that a folder without them holds no refits
        (inside / MAPS_FILE).unlink(missing_ok=True)
        for path in inside.glob("*.safetensors"):
            path.unlink()
        for k, model in enumerate(models):
            save_model(model, inside / f"{k}.safetensors")
        arrays = {name: getattr(refits, name) for name in _ARRAYS}
        arrays |= {} if refits.drawn is None else refits.drawn._asdict()
        write_tensors(inside / MAPS_FILE, arrays, {"schema": "1"})


def load_refits(folder: Path) -> Refits | None:
    """The refits in the folder of a run; None if there are none. Their models are read when one is asked for.

    Raises:
        ValueError: a broken file, or refits that do not belong together; of models, when one is asked for.
    """
    inside = folder / REFITS_FOLDER
    if not (inside / MAPS_FILE).exists():
        return None
    arrays = _read_maps(inside)
    band = Band(*(arrays.pop(name) for name in Band._fields)) if Band._fields[0] in arrays else None
    return Refits(_StoredModels(inside, arrays["permutations"]), **arrays, drawn=band)


def _read_maps(inside: Path) -> dict[str, NDArray[Any]]:
    arrays, _ = read_tensors(inside / MAPS_FILE)
    shapes = {name: arrays[name].shape if name in arrays else () for name in _ARRAYS}
    count, n = shapes["permutations"] if len(shapes["permutations"]) == 2 else (0, 0)
    alike = shapes["images"] == (count, *shapes["positions"]) and shapes["strengths"] == (count, n, n)
    if count == 0 or len(shapes["positions"]) != 2 or not alike:
        raise ValueError(f"{inside / MAPS_FILE}: Expected maps of refits of one shape; got {shapes}")
    if not all(np.isfinite(arrays[name]).all() for name in shapes):
        raise ValueError(f"{inside / MAPS_FILE}: Expected finite maps; got others")
    if not (np.sort(arrays["permutations"]) == np.arange(n)).all():
        raise ValueError(f"{inside}: Expected refits of {n} variables, each once; got others")
    band = [arrays[name] for name in Band._fields if name in arrays]
    if band and not (len(band) == 2 and band[0].shape == band[1].shape and band[0].shape[:1] == (n,)):
        raise ValueError(f"{inside / MAPS_FILE}: Expected both ends of a band of {n} variables; got others")
    if not all(part.ndim == 2 and np.isfinite(part).all() for part in band):
        raise ValueError(f"{inside / MAPS_FILE}: Expected a finite band; got others")
    return {name: arrays[name] for name in (*_ARRAYS, *(Band._fields if band else ()))}


@final
class _StoredModels(Sequence[PairModel]):
    """The models of refits in a folder, read when the first one is asked for.

    Raises ValueError for models that do not belong to the permutations (K, n), such as those of later refits.
    """

    def __init__(self, inside: Path, permutations: NDArray[np.int64]) -> None:
        self._inside, self._permutations = inside, permutations

    def __len__(self) -> int:
        return len(self._permutations)

    @overload
    def __getitem__(self, index: int) -> PairModel: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PairModel]: ...
    def __getitem__(self, index: int | slice) -> PairModel | Sequence[PairModel]:
        return self._models[index]

    @cached_property
    def _models(self) -> tuple[PairModel, ...]:
        models = tuple(load_model(self._inside / f"{k}.safetensors") for k in range(len(self)))
        n = self._permutations.shape[1]
        if any(model.n != n for model in models):
            raise ValueError(f"{self._inside}: Expected refits of {n} variables, each once; got others")
        # maps are written last, so that they are those of the models that were read before
        if not np.array_equal(_read_maps(self._inside)["permutations"], self._permutations):
            raise ValueError(f"{self._inside}: Expected the refits of when the run was read; got later ones")
        return models
