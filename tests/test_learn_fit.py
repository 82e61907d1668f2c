"""Whole fits: they recover small natures, depend on x and x_tilde alone, and are repeatable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from laws import generator
from small import SHORT, equal_weights, relabelled, sampled, small_data, without

import lcm
from lcm.data.encode import encode_pairs
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig, FullConfig
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
from lcm.learn import flow
from lcm.learn.config import MechanismsConfig, NoiseEncoderConfig
from lcm.learn.prepared import prepare
from lcm.learn.training.tracker import Recorder
from lcm.metric.graph import aligned_adjacency, structural_hamming_distance
from lcm.metric.intervention import intervention_accuracy
from lcm.model.decoder import FlowDecoderConfig, LinearDecoderConfig
from lcm.model.do import Do
from lcm.model.intervention import PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LocationScaleMechanismConfig
from lcm.model.storage import load_model, save_model
from lcm.run import public as module
from lcm.run.config import FitConfig
from lcm.run.fitting import choose_n, fit_pairs, resolve_device, target_distribution
from lcm.run.public import fit
from lcm.run.result import FitResult

pytestmark = pytest.mark.usefixtures("cheap_scores")

QUICK = FitConfig(
    noise_encoder=NoiseEncoderConfig(layers=6, hidden=24, steps=500, marginal_steps=300),
    mechanisms=MechanismsConfig(hidden=16, steps=200, batch_size=1024),
)
"""Enough steps for natures of two or three variables."""

TRUTH = ("z", "z_tilde", "noise", "noise_tilde", "targets", "adjacency")
UNEVEN = (0.1, 0.25, 0.65)

NATURES = {
    "linear": NatureConfig(3, FullConfig()),
    "curved": NatureConfig(2, ChainConfig(), LocationScaleMechanismConfig(), decoder=FlowDecoderConfig()),
    "embedded": NatureConfig(
        2,
        ChainConfig(),
        intervention=PerfectInterventionConfig(probabilities=UNEVEN),
        decoder=LinearDecoderConfig(dim_x=4),
    ),
    "one-variable": NatureConfig(1),
}
N_PAIRS = {"linear": 20_000, "curved": 10_000, "embedded": 10_000, "one-variable": 3000}
MARGINS = {
    "linear": (0.999, 0.99),
    "curved": (0.98, 0.9),
    "embedded": (0.999, 0.99),
    "one-variable": (0.999, 0.99),
}
"""Least MCC and least intervention accuracy."""


class Fitted:
    """A nature, fresh pairs of it, and what was fitted to others."""

    def __init__(self, name: str) -> None:
        nature = build_nature(NATURES[name], 0)
        train = sampled(nature, N_PAIRS[name], 1)
        # The truth stays away from the fit.
        self.train = without(train, *TRUTH)
        self.result: FitResult = fit_pairs(self.train, QUICK)
        self.model: LatentCausalModel = self.result.model
        self.data = sampled(nature, 3000, 2)
        self.truth = self.data.tensors()
        encoded = encode_pairs(self.model, self.data)
        self.posterior = encoded.posterior.numpy()
        self.correlation = correlation_matrix(self.truth["z"], encoded.z.numpy())
        self.permutation = match_variables(self.correlation)
        self.x = torch.from_numpy(self.data.x)
        self.x_tilde = torch.from_numpy(self.data.x_tilde)


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], Fitted]:
    """Fits by the name of their nature, each done once."""
    done: dict[str, Fitted] = {}

    def get(name: str) -> Fitted:
        if name not in done:
            done[name] = Fitted(name)
        return done[name]

    return get


every_nature = pytest.mark.parametrize("name", NATURES)
Get = Callable[[str], Fitted]


@every_nature
def test_a_fit_recovers_variables_graph_and_interventions(name: str, fitted: Get) -> None:
    found, (mcc, accuracy) = fitted(name), MARGINS[name]
    assert found.model.n == NATURES[name].n
    assert mean_correlation(found.correlation, found.permutation) > mcc
    aligned = aligned_adjacency(found.model.scm.graph.adjacency, found.permutation)
    assert structural_hamming_distance(found.truth["adjacency"], aligned) == 0
    sets = found.model.target_distribution.target_sets.numpy()
    assert intervention_accuracy(found.truth["targets"], found.posterior, sets, found.permutation) > accuracy


@every_nature
def test_the_ancestor_test_agrees_with_the_graph(name: str, fitted: Get) -> None:
    result = fitted(name).result
    graph = result.model.scm.graph
    assert result.ancestry.conflicts == () and bool((result.ancestry.candidates >= graph.adjacency).all())
    assert all(result.order.index(i) < result.order.index(j) for i, j in graph.edges())
    assert bool((result.edge_strength[graph.adjacency] > 0.1).all())
    assert not result.edge_strength[~result.ancestry.candidates].any()


def test_uneven_probabilities_are_estimated(fitted: Get) -> None:
    found = fitted("embedded")
    probabilities = found.model.target_distribution.probabilities
    matched = [probabilities[0], *(probabilities[1 + j] for j in found.permutation)]
    assert [float(value) for value in matched] == pytest.approx(UNEVEN, abs=0.02)


@every_nature
def test_likelihoods_are_those_of_the_held_out_pairs(name: str, fitted: Get) -> None:
    found = fitted(name)
    result = found.result
    assert np.isfinite([result.implicit_nll, result.held_out_nll]).all()
    held_out = prepare(
        found.train.x, found.train.x_tilde, result.model.n, QUICK.validation_share, 0, torch.device("cpu")
    )
    x, x_tilde = (held_out.standardisation(part)[0] for part in held_out.validation)
    with torch.no_grad():
        again = -result.model.pair_log_density(x, x_tilde).mean()
    assert float(again) == pytest.approx(result.held_out_nll, rel=1e-4, abs=1e-3)
    # The explicit model says what the implicit one does, with mechanisms in place of solution functions.
    assert result.held_out_nll == pytest.approx(result.implicit_nll, abs=0.1)


@every_nature
def test_a_fitted_model_answers_what_a_model_can_be_asked(name: str, fitted: Get) -> None:
    found = fitted(name)
    model = found.model
    with torch.no_grad():
        pairs = model.sample_pairs(500, generator())
        assert pairs.x.shape == (500, found.x.shape[1])
        assert all(bool(part.isfinite().all()) for part in pairs[:-1])
        assert bool(model.pair_log_density(pairs.x, pairs.x_tilde).isfinite().all())
        assert bool(model.pair_log_density(found.x, found.x_tilde).isfinite().all())
        z = model.encode(found.x).z
        torch.testing.assert_close(model.decode(z), found.x, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(model.encode(found.x[0]).z, z[0], atol=1e-4, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@every_nature
def test_a_counterfactual_has_the_value_that_was_set(name: str, fitted: Get) -> None:
    found = fitted(name)
    model, rows = found.model, found.x[:200]
    ancestors = found.result.ancestry.candidates
    for i in range(model.n):
        with torch.no_grad():
            before, after = model.encode(rows).z, model.encode(model.counterfactual(rows, Do({i: 0.4}))).z
        torch.testing.assert_close(after[:, i], torch.full((200,), 0.4), atol=1e-3, rtol=0)
        kept = [j for j in range(model.n) if j != i and not ancestors[i, j]]
        torch.testing.assert_close(after[:, kept], before[:, kept], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["curved", "embedded"])
def test_a_saved_model_is_the_same(name: str, fitted: Get, tmp_path: Path) -> None:
    found = fitted(name)
    save_model(found.model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert equal_weights(loaded, found.model) and loaded.scm.graph == found.model.scm.graph
    with torch.no_grad():
        expected = found.model.pair_log_density(found.x, found.x_tilde)
        assert torch.equal(loaded.pair_log_density(found.x, found.x_tilde), expected)


PATHS = ("linear", "nonlinear")
every_path = pytest.mark.parametrize("name", PATHS)


@pytest.fixture(scope="module")
def short() -> dict[str, FitResult]:
    """Short fits without the truth, for each path."""
    return {name: fit_pairs(without(small_data(name), *TRUTH), SHORT) for name in PATHS}


@every_path
def test_the_same_seed_gives_the_same_weights_and_the_truth_changes_nothing(
    name: str, short: dict[str, FitResult]
) -> None:
    data = small_data(name)
    truth = data.tensors()
    wrong = truth | {"z": -truth["z_tilde"], "targets": ~truth["targets"]}
    for same in (data, relabelled(PairData.from_arrays(**wrong), [1, 0])):
        again = fit_pairs(same, SHORT)
        assert equal_weights(again.model, short[name].model)
        np.testing.assert_array_equal(again.edge_strength, short[name].edge_strength)
        assert (again.implicit_nll, again.held_out_nll) == (short[name].implicit_nll, short[name].held_out_nll)


@every_path
def test_another_seed_gives_other_weights(name: str, short: dict[str, FitResult]) -> None:
    other = fit_pairs(small_data(name), replace(SHORT, seed=1))
    assert not equal_weights(other.model, short[name].model)


def test_the_global_generators_do_not_matter(short: dict[str, FitResult]) -> None:
    torch.manual_seed(123)
    np.random.seed(123)
    again = fit_pairs(small_data("nonlinear"), SHORT)
    assert equal_weights(again.model, short["nonlinear"].model)


def test_the_likeliest_restart_is_kept(short: dict[str, FitResult]) -> None:
    recorder = Recorder()
    result = fit_pairs(small_data("nonlinear"), replace(SHORT, restarts=2), recorder=recorder)
    assert len(set(result.restart_nll)) == 2
    # The first restart is the fit with one, but for rounding.
    assert result.restart_nll[0] == pytest.approx(short["nonlinear"].held_out_nll, abs=1e-2)
    assert result.held_out_nll == min(result.restart_nll) == result.restart_nll[result.restart]
    assert {record["restart"] for record in result.records} == {0, 1}
    assert list(result.records) == recorder.records
    assert result.seconds >= result.records[-1]["seconds"] > 0.0


def patched_nll(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    left = iter(values)
    monkeypatch.setattr(flow, "_explicit_log_density", lambda *_: -next(left))


def test_a_restart_that_failed_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    patched_nll(monkeypatch, [float("nan"), 3.0])
    result = fit_pairs(small_data("linear"), replace(SHORT, restarts=2))
    assert result.restart == 1 and result.held_out_nll == 3.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_fit_without_any_finite_likelihood_is_an_error(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    patched_nll(monkeypatch, [value])
    with pytest.raises(FloatingPointError, match="the held-out log-likelihood of the model became"):
        fit_pairs(small_data("linear"), SHORT)


def test_arrays_tensors_and_pairs_are_taken_alike(
    short: dict[str, FitResult], capsys: pytest.CaptureFixture[str]
) -> None:
    data = small_data("linear")
    options: dict[str, Any] = {"config": replace(SHORT, seed=5), "seed": 0, "device": "cpu", "quiet": True}
    for given in ((data,), (data.x, data.x_tilde), (torch.from_numpy(data.x), torch.from_numpy(data.x_tilde))):
        assert equal_weights(fit(*given, **options).model, short["linear"].model)
    assert capsys.readouterr() == ("", "")
    assert lcm.fit is fit


def test_options_override_the_config(monkeypatch: pytest.MonkeyPatch, short: dict[str, FitResult]) -> None:
    asked: list[FitConfig] = []

    def watched(data: PairData, config: FitConfig, *_: object) -> FitResult:
        asked.append(config)
        return short["linear"]

    monkeypatch.setattr(module, "fit_pairs", watched)
    data, config = small_data("linear"), replace(SHORT, n=1, seed=3)
    assert fit(data, config=config, n=2, restarts=4, seed=0) is short["linear"]
    fit(data, config=config)
    fit(data)
    assert asked == [replace(config, n=2, restarts=4, seed=0), config, FitConfig()]


@every_path
def test_all_target_sets_can_be_fitted(name: str) -> None:
    nature = replace(
        NATURES["linear" if name == "linear" else "curved"], intervention=PerfectInterventionConfig(targets="all")
    )
    data = sampled(build_nature(nature, 0), 1000)
    model = fit_pairs(data, replace(SHORT, targets="all")).model
    assert model.target_distribution.as_lists() == target_distribution(model.n, FitConfig(targets="all")).as_lists()
    posterior = encode_pairs(model, data).posterior
    assert posterior.shape == (1000, 2**model.n)
    torch.testing.assert_close(posterior.sum(1), torch.ones(1000))
    assert float(model.target_distribution.probabilities.sum()) == pytest.approx(1.0, abs=1e-4)


def test_linear_data_are_unmixed_exactly_whatever_the_target_sets() -> None:
    nature = build_nature(replace(NATURES["linear"], intervention=PerfectInterventionConfig(targets="all")), 0)
    data = sampled(nature, 4000)
    model = fit_pairs(data, FitConfig(model="linear", targets="all")).model
    noise = encode_pairs(model, data).noise.numpy()
    found = correlation_matrix(data.noise, noise, "pearson")
    assert mean_correlation(found, match_variables(found)) > 1.0 - 1e-5


def test_given_target_sets_are_those_of_the_model() -> None:
    config = replace(SHORT, targets=((1,), (), (0, 1)))
    model = fit_pairs(small_data("linear"), config).model
    assert model.target_distribution.as_lists() == [[1], [], [0, 1]]


X, X_TILDE = small_data("linear").x, small_data("linear").x_tilde
IMAGES, FEW = np.zeros((200, 18, 16, 1), np.uint8), np.zeros((20, 16, 16, 1), np.uint8)
REFUSED: dict[str, tuple[PairData, FitConfig, str]] = {
    "images": (PairData.from_arrays(IMAGES, IMAGES + 1), SHORT, "x: Expected images of a height and width that 4"),
    "few images": (PairData.from_arrays(FEW, FEW + 1), SHORT, "x: Expected at least 100 pairs"),
    "no change": (
        PairData.from_arrays(X, X),
        SHORT,
        "x_tilde: Expected pairs that differ, at least 10; got x_tilde equal to x",
    ),
    "rounding": (
        PairData.from_arrays(1e4 + 1e-3 * X, 1e4 + 1e-3 * X_TILDE),
        SHORT,
        "x: Expected a numerical rank of at least n = 1; got 0",
    ),
    "rank": (
        sampled(build_nature(NATURES["embedded"], 0), 300),
        replace(SHORT, n=4),
        "x: Expected a numerical rank of at least n = 4; got 2",
    ),
    "dimensions": (small_data("linear"), replace(SHORT, n=3), "x: Expected at least n = 3 dimensions; got 2"),
    "few pairs": (PairData.from_arrays(X[:149], X_TILDE[:149]), SHORT, "x: Expected at least 150 pairs"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("source", ["", "train.safetensors"])
def test_data_that_cannot_be_fitted_are_refused_by_name(case: str, source: str) -> None:
    data, config, message = REFUSED[case]
    at = "train.safetensors: " if source else ""
    with pytest.raises(ValueError, match=f"^{at}{message}"):
        choose_n(replace(data, source=source), config)
    with pytest.raises(ValueError, match=f"^{at}{message}"):
        fit_pairs(replace(data, source=source), config)


def test_n_is_as_configured_else_estimated() -> None:
    data = sampled(build_nature(NATURES["embedded"], 0), 300)
    assert choose_n(data, FitConfig()) == 2
    assert choose_n(data, FitConfig(n=1)) == 1


@pytest.mark.parametrize(
    ("n", "targets", "message"),
    [
        (2, ((0,), (2,)), r"targets: Expected intervention targets in 0\.\.1; got 2"),
        (2, ((0,), (0,)), "targets: Expected one or more distinct target sets"),
        (2, (), "targets: Expected one or more distinct target sets"),
        (2, "some", "targets: Expected target sets atomic, atomic-or-empty, all or a list; got 'some'"),
        (17, "all", "targets: Expected n <= 16 for all subsets; got n = 17"),
    ],
)
def test_target_sets_that_cannot_be_are_refused(n: int, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        target_distribution(n, FitConfig(targets=targets))


def test_target_families_are_uniform_to_start_with() -> None:
    for targets, count in (("atomic", 3), ("atomic-or-empty", 4), ("all", 8), (((), (2,)), 2)):
        found = target_distribution(3, FitConfig(targets=targets))  # type: ignore[arg-type]
        torch.testing.assert_close(found.probabilities, torch.full((count,), 1.0 / count))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^device: Expected auto, cpu or cuda; got 'tpu'"):
        resolve_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^device: Expected CUDA, as asked for; got a machine without it\. Use cpu"):
        resolve_device("cuda")
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cpu") == torch.device("cpu")
