"""Small image sets in exactly the formats of the published ones."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

SIDE = 32


def pixels(generator: np.random.Generator, side: int = SIDE) -> Array:
    """A smooth picture (side, side, 3): noise would not come back from a JPEG."""
    ramp = np.linspace(0.0, 1.0, side)
    weights = generator.uniform(0, 255, size=(3, 2))
    return (ramp[:, None, None] * weights[:, 0] + ramp[None, :, None] * weights[:, 1]).clip(0, 255).astype(np.uint8)


def encoded(image: Array, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def circuit_arrays(count: int = 6, seed: int = 0) -> dict[str, Array]:
    """The arrays of one archive of CausalCircuit, its images as byte strings of fixed width."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 5
    return {
        "original_latents": generator.uniform(size=(count, 2, 4)),
        "epsilon": generator.normal(size=(count, 2, 4)),
        "imgs": np.array([[encoded(pixels(generator)) for _ in range(2)] for _ in range(count)]),
        "pressed": generator.uniform(size=(count, 2, 3)) > 0.5,
        "intervention_labels": labels,
        "intervention_masks": labels[:, None] == np.arange(1, 5),
    }


def as_objects(strings: Array) -> Array:
    """The same byte strings as an array of objects, which numpy pickles."""
    objects = np.empty(strings.shape, object)
    objects[...] = strings
    return objects


def write_circuit(folder: Path, **counts: int) -> Path:
    """Archives NAME.npz of so many pairs each; a hyphen in a name is written as an underscore here."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate(counts.items()):
        np.savez(folder / f"{name.replace('_', '-')}.npz", **circuit_arrays(count, seed))
    return folder


def write_3dident(folder: Path, count: int = 12, classes: Sequence[int] = (0,), split: str = "trainset") -> Path:
    """One set of Causal3DIdent: latents and images of each class."""
    for number in classes:
        generator = np.random.default_rng(number)
        images = folder / split / f"images_{number}"
        images.mkdir(parents=True)
        latents = generator.uniform(-1, 1, size=(count, 10))
        np.save(folder / split / f"raw_latents_{number}.npy", latents)
        for row in range(count):
            name = f"{row:0{len(str(count - 1))}d}.png"
            (images / name).write_bytes(encoded(pixels(generator), "PNG"))
    return folder


def write_folder(folder: Path, count: int = 5, targets: Sequence[str] | None = None) -> Path:
    """Pairs of PNG files, and the CSV that lists them."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows: list[Mapping[str, str]] = []
    for row in range(count):
        names = {key: f"images/{row}_{key}.png" for key in ("before", "after")}
        for name in names.values():
            (folder / name).write_bytes(encoded(pixels(generator), "PNG"))
        rows.append(names if targets is None else names | {"target": targets[row]})
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def write_index(folder: Path, count: int = 5, targets: Sequence[int | None] | None = None) -> Path:
    """The images of `write_folder`, listed in JSON instead of CSV."""
    write_folder(folder, count)
    (folder / "pairs.csv").unlink()
    entries: list[dict[str, Any]] = [
        {key: f"images/{row}_{key}.png" for key in ("before", "after")} for row in range(count)
    ]
    for entry, target in zip(entries, targets or (), strict=targets is not None):
        entry["target"] = target
    (folder / "pairs.json").write_text(json.dumps(entries))
    return folder
