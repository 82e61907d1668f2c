"""The explicit model with a flow as decoder: graph, mechanisms and g learned jointly, by the exact pair likelihood.

Sources: docs/theory.md section 2; Brehmer et al. 2022, whose explicit models have an autoencoder as decoder.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import one_hot

from lcm.learn.prepared import Prepared
from lcm.model.decoder import ChainDecoder, LinearDecoder, ResidualDecoder, SolutionDecoder
from lcm.model.elementwise import SplineMap
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.likelihood import THICKNESS_FLOOR, PairTerms, joint_log_density, pair_log_density, stay_log_density
from lcm.model.mechanism import LocationScaleMechanism, raw_log_scale
from lcm.model.noise import NormalNoise, PushforwardNoise, standard_normal_log_density
from lcm.model.scm import SCM
from lcm.peer.explicit import ExplicitConfig
from lcm.peer.explicit.graph_parameters import GraphParameters, topological_order
from lcm.peer.explicit.start import LinearStart
from lcm.peer.variational import staying_variance

_FLOW_LAYERS = 8
_ROWS = 20_000
_EXACT_THICKNESS = 2.0 * THICKNESS_FLOOR
_PARENTS = "mechanism.network.parents"


@final
class ExplicitFlow(nn.Module):
    """Everything that `elcm-flow` learns, in the coordinates of a fit: decoder, mechanisms, graph, p_ε, p̃, p_𝓘 and σ.

    The flow ends in `coordinates`: at noise, which the sampled mechanisms map to the causal variables, or at the causal
    variables, which they map back to noise. Both are the same family of models, with ψ = g ∘ s or g as the flow, but
    the second is harder to train. `exact`: the linear start already leaves one-sparse differences; it stays fixed
    except for a monotone map of each noise.
    """

    thickness: Tensor

    def __init__(
        self,
        graph: GraphParameters,
        targets: TargetDistribution,
        config: ExplicitConfig,
        start: LinearStart,
        generator: torch.Generator,
    ) -> None:
        """At the linear start; the generator draws hidden weights, on its device."""
        super().__init__()
        n = graph.n
        self.in_noise = config.coordinates == "noise"
        self.exact = self.in_noise and bool((start.thickness <= _EXACT_THICKNESS).all())
        layers = _FLOW_LAYERS if config.layers is None else config.layers
        residual = ResidualDecoder(n, 0 if self.exact else layers, config.hidden, bins=config.bins)
        residual.to(generator.device).draw_weights(generator)
        unmixing = start.abduction @ start.unmixing if self.in_noise else start.unmixing
        linear = LinearDecoder(n, torch.linalg.inv(unmixing).to(torch.get_default_dtype()))
        self.decoder = ChainDecoder([residual, linear.requires_grad_(not self.exact)])
        self.mechanism = SampledMechanism(n, config.mechanism_hidden, generator)
        self.mechanism.start_at(start.abduction)
        self.noise, self.imposed = (PushforwardNoise(NormalNoise(n), SplineMap(n, config.bins)) for _ in range(2))
        self.graph, self.target_distribution = graph, targets
        self.register_buffer("thickness", start.thickness.to(torch.get_default_dtype()))
        self.to(generator.device)

    def terms(self, x: Tensor, x_tilde: Tensor, adjacency: Tensor, thickness: Tensor) -> tuple[PairTerms, Tensor]:
        """Likelihood terms of pairs (N, n) under an acyclic adjacency (n, n), and how far the noise moved (N, n)."""
        values, log_decoder = self.decoder.inverse(torch.cat([x, x_tilde]))
        log_det = log_decoder.view(2, -1).sum(0)
        normal, log_normal = self._normal(values, adjacency)
        (u, u_tilde), tilde = normal.chunk(2), values.chunk(2)[1]
        base = standard_normal_log_density(u).sum(1) + log_det + log_normal.sum(1).view(2, -1).sum(0)
        move = self._move(tilde, log_normal.chunk(2)[1], adjacency)
        if self.exact:
            # a thickness at its floor would reward stretching the gauge, so it is measured before the gauge
            difference = (x_tilde - x) @ torch.linalg.inv(self._linear().matrix()).T
            log_gauge = self._residual().marginal(tilde)[1]
            return PairTerms(base, stay_log_density(difference, thickness) + log_gauge, move), difference
        return PairTerms(base, stay_log_density(u_tilde - u, thickness), move), u_tilde - u

    def _normal(self, values: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Standard-normal noise of what the flow ends in, and the logarithm of its slopes, both (N, n)."""
        if self.in_noise:
            return values, torch.zeros_like(values)
        noise, log_slope = self.mechanism.abduct(values, adjacency)
        normal, log_gauge = self.noise.to_normal(noise)
        return normal, log_slope + log_gauge

    def _move(self, tilde: Tensor, log_normal: Tensor, adjacency: Tensor) -> Tensor:
        """log-density (N, n) of each ũ_i as if i were a target, from what the flow ends in."""
        if not self.in_noise:
            return self.imposed.log_density(tilde) - log_normal
        noise, log_gauge = self.noise.from_normal(tilde)
        z, log_slope = self.mechanism.solve(noise, adjacency)
        return self.imposed.log_density(z) + log_slope + log_gauge

    def _linear(self) -> LinearDecoder:
        linear: LinearDecoder = self.decoder.parts[1]  # type: ignore[assignment]
        return linear

    def _residual(self) -> ResidualDecoder:
        residual: ResidualDecoder = self.decoder.parts[0]  # type: ignore[assignment]
        return residual

    def target_sets(self) -> tuple[Tensor, Tensor]:
        """Target sets (K, n) and log p_𝓘 (K,)."""
        return self.target_distribution.target_sets, self.target_distribution.log_probabilities()

    def log_density(self, x: Tensor, x_tilde: Tensor, adjacency: Tensor) -> Tensor:
        """log p(x, x̃) (N,), in nats in the coordinates of the fit, under an acyclic adjacency (n, n)."""
        return pair_log_density(self.terms(x, x_tilde, adjacency, self.thickness)[0], *self.target_sets())

    @torch.no_grad()
    def measure_thickness(self, prepared: Prepared) -> None:
        """Replace a thickness that was measured before the gauge by that of the standard-normal noise."""
        if not self.exact:
            return
        x, x_tilde = (part[:_ROWS] for part in prepared.train)
        adjacency = self.graph.sample(self.thickness.new_full((self.graph.n_draws,), 0.5))
        terms, _ = self.terms(x, x_tilde, adjacency, self.thickness)
        posterior = torch.softmax(joint_log_density(terms, *self.target_sets()), 1)
        self.exact = False
        difference = self.terms(x, x_tilde, adjacency, self.thickness)[1]
        self.thickness.copy_(self.staying_variance(difference, posterior, (x != x_tilde).any(1)).sqrt())

    def staying_variance(self, difference: Tensor, posterior: Tensor, changed: Tensor) -> Tensor:
        """Closed-form σ² (n,), above its floor, given the posterior (N, K), from the pairs that changed, bool (N,)."""
        stays = 1.0 - posterior @ self.target_distribution.target_sets.to(posterior.dtype)
        return staying_variance(difference, stays * changed.to(stays.dtype).unsqueeze(1))

    def assemble(self, graph: Graph, prepared: Prepared) -> LatentCausalModel:
        """The latent causal model over a graph, in the units of the data."""
        scm = SCM(graph, self.mechanism.over(graph), self.noise)
        chain = ChainDecoder([*self.decoder.parts, *prepared.standardisation.parts])
        return LatentCausalModel(
            scm,
            SolutionDecoder(chain, scm) if self.in_noise else chain,
            PerfectIntervention(self.imposed),
            self.target_distribution,
            self.thickness,
        ).to(self.thickness.device)


