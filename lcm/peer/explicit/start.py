"""The start of explicit models: a linear latent causal model in closed form, from the differences of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from lcm.learn.known import is_symmetric, label_components
from lcm.learn.prepared import Prepared
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import PairTerms, stay_log_density, target_posterior
from lcm.model.noise import standard_normal_log_density
from lcm.peer.variational import staying_variance

_ROWS = 20_000
_START_THICKNESS = 0.1
_UPDATES = 30
_ROWS_PER_VARIABLE = 10


@final
@dataclass(frozen=True)
class LinearStart:
    """z = unmixing · y with mechanisms ε = abduction · z, in the coordinates y of a fit.

    unmixing (n, n) float64. abduction (n, n), float64: triangular along `order` (n,), which is causes first, with a
    positive diagonal. thickness (n,) of the noise ε that is kept, float64.
    """

    unmixing: Tensor
    abduction: Tensor
    order: tuple[int, ...]
    thickness: Tensor

    def relabelled(self, labels: list[int]) -> LinearStart:
        """The same with new labels: new variable a is the old labels[a]."""
        new = {old: index for index, old in enumerate(labels)}
        order = tuple(new[variable] for variable in self.order)
        return LinearStart(self.unmixing[labels], self.abduction[labels][:, labels], order, self.thickness[labels])


def linear_start(prepared: Prepared, targets: TargetDistribution, linear: bool = True) -> LinearStart:
    """The closed-form linear model; that of independent variables if not `linear`.

    Among pairs with target i, z̃_i is the residual of a regression of ẽ_i on all other noise encodings (docs/theory.md
    section 2). A row of the inverse covariance of ẽ gives it, for all variables at once.
    """
    sets = targets.target_sets.cpu()
    y, y_tilde = (part[:_ROWS].double().cpu() for part in prepared.train)
    unmixing = prepared.unmixing.double().cpu()
    labels = label_components((y @ unmixing.T).numpy(), (y_tilde @ unmixing.T).numpy(), sets.numpy())
    unmixing = unmixing[torch.from_numpy(labels)]
    noise, noise_tilde = y @ unmixing.T, y_tilde @ unmixing.T
    n = len(unmixing)
    changed = (y != y_tilde).any(1)
    weights, thickness = _targets_probably(noise, noise_tilde, changed, targets)
    if not linear:
        return LinearStart(unmixing, torch.eye(n, dtype=torch.float64), tuple(range(n)), thickness)
    solution = _solution_rows(noise_tilde, weights)
    order = _order(solution)
    solution = _keep_order(solution, order)
    return LinearStart(solution @ unmixing, torch.linalg.inv(solution), order, thickness)


def labels_for_order(start: LinearStart, targets: TargetDistribution) -> list[int]:
    """Labels (n,) under which the start's order is 0, …, n − 1; unchanged where target sets distinguish variables."""
    return list(start.order) if is_symmetric(targets.target_sets.cpu().numpy()) else list(range(targets.n))


def labels_for_graph(start: LinearStart, targets: TargetDistribution, graph: Graph) -> list[int]:
    """Labels (n,) under which as much of the start's dependence as possible is on the edges of a graph.

    From the orders of both, two labels are exchanged as long as that helps. Labels stay unchanged where the target sets
    distinguish variables.
    """
    if not is_symmetric(targets.target_sets.cpu().numpy()):
        return list(range(targets.n))
    labels = np.empty(graph.n, dtype=np.int64)
    labels[list(graph.order())] = start.order
    dependence = (start.abduction / start.abduction.diagonal().unsqueeze(1)).square().T.numpy()
    best, improved = _on_edges(dependence, labels, graph), True
    while improved:
        improved = False
        for i, j in zip(*np.triu_indices(graph.n, 1), strict=True):
            tried = labels.copy()
            tried[[i, j]] = labels[[j, i]]
            value = _on_edges(dependence, tried, graph)
            if value > best + 1e-9:
                labels, best, improved = tried, value, True
    found: list[int] = labels.tolist()
    return found


def _on_edges(dependence: np.ndarray, labels: np.ndarray, graph: Graph) -> float:
    return float(dependence[np.ix_(labels, labels)][graph.adjacency].sum())


def _targets_probably(
    noise: Tensor, noise_tilde: Tensor, changed: Tensor, targets: TargetDistribution
) -> tuple[Tensor, Tensor]:
    """p(i ∈ I | pair) (N, n) of a crude model, in which normal noise stays up to a thickness, and that thickness."""
    sets = targets.target_sets.cpu().to(noise.dtype)
    difference = noise_tilde - noise
    base, move = standard_normal_log_density(noise).sum(1), standard_normal_log_density(noise_tilde)
    log_probabilities = torch.full((len(sets),), -float(np.log(len(sets))), dtype=noise.dtype)
    thickness = torch.full((noise.shape[1],), _START_THICKNESS, dtype=noise.dtype)
    for _ in range(_UPDATES):
        terms = PairTerms(base, stay_log_density(difference, thickness), move)
        weights = target_posterior(terms, sets, log_probabilities) @ sets
        thickness = staying_variance(difference, (1.0 - weights) * changed.unsqueeze(1)).sqrt()
    return weights, thickness


def _solution_rows(noise_tilde: Tensor, weights: Tensor) -> Tensor:
    """(n, n): row i gives z_i, with variance 1, from the noise; from its own noise only where i is rarely a target."""
    n = noise_tilde.shape[1]
    counts = weights.sum(0).clamp_min(1.0)
    means = (weights.T @ noise_tilde) / counts.unsqueeze(1)
    second = torch.einsum("bi,bj,bk->ijk", weights, noise_tilde, noise_tilde) / counts[:, None, None]
    identity = torch.eye(n, dtype=noise_tilde.dtype)
    covariance = second - means.unsqueeze(2) * means.unsqueeze(1) + 1e-6 * identity
    rows = torch.linalg.inv(covariance).diagonal(dim1=0, dim2=1).T
    enough = (counts > _ROWS_PER_VARIABLE * (n + 1)).unsqueeze(1)
    return torch.where(enough, rows / rows.diagonal().clamp_min(1e-12).sqrt().unsqueeze(1), identity)


def _order(solution: Tensor) -> tuple[int, ...]:
    """Variables, causes first: the next is the one that depends least on the noise of the remaining ones."""
    relative = (solution / solution.diagonal().unsqueeze(1)).square()
    relative.fill_diagonal_(0.0)
    left, order = list(range(len(solution))), []
    while left:
        first = min(left, key=lambda variable: float(relative[variable, left].sum()))
        left.remove(first)
        order.append(first)
    return tuple(order)


def _keep_order(solution: Tensor, order: tuple[int, ...]) -> Tensor:
    """The solution rows without their dependence on the noise of later variables."""
    place = torch.tensor(order).argsort()
    return solution * (place.unsqueeze(0) <= place.unsqueeze(1))
