"""Models next to a linear one that are not isomorphic to it: what a test of the theorem has to tell apart.

An edge is removed, added or reversed, or a weight, p̃ or p_𝓘 is changed. A change of the mechanisms leaves either of
two things as it was:

- the *noise encoder* φ, the hard case. The decoder is then g′ = φ⁻¹ ∘ s′⁻¹ and the pairs of the neighbour have the same
  x, the same noise and the same sparse changes; all that differs is how the moved noise depends on the rest. Weights
  that are not prescribed are the least-squares ones, causes first, and p̃ is moved and widened by what they leave, so
  that nothing is wrong but the change itself.
- the *decoder* g, the easy case: weights, p̃ and g stay. Then φ is another one, and the changes are no longer sparse.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch

from experiments._theorem.linear_scm import (
    Edge,
    FloatArray,
    LinearMoments,
    linear_mechanism,
    linear_moments,
    noise_moments,
    require_edge,
    weight_of_strength,
)
from lcm.model.decoder import SolutionDecoder
from lcm.model.elementwise import AffineMap
from lcm.model.graph import BoolArray, Graph
from lcm.model.intervention import PerfectIntervention
from lcm.model.latent_causal_model import LatentCausalModel, noise_decoder
from lcm.model.mechanism import LinearMechanism
from lcm.model.noise import Noise, PushforwardNoise
from lcm.model.scm import SCM

Kept = Literal["noise encoder", "decoder"]


def without_edge(model: LatentCausalModel, edge: Edge, keep: Kept = "noise encoder") -> LatentCausalModel:
    """The neighbour without the edge j → k.

    Raises:
        ValueError: no such edge, mechanisms that are not linear, or interventions that are not perfect.
    """
    require_edge(model.scm, edge)
    return _neighbour(model, _toggled(model, edge), None, keep)


def with_edge(model: LatentCausalModel, edge: Edge, strength: float, keep: Kept = "noise encoder") -> LatentCausalModel:
    """The neighbour with one more edge j → k, of a standardised strength in the neighbour, and positive.

    Raises:
        ValueError: an edge that is there already, that is none or closes a cycle, a strength out of reach, mechanisms
            that are not linear, or interventions that are not perfect.
    """
    j, k = edge
    if not (0 <= j < model.n and 0 <= k < model.n and j != k) or model.scm.graph.adjacency[j, k]:
        raise ValueError(f"Expected two variables that no edge leads from and to yet; got {j} -> {k}.")
    return _neighbour(model, _toggled(model, edge), _Prescribed(edge, strength=strength), keep)


def with_reversed_edge(model: LatentCausalModel, edge: Edge, keep: Kept = "noise encoder") -> LatentCausalModel:
    """The neighbour with k → j instead of j → k, of the same standardised strength and sign.

    Raises:
        ValueError: no such edge, a cycle, mechanisms that are not linear, or interventions that are not perfect.
    """
    require_edge(model.scm, edge)
    moments = linear_moments(model.scm)
    sign = -1.0 if moments.weight[edge] < 0 else 1.0
    back = edge[1], edge[0]
    prescribed = _Prescribed(back, strength=float(moments.strengths[edge]), sign=sign)
    return _neighbour(model, _toggled(model, edge, back), prescribed, keep)


def with_changed_weight(
    model: LatentCausalModel, edge: Edge, size: float, keep: Kept = "noise encoder"
) -> LatentCausalModel:
    """The neighbour whose weight of j → k is farther from zero by `size` · sd(z_k)/sd(z_j), of the model.

    Raises:
        ValueError: no such edge, mechanisms that are not linear, or interventions that are not perfect.
    """
    require_edge(model.scm, edge)
    moments = linear_moments(model.scm)
    j, k = edge
    change = size * float(moments.spread[k] / moments.spread[j])
    weight = float(moments.weight[edge])
    prescribed = _Prescribed(edge, weight=weight + (-change if weight < 0 else change))
    return _neighbour(model, _toggled(model), prescribed, keep)


def with_shifted_law(model: LatentCausalModel, variable: int, size: float) -> LatentCausalModel:
    """The neighbour whose p̃ of one variable is shifted by `size` of its standard deviations.

    Raises:
        ValueError: a variable out of range, or interventions that are not perfect.
    """
    if not 0 <= variable < model.n:
        raise ValueError(f"Expected a variable in 0..{model.n - 1}; got {variable}.")
    law = _imposed_law(model)
    shift = np.zeros(model.n)
    shift[variable] = size * float(np.sqrt(noise_moments(law)[1][variable]))
    image = copy.deepcopy(model)
    image.intervention = PerfectIntervention(_moved(law, shift, np.ones(model.n), model.thickness))
    return image


def with_moved_probability(model: LatentCausalModel, source: int, destination: int, size: float) -> LatentCausalModel:
    """The neighbour where a share `size` of the probability of one target set, by its number, goes to another.

    Raises:
        ValueError: numbers of target sets out of range or equal, or a share outside [0, 1).
    """
    count = len(model.target_distribution.target_sets)
    if not (0 <= source < count and 0 <= destination < count and source != destination):
        raise ValueError(f"Expected two different target sets in 0..{count - 1}; got {source} and {destination}.")
    if not 0.0 <= size < 1.0:
        raise ValueError(f"Expected a share in [0, 1), or a set has no support; got {size}.")
    image = copy.deepcopy(model)
    probabilities = image.target_distribution.probabilities
    taken = size * probabilities[source].clone()
    probabilities[source] -= taken
    probabilities[destination] += taken
    return image


@final
@dataclass(frozen=True)
class _Prescribed:
    """The edge of the neighbour that is not fitted: by its weight, or by its standardised strength and sign."""

    edge: Edge
    weight: float | None = None
    strength: float = 0.0
    sign: float = 1.0


def _toggled(model: LatentCausalModel, *edges: Edge) -> Graph:
    """The graph with these edges where there were none, and without them where there were."""
    adjacency: BoolArray = model.scm.graph.adjacency.copy()
    for edge in edges:
        adjacency[edge] = ~adjacency[edge]
    return Graph(adjacency)


def _neighbour(model: LatentCausalModel, graph: Graph, prescribed: _Prescribed | None, keep: Kept) -> LatentCausalModel:
    law, moments = _imposed_law(model), linear_moments(model.scm)
    if keep == "decoder":
        if isinstance(model.decoder, SolutionDecoder):
            raise ValueError("Expected a decoder that does not go through the mechanisms; got that of a fitted model.")
        scm = _with_weights(model.scm, graph, _kept_weights(moments, graph, prescribed))
        decoder, intervention = copy.deepcopy(model.decoder), copy.deepcopy(model.intervention)
    else:
        weight, excess = _least_squares(moments, graph, prescribed)
        scm = _with_weights(model.scm, graph, weight, (moments.weight - weight).T @ moments.mean)
        decoder = SolutionDecoder(noise_decoder(model), scm)
        intervention = PerfectIntervention(_widened(law, excess, model.thickness))
    image = LatentCausalModel(scm, decoder, intervention, copy.deepcopy(model.target_distribution))
    image.thickness = model.thickness.clone()
    # adjacencies are made on the CPU
    return image.to(model.thickness.device).requires_grad_(False)


def _kept_weights(moments: LinearMoments, graph: Graph, prescribed: _Prescribed | None) -> FloatArray:
    """The model's own weights on the edges of `graph`, and the prescribed one."""
    weight = moments.weight * graph.adjacency
    if prescribed is None:
        return weight
    j, k = prescribed.edge
    weight[j, k] = 0.0
    effects = np.linalg.solve(np.eye(graph.n) - weight.T, np.diag(moments.own))
    if prescribed.weight is None:
        weight[j, k] = weight_of_strength(effects[j], effects[k], prescribed.strength, prescribed.sign)
    else:
        weight[j, k] = prescribed.weight
    return weight


