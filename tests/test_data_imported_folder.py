"""A CSV of image pairs becomes a data set; whatever is wrong with it is named by its row."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_images import SIDE, encoded, pixels, write_folder
from PIL import Image

from lcm.data.imported.folder import import_folder
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData


def loaded(source: Path, out: Path, **options: Any) -> PairData:
    (path,) = import_folder(source, out, SIDE, **options)
    assert path == out / "data.safetensors"
    return load_pairs(path)


@pytest.mark.parametrize("name", ["", "pairs.csv"], ids=["folder", "file"])
def test_the_images_are_those_that_are_listed(name: str, tmp_path: Path) -> None:
    data = loaded(write_folder(tmp_path / "set") / name, tmp_path / "out")
    assert set(data.tensors()) == {"x", "x_tilde"} and len(data) == 5
    for key, images in (("before", data.x), ("after", data.x_tilde)):
        for row, image in enumerate(images):
            expected = np.asarray(Image.open(tmp_path / "set" / "images" / f"{row}_{key}.png"))
            np.testing.assert_array_equal(image, expected)
    assert data.metadata["source"] == "folder" and data.metadata["made_by"] == "lcm import"


@pytest.mark.parametrize(
    ("targets", "n", "expected"),
    [
        (["0", "2", "", " 1 ", "2"], None, [0, 2, -1, 1, 2]),
        (["0", "", "", "", ""], 4, [0, -1, -1, -1, -1]),
        (["", "", "", "", ""], 2, [-1] * 5),
    ],
)
def test_targets_become_masks(targets: list[str], n: int | None, expected: list[int], tmp_path: Path) -> None:
    data = loaded(write_folder(tmp_path / "set", targets=targets), tmp_path / "out", n=n)
    columns = n or 3
    np.testing.assert_array_equal(data.targets, np.array(expected)[:, None] == np.arange(columns))


def test_columns_may_come_in_any_order_and_paths_may_be_absolute(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    images = tmp_path / "set" / "images"
    text = f"\ufefftarget, after ,before\n1,{images / '0_after.png'},{images / '0_before.png'}\n\n"
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    data = loaded(tmp_path / "list.csv", tmp_path / "out")
    np.testing.assert_array_equal(data.x[0], np.asarray(Image.open(images / "0_before.png")))
    assert data.targets is not None and data.targets.tolist() == [[False, True]]


def listing(text: str | bytes) -> Callable[[Path], Any]:
    content = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / "pairs.csv").write_bytes(content)


def image(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / "images" / name).write_bytes(content)


PICTURE = pixels(np.random.default_rng(0))
A, B = "images/0_before.png", "images/0_after.png"
COLUMNS = r"the columns before, after and maybe target"

BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no csv": (lambda folder: (folder / "pairs.csv").unlink(), r"pairs\.csv: Expected a file; got no such file$"),
    "empty": (listing(""), rf"pairs\.csv: Expected {COLUMNS}; got an empty file$"),
    "a header alone": (listing("before,after\n"), r"pairs\.csv: Expected at least one pair; got a header alone$"),
    "no after": (listing(f"before\n{A}\n"), rf"pairs\.csv: Expected {COLUMNS}; got before$"),
    "no header": (listing(f"{A},{B}\n"), rf"pairs\.csv: Expected {COLUMNS}; got {A}, {B}$"),
    "an unknown column": (
        listing(f"before,after,targets\n{A},{B},1\n"),
        rf"Expected {COLUMNS}; got before, after, tar",
    ),
    "a column twice": (listing(f"before,after,after\n{A},{B},{B}\n"), r"Expected each column once; got after again$"),
    "not UTF-8": (listing(b"before,after\n\xff,b\n"), r"pairs\.csv: Expected a CSV in UTF-8; got "),
    "an open quote": (listing(f'before,after\n"{A},{B}\n'), r"pairs\.csv: Expected a CSV in UTF-8; got "),
    "a short row": (
        listing(f"before,after\n{A},{B}\n{A}\n"),
        r"pairs\.csv: row 1: Expected 2 entries, as the header has; got 1$",
    ),
    "no image": (listing(f"before,after\n{A},\n"), r"row 0: after: Expected an image; got an empty entry$"),
    "a missing after-image": (
        listing(f"before,after\n{A},{B}\n{A},images/no.png\n"),
        r"pairs\.csv: row 1: after: Expected an image; got no such file: .*images/no\.png$",
    ),
    "a missing before-image": (
        lambda folder: (folder / "images" / "3_before.png").unlink(),
        r"pairs\.csv: row 3: before: Expected an image; got no such file: .*images/3_before\.png$",
    ),
    **{
        f"target {target}": (
            listing(f"before,after,target\n{A},{B},{target}\n"),
            rf"row 0: target: Expected a whole number from 0 to 999, or nothing; got '{target}'$",
        )
        for target in ("1.5", "-1", "red", "1000", "²")
    },
    "no targets and no n": (
        listing(f"before,after,target\n{A},{B},\n"),
        r"pairs\.csv: target: Expected n, the number of variables, as no row has a target; got none$",
    ),
    "mixed sizes": (
        image("2_after.png", encoded(pixels(np.random.default_rng(0), 48), "PNG")),
        r"row 2: after: .*2_after\.png: Expected images of one size, 32 x 32 pixels as .*row 0: before: .*0_before\.png"
        r"; got 48 x 48 pixels$",
    ),
    "not square": (image("1_before.png", encoded(PICTURE[:20], "PNG")), r"1_before\.png: Expected a square image; got"),
    "truncated": (
        image("1_before.png", encoded(PICTURE, "PNG")[:60]),
        r"pairs\.csv: row 1: before: .*images/1_before\.png: Expected a whole image; got a corrupt or truncated one",
    ),
    "corrupt first": (image("0_before.png", b"GIF89a"), r"row 0: before: .*Expected a whole image; got a corrupt or"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_named(spoil: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    spoil(write_folder(tmp_path / "set"))
    with pytest.raises(ValueError, match=message):
        import_folder(tmp_path / "set", tmp_path / "out", SIDE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("n", "targets", "message"),
    [
        (0, ["1"] * 5, r"^n: Expected n from 1 to 1000; got 0\.$"),
        (1001, ["1"] * 5, r"^n: Expected n from 1 to 1000; got 1001\.$"),
        (2, ["0", "1", "2", "0", "0"], r"pairs\.csv: row 2: target: Expected a number below n = 2; got 2$"),
        (2, None, r"pairs\.csv: Expected targets, for n = 2; got a list without target$"),
    ],
)
def test_a_number_of_variables_that_does_not_fit_is_refused(
    n: int, targets: list[str] | None, message: str, tmp_path: Path
) -> None:
    write_folder(tmp_path / "set", targets=targets)
    with pytest.raises(ValueError, match=message):
        import_folder(tmp_path / "set", tmp_path / "out", SIDE, n=n)


def test_greyscale_and_alpha_go_together_with_rgb(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", 1)
    alpha = np.dstack([PICTURE, np.zeros((SIDE, SIDE), np.uint8)])
    image("0_before.png", encoded(PICTURE[:, :, 0], "PNG"))(tmp_path / "set")
    image("0_after.png", encoded(alpha, "PNG"))(tmp_path / "set")
    data = loaded(tmp_path / "set", tmp_path / "out")
    np.testing.assert_array_equal(data.x[0], np.repeat(PICTURE[:, :, :1], 3, 2))
    assert not data.x_tilde.any()


@pytest.mark.parametrize("how", ["absolute", "dots", "link"])
def test_images_outside_the_folder_are_taken_on_request_only(how: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere")
    images = tmp_path / "elsewhere" / "images"
    inside = tmp_path / "set"
    inside.mkdir()
    (inside / "linked").symlink_to(images)
    start = {"absolute": str(images), "dots": "../elsewhere/images", "link": "linked"}[how]
    (inside / "pairs.csv").write_text(f"before,after\n{start}/0_before.png,{start}/0_after.png\n")
    with pytest.raises(ValueError, match=r"row 0: before: Expected a file inside .*set; got .*\(--allow-outside"):
        import_folder(inside, tmp_path / "out", 16)
    assert not (tmp_path / "out").exists()
    import_folder(inside, tmp_path / "out", 16, allow_outside=True)
    assert (tmp_path / "out" / "data.safetensors").is_file()


def test_whole_numbers_may_be_written_as_pandas_writes_them_beside_gaps(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    rows = "images/0_before.png,images/0_after.png"
    (tmp_path / "set" / "pairs.csv").write_text(f"before,after,target\n{rows},1.0\n{rows},\n{rows},0.0\n")
    data = loaded(tmp_path / "set", tmp_path / "out")
    assert data.targets is not None and data.targets.tolist() == [[False, True], [False, False], [True, False]]


def test_what_pillow_says_of_bad_images_adds_no_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "set", 2)
    image = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    # tag 277: samples a pixel
    content = buffer.getvalue().replace(
        struct.pack("<HHI", 277, 3, 1) + b"\x03\x00", struct.pack("<HHI", 277, 3, 1) + b"\xc8\x00"
    )
    assert content != buffer.getvalue()
    (tmp_path / "set" / "images" / "0_before.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"0_before\.png: Expected a whole image"):
        import_folder(tmp_path / "set", tmp_path / "out", 16)
    assert capfd.readouterr().err == ""
