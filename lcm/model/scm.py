"""Structural causal models C = ⟨𝒢, {f_i}, p_ε⟩ (docs/theory.md section 1; Brehmer et al. 2022, section 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from lcm.base.component import describe
from lcm.base.settings import require_mapping, require_type
from lcm.model.circle import wrap_circles
from lcm.model.do import Do
from lcm.model.graph import Graph, IntArray
from lcm.model.mechanism import Mechanism
from lcm.model.noise import Noise

InterventionValue = Callable[[Tensor, Tensor], Tensor]
"""(z (N, n) with all parents solved, variables (k,)) → values (N, k) that an intervention imposes."""


@final
class SCM(nn.Module):
    """An acyclic SCM over a product of lines and circles: a graph, n mechanisms and independent noise.

    `circular` (n,) bool says which variables are circles, given as angles in (−π, π]; the others are real.
    Solving runs over the topological generations; abduction runs over all variables at once.

    Example:
        >>> import lcm
        >>> scm = lcm.fit("data/sample.safetensors", model="linear", quiet=True).model.scm
        >>> scm.n, len(scm.graph.edges())
        (3, 2)
    """

    def __init__(self, graph: Graph, mechanism: Mechanism, noise: Noise) -> None:
        """Raises ValueError when the mechanism's adjacency or the noise's size differs from the graph's, or the noise
        has other circles than the mechanism."""
        super().__init__()
        if mechanism.adjacency.cpu().numpy().tolist() != graph.adjacency.tolist():
            raise ValueError("Expected mechanisms over the graph's adjacency; got a different adjacency.")
        if noise.n != graph.n:
            raise ValueError(f"Expected noise of {graph.n} variables; got {noise.n}.")
        circles, noise_circles = mechanism.circular.int().tolist(), noise.circular.int().tolist()
        if noise_circles != circles:
            raise ValueError(f"Expected noise with the circles of the mechanism, {circles}; got {noise_circles}.")
        self.graph, self.mechanism, self.noise, self.n = graph, mechanism, noise, graph.n
        self._n_generations = 0
        self.solve_by(graph.generations())
        self._has_circles = any(circles)

    @property
    def circular(self) -> Tensor:
        """Which variables are circles, bool (n,)."""
        return self.mechanism.circular

    def solve_by(self, generations: Sequence[Sequence[int] | IntArray]) -> None:
        """Solve for these groups of variables one after the other, causes first, instead of topological generations."""
        for index in range(len(generations), self._n_generations):
            delattr(self, f"_generation_{index}")
        device = self.mechanism.adjacency.device
        for index, generation in enumerate(generations):
            self.register_buffer(f"_generation_{index}", torch.as_tensor(generation, device=device), persistent=False)
        self._n_generations = len(generations)

    def generation_sizes(self) -> tuple[int, ...]:
        """How many variables are solved for at once."""
        return tuple(len(generation) for generation in self._generations())

    def _generations(self) -> list[Tensor]:
        return [self.get_buffer(f"_generation_{index}") for index in range(self._n_generations)]

    def description(self) -> dict[str, Any]:
        """JSON description that `SCM.build` turns back into an SCM."""
        return {
            "adjacency": self.graph.adjacency.astype(int).tolist(),
            "mechanism": describe(self.mechanism),
            "noise": describe(self.noise),
        }

    @staticmethod
    def build(description: Mapping[str, Any]) -> SCM:
        """Rebuild an SCM, without its tensors, from `description`."""
        given = require_mapping(description, "an SCM", ("adjacency", "mechanism", "noise"))
        require_type(given["adjacency"], "list[list[int]]", "adjacency")
        graph = Graph(given["adjacency"])
        return SCM(graph, Mechanism.build(given["mechanism"]), Noise.build(given["noise"]))

    def solve(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Solution map z = s(ε): noise (N, n) → z (N, n) and log|det ∂s/∂ε| (N,)."""
        z, log_derivative = self.solve_each(noise)
        return z, log_derivative.sum(1)

    def solve_each(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z = s(ε) and log|∂z_i/∂ε_i|, both (N, n), from noise (N, n); they sum to log|det ∂s/∂ε|."""
        z, log_derivative = torch.zeros_like(noise), torch.zeros_like(noise)
        for generation in self._generations():
            value, log_slope = self.mechanism(noise[:, generation], z, generation)
            z = z.index_copy(1, generation, value)
            log_derivative = log_derivative.index_copy(1, generation, log_slope)
        return z, log_derivative

    def solve_intervened(self, noise: Tensor, targets: Tensor, imposed: InterventionValue) -> Tensor:
        """Solution z̃ (N, n) of the intervened model: targets (N, n) take imposed values."""
        z = torch.zeros_like(noise)
        for generation in self._generations():
            natural = self.mechanism(noise[:, generation], z, generation)[0]
            value = torch.where(targets[:, generation], imposed(z, generation), natural)
            # a value imposed on a circle may be any number; the mechanisms' own are wrapped already
            value = wrap_circles(value, self.circular[generation]) if self._has_circles else value
            z = z.index_copy(1, generation, value)
        return z

    def abduct(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Abduction ε = s⁻¹(z): z (N, n) → noise (N, n) and log|det ∂s⁻¹/∂z| (N,)."""
        noise, log_derivative = self.mechanism.inverse(z, z)
        return noise, log_derivative.sum(1)

    def log_density(self, z: Tensor) -> Tensor:
        """Exact observational log p(z) (N,), in nats."""
        noise, log_det = self.abduct(z)
        return self.noise.log_density(noise).sum(1) + log_det

    def sample_noise(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Noise ε (n_samples, n), in the precision of the mechanisms' parameters."""
        dtype = next((parameter.dtype for parameter in self.mechanism.parameters()), None)
        return self.noise.sample(n_samples, generator, dtype)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Observational samples z (n_samples, n)."""
        return self.solve(self.sample_noise(n_samples, generator))[0]

    def sample_interventional(self, n_samples: int, do: Do, generator: torch.Generator) -> Tensor:
        """Samples z̃ (n_samples, n) of the model after `do`."""
        return self._act(self.sample_noise(n_samples, generator), do, generator)

    def counterfactual(self, z: Tensor, do: Do, generator: torch.Generator | None = None) -> Tensor:
        """Counterfactual z̃ (N, n) of each observed z under `do`: abduct the noise, act, predict."""
        return self._act(self.abduct(z)[0], do, generator)

    def intervened_graph(self, do: Do) -> Graph:
        """The graph after `do`: edges into the targets are cut."""
        adjacency = self.graph.adjacency.copy()
        adjacency[:, list(do.values)] = False
        return Graph(adjacency)

    def _act(self, noise: Tensor, do: Do, generator: torch.Generator | None) -> Tensor:
        targets, values = (t.to(noise.device) for t in do.imposed(self.n, len(noise), generator))
        values = values.to(noise.dtype)
        return self.solve_intervened(noise, targets, lambda _, variables: values[:, variables])
