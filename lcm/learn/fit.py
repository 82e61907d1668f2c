"""Fit a latent causal model to pairs by maximum likelihood (docs/theory.md sections 2 and 3, docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from lcm.data.mapped import row_blocks
from lcm.data.pairs import PairData, require_enough_dimensions, require_enough_pairs
from lcm.decoder import ChainDecoder, SolutionDecoder
from lcm.discovery import GraphEvidence
from lcm.graph import Graph
from lcm.intervention import PerfectIntervention, TargetDistribution
from lcm.learn.config import FitConfig
from lcm.learn.ensemble import run_together
from lcm.learn.implicit import ImplicitModel
from lcm.learn.mechanisms import ExplicitObjective, fit_mechanisms, refit_mechanisms
from lcm.learn.noise_encoder import Encoded, encode_all, fit_noise_encoder, mean_log_density
from lcm.learn.optimise import Stages, in_chunks
from lcm.learn.prepare import Prepared, prepare
from lcm.learn.readout import Ancestry, find_ancestry, find_edges
from lcm.learn.reruns import Rerun, compare_restarts
from lcm.learn.tracker import Recorder
from lcm.model import LatentCausalModel
from lcm.noise import Noise

_MAX_VARIABLES_FOR_ALL_SUBSETS = 16


@final
@dataclass(frozen=True)
class FitResult:
    """A fitted model and what was found on the way.

    evidence: p-values, strengths with standard errors and the graph at any false discovery rate. order: causes first.
    ancestry: the ancestor test. implicit_nll, explicit_nll: mean nats a held-out pair, in the units of the data, of
    the implicit and of the explicit model at the same thickness; the latter ranks restarts. seconds: all restarts.
    records: one mapping per validation of every stage. restart: the one that was kept. restart_nll: explicit_nll of
    each. reruns: the other restarts, compared with it up to isomorphism.
    """

    model: LatentCausalModel
    evidence: GraphEvidence
    ancestry: Ancestry
    implicit_nll: float
    explicit_nll: float
    seconds: float = 0.0
    records: tuple[dict[str, Any], ...] = ()
    restart: int = 0
    restart_nll: tuple[float, ...] = ()
    reruns: tuple[Rerun, ...] = ()

    @property
    def order(self) -> tuple[int, ...]:
        """The variables, causes first, for the graph at any false discovery rate."""
        return self.evidence.order

    @property
    def edge_strength(self) -> np.ndarray:
        """(n, n) ≥ 0, [i, j] for i → j, before thresholding (docs/theory.md section 3)."""
        return self.evidence.edge_strength

    def graph_at(self, false_discovery_rate: float) -> Graph:
        """The graph at another false discovery rate; ValueError unless that is strictly between 0 and 1."""
        return self.evidence.graph_at(false_discovery_rate)


def fit(
    x: PairData | Any,
    x_tilde: Any = None,
    n: int | None = None,
    config: FitConfig | None = None,
    *,
    seed: int | None = None,
    restarts: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> LatentCausalModel:
    """Fit a latent causal model to pairs; see `fit_pairs` for all that is found besides.

    Args:
        x: observations (N, d) before the intervention, array or tensor; or a `PairData` that holds both.
        x_tilde: observations (N, d) after it.
        n: number of causal variables; by default dim x, or the estimated dimension where x is rank-deficient.
        config: all settings; `n`, `seed` and `restarts` override its entries.
        device: "auto", "cpu" or "cuda".

    Raises:
        ValueError: data that cannot be fitted (shapes, NaN, constant columns, too few pairs, dim x < n), or no such
            device.
    """
    data = x if isinstance(x, PairData) else PairData.from_arrays(x, x_tilde)
    given = {"n": n, "seed": seed, "restarts": restarts}
    config = replace(config or FitConfig(), **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    return fit_pairs(data, config, device=resolve_device(device), recorder=Recorder(progress=progress)).model


def fit_pairs(
    data: PairData, config: FitConfig, device: torch.device | None = None, recorder: Recorder | None = None
) -> FitResult:
    """Fit from x and x̃ alone, with restarts ranked by the held-out likelihood of the explicit model.

    Raises:
        ValueError: too few pairs, dim x < n, images, or a target set out of range.
        FloatingPointError: a likelihood that is not finite.
    """
    return fit_ensemble(data, [config], device or torch.device("cpu"), recorder)[0]


def fit_ensemble(
    data: PairData | Sequence[PairData],
    configs: Sequence[FitConfig],
    device: str | torch.device = "auto",
    recorder: Recorder | None = None,
) -> list[FitResult]:
    """Fit once for every config, all at once; each result is that of `fit_pairs` to float tolerance.

    Fits of one structure, such as other seeds, are one batched computation; others take turns. To the recorder all
    restarts of all fits are restarts, counted on.

    Args:
        data: pairs for all configs, or for each config pairs of its own, all of one shape (N, d).
        configs: settings of each fit.
        device: "auto", "cpu", "cuda" or a torch device.

    Raises:
        ValueError: no configs, data sets of unequal number or shape, or what `fit_pairs` refuses.
        FloatingPointError: a likelihood that is not finite.
    """
    where = resolve_device(device) if isinstance(device, str) else device
    recorder = recorder or Recorder()
    pairs = _data_sets(data, len(configs))
    targets = [target_distribution(choose_n(*fit), fit[1]) for fit in zip(pairs, configs, strict=True)]
    members: list[Stages[FitResult]] = []
    held_out = []
    for each, config, family in zip(pairs, configs, targets, strict=True):
        prepared = prepare(each.x, each.x_tilde, family.n, config.validation_share, config.seed, where)
        held_out.append(prepared.held_out() if config.restarts > 1 else None)
        members += [_fit_once(prepared, family, config, restart) for restart in range(config.restarts)]
    found = run_together(members, recorder)
    results, first = [], 0
    for each, config, rest in zip(pairs, configs, held_out, strict=True):
        results.append(_best(found[first : first + config.restarts], each, rest, first, recorder))
        first += config.restarts
    return results


def _data_sets(data: PairData | Sequence[PairData], count: int) -> list[PairData]:
    """A data set for each of `count` configs."""
    if count == 0:
        raise ValueError("configs: Expected at least one; got none.")
    pairs = [data] * count if isinstance(data, PairData) else list(data)
    if len(pairs) != count:
        raise ValueError(f"data: Expected a data set for each of {count} configs; got {len(pairs)}.")
    for each in pairs:
        if each.x.shape != pairs[0].x.shape:
            raise ValueError(f"data: Expected data sets of one shape, {pairs[0].x.shape}; got {each.x.shape}.")
    return pairs


def _best(
    results: list[FitResult], data: PairData, held_out: PairData | None, first: int, recorder: Recorder
) -> FitResult:
    """The likeliest of the restarts of one fit, which are number `first` and those that follow to the recorder."""
    scores = tuple(result.explicit_nll for result in results)
    best = int(np.argmin(np.nan_to_num(scores, nan=np.inf)))
    if not np.isfinite(scores[best]):
        raise FloatingPointError(f"the held-out log-likelihood of the explicit model became {-scores[best]}")
    numbers = range(first, first + len(results))
    records = [
        record | {"restart": record["restart"] - first} for record in recorder.records if record["restart"] in numbers
    ]
    models = [result.model for result in results]
    return replace(
        results[best],
        reruns=() if held_out is None else compare_restarts(models, best, data, held_out),
        seconds=recorder.seconds,
        records=tuple(records),
        restart=best,
        restart_nll=scores,
    )


def choose_n(data: PairData, config: FitConfig) -> int:
    """The number of causal variables: as configured, else dim x at full rank, else the estimated dimension."""
    from lcm.data.dimension import dimension, spectrum

    at = f"{data.source}: " if data.source else ""
    if data.is_images:
        raise ValueError(f"{at}x: Expected shape (N, d); got images {data.x.shape}, which this version cannot fit.")
    if all(np.array_equal(first, second) for first, second in row_blocks(data.x, data.x_tilde)):
        raise ValueError(f"{at}x_tilde: Expected pairs that differ; got x_tilde equal to x in every row.")
    found = spectrum(data.x, data.x_tilde)
    n = dimension(found, data.x) if config.n is None else config.n
    require_enough_dimensions(data, n)
    require_enough_pairs(data, n)
    if not 1 <= n <= found.rank:
        raise ValueError(f"{at}x: Expected a numerical rank of at least n = {max(n, 1)}; got {found.rank}.")
    return n


def target_distribution(n: int, config: FitConfig) -> TargetDistribution:
    """The configured intervention family over n variables, uniform to start with.

    Raises:
        ValueError: a target out of range, a set twice, or all subsets of more than 16 variables.
    """
    if config.targets == "all" and n > _MAX_VARIABLES_FOR_ALL_SUBSETS:
        raise ValueError(f"targets: Expected n <= {_MAX_VARIABLES_FOR_ALL_SUBSETS} for all subsets; got n = {n}.")
    try:
        if isinstance(config.targets, str):
            return TargetDistribution.family(n, config.targets)
        return TargetDistribution(n, config.targets, None)
    except ValueError as error:
        raise ValueError(f"targets: {error}") from error


def resolve_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda".

    Raises:
        ValueError: another name, or a device this machine does not have.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: Expected auto, cpu or cuda; got {name!r}.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("device: Expected CUDA, as asked for; got a machine without it. Use cpu.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def _fit_once(prepared: Prepared, targets: TargetDistribution, config: FitConfig, restart: int) -> Stages[FitResult]:
    device = prepared.train[0].device

    def generator(stage: int) -> torch.Generator:
        seed = np.random.SeedSequence([config.seed, restart, stage]).generate_state(1)[0]
        return torch.Generator(device).manual_seed(int(seed))

    if restart > 0:
        prepared = prepared.restarted(np.random.default_rng([config.seed, restart]))
    own_targets = TargetDistribution(targets.n, targets.as_lists(), targets.probabilities.tolist()).to(device)
    implicit = yield from fit_noise_encoder(prepared, own_targets, config.noise_encoder, generator(0))
    implicit.requires_grad_(False)
    train, validation = (encode_all(implicit, *pairs) for pairs in (prepared.train, prepared.validation))
    weights = train.posterior @ implicit.target_distribution.target_sets.to(train.posterior.dtype)
    law, level = implicit.solution.noise, config.readout.ancestor_level
    ancestry = find_ancestry(_noise(law, train.normal), _noise(law, train.normal_tilde), weights, level)

    def mechanisms(graph: Graph) -> ExplicitObjective:
        return ExplicitObjective(graph, implicit, train, validation, config.mechanisms).to(device)

    candidate = mechanisms(Graph(ancestry.candidates))
    yield from fit_mechanisms(candidate, generator(1))
    candidate.requires_grad_(False)
    evidence = _evidence(candidate, ancestry, train, validation, weights)
    graph = evidence.graph_at(config.readout.false_discovery_rate)
    final = candidate
    if graph != candidate.scm.graph:
        final = mechanisms(graph)
        yield from refit_mechanisms(final, candidate, generator(2))
    model = _assemble(final.requires_grad_(False), implicit, prepared)
    implicit_nll = 2.0 * prepared.log_volume - mean_log_density(implicit, prepared.validation)
    explicit_nll = -_explicit_log_density(model, prepared)
    return FitResult(model, evidence, ancestry, implicit_nll, explicit_nll)


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
    decoder = ChainDecoder([*implicit.noise_decoder.parts, *prepared.standardisation.parts])
    return LatentCausalModel(
        final.scm,
        SolutionDecoder(decoder, final.scm),
        PerfectIntervention(final.imposed),
        implicit.target_distribution,
        implicit.thickness,
    ).to(implicit.thickness.device)


def _explicit_log_density(model: LatentCausalModel, prepared: Prepared) -> float:
    x, x_tilde = (prepared.standardisation(part)[0] for part in prepared.validation)
    return float(in_chunks(lambda a, b: (model.pair_log_density(a, b),), x, x_tilde)[0].mean())
