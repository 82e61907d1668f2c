"""The default model, stage by stage: noise encoder, ancestors, mechanisms, graph, explicit model (docs/method.md)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.config import FlowConfig
from lcm.learn.known import with_known
from lcm.learn.mechanisms import ExplicitObjective, fit_mechanisms, refit_mechanisms
from lcm.learn.noise_encoder import ImplicitModel
from lcm.learn.noise_encoder_fit import fit_noise_encoder
from lcm.learn.noise_encoder_objective import Encoded, encode_prepared, mean_log_density
from lcm.learn.prepared import Prepared
from lcm.learn.result import Fitted
from lcm.learn.training.objective import Stages
from lcm.model.decoder import ChainDecoder, Decoder, SheetDecoder, SolutionDecoder
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.noise import Noise
from lcm.readout.ancestors import Ancestry, find_ancestry
from lcm.readout.edges import find_edges
from lcm.readout.evidence import FoundGraph, GraphEvidence


def fit_flow(
    prepared: Prepared,
    targets: TargetDistribution,
    config: FlowConfig,
    generator: Callable[[int], torch.Generator],
    closed_form: bool,
) -> Stages[Fitted]:
    """Fit the default model; with `closed_form`, by its closed forms alone, without a single step.

    Args:
        prepared: the pairs.
        targets: the intervention family, changed in place.
        config: settings of every stage.
        generator: gives one for 0 (noise encoder), 1 (candidate mechanisms) and 2 (mechanisms on the graph).
    """
    implicit = yield from fit_noise_encoder(prepared, targets, config.noise_encoder, generator(0), closed_form)
    return (yield from _read_out(implicit, prepared, config, generator, closed_form))


def _read_out(
    implicit: ImplicitModel,
    prepared: Prepared,
    config: FlowConfig,
    generator: Callable[[int], torch.Generator],
    closed_form: bool,
) -> Stages[Fitted]:
    """All that follows a noise encoder: ancestors, mechanisms, graph, and the explicit model in the data's units."""
    implicit.requires_grad_(False)
    train, validation = encode_prepared(implicit, prepared)
    weights = train.posterior @ implicit.target_distribution.target_sets.to(train.posterior.dtype)
    law, level = implicit.solution.noise, config.readout.ancestor_level
    ancestry = find_ancestry(_noise(law, train.normal), _noise(law, train.normal_tilde), weights, level)
    ancestry = with_known(ancestry, config.known)

    def mechanisms(graph: Graph) -> ExplicitObjective:
        return ExplicitObjective(graph, implicit, train, validation, config.mechanisms).to(train.normal.device)

    candidate = mechanisms(Graph(ancestry.candidates))
    if not closed_form:
        yield from fit_mechanisms(candidate, generator(1))
    candidate.requires_grad_(False)
    evidence = _evidence(candidate, ancestry, train, validation, weights)
    known = config.known.graph is not None
    graph = candidate.scm.graph if known else evidence.graph_at(config.readout.false_discovery_rate)
    final = candidate
    if graph != candidate.scm.graph:
        final = mechanisms(graph)
        if not closed_form:
            yield from refit_mechanisms(final, candidate, generator(2))
    model = _assemble(final.requires_grad_(False), implicit, prepared)
    implicit_nll = prepared.log_volume - mean_log_density(implicit, prepared.validation)
    explicit_nll = -_explicit_log_density(model, implicit, prepared)
    found = FoundGraph(model.graph, evidence.edge_strength, evidence.order, evidence)
    return Fitted(model, found, explicit_nll, ancestry, implicit_nll, implicit)


def _evidence(
    candidate: ExplicitObjective, ancestry: Ancestry, train: Encoded, validation: Encoded, weights: Tensor
) -> GraphEvidence:
    """All edges, tested on the training pairs, their strengths averaged over the held-out ones."""
    noise = candidate.scm.noise
    of_train = _noise(noise, train.normal_tilde), _solve(candidate, train.normal), weights
    return find_edges(
        candidate.scm, ancestry, of_train, (_noise(noise, validation.normal), _solve(candidate, validation.normal))
    )


def _noise(law: Noise, normal: Tensor) -> Tensor:
    return in_chunks(lambda u: (law.from_normal(u)[0],), normal)[0]


def _solve(objective: ExplicitObjective, normal: Tensor) -> Tensor:
    scm = objective.scm
    return in_chunks(lambda u: (scm.solve(scm.noise.from_normal(u)[0])[0],), normal)[0]


def _assemble(final: ExplicitObjective, implicit: ImplicitModel, prepared: Prepared) -> LatentCausalModel:
    """The explicit model ⟨C, 𝒳, g = φ⁻¹ ∘ s⁻¹, 𝓘, p_𝓘⟩ in the units of the data."""
    return LatentCausalModel(
        final.scm,
        SolutionDecoder(_noise_decoder(implicit, prepared), final.scm),
        PerfectIntervention(final.imposed),
        implicit.target_distribution,
        implicit.thickness,
        float(implicit.growth),
    ).to(implicit.thickness.device)


def _noise_decoder(implicit: ImplicitModel, prepared: Prepared) -> Decoder:
    """φ⁻¹ in the units of the data: onto a sheet, if there are more coordinates than variables."""
    inner, outer, n = implicit.noise_decoder.parts, prepared.standardisation.parts, len(implicit.thickness)
    if n == prepared.n:
        return ChainDecoder([*inner, *outer])
    (columns,) = outer
    return SheetDecoder(n, ChainDecoder(list(inner)), columns)  # type: ignore[arg-type]


def _explicit_log_density(model: LatentCausalModel, implicit: ImplicitModel, prepared: Prepared) -> float:
    """Mean log p(x, x̃) of the held-out pairs: of their coordinates on the sheet and, as fitted, of those off it."""
    x, x_tilde = (prepared.standardisation.decode(part) for part in prepared.validation)
    found = float(in_chunks(lambda a, b: (model.pair_log_density(a, b),), x, x_tilde)[0].mean())
    if len(implicit.thickness) == prepared.n:
        return found
    sheet = _noise_decoder(implicit, prepared)
    of_sheet = in_chunks(lambda a, b: (sheet.inverse(a)[1] + sheet.inverse(b)[1],), x, x_tilde)[0]
    of_all = in_chunks(lambda a, b: (implicit.encode_pairs(a, b).log_det,), *prepared.validation)[0]
    return found + float((of_all - of_sheet).mean()) - prepared.log_volume
