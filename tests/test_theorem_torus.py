"""The torus counterexample: equal pairs, different graphs; and a control in which the two models are told apart."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import networkx as nx
import pytest
import torch
from laws import generator
from scipy import stats
from torch import Tensor

from experiments._theorem.torus import torus_counterexample
from lcm.model.do import Do
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.storage import load_model, save_model

pytestmark = pytest.mark.usefixtures("float64")
N_PAIRS = 20_000
TOLERANCE = 1e-9
"""Far above what rounding does (1.5e-11 at most was seen in 160,000 pairs) and far below any real difference."""


def features(x: Tensor, x_tilde: Tensor) -> Tensor:
    """Trigonometric features of pairs on the torus in ℝ⁴: cosine and sine of whole combinations of the four angles."""
    angles = torch.cat([torch.atan2(values[:, 1::2], values[:, ::2]) for values in (x, x_tilde)], 1)
    whole = [row for row in itertools.product((-1, 0, 1), repeat=4) if row > (0, 0, 0, 0)]
    phase = angles @ torch.tensor([*whole, (2, 0, 0, 0), (0, 2, 0, -1), (0, 0, 0, 2)], dtype=angles.dtype).T
    return torch.cat([torch.cos(phase), torch.sin(phase)], 1)


def largest_deviation(one: LatentCausalModel, other: LatentCausalModel) -> float:
    """The largest difference of mean features between pairs of the two models, in standard errors."""
    first, second = (
        features(*latent.sample_pairs(N_PAIRS, generator(seed))[:2]).detach()
        for seed, latent in enumerate((one, other))
    )
    error = ((first.var(0) + second.var(0)) / N_PAIRS).sqrt()
    return float(((first.mean(0) - second.mean(0)) / error).abs().max())


def circular_dependence(one: Tensor, other: Tensor) -> float:
    """|E e^{i(a − b)} − E e^{ia} E e^{−ib}|, zero for independent angles."""
    one, other = one.detach(), other.detach()
    joint = torch.exp(1j * (one - other)).mean()
    return float((joint - torch.exp(1j * one).mean() * torch.exp(-1j * other).mean()).abs())


@pytest.mark.parametrize("concentration", [0.3, 0.6, -0.9])
def test_pair_densities_are_equal_point_by_point(concentration: float) -> None:
    first, second = torus_counterexample(concentration)
    for latent, seed in ((first, 0), (second, 1)):
        pairs = latent.sample_pairs(N_PAIRS, generator(seed))
        density, other = (model.pair_log_density(pairs.x, pairs.x_tilde) for model in (first, second))
        assert bool(density.isfinite().all())
        assert float((density - other).detach().abs().max()) < TOLERANCE
    # and on pairs that neither model makes, whose log-densities are some -10,000
    x, x_tilde = pairs.x.roll(1, 0), pairs.x_tilde
    density, other = first.pair_log_density(x, x_tilde), second.pair_log_density(x, x_tilde)
    assert float(density.detach().min()) < -1e3
    assert torch.allclose(density, other, rtol=1e-11, atol=TOLERANCE)


def test_posteriors_of_the_targets_are_equal() -> None:
    first, second = torus_counterexample(probabilities=[0.2, 0.3, 0.5])
    pairs = second.sample_pairs(1000, generator())
    posterior = first.target_posterior(pairs.x, pairs.x_tilde)
    assert torch.allclose(second.target_posterior(pairs.x, pairs.x_tilde), posterior, atol=TOLERANCE)
    guess = first.target_distribution.target_sets[posterior.argmax(1)]
    # both find the targets of 𝓜′, whose graph is not that of 𝓜
    assert float((guess == pairs.targets).all(1).double().mean()) > 0.95


def test_pairs_have_equal_distributions() -> None:
    assert largest_deviation(*torus_counterexample()) < 4.0


def test_with_another_law_of_interventions_the_models_are_told_apart() -> None:
    first, second = torus_counterexample(uniform=False)
    assert largest_deviation(first, second) > 7.0
    pairs = first.sample_pairs(N_PAIRS, generator())
    ratio = (first.pair_log_density(pairs.x, pairs.x_tilde) - second.pair_log_density(pairs.x, pairs.x_tilde)).detach()
    assert float(ratio.abs().max()) > 0.5
    # mean log-likelihood ratio: the relative entropy of the two, here far above its standard error
    assert float(ratio.mean()) > 10.0 * float(ratio.std()) / N_PAIRS**0.5


def test_graphs_differ_and_are_not_isomorphic() -> None:
    first, second = torus_counterexample()
    assert first.scm.graph.edges() == [] and second.scm.graph.edges() == [(0, 1)]
    graphs = [nx.DiGraph(latent.scm.graph.adjacency) for latent in (first, second)]
    assert not nx.is_isomorphic(*graphs)


def test_both_are_faithful() -> None:
    first, second = torus_counterexample()
    chance = 5.0 / N_PAIRS**0.5
    z, moved = (latent.scm.sample(N_PAIRS, generator()).detach() for latent in (first, second))
    assert circular_dependence(*z.T) < chance
    # k (1 − k²/4) / 2 in closed form
    assert circular_dependence(*moved.T) == pytest.approx(0.3 * (1.0 - 0.3**2), abs=chance)


def test_one_graph_reads_the_others_interventions_as_its_own() -> None:
    first, second = torus_counterexample(thickness=0.0)
    pairs = second.sample_pairs(N_PAIRS, generator())
    by_cause, by_effect = pairs.targets[:, 0], pairs.targets[:, 1]
    # do(z′_0) moves z′_1 too, through the mechanism; in the variables of 𝓜 it moves z_0 alone
    assert bool(((pairs.z_tilde - pairs.z)[by_cause, 1].abs() > 1e-6).all())
    z, z_tilde = first.encode(pairs.x).z, first.encode(pairs.x_tilde).z
    assert torch.allclose(z_tilde[by_cause, 1], z[by_cause, 1], atol=1e-12)
    # do(z′_1) is perfect in both: uniform, whatever z_0
    for imposed in (pairs.z_tilde[by_effect, 1], z_tilde[by_effect, 1]):
        assert stats.kstest(imposed.detach().numpy(), stats.uniform(-math.pi, 2.0 * math.pi).cdf).pvalue > 0.01
        assert circular_dependence(imposed, z[by_effect, 0]) < 5.0 / int(by_effect.sum()) ** 0.5


def test_what_differs_is_the_counterfactual_of_an_imposed_value() -> None:
    first, second = torus_counterexample()
    x = first.sample_pairs(500, generator()).x
    for target, same in ((0, True), (1, False)):
        one, other = (latent.counterfactual(x, Do({target: 0.5})) for latent in (first, second))
        assert torch.allclose(one, other, atol=1e-12) == same


def test_arguments_reach_both_models() -> None:
    for latent in torus_counterexample(thickness=0.1, probabilities=[0.2, 0.3, 0.5]):
        assert latent.thickness.tolist() == [0.1, 0.1]
        assert latent.target_distribution.probabilities.tolist() == [0.2, 0.3, 0.5]
        assert latent.decoder.d == 4


@pytest.mark.parametrize("index", [0, 1])
def test_both_are_saved_and_come_back(index: int, tmp_path: Path) -> None:
    latent = torus_counterexample()[index]
    save_model(latent, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    pairs = latent.sample_pairs(50, generator())
    assert torch.equal(loaded.sample_pairs(50, generator()).x_tilde, pairs.x_tilde)
    density = latent.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.equal(loaded.pair_log_density(pairs.x, pairs.x_tilde), density)
    assert loaded.scm.circular.tolist() == [True, True]


@pytest.mark.parametrize("concentration", [0.0, 1.0, -1.5, math.nan])
def test_a_concentration_that_breaks_the_example_is_an_error(concentration: float) -> None:
    with pytest.raises(ValueError, match=rf"Expected a concentration in \(-1, 1\) that is not 0; got {concentration}"):
        torus_counterexample(concentration)
