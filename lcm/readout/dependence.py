"""Tests whether intervened noise depends on other variables: regressions and their p-values, in closed form.

Among pairs with target i, ẽ_i depends on e_j iff j is an ancestor of i (docs/theory.md section 3). The tests look
at the mean of ẽ_i and at its spread; docs/readout.md explains why the p-values hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import fdtrc
from torch import Tensor

NEGLIGIBLE = 0.02
_ROWS_PER_REGRESSOR = 20
_ROWS_PER_LINEAR_REGRESSOR = 5
_CLIP = 4.0
_RIDGE = 1e-9
_MAX_LEVERAGE = 0.99
_ROWS = 16_384
_FAR_OUT = 10.0
_CONSTANT = 1e-9


class Dependence(NamedTuple):
    """Results of the tests, (n, n), [j, i]: candidate j → response i. Without a test the p-value is 1, the statistic 0.

    mean, spread: p-values of the two tests. statistic: the larger square root of the two Wald statistics, minus the
    negligible part; about √M times a correlation, for M rows.
    """

    mean: Tensor
    spread: Tensor
    statistic: Tensor

    def p_value(self) -> Tensor:
        """p-value (n, n) of no dependence at all: twice the smaller p-value, at most 1."""
        return (2.0 * torch.minimum(self.mean, self.spread)).clamp_max(1.0)


@final
class Basis:
    """Hermite polynomials of standardised predictors, up to a degree, and a constant.

    Predictors are standardised by the rows given to the constructor and clipped at four standard deviations.
    """

    def __init__(self, predictors: Tensor, degree: int) -> None:
        values = predictors.double()
        self.center, self.scale = values.mean(0), values.std(0).clamp_min(1e-12)
        self.degree = degree

    def __call__(self, predictors: Tensor) -> Tensor:
        """Regressors (M, k · degree + 1), grouped by predictor, of predictors (M, k)."""
        v = ((predictors.double() - self.center) / self.scale).clamp(-_CLIP, _CLIP)
        blocks = torch.stack([v, v.square() - 1.0, v * (v.square() - 3.0)][: self.degree], -1)
        return torch.cat([blocks.flatten(1), torch.ones_like(v[:, :1])], 1)

    def slopes(self, predictors: Tensor) -> Tensor:
        """Derivative (M, k, degree) of every regressor by its predictor."""
        v = (predictors.double() - self.center) / self.scale
        inside = (v.abs() <= _CLIP).to(v.dtype)
        v = v.clamp(-_CLIP, _CLIP)
        steps = torch.stack([torch.ones_like(v), 2.0 * v, 3.0 * v.square() - 3.0][: self.degree], -1)
        return steps * (inside / self.scale).unsqueeze(-1)


@final
class Regression:
    """Least squares on the M rows of a design whose regressors are k blocks of equal size and a constant."""

    def __init__(self, design: Tensor, degree: int) -> None:
        gram = design.T @ design
        gram.diagonal().add_(_RIDGE * len(design))
        inverse = torch.linalg.inv(gram)
        self.design, self.degree = design, degree
        self.blocks = (design.shape[1] - 1) // degree
        self.weights_of_rows = design @ inverse
        kept = 1.0 - (self.weights_of_rows * design).sum(1)
        self.kept = kept.clamp_min(1.0 - _MAX_LEVERAGE).unsqueeze(1)
        self.covariance = torch.stack([inverse[part, part] for part in self._parts()])

    @property
    def degrees_of_freedom(self) -> int:
        """Number of rows minus number of regressors."""
        return self.design.shape[0] - self.design.shape[1]

    def _parts(self) -> list[slice]:
        return [slice(j * self.degree, (j + 1) * self.degree) for j in range(self.blocks)]

    def fit(self, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (p, k) and residuals (M, k) of k responses (M, k)."""
        coefficients = self.weights_of_rows.T @ responses
        return coefficients, responses - self.design @ coefficients

    def row_blocks(self) -> Tensor:
        """The weight (M, k, degree) of every row in the coefficients of every block."""
        return self.weights_of_rows[:, : self.blocks * self.degree].unflatten(1, (self.blocks, self.degree))

    def unexplained(self) -> Tensor:
        """Residuals (M, k) of the first regressor of each block on the other blocks."""
        return torch.einsum("mkd,kd->mk", self.row_blocks(), torch.linalg.inv(self.covariance)[:, :, 0])

    def without_own(self, coefficients: Tensor, residuals: Tensor) -> Tensor:
        """Residuals (M, k) of every response in the regression without its own block."""
        own = torch.linalg.solve(self.covariance, self._own(coefficients))
        return residuals + torch.einsum("mkd,kde->mk", self.row_blocks(), own)

    def influences(self, coefficients: Tensor, residuals: Tensor) -> Tensor:
        """Influence (M, k, degree) of every row on block j's coefficients in the regression of response j, were they 0.

        The residuals (M, k) are those of the regression without block j, over the root of the share that this leaves of
        a row: the sum of squares is a covariance without bias for equal variances, and valid for any others. The usual
        one (HC3) is too small at rows of high leverage; see docs/readout.md.
        """
        rows = self.row_blocks()
        own = torch.einsum("mkd,kde,mke->mk", rows, torch.linalg.inv(self.covariance), rows)
        left = (self.kept + own).clamp(1.0 - _MAX_LEVERAGE, 1.0)
        return rows * (self.without_own(coefficients, residuals) / left.sqrt()).unsqueeze(-1)

    def wald(self, coefficients: Tensor, covariance: Tensor) -> Tensor:
        """Wald statistics (k,), of block j in the regression of response j; coefficients (p, k)."""
        own = self._own(coefficients)
        return (own * torch.linalg.solve(covariance, own)).sum((1, 2))

    def _own(self, coefficients: Tensor) -> Tensor:
        """The coefficients (k, degree, 1) of block j in the regression of response j."""
        return torch.stack([coefficients[part, j] for j, part in enumerate(self._parts())]).unsqueeze(-1)


