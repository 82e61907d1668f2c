"""Sensor noise: its densities, its slopes, what is learned of it, and where the posterior counts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from laws import default_dtype, generator
from scipy.stats import multivariate_normal
from small import sampled, thick_nature

from lcm.base.files import read_json
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import FullConfig
from lcm.data.pairs import PairData
from lcm.isomorphism.apply import Isomorphism
from lcm.learn.sensor_noise import learn_sensor_noise
from lcm.metric.intervention import intervention_accuracy
from lcm.model.decoder import FlowDecoderConfig
from lcm.model.elementwise import AffineMap
from lcm.model.intervention import PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.sensor_noise import SensorNoise, Slopes, pair_slopes
from lcm.model.storage import load_model, save_model
from lcm.run.config import FitConfig
from lcm.run.runs import fit_run

CURVED = NatureConfig(
    3,
    FullConfig(),
    intervention=PerfectInterventionConfig(targets="atomic-or-empty"),
    decoder=FlowDecoderConfig(strength=0.4),
)
DEVIATION = 0.02


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with default_dtype(torch.float64):
        yield


def curved_nature() -> LatentCausalModel:
    """A nature that is its own fit, at a thickness as sensor noise leaves it on average."""
    nature = build_nature(CURVED, 0).double().requires_grad_(False)
    nature.thickness = torch.full((3,), 0.05, dtype=torch.float64)
    return nature


def noisy(nature: LatentCausalModel, count: int, seed: int) -> PairData:
    """Exact pairs of a nature, with noise on each column of each observation."""
    exact = build_nature(CURVED, 0).double()
    data, draw = sampled(exact, count, seed), np.random.default_rng(seed)
    deviation = DEVIATION * data.x.std(0)
    x, x_tilde = (part + deviation * draw.standard_normal(part.shape) for part in (data.x, data.x_tilde))
    return replace(data, x=x, x_tilde=x_tilde)


def tensors(data: PairData) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(data.x).double(), torch.from_numpy(data.x_tilde).double()


def random_slopes(rows: int, n: int, d: int) -> Slopes:
    draw = generator(0)
    return Slopes(*(torch.randn(rows, n, d, generator=draw) for _ in range(2)))


def test_densities_are_those_of_the_normal_distribution_without_the_target() -> None:
    slopes = random_slopes(20, 3, 5)
    noise = SensorNoise(torch.rand(5, generator=generator(1)), torch.rand(3, generator=generator(2)) + 0.1)
    differences = torch.randn(20, 3, generator=generator(3))
    whole, given = noise.stay_terms(differences, slopes)
    for row in range(20):
        before, after = (part[row].numpy() * noise.deviation.numpy() for part in slopes)
        covariance = before @ before.T + after @ after.T + np.diag(noise.rest.numpy() ** 2)
        np.testing.assert_allclose(noise.covariance(slopes)[row], covariance)
        difference = differences[row].numpy()
        assert float(whole[row]) == pytest.approx(multivariate_normal.logpdf(difference, cov=covariance))
        for target in range(3):
            stays = np.delete(np.arange(3), target)
            wanted = multivariate_normal.logpdf(difference[stays], cov=covariance[np.ix_(stays, stays)])
            assert float(whole[row] - given[row, target]) == pytest.approx(wanted)


def test_slopes_are_those_of_autograd_one_row_at_a_time() -> None:
    nature = curved_nature()
    x, x_tilde = (part[:7] for part in tensors(sampled(nature, 10)))

    def encode(part: torch.Tensor) -> torch.Tensor:
        return nature.scm.noise.to_normal(nature.encoding(part).noise)[0]

    found = pair_slopes(encode, 3, x, x_tilde)
    for row in range(7):
        for slopes, values in ((found.before, x), (found.after, x_tilde)):
            wanted = torch.autograd.functional.jacobian(lambda part: encode(part[None])[0], values[row])
            torch.testing.assert_close(slopes[row], wanted)


def test_without_noise_of_columns_the_posterior_is_that_of_a_thickness() -> None:
    nature = thick_nature(3).double().requires_grad_(False)
    nature.growth = 0.0
    x, x_tilde = tensors(sampled(nature, 200))
    plain = nature.target_posterior(x, x_tilde)
    nature.sensor_noise = SensorNoise(torch.zeros(nature.d), nature.thickness)
    torch.testing.assert_close(nature.target_posterior(x, x_tilde), plain)
    # a thickness that is given takes the place of sensor noise
    nature.sensor_noise = SensorNoise(torch.ones(nature.d), nature.thickness)
    torch.testing.assert_close(nature.target_posterior(x, x_tilde, nature.thickness), plain)


def test_noise_of_columns_is_learned_and_more_targets_are_recognised() -> None:
    nature, test = curved_nature(), noisy(curved_nature(), 3_000, 2)
    sets = nature.target_distribution.target_sets.numpy()

    def accuracy() -> tuple[float, float]:
        posterior = nature.encode_pairs(*tensors(test)).posterior
        return intervention_accuracy(test.targets, posterior.numpy(), sets, range(3)), float(posterior.max(1)[0].mean())

    before, _ = accuracy()
    learn_sensor_noise(nature, noisy(nature, 3_000, 1))
    assert nature.sensor_noise is not None
    spread = noisy(nature, 3_000, 1).x.std(0)
    np.testing.assert_allclose(nature.sensor_noise.deviation.numpy() / (DEVIATION * spread), 1.0, atol=0.15)
    after, believed = accuracy()
    assert after > before + 0.02 and after == pytest.approx(believed, abs=0.01)


def test_exact_pairs_and_several_targets_have_no_sensor_noise() -> None:
    exact = curved_nature()
    exact.thickness = torch.full((3,), 0.005)
    learn_sensor_noise(exact, noisy(exact, 200, 0))
    assert exact.sensor_noise is None
    several = thick_nature(3, PerfectInterventionConfig(targets="all")).double().requires_grad_(False)
    learn_sensor_noise(several, sampled(several, 200))
    assert several.sensor_noise is None


def test_pairs_of_the_models_own_thickness_gain_nothing() -> None:
    nature = curved_nature()
    learn_sensor_noise(nature, sampled(nature, 3_000))
    assert nature.sensor_noise is None


def with_noise() -> LatentCausalModel:
    nature = curved_nature()
    nature.sensor_noise = SensorNoise(torch.tensor([0.1, 0.2, 0.05]), torch.tensor([0.01, 0.02, 0.03]))
    return nature


def test_pairs_far_from_the_data_have_the_posterior_of_the_thickness(monkeypatch: pytest.MonkeyPatch) -> None:
    nature, pairs = with_noise(), tensors(sampled(curved_nature(), 50))
    plain, noisy = curved_nature().encode_pairs(*pairs).posterior, nature.encode_pairs(*pairs).posterior
    covariance = SensorNoise.covariance

    def broken(noise: SensorNoise, slopes: Slopes) -> torch.Tensor:
        found = covariance(noise, slopes)
        found[7] = -found[7]
        return found

    monkeypatch.setattr(SensorNoise, "covariance", broken)
    found = nature.encode_pairs(*pairs).posterior
    torch.testing.assert_close(found[7], plain[7])
    np.testing.assert_allclose(np.delete(found.numpy(), 7, 0), np.delete(noisy.numpy(), 7, 0))


def test_sensor_noise_is_saved_with_the_model(tmp_path: Path) -> None:
    nature = with_noise()
    save_model(nature, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    pairs = tensors(sampled(nature, 50))
    torch.testing.assert_close(loaded.encode_pairs(*pairs).posterior, nature.encode_pairs(*pairs).posterior)


def test_an_isomorphic_model_has_the_posterior_of_the_relabelled_targets() -> None:
    nature, pairs = with_noise(), tensors(sampled(curved_nature(), 50))
    maps = AffineMap(3, scale=torch.tensor([2.0, -0.5, 1.0]), shift=torch.tensor([0.0, 1.0, -1.0]))
    image = Isomorphism((2, 0, 1), maps, maps).apply(nature)
    plain, relabelled = (model.encode_pairs(*pairs).posterior for model in (nature, image))
    # target sets keep their columns
    torch.testing.assert_close(plain, relabelled)


@pytest.mark.parametrize(
    ("deviation", "rest", "message"),
    [
        ([0.1, -0.2, 0.0], [0.1] * 3, "Expected non-negative deviations of sensor noise; got -0.2"),
        ([0.1] * 3, [0.1, 0.0, 0.1], "Expected a positive rest beside sensor noise; got 0.0"),
    ],
)
def test_a_file_with_impossible_noise_is_refused(
    deviation: list[float], rest: list[float], message: str, tmp_path: Path
) -> None:
    nature = curved_nature()
    nature.sensor_noise = SensorNoise(torch.tensor(deviation), torch.tensor(rest))
    save_model(nature, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "model.safetensors")


def test_a_file_with_sensor_noise_and_several_targets_is_refused(tmp_path: Path) -> None:
    nature = thick_nature(3, PerfectInterventionConfig(targets="all")).double()
    nature.sensor_noise = SensorNoise(torch.ones(nature.d), torch.ones(3))
    save_model(nature, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="Expected at most one target at once beside sensor noise; got a set of 3"):
        load_model(tmp_path / "model.safetensors")


def test_a_fit_says_what_noise_its_columns_have(tmp_path: Path) -> None:
    data = sampled(build_nature(NatureConfig(3, FullConfig()), 0), 3_000)
    draw = np.random.default_rng(0)
    # one column alone is noisy, which blurs all variables at once
    width = np.array([0.1, 0.0, 0.0]) * data.x.std(0)
    x, x_tilde = (part + width * draw.standard_normal(part.shape) for part in (data.x, data.x_tilde))
    blurred = PairData.from_arrays(x.astype(np.float32), x_tilde.astype(np.float32))
    with default_dtype(torch.float32):
        result = fit_run(blurred, tmp_path / "run", FitConfig(model="linear", n=3), progress=False)
    noise = result.model.causal_model().sensor_noise
    assert noise is not None and float(noise.deviation[0]) == pytest.approx(width[0], rel=0.3)
    assert "Columns of x have noise with standard deviations from" in result.report()
    written = read_json(tmp_path / "run" / "fit.json")["sensor_noise"]
    assert written == pytest.approx(noise.deviation.tolist())
