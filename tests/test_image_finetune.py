"""Stages of a fit to images: what the autoencoder is anchored to, and the bound that is finetuned."""

from __future__ import annotations

import math

import pytest
import torch
from small_images import image_pairs
from torch.distributions import Independent, Normal

from lcm.image.autoencoder import ImageAutoencoder
from lcm.image.config import ImageConfig
from lcm.image.finetune import FinetuneObjective, finetune
from lcm.image.pretrain import AutoencoderObjective, ImagePairs, encode_images, fit_autoencoder, geodesic_start
from lcm.intervention import TargetDistribution
from lcm.learn.config import NoiseEncoderConfig
from lcm.learn.ensemble import run_alone
from lcm.learn.implicit import ImplicitModel
from lcm.learn.noise_encoder import fit_noise_encoder
from lcm.learn.prepare import Prepared, prepare
from lcm.learn.tracker import Recorder

IMAGE = ImageConfig(channels=(4, 8), hidden=16, passes=1.0, finetune_passes=1.0)
FLOW = NoiseEncoderConfig(steps=20)
CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(count: int = 300) -> ImagePairs:
    return ImagePairs(image_pairs(count), 0.1, 0, CPU)


def autoencoder(images: ImagePairs) -> ImageAutoencoder:
    return run_alone(fit_autoencoder(images, 2, IMAGE, generator()), Recorder().stage(0, "autoencoder"))


def codes_and_flow(images: ImagePairs, model: ImageAutoencoder) -> tuple[Prepared, ImplicitModel]:
    rows = torch.arange(len(images.data))
    x, x_tilde = (encode_images(model, part, rows).numpy() for part in (images.before, images.after))
    prepared = prepare(x, x_tilde, 2, 0.1, 0, CPU)
    targets = TargetDistribution.family(2, "atomic-or-empty")
    flow = run_alone(fit_noise_encoder(prepared, targets, FLOW, generator()), Recorder().stage(0, "flow"))
    return prepared, flow


def test_images_and_codes_are_split_alike() -> None:
    images = pairs()
    model = autoencoder(images)
    prepared, _ = codes_and_flow(images, model)
    for rows, codes in ((images.train, prepared.train), (images.held_out, prepared.validation)):
        expected = prepared.standardisation.inverse(encode_images(model, images.before, rows))[0]
        torch.testing.assert_close(codes[0][:], expected)


def test_training_images_are_numbered_before_first() -> None:
    images = pairs(50)
    count = len(images.train)
    rows = torch.tensor([0, count, count - 1, 2 * count - 1])
    expected = [images.data.x, images.data.x_tilde, images.data.x, images.data.x_tilde]
    numbers = images.train[[0, 0, count - 1, count - 1]].tolist()
    found = images.single(rows)
    for image, source, number in zip(found, expected, numbers, strict=True):
        assert torch.equal(image, torch.from_numpy(source[number]))


def test_codes_are_anchored_at_first_and_free_at_the_end() -> None:
    images = pairs(200)
    model = ImageAutoencoder((16, 16, 3), 2, (4, 8), 16)
    model.draw_weights(generator())
    anchors = torch.from_numpy(geodesic_start(images, 2, __import__("numpy").random.default_rng(0)).coordinates).float()
    objective = AutoencoderObjective(model, images, anchors, IMAGE)
    batch = objective.batch(torch.arange(40))
    values = model.standardise(batch[0])
    code = model.encode_standardised(values)
    error = (model.decode_standardised(code) - values).square().mean()
    distance = (code - batch[1]).square().mean()
    torch.testing.assert_close(batch[1], anchors[:40])
    torch.testing.assert_close(objective.loss(batch, 0.0), error + distance)
    torch.testing.assert_close(objective.loss(batch, 0.25), error + 0.5 * distance)
    torch.testing.assert_close(objective.loss(batch, 0.75), error)


def test_images_without_an_anchor_count_by_their_error_alone() -> None:
    images = pairs(200)
    model = ImageAutoencoder((16, 16, 3), 2, (4, 8), 16)
    model.draw_weights(generator())
    # anchors of the first 10 pairs only
    objective = AutoencoderObjective(model, images, torch.zeros(20, 2), IMAGE)
    batch = objective.batch(torch.arange(50, 80))
    assert batch[1].isnan().all()
    torch.testing.assert_close(objective.loss(batch, 0.0), objective.loss(batch, 0.9))
    both = objective.batch(torch.tensor([3, len(images.train) + 3, 60]))
    assert both[1].isnan().any(1).tolist() == [False, False, True]


