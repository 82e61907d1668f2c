"""Parents, and edges with their p-values and strengths, from fitted mechanisms (docs/theory.md section 3).

No threshold is tuned: relations and edges have p-values, and are accepted at stated error rates. Given the other
candidates' causal variables, ẽ_i depends on z_j iff j is a parent. Unlike noise, causal variables depend on each other
and are estimated themselves; docs/readout.md says how the tests allow for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.model.graph import Graph
from lcm.model.mechanism import TrainableMechanism, require_trainable
from lcm.model.scm import SCM
from lcm.readout.ancestors import Ancestry
from lcm.readout.dependence import (
    Basis,
    Dependence,
    Regression,
    bearable_degree,
    concentration_of,
    log_spread,
    not_far_out,
    standardise,
    tail,
    varies,
)
from lcm.readout.evidence import GraphEvidence

_SLOPE_ROWS = 1024
_OUTLIER = 4.0
_POINTS = 1_000


def find_edges(
    scm: SCM, ancestry: Ancestry, train: tuple[Tensor, Tensor, Tensor], held_out: tuple[Tensor, Tensor]
) -> GraphEvidence:
    """p-value, strength and standard error of every edge, around the mechanisms of all candidates.

    Args:
        scm: fitted with the candidates of `ancestry` as parents.
        train: ε̃, z and the posterior probability of being a target, each (N, n), of the pairs of the fit.
        held_out: ε and z, each (P, n), of held-out pairs, over which the strengths are averaged.

    Raises:
        ValueError: mechanisms of a kind that a fit cannot learn.
    """
    mechanism = require_trainable(scm.mechanism)
    fitted = fitted_mechanisms(mechanism, *train)
    p_value = parent_tests(mechanism, fitted, ancestry.slack).p_value().cpu().numpy()
    return GraphEvidence(
        edge_p_value=np.where(ancestry.candidates, p_value, 1.0),
        ancestor_p_value=ancestry.p_value,
        edge_strength=edge_strengths(scm, held_out[1]),
        edge_strength_error=strength_errors(mechanism, fitted, *held_out).cpu().numpy(),
        order=ancestry.order,
    )


def edge_strengths(scm: SCM, z: Tensor) -> NDArray[np.float64]:
    """edge_strength[i, j] for i → j: RMS over z (N, n) of ∂f_j/∂z_i at fixed noise, times sd(z_i)/sd(z_j).

    One backward pass per variable j gives its row of the mechanism Jacobian: n passes for each block of points.
    """
    squares = torch.stack([_squared_slopes(scm, part) for part in z.split(_SLOPE_ROWS)]).sum(0) / len(z)
    spread = z.std(0)
    strength: NDArray[np.float64] = (squares.sqrt() * spread.unsqueeze(1) / spread).cpu().numpy()
    # a constant is no effect of anything
    return np.where(scm.graph.adjacency & varies(z).cpu().numpy(), strength, 0.0)


def _squared_slopes(scm: SCM, z: Tensor) -> Tensor:
    """Sums (n, n), [i, j], over points z (M, n) of the squares of ∂f_j/∂z_i at fixed noise."""
    with torch.enable_grad():
        points = z.detach().requires_grad_()
        noise = scm.abduct(z.detach())[0].detach()
        values = scm.mechanism(noise, points)[0]
        rows = [torch.autograd.grad(values[:, j].sum(), points, retain_graph=True)[0] for j in range(scm.n)]
    return torch.stack([row.square().sum(0) for row in rows], 1).detach()


@final
@dataclass(frozen=True)
class FittedMechanism:
    """The mechanism of one variable at the M pairs in which it is a target, with its error.

    variable: i. index: its candidates (k,). z: (M, n) values before the intervention. noise_tilde: (M,).
    slopes: (M, n), ∂m_i/∂z_j. basis: of the candidates, on these rows.
    residual: (M,) of the imposed value on the basis; independent of everything once the fit has converged.
    covariance: (p, p) of the error of m_i in terms of the basis, by a robust regression on these rows (HC3).
    """

    variable: int
    index: Tensor
    z: Tensor
    noise_tilde: Tensor
    slopes: Tensor
    basis: Basis
    residual: Tensor
    covariance: Tensor

    def regression(self) -> Regression:
        """The regression on the basis, recomputed: keeping it for all mechanisms would take most of a fit's memory."""
        return Regression(self.basis(self.z[:, self.index]), self.basis.degree)