def tail(
    statistic: Tensor, degree: int, degrees_of_freedom: int, noncentrality: Tensor, concentration: Tensor | float = 0.0
) -> Tensor:
    """p-values (k,) of Wald statistics (k,) for effects of at most the given noncentrality (k,).

    The noncentral F distribution is approximated as in Patnaik (1949), by a scaled central one with equal first two
    moments. The variance is less by twice the `concentration`.
    """
    statistics: NDArray[np.float64] = statistic.detach().cpu().numpy()
    allowed: NDArray[np.float64] = noncentrality.detach().cpu().numpy()
    less = concentration.detach().cpu().numpy() if isinstance(concentration, Tensor) else concentration
    equivalent = np.square(degree + allowed) / (degree + 2.0 * allowed - less)
    values = fdtrc(equivalent, degrees_of_freedom, statistics / (degree + allowed))
    return torch.from_numpy(values).to(statistic)


def concentration_of(influences: Tensor, covariance: Tensor) -> Tensor:
    """How much (k,) of a Wald statistic rests on single rows: the sum of squares of their shares, from 0 to degree.

    The covariance (k, degree, degree) is that of the influences (M, k, degree), or more. Over random signs of the
    influences, the mean of the statistic is the degree, and its variance is twice the difference of the degree and this
    sum: rows that decide a statistic alone also bound it.
    """
    shares = torch.einsum("mkd,kde,mke->mk", influences, torch.linalg.inv(covariance), influences)
    return shares.square().sum(0)


def standardise(values: Tensor) -> Tensor:
    """Values (M, ...) in standard deviations from their mean, clipped at four; 0 where they are constant."""
    values = torch.where(varies(values), (values - values.mean(0)) / values.std(0).clamp_min(1e-12), 0.0)
    return values.clamp(-_CLIP, _CLIP)


def varies(values: Tensor) -> Tensor:
    """Which columns (...) of values (M, ...) are not constant to rounding."""
    return values.std(0) > _CONSTANT * values.abs().amax(0)


def log_spread(residuals: Tensor) -> Tensor:
    """Standardised logarithm (M, k) of the size of residuals (M, k)."""
    return standardise(torch.log(residuals.abs() / residuals.std(0).clamp_min(1e-12) + 0.1))


def bearable_degree(rows: int, predictors: int) -> int:
    """Largest polynomial degree for this number of rows: 3, 2, 1, or 0 if there are too few rows to test."""
    if predictors == 0:
        return 0
    least = {3: _ROWS_PER_REGRESSOR, 2: _ROWS_PER_REGRESSOR, 1: _ROWS_PER_LINEAR_REGRESSOR}
    return next((degree for degree, each in least.items() if rows >= each * (degree * predictors + 1)), 0)


