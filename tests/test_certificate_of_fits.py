"""What a fit is doubted for, and that a sound one is not."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import sampled

from lcm.data.encode import encode_pairs
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
from lcm.learn.config import MechanismsConfig, NoiseEncoderConfig
from lcm.learn.restarts import Restart
from lcm.model.decoder import RotationDecoderConfig
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectInterventionConfig, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanism
from lcm.model.noise import NormalNoise
from lcm.model.scm import SCM
from lcm.run.certificate.of_pairs import independence_p_value
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs
from lcm.run.result import FitResult

DATA = sampled(build_nature(NatureConfig(3, ChainConfig()), 0), 5000, 0)
CONFIG = FitConfig(noise_encoder=NoiseEncoderConfig(marginal_steps=100), mechanisms=MechanismsConfig(steps=50))


@pytest.fixture(scope="module")
def sound() -> FitResult:
    return fit_pairs(DATA, CONFIG)


def test_a_sound_fit_is_not_doubted(sound: FitResult) -> None:
    assert sound.doubts == ()


def test_exchanged_pairs_give_the_noise_without_edges_and_a_hidden_common_cause() -> None:
    assert DATA.noise is not None and DATA.z is not None
    found = fit_pairs(PairData.from_arrays(DATA.x_tilde, DATA.x), replace(CONFIG, model="linear"))
    encoded = encode_pairs(found.model, DATA)
    noise, z = (correlation_matrix(part, encoded.noise.double().numpy()) for part in (DATA.noise, DATA.z))
    assert mean_correlation(noise, match_variables(noise)) > 0.99
    assert mean_correlation(z, match_variables(z)) < 0.95
    assert found.graph.edges() == [] and found.certificate.broken == ("common_cause",)


def test_a_wide_thickness_is_doubted(sound: FitResult) -> None:
    model = deepcopy(sound.model)
    model.thickness[1] = 0.25
    (doubt,) = replace(sound, model=model).doubts
    assert "changes by 0.25 of its standard deviation" in doubt


@pytest.mark.parametrize(("thickness", "limit"), [(0.03, 30), (0.3, 90)])
def test_an_encoder_that_the_limit_of_time_ended_is_doubted(sound: FitResult, thickness: float, limit: int) -> None:
    assert sound.implicit is not None
    implicit = deepcopy(sound.implicit)
    implicit.converged = False
    implicit.thickness.fill_(thickness)
    (doubt,) = replace(sound, implicit=implicit).doubts
    assert f"The fit: the limit of {limit} seconds ended the noise encoder" in doubt
    assert f"changes by {thickness:.3f} of its standard deviation" in doubt


def test_a_gap_between_the_models_is_doubted(sound: FitResult) -> None:
    (doubt,) = replace(sound, held_out_nll=sound.implicit_nll + 0.2).doubts
    assert doubt.startswith("The graph: the explicit model explains held-out pairs 0.20 nats worse")


def test_cyclic_ancestors_are_doubted(sound: FitResult) -> None:
    (doubt,) = replace(sound, ancestry=replace(sound.ancestry, conflicts=((2, 0),))).doubts
    assert (
        doubt.startswith("Acyclic mechanisms, perfect interventions: ")
        and "contradict the causal order: z2 -> z0." in doubt
    )


def test_intransitive_ancestors_are_doubted(sound: FitResult) -> None:
    (doubt,) = replace(sound, ancestry=replace(sound.ancestry, intransitive=((2, 0, 1),))).doubts
    assert doubt.startswith("Perfect interventions, faithfulness: ") and "z2 -> z0 -> z1" in doubt


def test_effects_that_cancel_along_two_paths_are_noticed_in_a_real_fit() -> None:
    # 0 → 1 → 2 and 0 → 2, of which the direct effect undoes the other: not faithful
    graph = Graph.from_edges(3, [(0, 1), (1, 2), (0, 2)])
    weight = torch.tensor([[0.0, 1.5, -1.5], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    scm = SCM(graph, LinearMechanism(torch.tensor(graph.adjacency), weight), NormalNoise(3))
    nature = build_nature(NatureConfig(3), 0)
    unfaithful = LatentCausalModel(scm, nature.decoder, nature.intervention, nature.target_distribution)
    data = sampled(unfaithful.requires_grad_(False), 10_000)
    fitted = fit_pairs(data, CONFIG)
    ((j, i, k),) = fitted.ancestry.intransitive
    found = [
        doubt
        for doubt in replace(fitted, data=data).doubts
        if doubt.startswith("Perfect interventions, faithfulness: ")
    ]
    assert len(found) == 1 and f"z{j} -> z{i} -> z{k}" in found[0]


def test_a_target_that_is_never_hit_is_doubted(sound: FitResult) -> None:
    sets = sound.model.target_distribution.as_lists()
    kept = (encode_pairs(sound.model, DATA).posterior.argmax(1) != sets.index([2])).numpy()
    (finding,) = sound.certify(PairData.from_arrays(DATA.x[kept], DATA.x_tilde[kept])).row("support").findings
    assert finding.startswith("Interventions on every variable: almost no intervention targets z2.")


def test_targets_that_only_come_together_are_doubted(sound: FitResult) -> None:
    model = deepcopy(sound.model)
    model.target_distribution = TargetDistribution(3, [[], [0, 2], [1]], None)
    (doubt,) = replace(sound, model=model).doubts
    assert doubt.startswith("Atomic interventions: these variables are always targets together: z0 and z2.")


def test_independent_pairs_are_doubted(sound: FitResult) -> None:
    shuffled = PairData(x=DATA.x, x_tilde=np.roll(DATA.x_tilde, 1, axis=0))
    (doubt,) = replace(sound, data=shuffled).doubts
    assert doubt.startswith("Counterfactual pairs: x and x_tilde are uncorrelated")


@pytest.mark.parametrize(("correlation", "doubted"), [(0.0, True), (0.25, False)])
def test_pairs_that_are_clearly_correlated_are_not_doubted_and_others_are(
    correlation: float, doubted: bool, sound: FitResult
) -> None:
    # a correlation of 0.25 in 600 pairs has a p-value of some 1e-9: clear, and far from the smallest of numbers
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 3)).astype(np.float32)
    x_tilde = correlation * x + rng.standard_normal((600, 3)).astype(np.float32)
    data = PairData(x=x, x_tilde=x_tilde * np.array([1.0, 1.0, 1.0], dtype=np.float32))
    assert (independence_p_value(data) > 1e-3) == doubted
    weak = PairData(x=x[:, :2], x_tilde=np.column_stack([x_tilde[:, 0], rng.standard_normal(600)]).astype(np.float32))
    assert (independence_p_value(weak) > 1e-3) == doubted


def test_independent_pairs_in_more_dimensions_than_variables_are_doubted(sound: FitResult) -> None:
    nature = build_nature(NatureConfig(3, ChainConfig(), decoder=RotationDecoderConfig(dim_x=6)), 0)
    data = sampled(nature, 3000)
    fitted = replace(sound, model=nature)
    assert replace(fitted, data=data).doubts == ()
    (doubt,) = replace(fitted, data=PairData(x=data.x, x_tilde=np.roll(data.x_tilde, 1, axis=0))).doubts
    assert doubt.startswith("Counterfactual pairs")


def test_noise_that_changes_in_several_coordinates_is_doubted_by_name(sound: FitResult) -> None:
    # the true encoder, of pairs of which z_0 and z_2 are always intervened on at once
    config = NatureConfig(3, ChainConfig(), intervention=PerfectInterventionConfig(targets=((), (0, 2), (1,))))
    nature = build_nature(config, 0)
    data = sampled(nature, 3000)
    atomic = deepcopy(nature)
    atomic.target_distribution = TargetDistribution.family(3, "atomic-or-empty")
    (doubt,) = replace(sound, model=atomic, data=data).doubts
    assert doubt.startswith("Atomic interventions on counterfactual pairs: ")
    assert "lies outside the coordinate that changes most (moving together: z0 with z2)" in doubt
    # told of the sets, the fit is as it should be, but the two cannot be separated
    (doubt,) = replace(sound, model=nature, data=data).doubts
    assert doubt.startswith("Atomic interventions: these variables are always targets together: z0 and z2.")


def test_restarts_of_one_likelihood_that_disagree_are_doubted(sound: FitResult) -> None:
    reasons = ("The graphs differ: only in A z0 -> z1.",)
    alike, worse = (
        Restart(1, 0.01, 0.005, False, False, 0.3, reasons),
        Restart(2, 3.0, 0.02, False, False, 0.9, reasons),
    )
    assert replace(sound, other_restarts=(worse,)).doubts == ()
    assert replace(sound, other_restarts=(replace(alike, agrees=True),)).doubts == ()
    assert replace(sound, other_restarts=(replace(alike, standard_error=0.3),)).doubts == ()
    (doubt,) = replace(sound, other_restarts=(alike, worse)).doubts
    assert doubt.startswith("Identifiability: restart 1 reaches the likelihood of the best restart but is not ")
    assert "do not identify the model" in doubt and "only in A z0 -> z1" in doubt


def test_fewer_variables_than_dimensions_are_doubted() -> None:
    short = replace(CONFIG.noise_encoder, layers=2, hidden=8, steps=50)
    fitted = fit_pairs(PairData(x=DATA.x, x_tilde=DATA.x_tilde), replace(CONFIG, n=2, noise_encoder=short))
    assert any("x has 3 dimensions, more than the 2 fitted" in doubt for doubt in fitted.doubts)