def _influence(regression: Regression, residual: Tensor) -> Tensor:
    """Influence (M, p) of each row, with its residual (M,), on the coefficients of m_i."""
    return regression.weights_of_rows * (residual.unsqueeze(1) / regression.kept)


def fitted_mechanisms(
    mechanism: TrainableMechanism, noise_tilde: Tensor, z: Tensor, weights: Tensor
) -> dict[int, FittedMechanism]:
    """Every mechanism with candidates and enough rows to estimate its error, by its variable.

    Args:
        mechanism: the candidate mechanisms; its adjacency holds the candidates, [j, i]: j is a candidate parent of i.
        noise_tilde, z: (N, n), in the units of the mechanism.
        weights: (N, n) posterior probability that i is a target; rows with more than one half count for i.
    """
    found = {}
    for i in range(mechanism.n):
        index = torch.nonzero(mechanism.adjacency[:, i]).flatten()
        chosen = weights[:, i] > 0.5
        chosen[chosen.clone()] = not_far_out(z[chosen][:, index])
        degree = bearable_degree(int(chosen.sum()), len(index))
        if degree > 0:
            found[i] = _fitted(mechanism, i, index, noise_tilde[chosen, i], z[chosen], degree)
    return found


def _fitted(
    mechanism: TrainableMechanism, i: int, index: Tensor, noise_tilde: Tensor, z: Tensor, degree: int
) -> FittedMechanism:
    with torch.enable_grad():
        points = z.detach().requires_grad_()
        location, _ = mechanism.location_and_log_scale(points, index.new_tensor([i]))
        slopes = _gradient(location, points)
    imposed = mechanism(noise_tilde.unsqueeze(1), z, index.new_tensor([i]))[0].detach()[:, 0].double()
    reach = _OUTLIER * imposed.std()
    imposed = imposed.clamp(imposed.mean() - reach, imposed.mean() + reach)
    basis = Basis(z[:, index], degree)
    regression = Regression(basis(z[:, index]), degree)
    residual = regression.fit(imposed.unsqueeze(1))[1][:, 0]
    influence = _influence(regression, residual)
    covariance = influence.T @ influence
    return FittedMechanism(i, index, z, noise_tilde, slopes.double(), basis, residual, covariance)


def _gradient(values: Tensor, points: Tensor) -> Tensor:
    """∂ values_m / ∂ points_m (M, n) of values (M, 1); zero where they do not depend on the points."""
    if not values.requires_grad:
        return torch.zeros_like(points)
    (gradient,) = torch.autograd.grad(values.sum(), points, retain_graph=True)
    return gradient


def parent_tests(mechanism: TrainableMechanism, fitted: dict[int, FittedMechanism], slack: Tensor) -> Dependence:
    """Test for every candidate edge j → i whether ẽ_i depends on z_j given the other candidates of i.

    For each edge, the mechanism is evaluated with z_j replaced by its prediction from the other candidates. The
    residual of the imposed value is regressed on Hermite polynomials of all candidates, and so is the logarithm of its
    absolute value. Robust Wald statistics of the polynomials of z_j test the edge. Their covariance includes, to first
    order, the errors of the other candidates' mechanisms.

    Args:
        mechanism: the candidate mechanisms.
        fitted: from `fitted_mechanisms`.
        slack: (n, n), share of variance that counts as independence.
    """
    n = mechanism.n
    none = torch.ones(n, n, dtype=torch.float64, device=slack.device)
    mean, spread, statistic = none, none.clone(), torch.zeros_like(none)
    for i, own in fitted.items():
        found = _test_candidates(mechanism, own, fitted, slack[own.index, i].double())
        mean[own.index, i], spread[own.index, i], statistic[own.index, i] = found
    return Dependence(mean, spread, statistic)