def independence_tests(responses: Tensor, predictors: Tensor, weights: Tensor, slack: Tensor) -> Dependence:
    """Test whether response i depends on each predictor j ≠ i, where all predictors are independent of each other.

    Each response is regressed on Hermite polynomials of all its predictors at once (up to degree 3, less for
    few rows). So is the logarithm of the absolute residual without the predictor. The p-values are those of the F tests
    of each predictor's block. A predictor without effect is independent of the response *and* of all other predictors,
    so the tests hold even if the effect of the others is not polynomial.

    Args:
        responses: (N, n) ẽ.
        predictors: (N, n) e, independent columns.
        weights: (N, n) posterior probability that i is a target; rows with more than one half count for response i.
        slack: (n, n), [j, i]: share of the variance of response i, at least 0, that j may explain and still count as
            independent.
    """
    n = responses.shape[1]
    columns = [_one_response(responses[:, i], predictors, weights[:, i] > 0.5, i, slack[:, i]) for i in range(n)]
    return Dependence(*(torch.stack(parts, 1) for parts in zip(*columns, strict=True)))


def _one_response(
    response: Tensor, predictors: Tensor, chosen: Tensor, i: int, slack: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    n, rows = predictors.shape[1], int(chosen.sum())
    none = torch.ones(n, dtype=torch.float64, device=predictors.device)
    index = torch.tensor([j for j in range(n) if j != i], dtype=torch.long, device=predictors.device)
    degree = bearable_degree(rows, n - 1)
    if degree == 0:
        return none, none.clone(), torch.zeros_like(none)
    values = predictors[chosen][:, index]
    regression = Regression(Basis(values, degree)(values), degree)
    allowed = rows * slack[index].double()

    def test(targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        coefficients, residuals = regression.fit(targets)
        variance = residuals.square().sum(0) / regression.degrees_of_freedom
        scaled = regression.covariance * variance.clamp_min(1e-300).view(-1, 1, 1)
        statistic = regression.wald(coefficients, scaled)
        p_value = tail(statistic, degree, regression.degrees_of_freedom, allowed)
        return statistic, p_value, regression.without_own(coefficients, residuals)

    target = standardise(response[chosen].double()).unsqueeze(1)
    statistic, mean, without = test(target.expand(-1, regression.blocks))
    spread_statistic, spread, _ = test(log_spread(without))
    excess = torch.maximum(statistic, spread_statistic).sqrt() - allowed.sqrt()
    filled = [none.index_copy(0, index, values) for values in (mean, spread)]
    return filled[0], filled[1], torch.zeros_like(none).index_copy(0, index, excess.clamp_min(0.0))


def trace_share(noise: Tensor, noise_tilde: Tensor, weights: Tensor) -> Tensor:
    """Share (n, n), [j, i], of the variance of ẽ_i that may come from e_j through the error of an inexact encoder.

    Where j is the target and i is not, ẽ_i − e_i is the error of the encoder; an exact encoder gives zero. Its mean
    square is twice the variance that variable j contributes to the encoding of i.
    """

    def summed(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        parts = zip(noise.split(_ROWS), noise_tilde.split(_ROWS), (weights > 0.5).split(_ROWS), strict=True)
        return torch.stack([function(e, e_tilde, chosen.double()) for e, e_tilde, chosen in parts]).sum(0)

    total = summed(lambda e, e_tilde, targets: targets.T @ ((e_tilde - e).double().square() * (1.0 - targets)))
    count = summed(lambda _, __, targets: targets.T @ (1.0 - targets)).clamp_min(1.0)
    each = summed(lambda _, __, targets: targets.sum(0)).clamp_min(2.0)
    mean = summed(lambda _, e_tilde, targets: (targets * e_tilde.double()).sum(0)) / each
    squares = summed(lambda _, e_tilde, targets: (targets * (e_tilde.double() - mean).square()).sum(0))
    return 0.5 * total / count / (squares / (each - 1.0)).clamp_min(1e-12)


def allowed_share(noise: Tensor, noise_tilde: Tensor, weights: Tensor) -> Tensor:
    """Share (n, n) of variance that counts as independence: a correlation of 0.02, or the encoder's own error."""
    return trace_share(noise, noise_tilde, weights).clamp(NEGLIGIBLE**2, 1.0)


def not_far_out(causes: Tensor) -> Tensor:
    """Rows (M,) in which no cause (M, k) is far from its median: nearly all, unless tails are heavy.

    Far is over ten times the median distance.

    A regression of an intervened noise on causes of heavy tails hangs on few rows. The noise of a target is independent
    of its causes, so that a choice of rows by the causes alone leaves estimates and tests valid.
    """
    if len(causes) == 0:
        return causes.new_ones(0, dtype=torch.bool)
    distance = (causes - causes.median(0).values).abs()
    usual = distance.median(0).values
    # where most values are equal, nothing says what is far
    return (distance <= torch.where(usual > 0.0, _FAR_OUT * usual, torch.inf)).all(1)