def _least_squares(
    moments: LinearMoments, graph: Graph, prescribed: _Prescribed | None
) -> tuple[FloatArray, FloatArray]:
    """Weights [j, k] on `graph` with which z′ predicts the parents' part of each z_k best, causes first.

    Returns the weights and, for every variable, the variance (n,) that they leave unexplained.
    """
    weight, effects = np.zeros((graph.n, graph.n)), np.zeros((graph.n, graph.n))
    excess = np.zeros(graph.n)
    for k in graph.order():
        wanted = moments.weight[:, k] @ moments.effects
        here = prescribed if prescribed is not None and prescribed.edge[1] == k else None
        weight[:, k] = _fitted_weights(wanted, effects, graph.adjacency[:, k], float(moments.own[k]), here)
        found = weight[:, k] @ effects
        excess[k] = float(np.square(wanted - found).sum())
        effects[k] = found
        effects[k, k] += moments.own[k]
    return weight, excess


def _fitted_weights(
    wanted: FloatArray, effects: FloatArray, parents: BoolArray, own: float, prescribed: _Prescribed | None
) -> FloatArray:
    """Weights (n,) of the parents of one variable whose effects add up to nearly `wanted`; one may be prescribed."""
    weight, free = np.zeros(len(effects)), parents.copy()
    if prescribed is not None:
        j = prescribed.edge[0]
        free[j] = False
        weight[j] = _prescribed_weight(wanted, effects[free].T, effects[j], own, prescribed)
    weight[free] = np.linalg.lstsq(effects[free].T, wanted - weight @ effects)[0]
    return weight


