"""What explicit models minimise: the exact likelihood or a bound, under sampled graphs (docs/explicit-models.md)."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import replace
from functools import partial
from typing import final

import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.base.component import describe
from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Objective, ParameterGroup
from lcm.model.likelihood import THICKNESS_FLOOR, joint_log_density
from lcm.peer.explicit.config import ExplicitConfig
from lcm.peer.explicit.flow import ExplicitFlow
from lcm.peer.explicit.graph_parameters import FixedGraph, GraphParameters
from lcm.peer.explicit.vae import ExplicitVAE

FLOW_RATE, VAE_RATE = 1e-2, 3e-3
"""Step sizes where none is configured."""

_CLOSED_FORM_RATE = 0.02
_REFIT_RATE = 0.2
_HELD_OUT_GRAPHS = 10
_HELD_OUT_SAMPLES = 4
_UNDECIDED = 1.0


@final
class ExplicitFlowObjective(Objective):
    """Negative mean log p(x, x̃) under a sampled graph, and the penalties on edges and cycles.

    σ and p_𝓘 move towards their closed forms in every step, as for the default model; an annealed floor on σ makes the
    first steps smooth.
    """

    closed_form: Tensor
    first_floor: Tensor
    progress: Tensor

    def __init__(
        self, model: ExplicitFlow, prepared: Prepared, config: ExplicitConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.model, self.config, self._generator = model, config, generator
        self._train, self._validation = prepared.train, prepared.validation
        self._held_out_draws = held_out_draws(model.graph, generator)
        self.register_buffer("progress", torch.zeros(()))
        self.register_buffer("closed_form", model.thickness.clone())
        self.register_buffer("first_floor", (config.anneal_from * model.thickness).clamp_min(THICKNESS_FLOOR))

    def groups(self) -> list[ParameterGroup]:
        model, config = self.model, self.config
        mechanisms = [*model.mechanism.parameters(), *model.noise.parameters(), *model.imposed.parameters()]
        rate = FLOW_RATE if config.learning_rate is None else config.learning_rate
        groups = [
            ParameterGroup([p for p in model.decoder.parameters() if p.requires_grad], rate),
            ParameterGroup(mechanisms, config.mechanism_learning_rate),
            ParameterGroup(list(model.graph.parameters()), config.graph_learning_rate),
        ]
        return [group for group in groups if group.parameters]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        graph = self.model.graph
        return str(describe(self.model.decoder)), self.config, type(graph), graph.temperature

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        x, x_tilde = self._train
        return x[rows], x_tilde[rows], graph_draws(self.model.graph, len(rows), self.config, self._generator)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        x, x_tilde, draws = batch
        self.progress.fill_(progress)
        model = self.model
        adjacency = model.graph.sample(draws.flatten()[: model.graph.n_draws])
        model.thickness.copy_(torch.maximum(self.closed_form, self._annealed_floor(progress)))
        terms, difference = model.terms(x, x_tilde, adjacency, model.thickness)
        joint = joint_log_density(terms, *model.target_sets())
        self._update(difference, joint, (x != x_tilde).any(1), annealed=progress >= self.config.anneal_share)
        return graph_penalty(model.graph, self.config, progress) - torch.logsumexp(joint, 1).mean()

    def _annealed_floor(self, progress: float) -> Tensor:
        share = self.config.anneal_share
        done = 1.0 if share == 0 else min(1.0, progress / share)
        return self.first_floor * (THICKNESS_FLOOR / self.first_floor) ** done

    @torch.no_grad()
    def _update(self, difference: Tensor, joint: Tensor, changed: Tensor, annealed: bool) -> None:
        posterior = torch.softmax(joint, 1)
        variance = self.model.staying_variance(difference, posterior, changed)
        self.closed_form.copy_(self.closed_form.square().lerp(variance, _CLOSED_FORM_RATE).sqrt())
        if annealed:
            probabilities = self.model.target_distribution.probabilities
            probabilities.copy_(probabilities.lerp(posterior.mean(0), _CLOSED_FORM_RATE))

    def validate(self) -> dict[str, float | list[float]]:
        model = self.model
        model.thickness.copy_(self.closed_form)
        graph = model.graph.decide()
        return {
            "validation_log_likelihood": self._held_out() - undecided(model.graph, self.progress),
            "edges": float(graph.n_edges),
            "cyclicity": float(model.graph.cyclicity()),
            "thickness": model.thickness.tolist(),
        }

    def _held_out(self) -> float:
        """Mean log p(x, x̃) of the held-out pairs, each part of them under a sample of its own."""
        model, total = self.model, 0.0
        parts = zip(*(part.tensor_split(_HELD_OUT_GRAPHS) for part in self._validation), strict=True)
        for draws, (x, x_tilde) in zip(self._held_out_draws, parts, strict=True):
            adjacency = model.graph.sample(draws)
            (values,) = in_chunks(partial(_log_density, model, adjacency), x, x_tilde)
            total += float(values.sum())
        return total / len(self._validation[0])


def _log_density(model: ExplicitFlow, adjacency: Tensor, x: Tensor, x_tilde: Tensor) -> tuple[Tensor]:
    return (model.log_density(x, x_tilde, adjacency),)


@final
class ExplicitVAEObjective(Objective):
    """Negative mean ELBO under a sampled graph, and the penalties on edges and cycles; p_𝓘 in closed form."""

    progress: Tensor

    def __init__(
        self,
        model: ExplicitVAE,
        graph: GraphParameters,
        prepared: Prepared,
        config: ExplicitConfig,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.model, self.graph, self.config, self._generator = model, graph, config, generator
        self._train, self._validation = prepared.train, prepared.validation
        self._held_out_draws = held_out_draws(graph, generator)
        self.register_buffer("progress", torch.zeros(()))
        self._held_out_normal = self._normal(len(self._validation[0]), _HELD_OUT_SAMPLES)

    def _normal(self, rows: int, samples: int) -> Tensor:
        shape = (rows, samples, 2, self.model.n)
        return torch.randn(shape, generator=self._generator, device=self._generator.device)

    def groups(self) -> list[ParameterGroup]:
        model, config = self.model, self.config
        mechanisms = list(model.mechanism.parameters())
        others = [
            parameter
            for name, parameter in model.named_parameters()
            if not name.startswith("mechanism.") and (name != "heuristic" or model.posterior == "heuristic")
        ]
        groups = [
            ParameterGroup(others, VAE_RATE if config.learning_rate is None else config.learning_rate),
            ParameterGroup(mechanisms, config.mechanism_learning_rate),
            ParameterGroup(list(self.graph.parameters()), config.graph_learning_rate),
        ]
        return [group for group in groups if group.parameters]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        return str(self.model.description()), self.config, type(self.graph), self.graph.temperature

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        y, y_tilde = self._train
        draws = graph_draws(self.graph, len(rows), self.config, self._generator)
        return y[rows], y_tilde[rows], self._normal(len(rows), 1), draws

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        y, y_tilde, normal, draws = batch
        self.progress.fill_(progress)
        adjacency = self.graph.sample(draws.flatten()[: self.graph.n_draws])
        bound, posterior = self.model.elbo(y, y_tilde, adjacency, normal.transpose(0, 1))
        probabilities = self.model.target_distribution.probabilities
        probabilities.copy_(probabilities.lerp(posterior.detach().mean((0, 1)), _CLOSED_FORM_RATE))
        return graph_penalty(self.graph, self.config, progress) - bound.mean()

    def validate(self) -> dict[str, float | list[float]]:
        graph, total = self.graph.decide(), 0.0
        self.model.set_graph(graph)
        arrays = (*self._validation, self._held_out_normal)
        parts = zip(*(part.tensor_split(_HELD_OUT_GRAPHS) for part in arrays), strict=True)
        for draws, part in zip(self._held_out_draws, parts, strict=True):
            (values,) = in_chunks(partial(_bound, self.model, self.graph.sample(draws)), *part)
            total += float(values.sum())
        return {
            "validation_log_likelihood": total / len(self._validation[0]) - undecided(self.graph, self.progress),
            "edges": float(graph.n_edges),
            "cyclicity": float(self.graph.cyclicity()),
            "target_probabilities": self.model.target_distribution.probabilities.tolist(),
        }


def _bound(model: ExplicitVAE, adjacency: Tensor, y: Tensor, y_tilde: Tensor, normal: Tensor) -> tuple[Tensor]:
    return (model.elbo(y, y_tilde, adjacency, normal.transpose(0, 1))[0],)


def graph_draws(graph: GraphParameters, rows: int, config: ExplicitConfig, generator: torch.Generator) -> Tensor:
    """Uniform draws (rows, w), w such that every batch has at least those of one sample."""
    width = math.ceil(graph.n_draws / config.batch_size)
    return torch.rand(rows, width, generator=generator, device=generator.device)


def graph_penalty(graph: GraphParameters, config: ExplicitConfig, progress: float) -> Tensor:
    """What edges and cycles cost () in nats a pair; the weight of cycles rises with the square of progress."""
    if isinstance(graph, FixedGraph):
        return graph.allowed.new_zeros((), dtype=torch.get_default_dtype())
    return config.sparsity * graph.expected_edges() + config.acyclicity * progress**2 * graph.cyclicity()


def undecided(graph: GraphParameters, progress: Tensor) -> float:
    """What a state under sampled graphs is held back by when states are compared, in nats a pair, falling to zero.

    The linear start has all edges, and where it is all but right no later state would be preferred to it.
    """
    return 0.0 if isinstance(graph, FixedGraph) else _UNDECIDED * (1.0 - float(progress))


def held_out_draws(graph: GraphParameters, generator: torch.Generator) -> Tensor:
    """Uniform draws (G, n_draws) of the graphs of all validations; others would let luck choose among states."""
    return torch.rand(_HELD_OUT_GRAPHS, graph.n_draws, generator=generator, device=generator.device)


def refit_config(config: ExplicitConfig, rate: float) -> ExplicitConfig:
    """Settings of the refit under the decided graph: slower than `rate` and the rest, and without annealing."""
    return replace(
        config,
        anneal_share=0.0,
        learning_rate=_REFIT_RATE * (rate if config.learning_rate is None else config.learning_rate),
        mechanism_learning_rate=_REFIT_RATE * config.mechanism_learning_rate,
    )