def _test_candidates(
    mechanism: TrainableMechanism, own: FittedMechanism, fitted: dict[int, FittedMechanism], slack: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    regression = own.regression()
    raw = _without_each_candidate(mechanism, own, regression)
    scale = raw.std(0).clamp_min(1e-12)
    allowed = len(own.z) * slack

    def test(targets: Tensor, further: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        coefficients, residuals = regression.fit(targets)
        influences = regression.influences(coefficients, residuals)
        covariance = torch.einsum("mkd,mke->kde", influences, influences) + further
        # a constant has no influences; it depends on nothing
        covariance.diagonal(dim1=1, dim2=2).add_(1e-300)
        statistic = regression.wald(coefficients, covariance)
        concentration = concentration_of(influences, covariance)
        p_value = tail(statistic, regression.degree, regression.degrees_of_freedom, allowed, concentration)
        return statistic, p_value, regression.without_own(coefficients, residuals)

    further = propagated_covariance(own, regression, fitted) / scale.square().view(-1, 1, 1)
    statistic, mean, without = test(standardise(raw), further)
    spread_statistic, spread, _ = test(log_spread(without), 0.0)
    excess = (torch.maximum(statistic, spread_statistic).sqrt() - allowed.sqrt()).clamp_min(0.0)
    tested = varies(own.z[:, own.index])
    return torch.where(tested, mean, 1.0), torch.where(tested, spread, 1.0), torch.where(tested, excess, 0.0)


def _without_each_candidate(mechanism: TrainableMechanism, own: FittedMechanism, regression: Regression) -> Tensor:
    """The imposed values (M, k) by the mechanism when candidate j is replaced by its expectation."""
    k, rows = len(own.index), len(own.z)
    expected = own.z[:, own.index].double() - regression.unexplained() * own.basis.scale
    replaced = own.z.repeat(k, 1, 1)
    each = torch.arange(k, device=own.index.device)
    replaced[each, :, own.index] = expected.T.to(own.z.dtype)
    variable = own.index.new_tensor([own.variable])
    noise = own.noise_tilde.repeat(k).unsqueeze(1)
    (values,) = in_chunks(lambda e, z: (mechanism(e, z, variable)[0],), noise, replaced.view(k * rows, -1))
    return values.view(k, rows).T.double()


def propagated_covariance(own: FittedMechanism, regression: Regression, fitted: dict[int, FittedMechanism]) -> Tensor:
    """Covariance (k, degree, degree) of every block due to errors of the candidates' own mechanisms.

    An error of m_k changes z_k, and the estimated imposed value of i by ∂m_i/∂z_k times that change.
    """
    blocks = regression.row_blocks()
    added = blocks.new_zeros(blocks.shape[1], blocks.shape[2], blocks.shape[2])
    for effect, other in _effects_of_errors(own, fitted, blocks.flatten(1)):
        each = effect.unflatten(0, blocks.shape[1:])
        added += each @ other.covariance @ each.transpose(1, 2)
    return added


def _effects_of_errors(
    own: FittedMechanism, fitted: dict[int, FittedMechanism], row_weights: Tensor
) -> list[tuple[Tensor, FittedMechanism]]:
    """For every candidate with a mechanism: the effect of each coefficient of its error on sums of rows."""
    return [
        (row_weights.T @ (own.slopes[:, [k]] * fitted[k].basis(own.z[:, fitted[k].index])), fitted[k])
        for k in own.index.tolist()
        if k in fitted
    ]


def strength_errors(
    mechanism: TrainableMechanism, fitted: dict[int, FittedMechanism], noise: Tensor, z: Tensor
) -> Tensor:
    """Standard error (n, n) of every edge strength [j, i], by influence functions: the limit of a bootstrap over pairs.

    Sources of error: mechanism i (its location, and its scale by the Gaussian score), the candidates' mechanisms, the
    standard deviations of both variables, and the finite number of points over which the strength is averaged. The
    noise encodings are taken as given. The error is 0 without a candidate or a test.

    Args:
        mechanism: the candidate mechanisms.
        fitted: from `fitted_mechanisms`, on the pairs of the fit.
        noise, z: (P, n), the points at which the strengths were computed.
    """
    n = mechanism.n
    errors = torch.zeros(n, n, dtype=torch.float64, device=z.device)
    spread = z.double().std(0).clamp_min(1e-12)
    scale_variance = torch.zeros_like(spread)
    # causes first, since the effects need the error of a cause's own standard deviation
    for i in (variable for variable in Graph(mechanism.adjacency.cpu().numpy()).order() if variable in fitted):
        own = fitted[i]
        slopes, directions, moves = _slopes_and_directions(mechanism, own, noise[:, i], z)
        covariance = _joint_covariance(own, fitted)
        centered = z[: len(moves), i].double() - z[:, i].double().mean()
        of_scale = (centered.unsqueeze(1) * moves).mean(0) / spread[i].square()
        scale_variance[i] = of_scale @ covariance @ of_scale
        square = slopes.square().mean(0).clamp_min(1e-24)
        gradient = torch.einsum("mk,mkq->kq", slopes[: len(directions)], directions) / len(directions)
        gradient = gradient / square.unsqueeze(1) - of_scale
        fit = torch.einsum("kq,qr,kr->k", gradient, covariance, gradient) + scale_variance[own.index]
        points = _averaging(slopes, square, z[:, own.index], z[:, i])
        errors[own.index, i] = ((fit + points) * square).sqrt() * spread[own.index] / spread[i]
    return errors


def _slopes_and_directions(
    mechanism: TrainableMechanism, own: FittedMechanism, noise: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """∂f_i/∂z_j (P, k) at fixed noise (P,), and how errors of location and log-scale change it and z_i itself.

    The latter two, (P′, k, 2p) and (P′, 2p), are at the first points only, which is enough for their average.
    """
    with torch.enable_grad():
        points = z.detach().requires_grad_()
        location, log_scale = mechanism.location_and_log_scale(points, own.index.new_tensor([own.variable]))
        of_location, of_scale = _gradient(location, points), _gradient(log_scale, points)
    moved = (log_scale.detach()[:, 0].exp() * noise).double().unsqueeze(1)
    scale_slopes = of_scale[:, own.index].double() * moved
    slopes = of_location[:, own.index].double() + scale_slopes
    moved, scale_slopes, z = moved[:_POINTS], scale_slopes[:_POINTS], z[:_POINTS]
    values = own.basis(z[:, own.index])
    k, degree = len(own.index), own.basis.degree
    each = torch.arange(k, device=z.device)
    basis_slopes = values.new_zeros(len(z), k, k, degree)
    basis_slopes[:, each, each] = own.basis.slopes(z[:, own.index])
    basis_slopes = torch.cat([basis_slopes.flatten(2), values.new_zeros(len(z), k, 1)], 2)
    of_log_scale = basis_slopes * moved.unsqueeze(2) + scale_slopes.unsqueeze(2) * values.unsqueeze(1)
    return slopes, torch.cat([basis_slopes, of_log_scale], 2), torch.cat([values, values * moved], 1)


def _joint_covariance(own: FittedMechanism, fitted: dict[int, FittedMechanism]) -> Tensor:
    """Covariance (2p, 2p) of the coefficients of location and log-scale."""
    size = own.residual.square() / own.residual.square().mean().clamp_min(1e-12)
    regression = own.regression()
    of_both = _influence(regression, own.residual), _influence(regression, 0.5 * (size - 1.0))
    influence = torch.cat(of_both, 1)
    covariance = influence.T @ influence
    p = own.covariance.shape[0]
    for effect, other in _effects_of_errors(own, fitted, regression.weights_of_rows):
        covariance[:p, :p] += effect @ other.covariance @ effect.T
    return covariance


def _averaging(slopes: Tensor, square: Tensor, causes: Tensor, effect: Tensor) -> Tensor:
    """Variance (k,) of the logarithm of a strength that is due to the finite number of points."""
    halves = [0.5 * standardise(values.double()).square() for values in (causes, effect.unsqueeze(1))]
    influence = 0.5 * slopes.square() / square + halves[0] - halves[1]
    return influence.var(0) / len(slopes)