@pytest.mark.parametrize("code", [None, 8])
def test_an_anchored_code_keeps_the_order_of_the_coordinates(code: int | None) -> None:
    images = pairs(1_500)
    config = ImageConfig(code, channels=(4, 8), hidden=32, passes=8.0)
    model = run_alone(fit_autoencoder(images, 2, config, generator()), Recorder().stage(0, "autoencoder"))
    codes = encode_images(model, images.before, torch.arange(1_500)).double()
    assert codes.shape == (1_500, code or 2)
    # what a fit to codes keeps of more dimensions than n
    centred = codes - codes.mean(0)
    leading = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T
    z = torch.from_numpy(images.data.z).double()
    design = torch.cat([leading, torch.ones(1_500, 1)], 1)
    residual = z - design @ torch.linalg.lstsq(design, z).solution
    assert float((1 - residual.var(0) / z.var(0)).min()) > 0.96


def test_the_bound_is_the_density_of_pixels_and_codes_with_the_entropy() -> None:
    images = pairs()
    model = autoencoder(images)
    prepared, flow = codes_and_flow(images, model)
    settings = ImageConfig(channels=(4, 8), hidden=16, pixel_weight=1.0), FLOW
    objective = FinetuneObjective(model, flow, prepared.standardisation, images, settings, generator())
    before, after, draws = objective.batch(torch.arange(6))
    noise = objective.log_spread.exp()
    expected = torch.zeros(6)
    codes = []
    for part, draw in ((before, draws[:, 0]), (after, draws[:, 1])):
        values, code = model.standardise(part), model.encode(part)
        mean = model.decode_standardised(code + noise * draw)
        law = Independent(Normal(mean, (0.5 * objective.log_variance).exp()), 3)
        expected = expected + law.log_prob(values) + objective.log_spread.sum()
        codes.append(prepared.standardisation.inverse(code)[0])
    expected = expected + 2 * (0.5 * 16 * 16 * 3 * math.log(2 * math.pi))
    expected = expected + flow.log_density(flow.terms(flow.encode_pairs(*codes), flow.thickness))
    torch.testing.assert_close(-objective.loss((before, after, draws), 0.0), expected.mean(), rtol=1e-4, atol=1e-2)


def test_all_parts_are_trained_together() -> None:
    images = pairs()
    model = autoencoder(images)
    prepared, flow = codes_and_flow(images, model)
    before = {name: value.clone() for name, value in (*model.named_parameters(), *flow.named_parameters())}
    tracker = Recorder().stage(0, "finetuning")
    changed = run_alone(finetune(model, flow, prepared, images, (IMAGE, FLOW), generator()), tracker)
    after = dict((*model.named_parameters(), *flow.named_parameters()))
    for part in (
        "convolutions.0.weight",
        "from_code.0.weight",
        "noise_decoder.parts.0.inner",
        "solution.imposed.map.raw",
    ):
        name = next(
            key for key in after if key.endswith(part.split(".map.")[-1]) and key.startswith(part.split(".")[0])
        )
        assert not torch.equal(after[name], before[name]), name
    assert changed.train[0].shape == prepared.train[0].shape
    assert not torch.equal(changed.train[0][:5], prepared.train[0][:5])
    assert not any(value.requires_grad for value in after.values())


def test_wider_noise_costs_pixels_and_gains_entropy() -> None:
    images = pairs()
    model = autoencoder(images)
    prepared, flow = codes_and_flow(images, model)
    objective = FinetuneObjective(model, flow, prepared.standardisation, images, (IMAGE, FLOW), generator())
    batch = objective.batch(torch.arange(30))
    objective.log_variance.fill_(-6.0)
    losses = []
    for log_spread in (-9.0, -4.0, 0.5):
        with torch.no_grad():
            objective.log_spread.fill_(log_spread)
            losses.append(float(objective._encode(*batch)[0].mean()))
    assert losses[1] > losses[0] and losses[1] > losses[2]


def test_images_that_equal_each_other_have_a_scale() -> None:
    data = image_pairs(60)
    same = ImagePairs(data, 0.1, 0, CPU)
    model = run_alone(fit_autoencoder(same, 2, IMAGE, generator()), Recorder().stage(0, "autoencoder"))
    assert float(model.scale) > 0
    assert model.scale.item() == pytest.approx(model.scale.item())