@final
class SampledMechanism(nn.Module):
    """Location-scale mechanisms of n variables under any acyclic adjacency (n, n) of zeros and ones."""

    def __init__(self, n: int, hidden: int, generator: torch.Generator) -> None:
        """Variables are independent until training; the generator draws hidden weights, on its device."""
        super().__init__()
        self.mechanism = LocationScaleMechanism(~torch.eye(n, dtype=torch.bool), hidden).to(generator.device)
        self.mechanism.network.draw_weights(generator)

    @torch.no_grad()
    def start_at(self, abduction: Tensor) -> None:
        """Make the mechanisms linear, with ε = abduction · z (n, n), of positive diagonal."""
        scale = abduction.diagonal()
        weight = (-abduction / scale.unsqueeze(1)).fill_diagonal_(0.0)
        self.mechanism.network.linear[..., 0].copy_(weight)
        self.mechanism.log_scale.copy_(raw_log_scale(-scale.log()))

    def abduct(self, z: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Noise and log|∂ε_i/∂z_i|, both (N, n), of z (N, n)."""
        found: tuple[Tensor, Tensor] = functional_call(self, {_PARENTS: adjacency}, (z,))
        return found

    def solve(
        self, noise: Tensor, adjacency: Tensor, targets: Tensor | None = None, imposed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """z and log|∂z_i/∂ε_i|, both (N, n), of noise (N, n), under an acyclic adjacency.

        Where `targets` (N, n), z takes the values `imposed` (N, n) instead.
        """
        order = topological_order(adjacency)
        found: tuple[Tensor, Tensor] = functional_call(self, {_PARENTS: adjacency}, (noise, order, targets, imposed))
        return found

    def forward(
        self, values: Tensor, order: Tensor | None = None, targets: Tensor | None = None, imposed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Abduction of z, or with an order (n,) the solution for noise, under the adjacency that is in place."""
        if order is None:
            abducted: tuple[Tensor, Tensor] = self.mechanism.inverse(values, values)
            return abducted
        z, log_slope = torch.zeros_like(values), torch.zeros_like(values)
        # one variable after the other: which of them could be solved together differs from sample to sample
        for variable in order.split(1):
            column = one_hot(variable, values.shape[1]).to(values)
            value, slope = self.mechanism(_column(values, column), z, variable)
            if targets is not None and imposed is not None:
                value = torch.where(_column(targets.to(values), column) > 0.5, _column(imposed, column), value)
            z, log_slope = z + value * column, log_slope + slope * column
        return z, log_slope

    def over(self, graph: Graph) -> LocationScaleMechanism:
        """A copy of the mechanisms over a fixed graph."""
        adjacency, network = torch.from_numpy(graph.adjacency.copy()), self.mechanism.network
        fixed = LocationScaleMechanism(adjacency, network.hidden, network.layers).to(network.linear)
        fixed.load_state_dict(self.mechanism.state_dict())
        return fixed


def _column(values: Tensor, column: Tensor) -> Tensor:
    """The column (N, 1) of values (N, n) that a one-hot (1, n) marks."""
    return values @ column.T
