"""Ground truths: what a config says is what is drawn, and each part is drawn on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lcm.base.config import parse_config
from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import (
    ChainConfig,
    EdgesConfig,
    EmptyConfig,
    ErdosRenyiConfig,
    FullConfig,
    GraphConfig,
    ScaleFreeConfig,
)
from lcm.model.decoder import (
    EmbeddingDecoderConfig,
    FlowDecoderConfig,
    LinearDecoderConfig,
    MixingDecoderConfig,
    RotationDecoderConfig,
)
from lcm.model.intervention import (
    PerfectIntervention,
    PerfectInterventionConfig,
    ShiftedIntervention,
    ShiftedInterventionConfig,
    SoftIntervention,
    SoftInterventionConfig,
)
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import (
    AdditiveMechanismConfig,
    BimodalWeightConfig,
    LinearMechanism,
    LinearMechanismConfig,
    LocationScaleMechanismConfig,
    MechanismConfig,
    SplineMechanismConfig,
    UniformWeightConfig,
)
from lcm.model.noise import (
    LaplaceNoiseConfig,
    LogisticNoiseConfig,
    NoiseConfig,
    SkewedNoiseConfig,
    UniformNoiseConfig,
)

EDGES = ((2, 0), (2, 1), (0, 3))

NATURES: dict[str, NatureConfig] = {
    "scaling": NatureConfig(4),
    "one variable": NatureConfig(1, decoder=FlowDecoderConfig()),
    "expected degree": NatureConfig(12, ErdosRenyiConfig(expected_degree=2.0)),
    "scale-free": NatureConfig(6, ScaleFreeConfig(edges_per_node=2)),
    "chain": NatureConfig(10, ChainConfig(), AdditiveMechanismConfig()),
    "full": NatureConfig(10, FullConfig(), SplineMechanismConfig()),
    "empty": NatureConfig(3, EmptyConfig(), LocationScaleMechanismConfig()),
    "edges": NatureConfig(4, EdgesConfig(edges=EDGES), LocationScaleMechanismConfig(layers=2)),
    "uniform weights": NatureConfig(20, mechanism=LinearMechanismConfig(weights=UniformWeightConfig(), normalise=True)),
    "laplace": NatureConfig(3, noise=LaplaceNoiseConfig(), decoder=LinearDecoderConfig()),
    "logistic": NatureConfig(3, noise=LogisticNoiseConfig(), decoder=MixingDecoderConfig()),
    "skewed": NatureConfig(3, noise=SkewedNoiseConfig(skew=-0.4), decoder=FlowDecoderConfig()),
    "uniform": NatureConfig(3, noise=UniformNoiseConfig(), decoder=FlowDecoderConfig(coupling="spline")),
    "atomic": NatureConfig(3, intervention=PerfectInterventionConfig(targets="atomic", probabilities=(0.5, 0.3, 0.2))),
    "all subsets": NatureConfig(3, intervention=PerfectInterventionConfig(targets="all")),
    "soft": NatureConfig(
        3, mechanism=AdditiveMechanismConfig(), intervention=SoftInterventionConfig(targets=((), (0, 2)))
    ),
    "shifted": NatureConfig(3, intervention=ShiftedInterventionConfig(shift=2.5)),
    "embedding": NatureConfig(3, decoder=EmbeddingDecoderConfig(dim_x=7)),
    "flow, embedded": NatureConfig(3, decoder=FlowDecoderConfig(dim_x=5), thickness=0.05),
}
every_nature = pytest.mark.parametrize("name", NATURES)


def state(model: LatentCausalModel) -> dict[str, Any]:
    return {**model.state_dict(), **model.description()}


def differing(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    """The names of tensors and settings in which two models differ."""

    def same(a: Any, b: Any) -> bool:
        return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else bool(a == b)

    names = first.keys() | second.keys()
    return {name for name in names if not same(first.get(name), second.get(name))}


@every_nature
def test_the_same_seed_gives_the_same_model(name: str) -> None:
    first, second = (build_nature(NATURES[name], seed=7) for _ in range(2))
    assert differing(state(first), state(second)) == set()
    if name != "one variable":
        assert differing(state(first), state(build_nature(NATURES[name], seed=8)))


@every_nature
def test_pairs_are_finite_of_order_one_and_decoded_injectively(name: str) -> None:
    config = NATURES[name]
    model = build_nature(config, seed=3)
    pairs = model.sample_pairs(2000, torch.Generator().manual_seed(0))
    assert pairs.x.shape == (2000, config.decoder.dim_x or config.n)
    assert bool(torch.isfinite(pairs.x).all()) and bool(torch.isfinite(pairs.x_tilde).all())
    spread = pairs.z.std(0)
    assert bool(((spread > 0.2) & (spread < 6.0)).all())
    assert torch.allclose(model.encode(pairs.x).z, pairs.z, atol=1e-3)


@every_nature
def test_a_nature_is_no_trainable_model(name: str) -> None:
    assert not any(parameter.requires_grad for parameter in build_nature(NATURES[name], 0).parameters())


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"decoder": MixingDecoderConfig()}, "decoder"),
        ({"decoder": RotationDecoderConfig(dim_x=9)}, "decoder"),
        (
            {"intervention": ShiftedInterventionConfig(targets="atomic")},
            "intervention target_sets target_distribution",
        ),
        ({"mechanism": AdditiveMechanismConfig()}, "scm"),
        ({"thickness": 0.1}, "thickness"),
    ],
)
def test_a_change_of_one_part_changes_no_other(change: dict[str, Any], part: str) -> None:
    base = NatureConfig(5, noise=LaplaceNoiseConfig())
    before, after = build_nature(base, 1), build_nature(replace(base, **change), 1)
    assert before.scm.graph == after.scm.graph
    assert {name.split(".")[0] for name in differing(state(before), state(after))} <= set(part.split())
    assert differing(state(before), state(after))


def test_embedding_into_more_dimensions_keeps_the_decoder_before_it() -> None:
    narrow, wide = (build_nature(NatureConfig(3, decoder=FlowDecoderConfig(dim_x=d)), 0) for d in (3, 8))
    z = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    distances = [torch.pdist(model.decode(z)) for model in (narrow, wide)]
    assert torch.allclose(*distances, atol=1e-4)


def test_generators_for_different_purposes_and_seeds_differ() -> None:
    draws = {float(torch.rand(1, generator=torch_generator(seed, purpose))) for seed in range(3) for purpose in "ab"}
    assert len(draws) == 6
    assert numpy_generator(0, "a").random() == numpy_generator(0, "a").random() != numpy_generator(0, "b").random()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.floats(0.0, 1.0), st.integers(0, 99))
def test_random_graphs_have_the_size_asked_for(n: int, probability: float, seed: int) -> None:
    graph = build_nature(NatureConfig(n, ErdosRenyiConfig(edge_probability=probability)), seed).scm.graph
    assert graph.n == n
    assert probability < 1.0 or graph.n_edges == n * (n - 1) // 2


@pytest.mark.parametrize(
    ("graph", "edges"),
    [
        (ChainConfig(), 19),
        (FullConfig(), 190),
        (EmptyConfig(), 0),
        (ScaleFreeConfig(edges_per_node=3), 3 * 17 + 3),
        (ErdosRenyiConfig(expected_degree=0.0), 0),
    ],
)
def test_number_of_edges(graph: GraphConfig, edges: int) -> None:
    assert build_nature(NatureConfig(20, graph), 0).scm.graph.n_edges == edges


def test_listed_edges_are_taken_as_given() -> None:
    assert build_nature(NATURES["edges"], 0).scm.graph.edges() == sorted(EDGES)


def test_orders_are_random() -> None:
    orders = {build_nature(NatureConfig(4, ChainConfig()), seed).scm.graph.order() for seed in range(12)}
    assert len(orders) > 6


def weights(config: MechanismConfig, n: int = 60) -> tuple[Tensor, Tensor]:
    """The weights of all edges of a full graph, and how many parents their targets have."""
    scm = build_nature(NatureConfig(n, FullConfig(), config), 0).scm
    mechanism = scm.mechanism
    assert isinstance(mechanism, LinearMechanism)
    assert bool((mechanism.weight[~mechanism.adjacency] == 0).all())
    return mechanism.weight[mechanism.adjacency], mechanism.adjacency.sum(0).expand(n, n)[mechanism.adjacency]


def test_bimodal_weights_are_plus_or_minus_one_with_a_normal_spread() -> None:
    values, _ = weights(LinearMechanismConfig(weights=BimodalWeightConfig(spread=0.2)))
    assert abs(float((values > 0).float().mean()) - 0.5) < 0.05
    assert abs(float(values.abs().mean()) - 1.0) < 0.02
    assert abs(float(values.abs().std()) - 0.2) < 0.02


def test_uniform_weights_fill_their_interval_on_both_sides() -> None:
    values, _ = weights(LinearMechanismConfig(weights=UniformWeightConfig(low=0.7, high=0.9)))
    assert 0.7 <= float(values.abs().min()) < 0.71 and 0.89 < float(values.abs().max()) <= 0.9
    assert abs(float((values > 0).float().mean()) - 0.5) < 0.05


def test_normalised_weights_are_divided_by_the_root_of_the_number_of_parents() -> None:
    plain, _ = weights(LinearMechanismConfig())
    normalised, parents = weights(LinearMechanismConfig(normalise=True))
    assert torch.allclose(normalised * parents.sqrt(), plain)


@pytest.mark.parametrize("kind", ["additive", "location-scale", "spline"])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_parents_part_has_the_strength_asked_for_at_every_depth(kind: Any, strength: float) -> None:
    noise = {} if kind == "additive" else {"noise_strength": 0.0}
    mechanism = MechanismConfig.of_kind(kind)(strength=strength, **noise)
    scm = build_nature(NatureConfig(8, ChainConfig(), mechanism), 2).scm
    noise = scm.noise.sample(20_000, torch.Generator().manual_seed(1))
    part = scm.solve(noise)[0] - noise
    root, *others = scm.graph.order()
    assert float(part[:, root].abs().max()) < 1e-5
    assert torch.allclose(part[:, others].std(0), torch.tensor(strength), rtol=0.1)
    assert float(part[:, others].mean(0).abs().max()) < 0.1 * strength


def test_the_parents_change_the_noise_by_at_most_the_strength_asked_for() -> None:
    mechanism = LocationScaleMechanismConfig(noise_strength=0.6)
    scm = build_nature(NatureConfig(4, FullConfig(), mechanism), 0).scm
    noise = scm.noise.sample(4000, torch.Generator().manual_seed(1))
    z = scm.solve(noise)[0]
    log_scale = scm.mechanism(noise, z)[1][:, list(scm.graph.order()[1:])]
    assert torch.allclose(log_scale.abs().amax(0), torch.tensor(0.6), rtol=0.25)


def test_noise_of_each_kind_is_of_that_kind() -> None:
    for kind in ("normal", "laplace", "logistic", "skewed", "uniform"):
        assert build_nature(NatureConfig(2, noise=NoiseConfig.of_kind(kind)()), 0).scm.noise.kind == kind
    assert build_nature(NATURES["skewed"], 0).scm.noise.settings()["skew"] == -0.4


def test_target_sets_and_probabilities() -> None:
    atomic = build_nature(NATURES["atomic"], 0).target_distribution
    assert atomic.as_lists() == [[0], [1], [2]]
    assert atomic.probabilities.tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert build_nature(NATURES["soft"], 0).target_distribution.as_lists() == [[], [0, 2]]
    assert len(build_nature(NATURES["all subsets"], 0).target_distribution.as_lists()) == 8


def test_interventions_are_of_the_kind_asked_for() -> None:
    perfect = NatureConfig(3, intervention=PerfectInterventionConfig(noise=LaplaceNoiseConfig()))
    intervention = build_nature(perfect, 0).intervention
    assert isinstance(intervention, PerfectIntervention) and intervention.noise.kind == "laplace"
    shifted = build_nature(NATURES["shifted"], 0).intervention
    assert isinstance(shifted, ShiftedIntervention) and shifted.shift.tolist() == [2.5] * 3


def test_soft_interventions_draw_another_mechanism_over_the_same_parents() -> None:
    model = build_nature(replace(NATURES["soft"], n=5, graph=FullConfig()), 0)
    assert isinstance(model.intervention, SoftIntervention)
    own, other = model.scm.mechanism, model.intervention.mechanism
    assert torch.equal(own.adjacency, other.adjacency)
    noise = model.scm.noise.sample(500, torch.Generator().manual_seed(0))
    z = model.scm.solve(noise)[0]
    root, last = model.scm.graph.order()[0], model.scm.graph.order()[-1]
    difference = (own(noise, z)[0] - other(noise, z)[0]).abs().amax(0)
    assert float(difference[root]) < 1e-5 and float(difference[last]) > 0.5


@pytest.mark.parametrize("condition", [1.0, 4.0])
def test_linear_decoders_are_as_well_conditioned_as_asked_for(condition: float) -> None:
    model = build_nature(NatureConfig(12, decoder=LinearDecoderConfig(condition=condition)), 0)
    singular = torch.linalg.svdvals(model.decode(torch.eye(12)) - model.decode(torch.zeros(1, 12)))
    assert float(singular[0] / singular[-1]) <= condition * 1.001


def test_rotations_mix_every_variable_and_keep_orientation() -> None:
    matrix = build_nature(NatureConfig(4), 0).decode(torch.eye(4))
    assert torch.allclose(matrix @ matrix.T, torch.eye(4), atol=1e-5)
    assert float(torch.linalg.det(matrix)) == pytest.approx(1.0, abs=1e-5)
    assert float(matrix.abs().amax()) < 0.999


@pytest.mark.parametrize("seed", range(4))
def test_random_flows_are_curved_and_exact_to_invert(seed: int) -> None:
    model = build_nature(NatureConfig(2, decoder=FlowDecoderConfig()), seed)
    z = 8.0 * torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)) - 4.0
    x = model.decode(z)
    assert float((model.decoder.inverse(x)[0] - z).abs().max()) < 1e-3
    design = np.column_stack([x.numpy(), np.ones(len(x))])
    left = z.numpy() - design @ np.linalg.lstsq(design, z.numpy(), rcond=None)[0]
    assert float((left.var(0) / z.numpy().var(0)).max()) > 0.01


def test_a_config_without_kinds_is_the_same_as_one_with_the_default_kinds() -> None:
    for section in ("graph", "mechanism", "noise", "intervention", "decoder"):
        assert parse_config(f"n: 3\n{section}: {{}}", NatureConfig, "a.yaml") == NatureConfig(3)
    assert ErdosRenyiConfig() == ErdosRenyiConfig(edge_probability=0.5)


ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "n": (lambda: NatureConfig(0), "n: Expected at least 1; got 0"),
    "thickness": (lambda: NatureConfig(2, thickness=-0.1), "thickness: Expected at least 0; got -0.1"),
    "probability above": (
        lambda: ErdosRenyiConfig(edge_probability=1.5),
        r"edge_probability: Expected a probability in \[0, 1\]; got 1.5",
    ),
    "probability below": (
        lambda: ErdosRenyiConfig(edge_probability=-0.5),
        r"edge_probability: Expected a probability in \[0, 1\]; got -0.5",
    ),
    "two densities": (
        lambda: ErdosRenyiConfig(edge_probability=0.5, expected_degree=2.0),
        "Expected one of.*got both",
    ),
    "degree": (lambda: ErdosRenyiConfig(expected_degree=-1.0), "expected_degree: Expected at least 0"),
    "edges per node": (lambda: ScaleFreeConfig(edges_per_node=0), "edges_per_node: Expected at least 1"),
    "edge out of range": (
        lambda: NatureConfig(2, EdgesConfig(edges=((0, 2),))),
        r"graph.edges: Expected edges between variables 0\.\.1; got 0 -> 2",
    ),
    "cycle": (
        lambda: NatureConfig(2, EdgesConfig(edges=((0, 1), (1, 0)))),
        "graph.edges: Expected an acyclic adjacency; got the cycle 0 -> 1 -> 0",
    ),
    "spread": (lambda: BimodalWeightConfig(spread=-1.0), "spread: Expected at least 0"),
    "low": (lambda: UniformWeightConfig(low=-1.0), "low: Expected at least 0"),
    "high": (lambda: UniformWeightConfig(low=1.0, high=0.5), "high: Expected at least 1; got 0.5"),
    "hidden": (lambda: AdditiveMechanismConfig(hidden=0), "hidden: Expected at least 1"),
    "mechanism layers": (lambda: AdditiveMechanismConfig(layers=0), "layers: Expected at least 1"),
    "strength": (lambda: AdditiveMechanismConfig(strength=0.0), "strength: Expected a positive number; got 0.0"),
    "noise strength": (
        lambda: SplineMechanismConfig(noise_strength=-1.0),
        "noise_strength: Expected at least 0",
    ),
    "no target sets": (lambda: PerfectInterventionConfig(targets=()), "Expected one or more target sets; got none"),
    "target set twice": (
        lambda: PerfectInterventionConfig(targets=((0, 1), (1, 0))),
        r"Expected each target set once; got \[1, 0\]",
    ),
    "target out of range": (
        lambda: NatureConfig(2, intervention=PerfectInterventionConfig(targets=((0,), (2,)))),
        r"intervention.targets: Expected targets in 0\.\.1; got 2",
    ),
    "all subsets of many": (
        lambda: NatureConfig(17, intervention=PerfectInterventionConfig(targets="all")),
        "intervention.targets: Expected n <= 16 for all subsets; got n = 17",
    ),
    "negative probability": (
        lambda: PerfectInterventionConfig(probabilities=(1.5, -0.5)),
        "Expected probabilities >= 0; got -0.5",
    ),
    "sum": (lambda: PerfectInterventionConfig(probabilities=(0.5, 0.4)), "that sum to 1; got a sum of 0.9"),
    "number of probabilities": (
        lambda: NatureConfig(2, intervention=PerfectInterventionConfig(probabilities=(0.5, 0.5))),
        "intervention.probabilities: Expected 3, one for each target set; got 2",
    ),
    "dim_x": (
        lambda: NatureConfig(4, decoder=RotationDecoderConfig(dim_x=3)),
        "decoder.dim_x: Expected at least n = 4; got 3",
    ),
    "embedding": (
        lambda: EmbeddingDecoderConfig(),
        "Expected dim_x for a decoder of kind embedding; got none",
    ),
    "condition": (lambda: LinearDecoderConfig(condition=0.5), "condition: Expected at least 1"),
    "decoder layers": (lambda: FlowDecoderConfig(layers=0), "layers: Expected at least 1"),
    "decoder hidden": (lambda: FlowDecoderConfig(hidden=0), "hidden: Expected at least 1"),
    "decoder strength": (lambda: FlowDecoderConfig(strength=-0.1), "strength: Expected at least 0"),
    "mixing strength": (
        lambda: MixingDecoderConfig(strength=1.0),
        r"Expected a mixing strength in \[0, 1\); got 1.0",
    ),
    "seed": (lambda: build_nature(NatureConfig(2), -1), "Expected a seed >= 0; got -1"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_expected(name: str) -> None:
    make, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_errors_in_a_file_name_the_section() -> None:
    with pytest.raises(
        ValueError, match=r"^a\.yaml: graph: edge_probability: Expected a probability in \[0, 1\]; got 2\.0"
    ):
        parse_config("n: 3\ngraph: {edge_probability: 2.0}", NatureConfig, "a.yaml")
    with pytest.raises(ValueError, match=r"^a\.yaml: decoder\.kind: Expected one of"):
        parse_config("n: 3\ndecoder: {kind: rotate}", NatureConfig, "a.yaml")
    with pytest.raises(ValueError, match=r"^a\.yaml: decoder: Expected a mapping; got the string 'flow'"):
        parse_config("n: 3\ndecoder: flow", NatureConfig, "a.yaml")


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("graph: {kind: chain}", "edge_probability"),
        ("mechanism: {kind: additive}", "noise_strength"),
        ("noise: {}", "skew"),
    ],
)
def test_a_key_of_another_kind_is_an_error(section: str, key: str) -> None:
    name = section.partition(":")[0]
    text = f"n: 3\n{section[:-1]}{', ' if 'kind' in section else ''}{key}: 1.0}}"
    with pytest.raises(
        ValueError, match=rf"^a\.yaml: {name}\.{key}: Expected (one of the keys kind|a known key).* of the kind "
    ):
        parse_config(text, NatureConfig, "a.yaml")


def test_a_yaml_may_leave_everything_but_n_out() -> None:
    assert parse_config("n: 3", NatureConfig, "a.yaml") == NatureConfig(3)
    listed = parse_config("n: 3\nintervention: {targets: [[], [0, 1]]}", NatureConfig, "a.yaml")
    assert listed.intervention.targets == ((), (0, 1))
