"""Data sets: arrays of numpy, safetensors, tables, images and the published archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from chambers import measured, write_experiment, write_rows
from imported_images import write_3dident, write_circuit, write_folder, write_index
from small import small_data

from lcm.data.chamber.actuator import chosen_actuators
from lcm.data.chamber.protocol import draw_protocol
from lcm.data.chamber.protocol_files import write_protocol
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.pair_files import save_pairs

from .law import command
from .mutate import Mutator, any_of, spoil_bytes
from .run import Kind
from .structure import spoil_csv, spoil_json
from .tensors import spoil_tensors

_DESCRIPTIONS = (
    "<f8", "<f4", ">f8", "<i8", "|u1", "|b1", "|O", "<U5", "|S0", "<M8[ns]", "<c16", "|V3", "f8,f8", "", "((",
    "x" * 5000,
)  # fmt: skip
_SHAPES = ("()", "(3,)", "(-1,)", "(2, 2)", "(10**12,)", "(1000000000000, 8)", "(9223372036854775807, 2)", "(1.5,)",
           "1", "(0, 3)", "(20L, 2L)", "((1,),)", "(" * 80, "None")  # fmt: skip
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def spoil_npy(data: bytes, generator: Random) -> bytes:
    """An .npy file with another header over the same bytes, or with spoiled bytes."""
    if generator.random() < 0.3 or len(data) < 12:
        return spoil_bytes(data, generator)
    length = int.from_bytes(data[8:10], "little")
    body = data[10 + length :]
    order = generator.choice(("False", "True", "0", "[]", "maybe"))
    text = (
        f"{{'descr': {generator.choice(_DESCRIPTIONS)!r}, 'fortran_order': {order}, "
        f"'shape': {generator.choice(_SHAPES)}, }}"
    )
    if generator.random() < 0.2:
        text = text[: generator.randrange(len(text))]
    header = text.encode().ljust(117) + b"\n"
    version = generator.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    size = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + header + body


def spoil_archive(spoil: Mutator) -> Mutator:
    """An archive of which one member is spoiled, left out, doubled, renamed, encrypted or packed in another way."""

    def spoiled(data: bytes, generator: Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = generator.choice(list(members))
        change = generator.choice(("spoil", "spoil", "spoil", "drop", "rename", "double", "encrypt", "again"))
        if change == "drop":
            del members[name]
        elif change == "rename":
            members[generator.choice(("x", "../x.npy", "\x1b[2J.npy", "y.npy"))] = members.pop(name)
        elif change == "spoil":
            members[name] = spoil(members[name], generator)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", generator.choice(_COMPRESSIONS)) as archive:
            for key, content in members.items():
                archive.writestr(key, content)
        packed = bytearray(buffer.getvalue())
        if change == "encrypt":
            packed[6] |= 1
            packed[packed.index(b"PK\x01\x02") + 8] |= 1
        return bytes(packed) if change != "double" else bytes(packed) + bytes(packed)

    return spoiled


def _npz(folder: Path) -> None:
    save_pairs(folder / "data.npz", small_data("linear", 20))


def _tensors(folder: Path) -> None:
    save_pairs(folder / "data.safetensors", small_data("linear", 20))


def _table(suffix: str) -> Callable[[Path], None]:
    return lambda folder: save_pairs(folder / f"data.{suffix}", small_data("linear", 20))


def _two_tables(folder: Path) -> None:
    data = small_data("linear", 20)
    for name, part in (("before", data.x), ("after", data.x_tilde)):
        np.savetxt(folder / f"{name}.csv", part, delimiter=",", header="a,b", comments="")


def _check(name: str) -> tuple:
    return (command("check", f"{{in}}/{name}", "--json", "{out}/check.json", "--quiet"),)


def _imported(kind: str, source: str) -> tuple:
    return (
        command("import", kind, f"{{in}}/{source}", "--out", "{out}/o", "--size", "16", "--quiet", "--threads", "1"),
    )


def _protocol(folder: Path) -> None:
    protocol = draw_protocol(build_nature(NatureConfig(5), 0), 6, chosen_actuators(5))
    write_protocol(folder / "protocol.txt", protocol)
    write_rows(folder / "measured.csv", measured(protocol.lines()))


def _grid(folder: Path) -> None:
    images = np.zeros((24, 16, 16, 3), np.uint8)
    np.savez_compressed(folder / "grid.npz", images=images, factor_sizes=np.array([2, 3, 4]))
    (folder / "c.yaml").write_text("nature: {n: 2}\npairs: {train: 5, val: 2, test: 2}\n")


_SPOIL_NPZ = any_of(spoil_bytes, *[spoil_archive(spoil_npy)] * 3)

KINDS = {
    "pairs.npz": Kind(_npz, ("data.npz",), _SPOIL_NPZ, _check("data.npz")),
    "pairs.safetensors": Kind(
        _tensors, ("data.safetensors",), any_of(spoil_bytes, *[spoil_tensors] * 3), _check("data.safetensors")
    ),
    "pairs.csv": Kind(_table("csv"), ("data.csv",), any_of(spoil_bytes, spoil_csv), _check("data.csv")),
    "pairs.parquet": Kind(_table("parquet"), ("data.parquet",), spoil_bytes, _check("data.parquet")),
    "two-tables": Kind(
        _two_tables,
        ("before.csv", "after.csv"),
        any_of(spoil_bytes, spoil_csv),
        (command("check", "{in}/before.csv", "{in}/after.csv", "--quiet"),),
    ),
    "image-list": Kind(
        lambda folder: write_folder(folder / "set", 2) and None,
        ("set/pairs.csv",),
        any_of(spoil_bytes, spoil_csv),
        _imported("folder", "set"),
        share=0.5,
    ),
    "image-index": Kind(
        lambda folder: write_index(folder / "set", 2, [0, None]) and None,
        ("set/pairs.json",),
        any_of(spoil_bytes, spoil_json),
        _imported("folder", "set"),
        share=0.5,
    ),
    "chamber": Kind(
        lambda folder: write_experiment(folder / "set", pairs=6) and None,
        ("set/walk.csv",),
        any_of(spoil_bytes, spoil_csv),
        (command("import", "chamber", "{in}/set", "--out", "{out}/o", "--quiet"),),
        share=0.5,
    ),
    "protocol": Kind(
        _protocol,
        ("protocol.json",),
        any_of(spoil_bytes, *[spoil_json] * 3),
        (
            command(
                *("import", "chamber", "{in}/measured.csv", "--protocol", "{in}/protocol.json"),
                *("--out", "{out}/o", "--quiet"),
            ),
        ),
        share=0.5,
    ),
    "grid": Kind(
        _grid,
        ("grid.npz",),
        _SPOIL_NPZ,
        (
            command(
                *("import", "grid", "{in}/grid.npz", "--nature", "{in}/c.yaml", "--out", "{out}/o"),
                *("--size", "16", "--quiet", "--threads", "1"),
            ),
        ),
        share=0.5,
    ),
    "image": Kind(
        lambda folder: write_folder(folder / "set", 2) and None,
        ("set/images/0_before.png", "set/images/1_after.png"),
        spoil_bytes,
        _imported("folder", "set"),
        share=0.5,
    ),
    "causalcircuit": Kind(
        lambda folder: write_circuit(folder / "set", train=2) and None,
        ("set/train.npz",),
        _SPOIL_NPZ,
        _imported("causalcircuit", "set"),
        share=0.5,
    ),
    "causal3dident": Kind(
        lambda folder: write_3dident(folder / "set", 4) and None,
        ("set/trainset/raw_latents_0.npy", "set/trainset/images_0/1.png"),
        any_of(spoil_bytes, spoil_npy),
        _imported("causal3dident", "set"),
        share=0.5,
    ),
}
