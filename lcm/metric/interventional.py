"""What a learned model says of interventions, against a known nature: average effects and distributions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from lcm.isomorphism.matching import FloatArray
from lcm.metric.case import Case, Metric
from lcm.metric.kernel import median_gamma, squared_distances
from lcm.metric.translation import Translation, decoded, mechanisms_of, solved, translation_of
from lcm.model.graph import BoolArray
from lcm.model.latent_causal_model import LatentCausalModel

_LEVELS = (0.25, 0.75)
_DRAWS, _LEAST_DRAWS = 20_000, 200
_ROWS_OF_MMD = 500


def squared_mmd(first: ArrayLike, second: ArrayLike) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy of two samples (N, d) and (M, d), at most 2.

    The kernel is exp(−γ d²) with γ = 1 / (2 median d²) over both samples (Gretton et al. 2012, lemma 6). It is 0 in
    the mean for equal distributions, and then as often negative as positive.

    Raises:
        ValueError: samples that are not tables of equally many columns, of at least two rows, and finite.
    """
    tables = [np.asarray(table, dtype=np.float64) for table in (first, second)]
    shapes = [table.shape for table in tables]
    if any(len(shape) != 2 or shape[0] < 2 or shape[1] != shapes[0][-1] for shape in shapes):
        raise ValueError(
            f"Expected two samples (N, d) and (M, d) of at least two rows; got {shapes[0]} and {shapes[1]}."
        )
    if not all(np.isfinite(table).all() for table in tables):
        raise ValueError("Expected finite samples; got NaN or infinite entries.")
    rows = np.concatenate(tables)
    squared = squared_distances(rows, rows)
    kernel = np.exp(-median_gamma(squared) * squared)
    np.fill_diagonal(kernel, 0.0)
    n, m = (len(table) for table in tables)
    within = kernel[:n, :n].sum() / (n * (n - 1)) + kernel[n:, n:].sum() / (m * (m - 1))
    return float(within - 2.0 * kernel[:n, n:].mean())


@torch.no_grad()
def average_effects(
    model: LatentCausalModel, levels: FloatArray, seed: int = 0, translation: Translation | None = None
) -> FloatArray:
    """E[z_k | do(z_i = b_i)] − E[z_k | do(z_i = a_i)], (n, n), [i, k], by draws from a model; 0 for k = i.

    Both means are over the same noise, 20,000 / n draws of it, at least 200.

    Args:
        model: latent causal model.
        levels: (2, n), a and b in true units.
        seed: of the noise.
        translation: between true variables and those of the model; None if these are the same.

    Raises:
        ValueError: levels of another shape.
    """
    n = levels.shape[-1] if levels.ndim == 2 else 0
    if levels.shape != (2, n) or n != (model.n if translation is None else len(translation.permutation)):
        raise ValueError(f"Expected levels of shape (2, n), one column for each variable; got {levels.shape}.")
    draws = max(_LEAST_DRAWS, _DRAWS // n)
    noise = model.scm.sample_noise(draws, _generator(model, seed))
    effects = np.zeros((n, n))
    for i in range(n):
        low, high = (_intervened(model, noise, i, np.full(draws, level), n, translation) for level in levels[:, i])
        effects[i] = (high - low).mean(0)
        effects[i, i] = 0.0
    return effects


def _intervened(
    model: LatentCausalModel,
    noise: torch.Tensor,
    variable: int,
    values: FloatArray,
    n: int,
    translation: Translation | None,
) -> FloatArray:
    """z (N, n) in true units where one true variable takes values (N,)."""
    asked = _one_target(variable, values, n)
    if translation is None:
        return solved(model, noise, *asked)
    return translation.to_true(solved(model, noise, *translation.to_learned(*asked)))


def _one_target(variable: int, values: FloatArray, n: int) -> tuple[BoolArray, FloatArray]:
    """Targets and values (N, n), in the order in which they are imposed."""
    imposed, targets = np.zeros((len(values), n)), np.zeros((len(values), n), dtype=np.bool_)
    imposed[:, variable], targets[:, variable] = values, True
    return targets, imposed


def _generator(model: LatentCausalModel, seed: int) -> torch.Generator:
    return torch.Generator(model.thickness.device).manual_seed(seed)


def _effect_error(case: Case) -> float | None:
    translation, model = case.once(translation_of), mechanisms_of(case)
    if translation is None or model is None or case.nature is None or case.nature.n < 2:
        return None
    z = np.asarray(case.z, dtype=np.float64)
    levels = np.quantile(z, _LEVELS, axis=0)
    found = average_effects(model, levels, case.seed, translation)
    errors = np.abs(found - average_effects(case.nature, levels, case.seed)) / np.where(z.std(0) > 0, z.std(0), 1.0)
    n = len(errors)
    return float(errors.sum() / (n * (n - 1))) if np.isfinite(errors).all() else None


@torch.no_grad()
def _discrepancy(case: Case) -> float | None:
    translation, model, nature = case.once(translation_of), mechanisms_of(case), case.nature
    if translation is None or model is None or nature is None:
        return None
    if case.data.is_images or nature.observation_shape != case.model.observation_shape:
        return None
    spread = np.asarray(case.data.x, dtype=np.float64).std(0)
    scale = np.where(spread > 0, spread, 1.0)
    # two seeds, since the same draws would not be two samples
    noise_true = nature.scm.sample_noise(_ROWS_OF_MMD, _generator(nature, 2 * case.seed))
    noise_learned = model.scm.sample_noise(_ROWS_OF_MMD, _generator(model, 2 * case.seed + 1))
    source = np.random.default_rng(case.seed)
    found = []
    for i in range(nature.n):
        true, learned = (_one_target(i, source.choice(case.z[:, i], _ROWS_OF_MMD), nature.n) for _ in range(2))
        samples = (
            decoded(nature, solved(nature, noise_true, *true), noise_true),
            decoded(case.model, solved(model, noise_learned, *translation.to_learned(*learned)), noise_learned),
        )
        if not all(np.isfinite(sample).all() for sample in samples):
            return None
        found.append(squared_mmd(*(sample / scale for sample in samples)))
    return float(np.mean(found))


EFFECT_ERROR = Metric(
    "ate_error",
    "mean absolute error of the average effects of every variable on every other one, in standard deviations of the"
    " other, at least 0, between do() at its first and at its third quartile, by draws from model and nature; null"
    " without a nature, mechanisms or a match of every variable",
    _effect_error,
    ("z", "nature"),
    "answers",
)
INTERVENTIONAL_MMD = Metric(
    "interventional_mmd",
    "squared maximum mean discrepancy, at most 2, 0 in the mean where equal, hence also negative, of x under do() by"
    " model and nature; values drawn from the data, 500 draws, the mean over variables (Gretton et al. 2012)",
    _discrepancy,
    ("z", "nature"),
    "answers",
)
