"""The explicit peers: bounds below a known evidence, exact likelihoods, known graphs and orders, exact resume."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from laws import default_dtype, generator
from test_training_loop import Memory
from torch import Tensor

from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import EdgesConfig
from lcm.data.sample import sample_data
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.learn.config import KnownConfig
from lcm.learn.prepared import Prepared, prepare
from lcm.learn.training.loop import optimise, run_together
from lcm.learn.training.objective import Stages
from lcm.learn.training.tracker import Recorder
from lcm.metric.scores import evaluate
from lcm.model.decoder import AffineDecoder, ChainDecoder, FlowDecoderConfig
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LocationScaleMechanismConfig
from lcm.model.pair_model import PairModel
from lcm.peer.explicit import ExplicitConfig
from lcm.peer.explicit.fit import fit_explicit_flow, fit_explicit_vae
from lcm.peer.explicit.flow import SampledMechanism
from lcm.peer.explicit.start import labels_for_graph, labels_for_order, linear_start
from lcm.peer.explicit.vae import ExplicitVAE

EDGES = ((0, 1), (0, 2), (1, 2))
SHORT = ExplicitConfig(
    layers=1, hidden=8, bins=4, mechanism_hidden=4, steps=30, refit_steps=10, batch_size=64, learning_rate=1e-3
)
Fit = Callable[..., Stages[Any]]
FITS: dict[str, Fit] = {"elcm-flow": fit_explicit_flow, "elcm-vae": fit_explicit_vae}
GRAPHS = ("enco", "gumbel-top-k", "order", "fixed")


def targets(n: int = 3) -> TargetDistribution:
    return TargetDistribution.family(n, "atomic-or-empty")


@cache
def nature(kind: str) -> LatentCausalModel:
    config = NatureConfig(3, EdgesConfig(edges=EDGES))
    if kind == "nonlinear":
        config = replace(config, mechanism=LocationScaleMechanismConfig(), decoder=FlowDecoderConfig())
    return build_nature(config, 4)


@cache
def pairs(kind: str, count: int = 4000) -> Prepared:
    data = sample_data(nature(kind), count, torch_generator(0, "pairs"))
    return prepare(data.x, data.x_tilde, 3, 0.1, 0, torch.device("cpu"))


def known(config: ExplicitConfig) -> KnownConfig:
    return KnownConfig(graph=EDGES) if config.graph == "fixed" else KnownConfig()


def fitted(name: str, kind: str, config: ExplicitConfig, seed: int = 0) -> Any:
    stages = FITS[name](pairs(kind), targets(), config, generator(seed), known(config))
    return run_together([stages], Recorder())[0]


@cache
def short(name: str, graph: str, kind: str = "nonlinear", coordinates: str = "noise") -> Any:
    return fitted(name, kind, replace(SHORT, graph=graph, coordinates=coordinates))  # type: ignore[arg-type]


def observations(kind: str, count: int = 50) -> tuple[Tensor, Tensor]:
    data = sample_data(nature(kind), count, torch_generator(1, "pairs"))
    return torch.from_numpy(data.x), torch.from_numpy(data.x_tilde)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("name", FITS)
def test_models_encode_pairs_in_the_shapes_of_every_model(name: str, graph: str) -> None:
    model = short(name, graph)
    assert isinstance(model, PairModel)
    encoded = model.encode_pairs(*observations("nonlinear"))
    assert [part.shape for part in encoded] == [(50, 3)] * 4 + [(50, 4), (50,)]
    assert all(bool(part.isfinite().all()) for part in encoded)
    torch.testing.assert_close(encoded.posterior.sum(1), torch.ones(50))
    again = model.encode_pairs(*observations("nonlinear"))
    assert all(torch.equal(one, two) for one, two in zip(encoded, again, strict=True))
    first = model.encode_pairs(*(part[:7] for part in observations("nonlinear")))
    torch.testing.assert_close(first.log_density, encoded.log_density[:7], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", FITS)
def test_models_are_rebuilt_from_their_descriptions(name: str) -> None:
    model = short(name, "gumbel-top-k")
    description = json.loads(json.dumps(model.description()))
    rebuilt = type(model).build(description)
    rebuilt.load_state_dict(model.state_dict())
    assert rebuilt.graph == model.graph
    for one, two in zip(*(each.encode_pairs(*observations("nonlinear")) for each in (model, rebuilt)), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", FITS)
def test_a_known_graph_and_a_known_order_are_kept(name: str) -> None:
    assert short(name, "fixed").graph == Graph.from_edges(3, EDGES)
    assert not np.tril(short(name, "order").graph.adjacency).any()
    stages = FITS[name](pairs("nonlinear"), targets(), SHORT, generator(0), KnownConfig(order=(0, 1, 2)))
    assert run_together([stages], Recorder())[0].graph == short(name, "order").graph


@pytest.mark.parametrize("name", FITS)
def test_seeds_decide_everything_random(name: str) -> None:
    first, same, other = (fitted(name, "nonlinear", SHORT, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, same[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize("name", FITS)
def test_an_interrupted_fit_ends_as_one_that_was_not(name: str) -> None:
    def run(memories: list[Memory], seed: int) -> Any:
        stages, count = FITS[name](pairs("nonlinear"), targets(), SHORT, generator(0)), 0
        while True:
            try:
                job = next(stages)
            except StopIteration as end:
                return end.value
            schedule = replace(job.schedule, validate_every=10)
            if seed and count == 0:
                # whatever state it is in, the checkpoint has another
                job.generator.manual_seed(seed)
            optimise(job.objective, schedule, job.generator, memories[count])
            count += 1

    whole = run([Memory(), Memory()], 0).state_dict()
    broken = Memory(fail=("save", 20))
    with pytest.raises(KeyboardInterrupt):
        run([broken, Memory()], 0)
    resumed = run([Memory(broken.saved), Memory()], 99).state_dict()
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


@pytest.fixture
def exact() -> Iterator[None]:
    """Compute in float64, for one test."""
    with default_dtype(torch.float64):
        yield


@pytest.mark.parametrize("graph", ["enco", "gumbel-top-k", "order"])
@pytest.mark.parametrize("name", FITS)
def test_fits_together_are_fits_alone(name: str, graph: str, exact: None) -> None:
    prepared = pairs("nonlinear")
    y, y_tilde = (part[0 : len(part)].double() for part in prepared.train)
    held_out = prepared.validation[0].double(), prepared.validation[1].double()
    double = replace(
        prepared, train=(y, y_tilde), validation=held_out, standardisation=ChainDecoder([AffineDecoder(3)])
    )

    config = replace(SHORT, graph=graph, steps=10, refit_steps=5)  # type: ignore[arg-type]

    def stages(seed: int) -> Stages[Any]:
        return FITS[name](double, targets(), config, generator(seed))

    together = run_together([stages(0), stages(1)], Recorder())
    for seed, model in enumerate(together):
        alone = run_together([stages(seed)], Recorder())[0].state_dict()
        for key, value in model.state_dict().items():
            torch.testing.assert_close(value, alone[key], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("coordinates", ["noise", "causal"])
@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
def test_the_flow_is_validated_at_the_likelihood_of_the_assembled_model(coordinates: str, kind: str) -> None:
    config = replace(SHORT, graph="fixed", coordinates=coordinates)  # type: ignore[arg-type]
    recorder = Recorder()
    stages = fit_explicit_flow(pairs(kind), targets(), config, generator(0), known(config))
    model = run_together([stages], recorder)[0]
    assert isinstance(model, LatentCausalModel)
    held_out = pairs(kind).held_out()
    x, x_tilde = torch.from_numpy(held_out.x), torch.from_numpy(held_out.x_tilde)
    best = max(record["validation_log_likelihood"] for record in recorder.records)
    found = float(model.pair_log_density(x, x_tilde).mean()) + pairs(kind).log_volume
    if (coordinates, kind) == ("noise", "linear"):
        # there the thickness is measured before the gauge
        assert found == pytest.approx(best, abs=0.5)
    else:
        assert found == pytest.approx(best, abs=5e-3)


@pytest.mark.parametrize("graph", ["enco", "gumbel-top-k"])
def test_the_flow_finds_a_linear_nature(graph: str) -> None:
    config = replace(SHORT, graph=graph, steps=250, refit_steps=20, bins=8, batch_size=256)  # type: ignore[arg-type]
    model = fitted("elcm-flow", "linear", config)
    scores = evaluate(model, sample_data(nature("linear"), 2000, torch_generator(7, "pairs")), keys=("mcc", "shd"))
    assert scores["mcc"] > 0.97 and scores["shd"] == 0


def test_the_linear_start_is_a_linear_nature_up_to_sign() -> None:
    start = linear_start(pairs("linear", 20_000), targets())
    data = sample_data(nature("linear"), 2000, torch_generator(7, "pairs"))
    assert data.z is not None
    z = pairs("linear", 20_000).standardisation.inverse(torch.from_numpy(data.x))[0].double() @ start.unmixing.T
    correlation = correlation_matrix(data.z, z.numpy())
    permutation = match_variables(correlation)
    assert min(correlation[i, j] for i, j in enumerate(permutation)) > 0.99
    assert [list(permutation).index(variable) for variable in start.order] == [0, 1, 2]
    assert float(start.thickness.max()) < 0.01
    relabelled = start.relabelled(labels_for_order(start, targets()))
    assert relabelled.order == (0, 1, 2)
    assert float(relabelled.abduction.triu(1).abs().max()) < 1e-12
    torch.testing.assert_close(
        relabelled.abduction @ relabelled.unmixing, (start.abduction @ start.unmixing)[list(start.order)]
    )


def test_labels_put_the_start_on_a_known_graph() -> None:
    graph = Graph.from_edges(3, [(2, 1), (2, 0), (1, 0)])
    start = linear_start(pairs("linear", 20_000), targets())
    relabelled = start.relabelled(labels_for_graph(start, targets(), graph))
    dependence = relabelled.abduction.T.abs()
    assert float(dependence[torch.from_numpy(~graph.adjacency) & ~torch.eye(3, dtype=torch.bool)].max()) < 0.05


def test_labels_stay_where_target_sets_tell_variables() -> None:
    told = TargetDistribution(3, [[], [0], [1, 2]], None)
    start = linear_start(pairs("linear"), told)
    assert labels_for_order(start, told) == labels_for_graph(start, told, Graph.from_edges(3, EDGES)) == [0, 1, 2]


def test_without_a_linear_start_variables_are_independent() -> None:
    start = linear_start(pairs("linear"), targets(), linear=False)
    assert torch.equal(start.abduction, torch.eye(3, dtype=torch.float64))


def test_solutions_invert_abductions_under_any_acyclic_adjacency(exact: None) -> None:
    mechanism = SampledMechanism(4, 5, generator(0))
    with torch.no_grad():
        for parameter in mechanism.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator(1)))
    adjacency = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]]).double()
    noise = torch.randn(20, 4, generator=generator(2))
    z, log_slope = mechanism.solve(noise, adjacency)
    found, log_inverse = mechanism.abduct(z, adjacency)
    torch.testing.assert_close(found, noise)
    torch.testing.assert_close(log_inverse, -log_slope)
    fixed = mechanism.over(Graph(adjacency.numpy())).inverse(z, z)
    torch.testing.assert_close(fixed, (found, log_inverse))
    targets = torch.rand(20, 4, generator=generator(3)) < 0.3
    imposed = torch.randn(20, 4, generator=generator(4))
    z_tilde, _ = mechanism.solve(noise, adjacency, targets, imposed)
    assert torch.equal(z_tilde[targets], imposed[targets])
    kept = mechanism.abduct(z_tilde, adjacency)[0]
    torch.testing.assert_close(kept[~targets], noise[~targets])


def linear_gaussian(posterior: str = "exact") -> tuple[ExplicitVAE, Tensor, Tensor, Tensor]:
    """A model of 2 variables with a linear decoder and mechanisms, pairs of its own, and their exact evidence."""
    sets = TargetDistribution(2, [[], [0], [1]], [0.2, 0.5, 0.3])
    model = ExplicitVAE(ChainDecoder([AffineDecoder(2)]), sets, 0, 1, 1, posterior)  # type: ignore[arg-type]
    weight, mixing, slope = 0.8, torch.tensor([[1.0, 0.4], [-0.3, 0.9]]), 1.3
    abduction = torch.tensor([[1.0, 0.0], [-weight / slope, 1.0 / slope]])
    with torch.no_grad():
        for network in (model.encoder, model.decoder):
            for parameter in network.parameters():
                parameter.zero_()
        model.mechanism.start_at(abduction)
        model.mechanism.mechanism.network.last.zero_()
        model.decoder_linear.copy_(mixing)
        model.encoder_linear.copy_(torch.linalg.inv(mixing))
        model.log_variance.fill_(-2.0)
        model.encoder.biases[0][2:].fill_(1.0)
    model.set_graph(Graph.from_edges(2, [(0, 1)]))
    variance = 1e-4 + float(torch.tensor(-2.0).exp())
    observed = torch.randn(30, 4, generator=generator(5))
    # of (z, z̃) as linear maps of the noise of x and of what is imposed
    solve = torch.linalg.inv(abduction)
    terms = []
    for targets, probability in (((), 0.2), ((0,), 0.5), ((1,), 0.3)):
        after = torch.zeros(2, 4)
        after[0] = torch.eye(4)[2 if 0 in targets else 0]
        after[1] = torch.eye(4)[3] if 1 in targets else weight * after[0] + slope * torch.eye(4)[1]
        before = torch.cat([solve, torch.zeros(2, 2)], 1)
        joint = torch.cat([mixing @ before, mixing @ after])
        covariance = joint @ joint.T + variance * torch.eye(4)
        law = torch.distributions.MultivariateNormal(torch.zeros(4), covariance)
        terms.append(law.log_prob(observed) + float(np.log(probability)))
    return model, observed[:, :2], observed[:, 2:], torch.logsumexp(torch.stack(terms), 0)


def weighted_bound(model: ExplicitVAE, y: Tensor, y_tilde: Tensor, normal: Tensor) -> Tensor:
    """The importance-weighted bound (N,) of log p(y, ỹ) from S draws (S, N, 2, n) (Burda et al. 2016)."""
    log_weights = model.log_weights(y, y_tilde, model.adjacency.double(), normal)
    return torch.logsumexp(torch.logsumexp(log_weights, -1), 0) - math.log(len(normal))


def test_bounds_lie_below_the_evidence_in_order(exact: None) -> None:
    bounds = []
    for posterior in ("heuristic", "exact"):
        model, y, y_tilde, evidence = linear_gaussian(posterior)
        normal = torch.randn(4000, len(y), 2, 2, generator=generator(6))
        adjacency = model.adjacency.double()
        with torch.no_grad():
            bounds.append(model.elbo(y, y_tilde, adjacency, normal)[0].mean().item())
            parts = normal[:1000].split(10)
            few = torch.stack([weighted_bound(model, y, y_tilde, part) for part in parts]).mean().item()
            many = weighted_bound(model, y, y_tilde, normal)
    assert bounds[0] + 0.05 < bounds[1] < few - 0.05
    assert few < evidence.mean().item() - 0.01
    # unbiased weights: with so many draws the bound is all but the evidence
    assert many.mean().item() == pytest.approx(evidence.mean().item(), abs=0.03)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden", 0, r"hidden: Expected at least 1; got 0\."),
        ("steps", 0, r"steps: Expected at least 1; got 0\."),
        ("layers", -1, r"layers: Expected at least 0; got -1\."),
        ("sparsity", -0.1, r"sparsity: Expected at least 0; got -0\.1\."),
        ("learning_rate", 0.0, r"learning_rate: Expected a positive number; got 0\.0\."),
    ],
)
def test_settings_out_of_range_are_refused(key: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExplicitConfig(**{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FITS)
def test_a_fixed_graph_has_to_be_given(name: str) -> None:
    stages = FITS[name](pairs("linear"), targets(), replace(SHORT, graph="fixed"), generator(0))
    with pytest.raises(ValueError, match=r"Expected a graph where, and only where, it is fixed; got None for fixed\."):
        next(stages)
