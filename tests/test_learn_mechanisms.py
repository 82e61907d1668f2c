"""The last stage of a fit: the closed-form linear start, the objective, and when training is given up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from laws import generator, randomised
from small import sampled
from test_training_loop import Memory
from torch import Tensor

from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig, EdgesConfig, FullConfig
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.learn.config import MechanismsConfig, NoiseEncoderConfig
from lcm.learn.mechanisms import ExplicitObjective, fit_mechanisms, refit_mechanisms
from lcm.learn.noise_encoder import ImplicitModel, SolutionFunctions
from lcm.learn.noise_encoder_objective import Encoded
from lcm.learn.training.loop import run_alone
from lcm.metric.graph import aligned_adjacency, structural_hamming_distance
from lcm.model.decoder import ChainDecoder, FlowDecoder
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import (
    AdditiveMechanismConfig,
    LinearMechanism,
    LocationScaleMechanism,
    MechanismConfig,
    TrainableMechanism,
)
from lcm.model.storage import load_model, save_model
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs

N = 3
CONFIG = MechanismsConfig(hidden=4, bins=4, steps=40, batch_size=256)


def nature_of(kind: str = "linear") -> LatentCausalModel:
    return build_nature(NatureConfig(N, FullConfig(), MechanismConfig.of_kind(kind)()), 0)  # type: ignore[arg-type]


def encoded(data: PairData, targets: TargetDistribution) -> Encoded:
    """The true noise, which is standard normal, and the true targets."""
    truth = data.tensors()
    sets = targets.target_sets.unsqueeze(0)
    posterior = (torch.from_numpy(truth["targets"]).unsqueeze(1) == sets).all(2).float()
    return Encoded(torch.from_numpy(truth["noise"]), torch.from_numpy(truth["noise_tilde"]), posterior)


def objective_of(
    nature: LatentCausalModel, graph: Graph | None = None, config: MechanismsConfig = CONFIG, linear: bool = True
) -> ExplicitObjective:
    targets = nature.target_distribution
    solution = SolutionFunctions(~torch.eye(N, dtype=torch.bool), 4, 4, generator())
    implicit = ImplicitModel(ChainDecoder([FlowDecoder(N)]), solution, targets)
    implicit.linear = linear
    parts = [encoded(sampled(nature, count, seed), targets) for count, seed in ((12_000, 1), (3000, 2))]
    return ExplicitObjective(graph or nature.scm.graph, implicit, parts[0], parts[1], config)


def mechanism_of(objective: ExplicitObjective) -> LocationScaleMechanism:
    assert isinstance(objective.scm.mechanism, LocationScaleMechanism)
    return objective.scm.mechanism


def true_weights(nature: LatentCausalModel) -> Tensor:
    """(n, n), [i, j]: j → i, as parent networks number them."""
    assert isinstance(nature.scm.mechanism, LinearMechanism)
    return (nature.scm.mechanism.weight * nature.scm.mechanism.adjacency).T


def copied(objective: ExplicitObjective) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in objective.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_linear_start_is_the_truth_of_linear_normal_pairs() -> None:
    nature = nature_of()
    mechanism = mechanism_of(objective_of(nature))
    # Imposed values have unit variance, so learned units are the true ones; some 3,000 rows a target.
    error = 5.0 / 3000**0.5
    torch.testing.assert_close(mechanism.network.linear[..., 0].detach(), true_weights(nature), atol=2 * error, rtol=0)
    assert not mechanism.network.linear[..., 1].any() and not mechanism.network.last.any()
    for parameter in (mechanism.bias, mechanism.log_scale):
        torch.testing.assert_close(parameter.detach(), torch.zeros(N), atol=error, rtol=0)


def test_targets_with_few_pairs_keep_the_identity() -> None:
    nature = nature_of()
    objective = objective_of(nature)
    mechanism = mechanism_of(objective)
    data = encoded(sampled(nature, 400), nature.target_distribution)
    # More than ten rows of each target set, and fewer than ten for each of two regressors.
    rows = torch.cat([torch.nonzero(column).flatten()[:15] for column in data.posterior.T])
    few = Encoded(*(part[rows] for part in data))
    weights = few.posterior @ nature.target_distribution.target_sets.float()
    assert weights.sum(0).tolist() == [15.0] * N
    with torch.no_grad():
        for parameter in mechanism.parameters():
            parameter.zero_()
    objective.start_linear(few, weights)
    root, *rest = nature.scm.graph.order()
    assert not mechanism.network.linear[rest].any() and not mechanism.log_scale[rest].any()
    # A mean alone needs no more than that.
    assert mechanism.bias[root] != 0.0


@torch.no_grad()
def test_the_truth_is_likelier_than_what_is_near() -> None:
    nature = nature_of()
    objective = objective_of(nature)
    for parameter in objective.parameters():
        parameter.zero_()
    mechanism_of(objective).network.linear[..., 0] = true_weights(nature)
    truth, likelihood = copied(objective), objective.held_out_log_likelihood()
    start = objective_of(nature).held_out_log_likelihood()
    # Parameters estimated elsewhere come close to the truth and do not pass it by more than chance.
    assert start == pytest.approx(likelihood, abs=0.01)
    for seed in range(20):
        objective.load_state_dict(truth)
        randomised(objective, scale=0.1, seed=seed)
        assert objective.held_out_log_likelihood() < likelihood


@torch.no_grad()
def test_the_objective_counts_targets_alone_and_leaves_pairs_without_out() -> None:
    nature = nature_of()
    objective = objective_of(nature)
    data = sampled(nature, 12_000, 1)
    assert data.targets is not None
    chosen = torch.from_numpy(data.targets.any(1))
    assert objective.n_rows == int(chosen.sum()) < len(data)
    noise_tilde, targets = (torch.from_numpy(data.tensors()[key])[chosen] for key in ("noise_tilde", "targets"))
    z, log_slope = objective.scm.solve_each(noise_tilde)
    density = objective.imposed.log_density(z) + log_slope
    expected = -(density * targets).sum(1).mean()
    torch.testing.assert_close(objective.loss(objective.batch(torch.arange(objective.n_rows)), 0.0), expected)


def test_all_pairs_count_where_nothing_was_intervened_on() -> None:
    nature = nature_of()
    targets = nature.target_distribution
    data = encoded(sampled(nature, 100), targets)
    nothing = data._replace(posterior=torch.eye(N + 1)[:1].expand(100, -1))
    implicit = ImplicitModel(
        ChainDecoder([FlowDecoder(N)]), SolutionFunctions(~torch.eye(N, dtype=torch.bool), 4, 4, generator()), targets
    )
    assert ExplicitObjective(nature.scm.graph, implicit, nothing, nothing, CONFIG).n_rows == 100


@pytest.mark.parametrize("linear", [True, False])
def test_the_noise_is_trained_only_where_the_encoder_is_curved(linear: bool) -> None:
    objective = objective_of(nature_of(), linear=linear)
    names = {name for name, parameter in objective.named_parameters() if not parameter.requires_grad}
    assert names == ({"scm.noise.map.raw"} if linear else set())
    trained = [parameter for group in objective.groups() for parameter in group.parameters]
    assert len(trained) == len(list(objective.parameters())) - len(names)
    matrices, others = objective.groups()
    assert matrices.matrices and all(parameter.dim() == 3 for parameter in matrices.parameters)
    assert not others.matrices


def errors_of_graph(nature: LatentCausalModel, data: PairData, model: LatentCausalModel) -> int:
    """Structural Hamming distance, the learned variables in the order of the true ones."""
    assert data.z is not None
    permutation = match_variables(correlation_matrix(data.z, model.encode(data.x).z))
    return structural_hamming_distance(nature.graph.adjacency, aligned_adjacency(model.graph.adjacency, permutation))


@pytest.mark.parametrize("kind", TrainableMechanism.names())
def test_every_kind_of_mechanism_can_be_fitted_and_the_graph_read_from_it(kind: str, tmp_path: Path) -> None:
    nature = build_nature(NatureConfig(N, ChainConfig()), 0)
    data = sampled(nature, 4000)
    config = FitConfig(
        noise_encoder=NoiseEncoderConfig(marginal_steps=60),
        mechanisms=MechanismsConfig(kind=kind, steps=60, batch_size=512),
    )
    model = fit_pairs(data, config).model
    assert isinstance(model, LatentCausalModel) and model.scm.mechanism.kind == kind
    assert errors_of_graph(nature, data, model) == 0
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert np.array_equal(loaded.encode(data.x).z, model.encode(data.x).z)


@pytest.mark.slow
def test_additive_mechanisms_are_learned_from_an_additive_nature() -> None:
    nature = build_nature(NatureConfig(2, EdgesConfig(edges=((0, 1),)), AdditiveMechanismConfig()), 0)
    data = sampled(nature, 6000)
    config = FitConfig(
        noise_encoder=NoiseEncoderConfig(layers=4, hidden=32, steps=500),
        mechanisms=MechanismsConfig(kind="additive", steps=200, batch_size=512),
    )
    model = fit_pairs(data, config).model
    assert isinstance(model, LatentCausalModel)
    assert errors_of_graph(nature, data, model) == 0


def test_a_kind_that_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^kind: Expected one of 'additive', 'linear', .*; got the string 'circuit'"):
        MechanismsConfig(kind="circuit")


def test_the_linear_start_is_kept_where_nothing_improves() -> None:
    # Steps of this size only harm.
    objective, memory = objective_of(nature_of(), config=replace(CONFIG, learning_rate=10.0)), Memory()
    before = copied(objective)
    run_alone(fit_mechanisms(objective, generator()), memory)
    assert same(before, copied(objective))
    assert memory.steps == [0, 2, 4]


def likelihood_at_start(memory: Memory) -> Any:
    return memory.records[0]["validation_log_likelihood"]


def test_training_improves_on_the_linear_start_of_curved_mechanisms() -> None:
    objective, memory = objective_of(nature_of("location-scale"), config=replace(CONFIG, steps=200)), Memory()
    run_alone(fit_mechanisms(objective, generator()), memory)
    assert objective.held_out_log_likelihood() > likelihood_at_start(memory) + 0.05


def test_a_subgraph_starts_from_the_candidate_where_that_is_better() -> None:
    nature = nature_of("location-scale")
    linear, candidate = objective_of(nature), objective_of(nature, config=replace(CONFIG, steps=200))
    run_alone(fit_mechanisms(candidate, generator()), Memory())
    memory = Memory()
    run_alone(refit_mechanisms(linear, candidate, generator()), memory)
    assert likelihood_at_start(memory) == candidate.held_out_log_likelihood()
    assert linear.held_out_log_likelihood() >= candidate.held_out_log_likelihood()
    # Two fifths of the steps that the candidate had.
    assert memory.advances[0] == (0, 16)


def test_a_subgraph_starts_linear_where_that_is_better() -> None:
    nature = nature_of()
    objective, candidate = objective_of(nature), objective_of(nature)
    start = objective.held_out_log_likelihood()
    randomised(candidate, scale=1.0)
    assert candidate.held_out_log_likelihood() < start
    memory = Memory()
    run_alone(refit_mechanisms(objective, candidate, generator()), memory)
    assert likelihood_at_start(memory) == start


def test_one_wild_pair_weighs_no_more_than_a_bound() -> None:
    objective = objective_of(nature_of())
    before = objective.held_out_log_likelihood()
    normal_tilde, weights = objective._validation
    moved = int(weights[:, 0].argmax())
    wild = normal_tilde.clone()
    wild[moved, 0] = 1e3
    objective._validation = (wild, weights)
    lost = (before - objective.held_out_log_likelihood()) * len(weights)
    assert 5.0 < lost < 20.0
