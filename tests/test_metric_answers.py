"""Errors of answers: closed forms of linear models, laws of natures against themselves, and where they are null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import called, refused
from laws import default_dtype, negative_affine
from small import relabelled, sampled, small_nature, thick_nature, without

from experiments._theorem.torus import torus_counterexample
from lcm.base.files import read_json
from lcm.data.encode import encode_pairs
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig, EmptyConfig
from lcm.data.pair_files import save_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism import Isomorphism
from lcm.metric.case import Case
from lcm.metric.interventional import average_effects, squared_mmd
from lcm.metric.scores import METRICS
from lcm.metric.translation import translation_of
from lcm.model.decoder import AffineDecoder, ChainDecoder, EmbeddingDecoder, FlowDecoderConfig
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanism, LocationScaleMechanismConfig
from lcm.model.noise import NormalNoise
from lcm.model.pair_model import PairModel
from lcm.model.scm import SCM
from lcm.peer.disentanglement import DisentanglementConfig
from lcm.peer.disentanglement.vae import BetaVAE

ANSWERS = ("ate_error", "counterfactual_error_z", "counterfactual_error_x", "interventional_mmd")
ORDER = [2, 0, 1]


def linear(first: float = 0.8, second: float = 0.8) -> LatentCausalModel:
    """z_0 → z_1 → z_2, linear, of unit noise, with the same decoder whatever the weights."""
    graph = Graph.from_edges(3, [(0, 1), (1, 2)])
    weight = torch.zeros(3, 3)
    weight[0, 1], weight[1, 2] = first, second
    scm = SCM(graph, LinearMechanism(torch.tensor(graph.adjacency), weight), NormalNoise(3))
    decoder = build_nature(NatureConfig(3, EmptyConfig()), 5).decoder
    targets = TargetDistribution.family(3, "atomic-or-empty", (0.25,) * 4)
    return LatentCausalModel(scm, decoder, PerfectIntervention(NormalNoise(3)), targets).requires_grad_(False)


def answers(model: PairModel, data: PairData, nature: LatentCausalModel | None = None, seed: int = 0) -> dict[str, Any]:
    """The scores of answers alone."""
    case = Case(model, data, encode_pairs(model, data), seed=seed, nature=nature)
    return {key: METRICS[key](case) for key in ANSWERS}


@pytest.fixture(scope="module")
def data() -> PairData:
    return sampled(linear(), 3_000)


def test_average_effects_of_a_linear_model_are_its_total_effects() -> None:
    levels = np.array([[-1.0, 0.0, 0.5], [1.0, 3.0, 0.75]])
    expected = np.zeros((3, 3))
    expected[0, 1:], expected[1, 2] = (0.8 * 2, 0.64 * 2), 0.8 * 3
    np.testing.assert_allclose(average_effects(linear(), levels), expected, atol=1e-5)


def test_average_effects_of_a_curved_model_are_those_of_the_integral() -> None:
    nature = build_nature(NatureConfig(2, ChainConfig(), LocationScaleMechanismConfig()), 3)
    found = average_effects(nature, np.array([[-0.5, 0.0], [0.5, 1.0]]))
    # E f_1(ε; z_0) over a fine grid of quantiles of the noise
    grid = nature.scm.noise.from_normal(torch.special.ndtri((torch.arange(4001.0) + 0.5) / 4001)[:, None].repeat(1, 2))[
        0
    ]
    z = [
        nature.scm.mechanism(grid[:, [1]], torch.full((4001, 2), level), torch.tensor([1]))[0] for level in (-0.5, 0.5)
    ]
    assert found[0, 1] == pytest.approx(float((z[1] - z[0]).mean()), abs=0.02)
    assert found[1].tolist() == [0.0, 0.0]


def test_a_nature_answers_like_itself(data: PairData) -> None:
    found = answers(linear(), data, linear())
    assert found["ate_error"] < 1e-5
    assert found["counterfactual_error_z"] < 1e-3 and found["counterfactual_error_x"] < 1e-3
    assert abs(found["interventional_mmd"]) < 0.002


def test_errors_of_a_wrong_weight_are_the_closed_form(data: PairData) -> None:
    found = answers(linear(second=0.3), data, linear())
    assert data.z is not None and data.z_tilde is not None and data.targets is not None
    spread = data.z.std(0)
    low, high = np.quantile(data.z, (0.25, 0.75), axis=0)
    # effects on z_2: 0.8 · 0.8 and 0.8 in truth
    wrong = (0.8 * 0.5 * (high - low)[0] + 0.5 * (high - low)[1]) / spread[2]
    assert found["ate_error"] == pytest.approx(wrong / 6, rel=0.01)
    rows = data.targets.any(1)
    before, after, targets = data.z[rows][:2_000], data.z_tilde[rows][:2_000], data.targets[rows][:2_000]
    error = np.where(targets[:, 2], 0.0, 0.5 * (after[:, 1] - before[:, 1]))
    expected = np.sqrt(np.sum((error / spread[2]) ** 2) / (~targets).sum())
    assert found["counterfactual_error_z"] == pytest.approx(expected, rel=0.01)
    # the decoder is a rotation
    expected = np.sqrt(np.mean(error**2) / 3) / np.sqrt(data.x[:2_000].var(0).mean())
    assert found["counterfactual_error_x"] == pytest.approx(expected, rel=0.01)


def test_the_discrepancy_is_that_of_samples_drawn_elsewhere(data: PairData) -> None:
    wrong = linear(first=-0.8)
    found = answers(wrong, data, linear())["interventional_mmd"]
    assert data.z is not None
    source, parts = np.random.default_rng(1), []
    for variable in range(3):
        noise = source.normal(size=(2, 1_500, 3))
        samples = []
        for part, model in zip(noise, (linear(), wrong), strict=True):
            weight = model.scm.mechanism.get_parameter("weight").numpy()
            z = np.zeros((1_500, 3))
            for k in range(3):
                drawn = source.choice(data.z[:, k], 1_500)
                z[:, k] = drawn if k == variable else part[:, k] + z @ weight[:, k]
            samples.append(model.decode(torch.from_numpy(z).float()).numpy() / data.x.std(0))
        parts.append(squared_mmd(*samples))
    # the standard error of 500 draws is about 0.001
    assert found == pytest.approx(np.mean(parts), abs=0.004)
    assert found > 0.006


def test_labels_units_and_signs_of_the_learned_variables_do_not_matter(data: PairData) -> None:
    with default_dtype(torch.float64):
        wrong = linear(second=0.3)
        image = Isomorphism(tuple(ORDER), negative_affine(3), negative_affine(3)).apply(wrong)
    plain, moved = answers(wrong, data, linear()), answers(image, data, linear())
    for key in ("ate_error", "counterfactual_error_z", "counterfactual_error_x"):
        assert moved[key] == pytest.approx(plain[key], rel=0.02), key
    assert moved["interventional_mmd"] == pytest.approx(plain["interventional_mmd"], abs=0.003)


def test_labels_of_the_true_variables_do_not_matter(data: PairData) -> None:
    plain, moved = (answers(linear(second=0.3), each) for each in (data, relabelled(data, ORDER)))
    for key in ("counterfactual_error_z", "counterfactual_error_x"):
        assert moved[key] == pytest.approx(plain[key], rel=1e-6), key


def test_curved_models_answer_like_themselves() -> None:
    nature = thick_nature(3)
    found = answers(nature, sampled(nature, 1_000), nature)
    assert found["ate_error"] < 1e-5 and abs(found["interventional_mmd"]) < 0.002
    # pairs of a thick nature are counterfactuals up to its thickness
    assert 0.005 < found["counterfactual_error_z"] < 0.05
    asked = answers(nature, without(sampled(nature, 1_000), "targets"), nature)
    assert asked["counterfactual_error_z"] < 1e-4 and asked["counterfactual_error_x"] < 1e-4


def test_questions_to_the_nature_give_the_closed_form(data: PairData) -> None:
    blind = without(data, "z_tilde", "targets")
    found = answers(linear(second=0.3), blind, linear())
    assert data.z is not None
    z, n_asked = data.z[:2_000].astype(np.float64), 2_000
    values = np.random.default_rng(0).permutation(z)
    target = np.arange(n_asked) % 3
    change = values - z
    moved = np.where(target == 0, 0.8 * change[:, 0], np.where(target == 1, change[:, 1], 0.0))
    error = 0.5 * moved / data.z.std(0)[2]
    assert found["counterfactual_error_z"] == pytest.approx(np.sqrt(np.sum(error**2) / (2 * n_asked)), rel=0.01)


def test_a_translation_goes_there_and_back(data: PairData) -> None:
    with default_dtype(torch.float64):
        maps = negative_affine(3).requires_grad_(False)
        image = Isomorphism(tuple(ORDER), maps, maps).apply(linear())
    translation = translation_of(Case(image, data, encode_pairs(image, data)))
    assert translation is not None and data.z is not None and translation.permutation.tolist() == ORDER
    # beyond the data too
    z = np.vstack([data.z[:50].astype(np.float64), np.full((1, 3), 50.0), np.full((1, 3), -50.0)])
    targets = np.zeros_like(z, dtype=bool)
    targets[:, 1] = True
    where, values = translation.to_learned(targets, z)
    assert where.any(0).tolist() == [True, False, False] and not values[:, 1:].any()
    expected = maps(torch.from_numpy(z))[0].numpy()
    np.testing.assert_allclose(values[:, 0], expected[:, 1], rtol=1e-3, atol=1e-4)
    everywhere = translation.to_learned(np.ones_like(targets), z)[1]
    np.testing.assert_allclose(translation.to_true(everywhere), z, rtol=1e-6, atol=1e-6)


def vae() -> BetaVAE:
    standardisation = ChainDecoder([AffineDecoder(3), EmbeddingDecoder(3, 3)])
    model = BetaVAE(standardisation, TargetDistribution.family(3, "atomic"), DisentanglementConfig(hidden=8))
    model.draw_weights(torch.Generator().manual_seed(0))
    return model.requires_grad_(False)


def test_without_mechanisms_matches_rows_or_nature_answers_are_null(data: PairData) -> None:
    nature = linear()
    assert set(answers(vae(), data, nature).values()) == {None}
    few = PairData.from_arrays(**{k: v if k == "adjacency" else v[:49] for k, v in data.tensors().items()})
    assert set(answers(nature, few, nature).values()) == {None}
    found = answers(nature, data)
    assert found["ate_error"] is None and found["interventional_mmd"] is None
    assert found["counterfactual_error_z"] is not None
    untouched = PairData.from_arrays(**(data.tensors() | {"targets": np.zeros((len(data), 3), dtype=np.bool_)}))
    assert answers(nature, untouched)["counterfactual_error_x"] is None
    extra = np.random.default_rng(0).normal(size=(len(data), 4))
    more = PairData.from_arrays(
        data.x, data.x_tilde, z=extra, z_tilde=extra, targets=np.eye(4, dtype=bool)[[0] * len(data)]
    )
    assert set(answers(nature, more).values()) == {None}


def test_on_circles_answers_are_null() -> None:
    nature, other = torus_counterexample()
    drawn = sampled(nature, 200)
    assert set(answers(other, drawn, nature).values()) == {None}


def test_one_variable_has_no_effect_on_others() -> None:
    nature = build_nature(NatureConfig(1), 0)
    found = answers(nature, sampled(nature, 200), nature)
    assert found["ate_error"] is None and found["counterfactual_error_z"] is None
    assert found["counterfactual_error_x"] < 1e-4


def test_draws_are_seeded(data: PairData) -> None:
    curved = build_nature(NatureConfig(3, ChainConfig(), LocationScaleMechanismConfig()), 3)
    drawn = sampled(curved, 500)
    other = build_nature(NatureConfig(3, ChainConfig(), LocationScaleMechanismConfig()), 3)
    first, second, third = (answers(other, drawn, curved, seed)["interventional_mmd"] for seed in (0, 0, 1))
    assert first == second != third


def test_levels_that_do_not_fit_are_refused() -> None:
    for levels in (np.zeros(2), np.zeros((2, 2)), np.zeros((3, 3))):
        with pytest.raises(ValueError, match=r"^Expected levels of shape \(2, n\), one column for each variable; got"):
            average_effects(linear(), levels)


def test_a_nature_that_is_none_is_refused(data: PairData) -> None:
    from lcm.metric.scores import evaluate

    flow = NatureConfig(3, decoder=FlowDecoderConfig())
    wrong: dict[str, tuple[Any, PairData]] = {
        r"Expected a latent causal model; got beta-vae\.": (vae(), data),
        r"Expected a latent causal model; got str\.": ("nature", data),
        r"Expected 3 variables, as the truth in the data; got 2\.": (small_nature("linear"), data),
        r"Expected 3 dimensions, as the data; got 2\.": (small_nature("linear"), without(data, "z", "z_tilde")),
        r"Expected the model that drew the data; got one whose z explains -?\d+% of x\.": (build_nature(flow, 9), data),
    }
    for message, (nature, pairs) in wrong.items():
        with pytest.raises(ValueError, match=f"^nature: {message}$"):
            evaluate(linear(), pairs, nature=nature)


def test_the_command_takes_the_file_of_a_nature(
    data: PairData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = PairData.from_arrays(**{k: v if k == "adjacency" else v[:200] for k, v in data.tensors().items()})
    save_pairs(tmp_path / "d.safetensors", few)
    linear().save(tmp_path / "nature.safetensors")
    linear(second=0.3).save(tmp_path / "model.safetensors")
    small_nature("linear").save(tmp_path / "two.safetensors")
    argv = ["evaluate", tmp_path / "model.safetensors", tmp_path / "d.safetensors", "--nature"]
    said = called(capsys, *argv, tmp_path / "nature.safetensors", "--json", tmp_path / "s.json")
    scores = read_json(tmp_path / "s.json")
    assert scores["ate_error"] > 0.05 and f"  {'ate_error':<32}{scores['ate_error']:.4f}\n" in said
    groups = [line for line in said.splitlines() if line.endswith(":")]
    assert groups == ["variables:", "targets:", "graph:", "answers:", "further:"]
    line = refused(capsys, *argv, tmp_path / "two.safetensors")
    assert f"{tmp_path / 'two.safetensors'}: nature: Expected 3 variables, as the truth in the data; got 2." in line
    assert "Expected a saved model; got no such file" in refused(capsys, *argv, tmp_path / "none.safetensors")
    over = refused(capsys, *argv, tmp_path / "n.json", "--json", tmp_path / "n.json")
    assert "Expected another file to write to; got the one that is read" in over


def test_draws_beyond_the_data_do_not_run_away() -> None:
    nature = build_nature(NatureConfig(10), 1)
    found = answers(nature, sampled(nature, 100), nature)
    # 2,000 draws reach further than 200 observations
    assert found["ate_error"] < 1e-3
