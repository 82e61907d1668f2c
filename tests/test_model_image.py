"""The autoencoder of images: shapes, seeds, what it refuses, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_images import image_pairs

from lcm.base.component import describe
from lcm.model.image import ImageAutoencoder

SHAPES = {"colour": (16, 16, 3), "grey": (16, 16, 1), "wide": (8, 32, 3)}


def small(shape: tuple[int, ...] = (16, 16, 3), code: int = 2, seed: int = 0) -> ImageAutoencoder:
    model = ImageAutoencoder(shape, code, channels=(4, 8), hidden=16)
    model.draw_weights(torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("code", [1, 3])
def test_images_become_codes_and_codes_images(shape: tuple[int, ...], code: int) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (5, *shape), dtype=np.uint8))
    model = small(shape, code)
    codes = model.encode(images)
    decoded = model.decode(codes)
    assert codes.shape == (5, code) and codes.std(0).min() > 0
    assert decoded.shape == images.shape and decoded.dtype == torch.uint8


def test_levels_of_any_type_have_the_same_code() -> None:
    images = torch.from_numpy(image_pairs(4).x)
    model = small()
    torch.testing.assert_close(model.encode(images.float()), model.encode(images))
    torch.testing.assert_close(model.double().encode(images).float(), small().encode(images), rtol=1e-4, atol=1e-5)


def test_decoding_undoes_the_standardisation() -> None:
    model = small()
    images = torch.from_numpy(image_pairs(50).x)
    levels = images.permute(0, 3, 1, 2) / 255.0
    model.mean.copy_(levels.mean(0))
    model.scale.copy_((levels - levels.mean(0)).square().mean().sqrt())
    values = model.standardise(images)
    assert values.square().mean().item() == pytest.approx(1.0, abs=1e-5)
    back = (values * model.scale + model.mean) * 255.0
    assert torch.equal(back.round().to(torch.uint8).permute(0, 2, 3, 1), images)


def test_the_place_of_a_pixel_matters() -> None:
    # the same spot elsewhere: without coordinates, and with these strides, a shift by 4 could leave the code alone
    image = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    moved = image.clone()
    image[0, 4:6, 4:6], moved[0, 8:10, 8:10] = 255, 255
    model = small()
    assert not torch.allclose(model.encode(image), model.encode(moved), atol=1e-4)


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, second, other = small(seed=1), small(seed=1), small(seed=2)
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(first.to_code[0].weight, other.to_code[0].weight)


def test_it_is_rebuilt_from_its_settings() -> None:
    model = small((8, 32, 3), 3)
    rebuilt = ImageAutoencoder(**describe(model)["settings"])
    rebuilt.load_state_dict(model.state_dict())
    images = torch.randint(256, (2, 8, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rebuilt.encode(images), model.encode(images))


@pytest.mark.parametrize("shape", [(18, 16, 3), (16, 2, 3)])
def test_sizes_that_cannot_be_halved_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected images of a height and width .*multiples of 4; got \d+ x \d+"):
        ImageAutoencoder(shape, 2, channels=(4, 8))
