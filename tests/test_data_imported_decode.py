"""Every kind of image comes out as a square of RGB, averaged over areas; a bad one is named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from imported_images import encoded, pixels
from PIL import Image

from lcm.data.imported.source import EncodedImage, decode_image, image_size, require_size

PICTURE = pixels(np.random.default_rng(0), 64)


def decoded(content: bytes, size: int = 16) -> np.ndarray:
    image = EncodedImage("set: row 3", content)
    return decode_image(image, size, image, image_size(image))


def averaged(picture: np.ndarray, size: int = 16) -> np.ndarray:
    factor = len(picture) // size
    return picture.reshape(size, factor, size, factor, -1).mean((1, 3))


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 1.01), ("BMP", 1.01), ("JPEG", 4.0)])
def test_pixels_are_averaged_over_areas(kind: str, tolerance: float, size: int) -> None:
    found = decoded(encoded(PICTURE, kind, **({"quality": 98, "subsampling": 0} if kind == "JPEG" else {})), size)
    assert found.shape == (size, size, 3) and found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(float), averaged(PICTURE, size), atol=tolerance)


def test_a_photograph_is_averaged_the_same_however_it_is_compressed() -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(512, 512, 3), dtype=np.uint8)
    content = encoded(noise, quality=95, subsampling=0)
    full = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), float)
    np.testing.assert_allclose(decoded(content, 64).astype(float), averaged(full, 64), atol=4.0)


def test_a_size_that_does_not_divide_is_averaged_too() -> None:
    flat = np.full((50, 50, 3), 90, np.uint8)
    np.testing.assert_array_equal(decoded(encoded(flat, "PNG"), 32), np.full((32, 32, 3), 90))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_greyscale_becomes_rgb(kind: str) -> None:
    grey = PICTURE[:, :, 0]
    found = decoded(encoded(grey, kind))
    assert (found == found[:, :, :1]).all()
    np.testing.assert_allclose(found[:, :, 0], averaged(grey[:, :, None])[:, :, 0], atol=2.0)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_black_and_half_of_it_half_as_bright(kind: str) -> None:
    layer = np.full((16, 16, 4), 200, np.uint8)
    layer[:, :8, 3], layer[:, 8:, 3] = 0, 255
    layer[:8, 8:, 3] = 255 if kind == "P" else 128
    found = decoded(saved(Image.fromarray(layer).convert(kind)))
    expected = np.zeros((16, 16, 3))
    expected[8:, 8:], expected[:8, 8:] = 200, 200 if kind == "P" else 100
    np.testing.assert_allclose(found[:, 8:], expected[:, 8:], atol=1.0)
    assert kind == "P" or (found[:, :8] == 0).all()


def test_a_transparent_colour_of_a_palette_is_black() -> None:
    image = Image.new("P", (16, 16))
    image.putpalette([200, 10, 10, 20, 220, 20])
    image.paste(1, (8, 0, 16, 16))
    image.info["transparency"] = 0
    found = decoded(saved(image))
    assert (found[:, :8] == 0).all() and (found[:, 8:] == [20, 220, 20]).all()


def test_files_are_read_like_bytes(tmp_path: Path) -> None:
    content = encoded(PICTURE, "PNG")
    (tmp_path / "image.png").write_bytes(content)
    image = EncodedImage("set", tmp_path / "image.png")
    np.testing.assert_array_equal(decode_image(image, 16, image, (64, 64)), decoded(content))


def bad_images() -> dict[str, tuple[bytes, str]]:
    whole, png = encoded(PICTURE), encoded(PICTURE, "PNG")
    corrupt = bytearray(png)
    corrupt[len(png) // 2] ^= 255
    return {
        "empty": (
            b"",
            r"Expected a whole image; .*not an image in one of the formats PNG, JPEG, WEBP, BMP, TIFF, GIF",
        ),
        "text": (
            b"before,after",
            r"Expected a whole image; .*not an image in one of the formats PNG, JPEG, WEBP, BMP, TIFF, GIF",
        ),
        "half a JPEG": (
            whole[: len(whole) // 2],
            r"Expected a whole image; got a corrupt or truncated one \([Tt]runcated",
        ),
        "half a PNG": (png[: len(png) // 2], r"Expected a whole image; got a corrupt or truncated one \("),
        "a changed byte": (bytes(corrupt), r"Expected a whole image; got a corrupt or truncated one \("),
        "wide": (encoded(PICTURE[:32], "PNG"), r"Expected a square image; got 64 x 32 pixels$"),
        "small": (
            encoded(PICTURE[:8, :8], "PNG"),
            r"Expected an image of at least 16 x 16 pixels, the size to be written; got 8 x 8 pixels$",
        ),
        "16 bits": (
            saved(Image.fromarray(np.zeros((64, 64), np.uint16))),
            r"Expected at most 8 bits a channel; got an image of mode I;16$",
        ),
    }


@pytest.mark.parametrize(("content", "message"), bad_images().values(), ids=bad_images().keys())
def test_a_bad_image_is_named(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=r"^set: row 3: " + message):
        decoded(content)


def test_an_image_beyond_all_bounds_is_refused_unread() -> None:
    header = encoded(PICTURE, "PNG")
    huge = header[:16] + (60_000).to_bytes(4, "big") * 2 + header[24:]
    with pytest.raises(ValueError, match=r"^set: row 3: Expected a whole image; got a corrupt or truncated one \("):
        decoded(huge)


def test_a_missing_file_and_another_size_are_named(tmp_path: Path) -> None:
    missing = EncodedImage("set: row 0: before: a.png", tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"^set: row 0: before: a\.png: Expected an image; got no such file$"):
        image_size(missing)
    one, two = (EncodedImage(f"row {row}", encoded(PICTURE[:side, :side], "PNG")) for row, side in ((0, 64), (1, 32)))
    message = r"^row 1: Expected images of one size, 64 x 64 pixels as row 0; got 32 x 32 pixels$"
    with pytest.raises(ValueError, match=message):
        decode_image(two, 16, one, image_size(one))


@pytest.mark.parametrize("size", [0, 8, 40, 528, -16])
def test_sizes_that_no_network_can_halve_are_refused(size: int) -> None:
    require_size(64)
    with pytest.raises(ValueError, match=rf"^size: Expected a multiple of 16 from 16 to 512; got {size}\.$"):
        require_size(size)


def test_other_formats_are_not_opened_whatever_their_name(tmp_path: Path) -> None:
    # Pillow would let Ghostscript run this
    script = tmp_path / "a.png"
    script.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(ValueError, match=r"a\.png: Expected a whole image; .*not an image in one of the formats PNG"):
        image_size(EncodedImage(str(script), script))


def test_an_image_of_too_many_pixels_is_refused_by_its_header() -> None:
    buffer = io.BytesIO()
    Image.new("1", (7_000, 7_000)).save(buffer, "PNG")
    image = EncodedImage("a.png", buffer.getvalue())
    with pytest.raises(ValueError, match=r"a\.png: Expected at most 33,554,432 pixels; got 7000 x 7000 pixels"):
        decode_image(image, 64, image, (7_000, 7_000))


@pytest.mark.parametrize("tag", range(1, 9))
def test_an_image_is_turned_as_its_tag_says(tag: int) -> None:
    shown = np.zeros((64, 64, 3), np.uint8)
    shown[:20, :40] = 255
    stored = Image.fromarray(shown)
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[tag]
    stored = stored if back is None else stored.transpose(back)
    exif = Image.Exif()
    exif[0x0112] = tag
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)
    image = EncodedImage("a.png", buffer.getvalue())
    np.testing.assert_array_equal(decode_image(image, 64, image, image_size(image)), shown)
