"""Curved sheets in more columns than variables: their codes, the fit of a flow around them, and their likelihood."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from laws import drawn_residual, generator, normal

from experiments.physics import draw_readings
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
from lcm.learn.code import coordinates, sheet_code
from lcm.learn.config import MechanismsConfig, NoiseEncoderConfig
from lcm.learn.noise_encoder import ImplicitModel, SolutionFunctions
from lcm.learn.noise_encoder_fit import component_order
from lcm.learn.noise_encoder_objective import NoiseEncoderObjective
from lcm.learn.prepared import Prepared
from lcm.model.decoder import ChainDecoder, ColumnsDecoder, SheetDecoder
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import noise_decoder
from lcm.model.noise import standard_normal_log_density
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs

CPU = torch.device("cpu")
ROWS = 6_000


@cache
def graph_of_a_function(bend: float = 1.0, fold: bool = False, noise: float = 0.0) -> PairData:
    """Two variables and two columns that are functions of them, all columns mixed and in different units.

    A fold is seen through its squares alone, so that no two directions tell its points apart.
    """
    draw = np.random.default_rng(0)
    z, target = draw.standard_normal((ROWS, 2)), draw.integers(2, size=ROWS)
    z_tilde = z.copy()
    z_tilde[np.arange(ROWS), target] = draw.standard_normal(ROWS)
    mixing = np.linalg.qr(draw.standard_normal((4, 4)))[0] * np.array([1e-4, 1.0, 3.0, 1e3])

    def read(values: np.ndarray) -> np.ndarray:
        first, second = np.tanh(values).T
        heights = [np.sin(2.0 * first), np.cos(2.0 * first)] if fold else [bend * first * second, bend * first**2]
        along = [second, second**2] if fold else [first, second]
        x = np.stack([*along, *heights], 1) + noise * draw.standard_normal((ROWS, 4))
        return (x @ mixing + 5.0).astype(np.float32)

    return PairData.from_arrays(read(z), read(z_tilde), z=z.astype(np.float32))


def test_the_code_of_a_graph_has_as_many_coordinates_as_variables_and_leads_back_to_x() -> None:
    data = graph_of_a_function()
    found = sheet_code(data.x, data.x_tilde, 2, 4, np.random.default_rng(0))
    (sheet,) = found.decoder.parts
    assert isinstance(sheet, SheetDecoder) and sheet.n == 2 and found.unexplained < 1e-4
    x = torch.from_numpy(data.x)
    code = found.decoder.inverse(x)[0]
    torch.testing.assert_close(code.std(0), torch.ones(2), atol=0.02, rtol=0)
    missing = (found.decoder(code)[0] - x).std(0) / x.std(0)
    assert float(missing.max()) < 0.01


def test_a_sheet_that_no_two_directions_unfold_keeps_all_its_directions() -> None:
    data = graph_of_a_function(fold=True)
    found = sheet_code(data.x, data.x_tilde, 2, 4, np.random.default_rng(0))
    (columns,) = found.decoder.parts
    assert isinstance(columns, ColumnsDecoder) and found.unexplained > 0.02
    coordinates = columns.inverse(torch.from_numpy(data.x))[0]
    torch.testing.assert_close(torch.cov(coordinates.T), torch.eye(4), atol=1e-3, rtol=0)


def test_directions_are_exchanged_until_the_others_are_functions_of_them() -> None:
    # neither the leading directions nor the stillest ones unfold this sheet: every pair moves one of its variables
    data = draw_readings("polarisers", 0.0, 0, "train", 5_000)
    found = sheet_code(data.x, data.x_tilde, 5, data.directions(5), np.random.default_rng(0))
    assert found.decoder.n == 5 and found.unexplained < 2e-3


@pytest.mark.parametrize("flat", [False, True])
def test_only_a_flow_takes_more_coordinates_than_variables(flat: bool) -> None:
    data = graph_of_a_function(fold=True)
    found = coordinates(data, 2, flat, 0)
    assert found.n == (2 if flat else 4)


def sheet_model(n: int = 2, r: int = 4) -> ImplicitModel:
    targets = TargetDistribution.family(n, "atomic-or-empty")
    solution = SolutionFunctions(~torch.eye(n, dtype=torch.bool), 5, 4, generator())
    model = ImplicitModel(ChainDecoder([drawn_residual(r, gain=0.5)]), solution, targets)
    model.thickness.fill_(0.1)
    model.width.copy_(torch.linspace(0.5, 2.0, r - n))
    return model.requires_grad_(False)


def test_what_lies_off_the_sheet_is_independent_noise_of_each_observation() -> None:
    model = sheet_model()
    x, x_tilde = normal(20, 4, seed=1), normal(20, 4, seed=2)
    pairs = model.encode_pairs(x, x_tilde)
    expected = torch.zeros(20)
    for part, row in ((x, 0), (x_tilde, 1)):
        value, log_det = model.noise_decoder.inverse(part)
        off = value[:, 2:]
        expected = expected + log_det + (standard_normal_log_density(off / model.width) - model.width.log()).sum(1)
        torch.testing.assert_close(pairs.across[:, row], off)
        torch.testing.assert_close((pairs.normal, pairs.normal_tilde)[row], value[:, :2])
    torch.testing.assert_close(pairs.log_det, expected)


def objective_of(model: ImplicitModel, seed: int = 0) -> NoiseEncoderObjective:
    x, x_tilde = normal(50, 4, seed=1), normal(50, 4, seed=2)
    x_tilde[::5] = x[::5]
    prepared = Prepared((x, x_tilde), (x, x_tilde), ChainDecoder([ColumnsDecoder(4, 4)]), torch.eye(4))
    config = NoiseEncoderConfig(anneal_share=0.4)
    return NoiseEncoderObjective(model, prepared, config, torch.Generator().manual_seed(seed))


def effect_of_blur(progress: float) -> float:
    """The change of the loss by the fresh noise of a batch."""
    blurred, exact = objective_of(sheet_model()), objective_of(sheet_model())
    x, x_tilde, blur = blurred.batch(torch.arange(50))
    losses = [
        part.loss((x, x_tilde, share * blur), progress).detach() for part, share in ((blurred, 1.0), (exact, 0.0))
    ]
    return float((losses[0] - losses[1]).abs())


def test_fresh_noise_blurs_every_batch_less_and_less() -> None:
    assert effect_of_blur(0.0) > 0.01
    assert 0.0 < effect_of_blur(0.9) < 0.01
    assert not torch.equal(*(objective_of(sheet_model(), seed).batch(torch.arange(50))[2] for seed in (0, 1)))


def test_the_width_goes_towards_its_closed_form_above_the_annealed_floor() -> None:
    model = sheet_model()
    objective = objective_of(model)
    before = objective.closed_width.clone()
    x, x_tilde, blur = objective.batch(torch.arange(50))
    objective.loss((x, x_tilde, blur), 0.0)
    assert torch.equal(model.width, before.clamp_min(1.0))
    across = model.encode_pairs(x + 0.3 * blur[:, 0], x_tilde + 0.3 * blur[:, 1]).across
    expected = 0.98 * before.square() + 0.02 * across.square().mean((0, 1))
    torch.testing.assert_close(objective.closed_width.square(), expected)


def test_components_that_most_pairs_leave_still_come_first() -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((3_000, 4))
    changes = 0.3 * draw.standard_normal((3_000, 4))
    target = draw.integers(2, size=3_000)
    changes[:, [1, 3]] = np.where(target[:, None] == [0, 1], draw.standard_normal((3_000, 2)), 0.0)
    train = torch.from_numpy(x).float(), torch.from_numpy(x + changes).float()
    prepared = Prepared(train, train, ChainDecoder([ColumnsDecoder(4, 4)]), torch.eye(4).double())
    order = component_order(prepared, TargetDistribution.family(2, "atomic-or-empty"))
    assert set(order[:2].tolist()) == {1, 3} and sorted(order.tolist()) == [0, 1, 2, 3]


QUICK = FitConfig(
    n=2, noise_encoder=NoiseEncoderConfig(layers=6, hidden=32, steps=300), mechanisms=MechanismsConfig(steps=100)
)


def test_a_fit_unrolls_a_noisy_sheet_and_decodes_to_all_its_columns() -> None:
    data = graph_of_a_function(noise=0.02)
    assert data.directions(2) == 4
    result = fit_pairs(data, QUICK)
    assert result.model.d == 4 and result.model.n == 2 and data.z is not None
    assert isinstance(noise_decoder(result.model.causal_model()), SheetDecoder)
    correlation = correlation_matrix(data.z, result.encode(data.x))
    assert mean_correlation(correlation, match_variables(correlation)) > 0.97
    x = torch.from_numpy(data.x[:500])
    again = result.model.decode(result.model.encode(x).z)
    assert float(((again - x).std(0) / x.std(0)).max()) < 0.2
    assert "flow in all 4 directions" in result.report()
    # the two models differ in their mechanisms alone, so that their likelihoods are measured in the same coordinates
    assert result.implicit_nll is not None and abs(result.held_out_nll - result.implicit_nll) < 0.3


def test_linear_fits_and_peers_take_the_code_of_a_graph() -> None:
    data = graph_of_a_function(bend=0.5)
    result = fit_pairs(data, replace(FitConfig(model="linear"), n=2))
    x = torch.from_numpy(data.x[:500])
    again = result.model.decode(result.model.encode(x).z)
    assert float(((again - x).std(0) / x.std(0)).max()) < 0.02
    assert "In 2 of these, the sheet is unfolded" in result.report()


def test_a_linear_fit_of_a_folded_sheet_says_that_it_projects() -> None:
    result = fit_pairs(graph_of_a_function(fold=True), replace(FitConfig(model="linear"), n=2))
    assert "is projected to its 2 leading principal directions" in result.report()


def test_a_square_fit_needs_no_words_on_coordinates() -> None:
    data = graph_of_a_function(fold=True)
    assert "Coordinates" not in fit_pairs(data, replace(FitConfig(model="linear"), n=4)).report()
