"""Laws of target distributions and of interventional mechanisms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from laws import (
    GRAPH,
    INTERVENTIONS,
    SCMS,
    N,
    batch_jacobian,
    finite_gradients,
    generator,
    normal,
    scm_of_intervention,
)
from scipy import stats

from lcm.base.component import describe
from lcm.model.intervention import InterventionalMechanism, ShiftedIntervention, TargetDistribution

pytestmark = pytest.mark.usefixtures("float64")
every_intervention = pytest.mark.parametrize("name", INTERVENTIONS)


def test_families() -> None:
    atomic = [[0], [1], [2]]
    assert TargetDistribution.family(3, "atomic").as_lists() == atomic
    assert TargetDistribution.family(3, "atomic-or-empty").as_lists() == [[], *atomic]
    everything = [[], *atomic, [0, 1], [0, 2], [1, 2], [0, 1, 2]]
    assert TargetDistribution.family(3, "all").as_lists() == everything
    assert len(TargetDistribution.family(8, "all").target_sets) == 256


def test_given_sets_keep_their_order_and_are_uniform_unless_said() -> None:
    distribution = TargetDistribution(4, [(3, 1), (), (2,)], None)
    assert distribution.as_lists() == [[1, 3], [], [2]]
    assert torch.allclose(distribution.probabilities, torch.full((3,), 1.0 / 3.0))
    assert distribution.log_probabilities().exp().sum() == pytest.approx(1.0)


@pytest.mark.parametrize("family", ["atomic", "atomic-or-empty", "all"])
def test_sampled_frequencies_are_the_probabilities(family: str) -> None:
    count = len(TargetDistribution.family(3, family).target_sets)
    weights = np.arange(1.0, count + 1.0) / np.arange(1.0, count + 1.0).sum()
    distribution = TargetDistribution.family(3, family, weights.tolist())
    targets = distribution.sample(5000, generator())
    assert targets.shape == (5000, 3) and targets.dtype == torch.bool
    matches = (targets.unsqueeze(1) == distribution.target_sets).all(2)
    assert bool((matches.sum(1) == 1).all())
    assert stats.chisquare(matches.sum(0).numpy(), 5000 * weights).pvalue > 0.01


def test_a_set_of_probability_zero_is_never_drawn_and_has_a_finite_logarithm() -> None:
    distribution = TargetDistribution.family(2, "atomic-or-empty", [0.0, 0.25, 0.75])
    assert bool(distribution.sample(2000, generator()).any(1).all())
    assert bool(distribution.log_probabilities().isfinite().all())
    assert float(distribution.log_probabilities()[0]) < -80.0


def test_sampling_is_seeded() -> None:
    distribution = TargetDistribution.family(5, "all")
    assert torch.equal(distribution.sample(50, generator(1)), distribution.sample(50, generator(1)))
    assert not torch.equal(distribution.sample(50, generator(1)), distribution.sample(50, generator(2)))


@pytest.mark.parametrize("target", [-1, 3])
def test_a_target_out_of_range_is_an_error(target: int) -> None:
    with pytest.raises(ValueError, match=rf"Expected intervention targets in 0\.\.2; got {target}"):
        TargetDistribution(3, [(0, target)], None)


@pytest.mark.parametrize("sets", [[], [(0, 1), (2,), (1, 0)]])
def test_sets_that_are_missing_or_twice_are_an_error(sets: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"Expected one or more distinct target sets; got \["):
        TargetDistribution(3, sets, None)


def test_an_unknown_family_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected target sets atomic, atomic-or-empty, all or a list; got 'a"):
        TargetDistribution.family(3, "atomical")


def test_a_wrong_number_of_probabilities_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected 3 probabilities, one for each target set; got 2"):
        TargetDistribution.family(3, "atomic", [0.5, 0.5])


@pytest.mark.parametrize(
    ("probabilities", "total"), [([0.5, 0.2], "0.7"), ([1.5, -0.5], "1"), ([float("nan"), 1.0], "nan")]
)
def test_probabilities_that_are_none_are_an_error(probabilities: list[float], total: str) -> None:
    message = f"Expected non-negative probabilities that sum to 1; got a sum of {total}"
    with pytest.raises(ValueError, match=message):
        TargetDistribution.family(2, "atomic", probabilities)


@every_intervention
def test_density_is_that_of_the_imposed_values(name: str) -> None:
    scm, intervention = scm_of_intervention(name), INTERVENTIONS[name](GRAPH)
    fresh, z, variables = normal(50, N), normal(50, N, seed=2), torch.arange(N)
    jacobian = batch_jacobian(lambda rows: intervention.value(rows, z, variables, scm), fresh)
    slope = torch.diagonal(jacobian, dim1=1, dim2=2)
    assert torch.equal(jacobian, torch.diag_embed(slope))
    imposed = intervention.value(fresh, z, variables, scm)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(fresh) - slope.abs().log()
    for i in range(N):
        # the density of variable i given its parents in z
        point = z.clone()
        point[:, i] = imposed[:, i].detach()
        assert torch.allclose(intervention.log_density(point, scm)[:, i], expected[:, i], atol=1e-8)


@every_intervention
def test_the_score_of_an_imposed_value_is_its_fresh_noise(name: str) -> None:
    scm, intervention = scm_of_intervention(name), INTERVENTIONS[name](GRAPH)
    fresh, z = normal(50, N), normal(50, N, seed=2)
    imposed = intervention.value(fresh, z, torch.arange(N), scm)
    for i in range(N):
        point = z.clone()
        point[:, i] = imposed[:, i].detach()
        assert torch.allclose(intervention.to_normal(point, scm)[:, i], fresh[:, i], atol=1e-8)


@every_intervention
def test_values_read_the_parents_unless_the_intervention_is_perfect(name: str) -> None:
    scm, intervention = scm_of_intervention(name), INTERVENTIONS[name](GRAPH)
    fresh, variables = normal(50, N), torch.arange(N)
    jacobian = batch_jacobian(lambda z: intervention.value(fresh, z, variables, scm), normal(50, N, seed=2))
    read = (jacobian.abs().amax(0) > 0).T
    parents = torch.zeros(N, N, dtype=torch.bool) if name.startswith("perfect") else torch.tensor(GRAPH.adjacency)
    assert torch.equal(read, parents)


@every_intervention
def test_variables_select_columns(name: str) -> None:
    scm, intervention = scm_of_intervention(name), INTERVENTIONS[name](GRAPH)
    fresh, z, variables = normal(50, N), normal(50, N, seed=2), torch.tensor([3, 0])
    part = intervention.value(fresh[:, variables], z, variables, scm)
    full = intervention.value(fresh, z, torch.arange(N), scm)
    assert torch.allclose(part, full[:, variables], atol=1e-12)


@every_intervention
def test_empty_batches_and_gradients(name: str) -> None:
    scm, intervention = scm_of_intervention(name), INTERVENTIONS[name](GRAPH)
    empty = torch.zeros(0, N)
    assert intervention.value(empty, empty, torch.arange(N), scm).shape == (0, N)
    assert intervention.log_density(empty, scm).shape == (0, N)
    z = normal(10, N, scale=20.0).requires_grad_()
    assert finite_gradients(intervention.log_density(z, scm), z, intervention)


@every_intervention
def test_rebuilds_from_its_description(name: str) -> None:
    scm, intervention, z = scm_of_intervention(name), INTERVENTIONS[name](GRAPH), normal(5, N)
    rebuilt = InterventionalMechanism.build(describe(intervention))
    rebuilt.load_state_dict(intervention.state_dict())
    assert torch.equal(rebuilt.log_density(z, scm), intervention.log_density(z, scm))
    assert rebuilt.n == intervention.n == N


def test_a_shifted_intervention_moves_the_models_own_mechanism() -> None:
    scm, shift = SCMS["additive-laplace"](GRAPH), normal(N, seed=6)
    fresh, z, variables = normal(50, N), normal(50, N, seed=2), torch.arange(N)
    value = ShiftedIntervention(N, shift).value(fresh, z, variables, scm)
    own = ShiftedIntervention(N, torch.zeros(N)).value(fresh, z, variables, scm)
    assert torch.allclose(value - own, shift.expand(50, N))
    assert torch.allclose(own, scm.mechanism(scm.noise.from_normal(fresh)[0], z)[0])