def _prescribed_weight(
    wanted: FloatArray, others: FloatArray, parent: FloatArray, own: float, prescribed: _Prescribed
) -> float:
    """The weight w of `parent` where the others (n, k) are fitted to the rest.

    They take up what of the parent they can, so that z′_k varies by their own part, its own noise, and by w times what
    of the parent they leave: |w| sd(z_j) = strength · sd(z′_k) is quadratic in w with no linear term.
    """
    if prescribed.weight is not None:
        return prescribed.weight
    explained, taken = (others @ np.linalg.lstsq(others, part)[0] for part in (wanted, parent))
    square = prescribed.strength**2
    a = float(parent @ parent - square * np.square(parent - taken).sum())
    if a <= 0.0:
        raise ValueError(f"Expected a strength within reach, as any below 1 is; got {prescribed.strength}.")
    return prescribed.sign * float(np.sqrt(square * (explained @ explained + own * own) / a))


def _with_weights(scm: SCM, graph: Graph, weight: FloatArray, moved: FloatArray | float = 0.0) -> SCM:
    """A linear SCM of the same noise with other edges and weights, and `moved` (n,) added to its biases."""
    old = linear_mechanism(scm)
    mechanism = LinearMechanism(torch.tensor(graph.adjacency), torch.as_tensor(weight).to(old.weight))
    with torch.no_grad():
        mechanism.bias = torch.nn.Parameter(old.bias + torch.as_tensor(moved).to(old.bias))
        mechanism.log_scale = torch.nn.Parameter(old.log_scale.clone())
    return SCM(graph, mechanism, copy.deepcopy(scm.noise))


def _imposed_law(model: LatentCausalModel) -> Noise:
    if not isinstance(model.intervention, PerfectIntervention):
        raise ValueError(f"Expected perfect interventions; got {model.intervention.kind}.")
    return copy.deepcopy(model.intervention.noise)


def _widened(law: Noise, excess: FloatArray, like: torch.Tensor) -> Noise:
    """The law with `excess` (n,) added to its variances, about its means."""
    mean, variance = noise_moments(law)
    scale = np.sqrt(1.0 + excess / variance)
    return _moved(law, mean * (1.0 - scale), scale, like)


def _moved(law: Noise, shift: FloatArray, scale: FloatArray, like: torch.Tensor) -> Noise:
    return PushforwardNoise(law, AffineMap(law.n, *(torch.as_tensor(part).to(like) for part in (shift, scale))))
