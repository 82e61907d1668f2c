"""The verdict: images of every kind are isomorphic, models that differ in one thing are not, and doubts are said."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from small import sampled
from torch import Tensor

from experiments._verdict.images import random_image, random_nature
from experiments._verdict.neighbours import NEIGHBOURS
from experiments.verdict import FAR, divergence_on, measured
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig
from lcm.data.pairs import PairData
from lcm.isomorphism import Comparison, Isomorphism, find, find_isomorphism
from lcm.isomorphism.find import _finite_rows, _imposed_on
from lcm.isomorphism.likelihood import divergences, thicknesses
from lcm.isomorphism.monotone import map_through, mapped, normal_scores, quantile_map
from lcm.isomorphism.parts import target_distance
from lcm.isomorphism.probes import probe_pairs
from lcm.isomorphism.verdict import _outside
from lcm.isomorphism.views import View, in_double
from lcm.model.elementwise import AffineMap, KnotMap
from lcm.model.intervention import PerfectInterventionConfig, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel

_PAIRS = 2_000


@pytest.mark.parametrize("seed", range(12))
def test_images_of_natures_of_every_kind_are_isomorphic(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_PROBES", 2_000)
    nature = random_nature(seed)
    image, _ = random_image(nature, seed)
    found = find_isomorphism(nature, image, sampled(nature, _PAIRS))
    assert found.verdict == "isomorphic", (found.reasons, found.judgement.undecided)
    assert found.distance < 1e-6


@pytest.mark.parametrize("seed", (102, 105))
def test_neighbours_that_differ_by_a_fiftieth_of_a_nat_are_never_isomorphic(seed: int) -> None:
    records = [record for record in measured(seed, _PAIRS, 10_000) if record["case"] != "image"]
    far = [record for record in records if record["divergence"] >= FAR]
    assert far and not any(record["isomorphic"] for record in far), far


def test_every_kind_of_neighbour_is_made_and_differs() -> None:
    made = dict.fromkeys(NEIGHBOURS, 0.0)
    for seed in range(100, 112):
        nature = random_nature(seed)
        data = sampled(nature, 500)
        for name, make in NEIGHBOURS.items():
            neighbour = make(nature, seed)
            if neighbour is not None:
                made[name] = max(made[name], divergence_on(nature, neighbour, data))
    assert min(made.values()) > FAR, made


def chain(**settings: object) -> LatentCausalModel:
    """A nature of three variables in a chain, in float64."""
    nature = build_nature(NatureConfig(3, ChainConfig(), **settings), 0).double()  # type: ignore[arg-type]
    nature.thickness = torch.tensor([0.02, 0.05, 0.1], dtype=torch.float64)
    return nature


def test_a_3_cycle_moves_target_sets_and_thicknesses_the_right_way() -> None:
    probabilities = (0.1, 0.5, 0.3, 0.1)
    nature = chain(intervention=PerfectInterventionConfig(probabilities=probabilities))
    identity = AffineMap(3)
    image = Isomorphism((1, 2, 0), identity, identity).apply(nature)
    permutation = np.array([1, 2, 0])
    assert target_distance(nature.target_distribution, image.target_distribution, permutation) == 0.0
    assert target_distance(nature.target_distribution, image.target_distribution, permutation[permutation]) > 0.3
    found = find_isomorphism(nature, image, sampled(nature, 1000))
    assert found.permutation == (1, 2, 0) and found.log_likelihood_difference is not None
    assert abs(found.log_likelihood_difference[0]) < 1e-9 and max(map(abs, found.divergence or (1.0,))) < 1e-9


def test_the_divergence_is_that_of_target_sets_alone_where_only_they_differ() -> None:
    nature = chain(intervention=PerfectInterventionConfig(targets="atomic", probabilities=(0.2, 0.5, 0.3)))
    nature.thickness = torch.full((3,), 0.002, dtype=torch.float64)
    other = copy.deepcopy(nature)
    other.target_distribution = TargetDistribution(3, [(0,), (1,), (2,)], (0.3, 0.3, 0.4))
    first, second = in_double(nature), in_double(other)
    generator = torch.Generator().manual_seed(0)
    probes = probe_pairs(first, 20_000, generator), probe_pairs(second, 20_000, generator)
    found = divergences(first, second, probes, np.arange(3))
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.3, 0.3, 0.4])
    # targets are all but certain at this thickness, so that the divergence is that of the labels
    expected = float(p @ np.log(p / q)), float(q @ np.log(q / p))
    assert found["divergence"] is not None and found["divergence_error"] is not None
    for value, error, wanted in zip(found["divergence"], found["divergence_error"], expected, strict=True):
        assert abs(value - wanted) < 4.0 * error < 0.02


def test_weights_of_probes_restore_the_models_own_distribution() -> None:
    nature = chain(intervention=PerfectInterventionConfig(targets="atomic", probabilities=(0.7, 0.25, 0.05)))
    probes = probe_pairs(nature, 40_000, torch.Generator().manual_seed(1))
    noise = nature.encode(probes.x).noise
    assert noise is not None and float(probes.weights.min()) > 0.0 and float(probes.weights.max()) <= 4.0
    assert float(probes.weights.mean()) == pytest.approx(1.0, abs=0.02)
    second = (probes.weights[:, None] * noise.square()).mean(0)
    assert torch.allclose(second, torch.ones_like(second), atol=0.06)
    shares = (probes.weights[:, None] * probes.targets).mean(0)
    assert torch.allclose(shares, torch.tensor([0.7, 0.25, 0.05], dtype=torch.float64), atol=0.02)
    assert float(noise[~probes.plain].abs().max()) > 5.0 > float(noise[probes.plain].abs().max())


@pytest.mark.parametrize("exact", ["first", "second"])
def test_a_thickness_in_one_model_only_is_not_decided(exact: str) -> None:
    nature, other = chain(), chain()
    thin = nature if exact == "first" else other
    thin.thickness = torch.tensor([0.0, 0.05, 0.1], dtype=torch.float64)
    found = find_isomorphism(nature, other, sampled(other, 1000))
    assert found.verdict == "not decided" and found.one_sided_thickness == (0,) and found.reasons == ()
    assert found.judgement.undecided == ("Pairs are exact in one model and have a thickness in the other: z0.",)
    assert found.judgement.not_compared == ("thickness of z0: exact pairs in one model",)
    assert "Nothing that was compared differs, but not everything" in str(found)


def test_thicknesses_below_the_floor_are_one() -> None:
    nature, other = chain(), chain()
    nature.thickness = torch.tensor([0.0, 1e-3, 0.1], dtype=torch.float64)
    other.thickness = torch.tensor([1e-3, 1e-5, 0.1], dtype=torch.float64)
    found = thicknesses(nature, other, np.arange(3))
    assert not bool(found.one_sided.any())
    assert torch.equal(found.a, torch.tensor([1e-3, 1e-3, 0.1], dtype=torch.float64)) and torch.equal(found.a, found.b)


def test_imposed_values_of_a_variable_that_is_never_a_target_are_not_compared() -> None:
    targets = PerfectInterventionConfig(targets=((0,), (2,)), probabilities=(0.5, 0.5))
    nature = chain(intervention=targets)
    found = find_isomorphism(nature, copy.deepcopy(nature), sampled(nature, 1000))
    assert found.verdict == "isomorphic" and found.judgement.not_compared == (
        "imposed values of z1: never a target, or too rarely",
    )
    assert found.numbers()["imposed_r2"][1] is None


@cache
def copied() -> Comparison:
    nature = chain()
    return find_isomorphism(nature, copy.deepcopy(nature), sampled(nature, 200))


def with_numbers(**changed: object) -> Comparison:
    return replace(copied(), **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("divergence", "error", "verdict"),
    [
        ((0.0, 0.0), 0.003, "isomorphic"),
        ((0.008, 0.0), 0.001, "not decided"),
        ((0.0, 0.012), 0.001, "not decided"),
        ((0.014, 0.0), 0.001, "not isomorphic"),
        ((0.0, math.inf), 0.0, "not isomorphic"),
    ],
)
def test_three_standard_errors_decide(divergence: tuple[float, float], error: float, verdict: str) -> None:
    assert with_numbers(divergence=divergence, divergence_error=(error, error)).verdict == verdict


def test_what_is_not_finite_and_what_is_lost_is_said() -> None:
    found = with_numbers(divergence=None, divergence_error=None, lost_probes=3)
    assert found.verdict == "not decided"
    assert found.judgement.undecided == (
        "The likelihoods of some pairs are not finite.",
        "Of the pairs that the models draw, 3 cannot be encoded by both.",
    )
    assert found.judgement.not_compared == ("likelihoods of pairs that the models draw: not finite for some pairs",)
    assert "Likelihood of pairs that the models draw: not finite for some pairs" in str(found)


def test_the_sentences_on_likelihoods_name_the_side() -> None:
    found = with_numbers(
        divergence=(0.5, 0.011), divergence_error=(0.01, 0.001), log_likelihood_difference=(-0.3, 0.01)
    )
    assert found.judgement.likelihood_reasons == (
        "Pairs that A draws are less likely under B by 0.5 ± 0.01 nats a pair, above 0.01.",
        "The likelihoods of the data differ by 0.3 ± 0.01 nats a pair, above 0.05.",
    )
    assert found.judgement.undecided == (
        "Pairs that B draws are less likely under A by 0.011 ± 0.001 nats a pair: too few pairs to tell from 0.01.",
    )
    assert found.parts_agree and found.verdict == "not isomorphic"


class TestMaps:
    """Maps through order statistics, which follow any bend."""

    def bent(self, values: np.ndarray) -> np.ndarray:
        return np.sign(values) * np.abs(values) ** 3 + 0.001 * values

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_a_strong_bend_is_followed(self, sign: float) -> None:
        source = np.random.default_rng(0).standard_normal((20_000, 1))
        target = sign * self.bent(source)
        between = KnotMap(1, 2, torch.tensor([sign], dtype=torch.float64)).double()
        found = quantile_map(source, target, between)
        fresh = np.random.default_rng(1).standard_normal((5_000, 1)).clip(-3.5, 3.5)
        # errors in scores, which is what a share of variance is counted in
        order = normal_scores(np.vstack([target, sign * self.bent(fresh), mapped(found, fresh)]))
        wanted, reached = order[20_000:25_000], order[25_000:]
        assert np.abs(wanted - reached).mean() < 0.001 and np.abs(wanted - reached).max() < 0.2

    def test_a_falling_source_gives_the_same_map(self) -> None:
        positions = np.linspace(-1.0, 2.0, 7)[:, None]
        values = -np.exp(positions)
        first, second = map_through(positions, values), map_through(positions[::-1], values[::-1])
        assert torch.equal(first.tables, second.tables) and torch.equal(first.orientation, second.orientation)
        np.testing.assert_allclose(mapped(first, positions), values, atol=1e-12)

    def test_many_knots_are_searched_as_few_are(self) -> None:
        positions = np.sort(np.random.default_rng(2).standard_normal((200, 3)), axis=0)
        found = map_through(positions, positions**3 + positions)
        values = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        each = torch.cat([found(values[:, [i]], torch.tensor([i]))[0] for i in range(3)], 1)
        one_by_one = torch.stack([self._slow(found, row) for row in values])
        assert torch.allclose(found(values)[0], each) and torch.allclose(each, one_by_one, atol=1e-12)
        assert torch.allclose(found.inverse(found(values)[0])[0], values, atol=1e-8)

    def _slow(self, found: KnotMap, row: Tensor) -> Tensor:
        """The same map by the bins of all knots at once, as maps of few knots are evaluated."""
        from lcm.model.rational_quadratic import knot_spline

        return knot_spline(row[:, None], found.tables[:, None])[0][:, 0]


def test_a_model_that_rules_out_the_others_pairs_is_infinitely_far() -> None:
    nature = chain()
    data = sampled(nature, 200)
    found = find_isomorphism(nature, copy.deepcopy(nature), PairData(data.x, data.x_tilde))
    assert replace(found, divergence=(math.inf, 0.0)).numbers()["divergence"] == [None, 0.0]


def rows_as_views(rows: int) -> tuple[View, View]:
    """Views of one variable whose values are the numbers of the rows."""
    table = np.arange(float(rows))[:, None]
    return View(table.copy(), table.copy()), View(table.copy(), table.copy())


def test_drawn_pairs_that_cannot_be_encoded_are_left_out_of_both_views_and_of_the_draws() -> None:
    nature = chain()
    probes = tuple(probe_pairs(nature, count, torch.Generator().manual_seed(0)) for count in (5, 4))
    # 6 rows of data, then x and x_tilde of A's 5 pairs, then of B's 4
    views = rows_as_views(6 + 10 + 8)
    views[1].z[6 + 5 + 2] = np.nan
    views[0].z[6 + 10 + 3] = np.inf
    (first, second), (own, other) = _finite_rows(views, (probes[0], probes[1]), 6)
    lost = [6 + 2, 6 + 5 + 2, 6 + 10 + 3, 6 + 10 + 4 + 3]
    expected = [row for row in range(24) if row not in lost]
    assert first.z[:, 0].tolist() == expected == second.normal[:, 0].tolist()
    assert torch.equal(own.x, probes[0].x[[0, 1, 3, 4]]) and torch.equal(other.x, probes[1].x[[0, 1, 2]])
    (by_a, _), (by_b, _) = _imposed_on((first, second), (own, other), 6)
    assert by_a[:, 0].tolist() == [11, 12, 14, 15] and by_b[:, 0].tolist() == [20, 21, 22]


@pytest.mark.parametrize(("n", "ends"), [(10, "z9 0.5000."), (11, "z9 0.5000, ....")])
def test_at_most_ten_variables_are_listed(n: int, ends: str) -> None:
    assert _outside("R2 below", np.full(n, 0.5), 0.98, True).endswith(ends)
