"""A full grid of images over factors, such as MPI3D (Gondal et al. 2019), as pairs of a causal model over the factors.

The grid has one image for each combination of levels, the last factor fastest. A variable of the model drives one
factor: it is cut into as many levels as the factor has, equally probable before an intervention, by a rising map. So
the image of every z is found by its number. What the theorem of identifiability says of continuous variables holds for
z, not for the images: an image tells z up to its level only, and a pair whose levels do not change shows no change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.config import config_hash
from lcm.base.npy import read_npz
from lcm.base.npy_rows import StoredArray, stored_array
from lcm.base.rows import Array, take_rows
from lcm.data.data_set import GenerateConfig, require_room
from lcm.data.image_files import require_new
from lcm.data.imported.source import (
    Block,
    EncodedImage,
    PairSource,
    identity_of_files,
    require_size,
    write_image_pairs,
)
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.data.scene.render import without_decoder
from lcm.model.decoder import RotationDecoderConfig
from lcm.model.latent_causal_model import LatentCausalModel

_IMAGES, _SIZES = "images", "factor_sizes"
_LICENCE = "of MPI3D, https://github.com/rr-learning/disentanglement_dataset: CC BY 4.0"
_DRAWN_FOR_LEVELS = 100_000
_TRUTH = ("z", "z_tilde", "noise", "noise_tilde", "targets", "adjacency")


class GridAxes(NamedTuple):
    """How n variables drive the factors of a grid.

    Attributes:
        sizes: the number of levels of each factor; the last factor is the fastest.
        drives: the factor of each variable, 0-based.
        fixed: the level of each factor that no variable drives; those of the others are not used.
    """

    sizes: tuple[int, ...]
    drives: tuple[int, ...]
    fixed: tuple[int, ...]

    def numbers(self, levels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers (N,) of the images with these levels (N, n) of the variables."""
        whole = np.tile(np.array(self.fixed, np.int64), (len(levels), 1))
        whole[:, list(self.drives)] = levels
        return np.asarray(np.ravel_multi_index(tuple(whole.T), self.sizes), np.int64)


def import_grid(
    source: str | Path,
    out: str | Path,
    size: int = 64,
    *,
    nature: GenerateConfig,
    factors: Sequence[int] | None = None,
    drives: Sequence[int] | None = None,
    fixed: Mapping[int, int] | None = None,
    seed: int | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> dict[Path, int]:
    """Write train, val and test.safetensors to `out`, pairs of images of a grid; return the files and numbers of pairs.

    The truth is z, z_tilde, noise, noise_tilde, targets and adjacency of the model. The metadata hold the cuts between
    the levels: the level of a variable is the number of its cuts that z is not below.

    Args:
        source: .npy file of images uint8 (N, H, H, 3), or .npz file with them as `images`, or a folder with one such.
        size: height and width of the written images, a multiple of 16 from 16 to 512; larger images are averaged.
        nature: the causal model, the number of pairs, and the seed. It has no decoder of its own.
        factors: the levels of each factor; by default `factor_sizes` of the .npz file.
        drives: the factor of each variable; by default the n factors with the most levels, in the order of the grid.
        fixed: levels of other factors; by default 0.
        seed: replaces that of the config.
        threads: the number of threads that resize, by default one per core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: no such array, another type or shape, sizes whose product is not N, a factor or a level that there
            is none of, a model with a decoder, a scene or observation noise, too many pairs, or `out` is not new.
    """
    require_size(size)
    require_new(Path(out))
    config = nature if seed is None else replace(nature, seed=seed)
    _require_fitting(config)
    images = _images(_file_of(Path(source)))
    axes = _axes(images, factors, drives, fixed or {}, config.nature.n)
    model = without_decoder(build_nature(config.nature, config.seed))
    cuts = _cuts(model, [axes.sizes[factor] for factor in axes.drives], config.seed)
    drawn = {
        split: sample_data(model, count, torch_generator(config.seed, split))
        for split, count in asdict(config.pairs).items()
    }
    sources = _sources(images, axes, cuts, drawn, config)
    identity = {"source": "grid", "files": identity_of_files([images.path]), "config": config_hash(config)}
    identity |= {"axes": json.dumps(axes), "array": images.name}
    return write_image_pairs(Path(out), sources, identity, size, threads=threads, progress=progress)


@final
class _GridPairs(PairSource):
    """Pairs whose images are rows of one array, by their numbers (N, 2)."""

    def __init__(
        self,
        name: str,
        truth: Mapping[str, Array],
        metadata: Mapping[str, str],
        images: Array,
        numbers: NDArray[np.int64],
        where: str,
    ) -> None:
        super().__init__(name, truth, metadata)
        self._images, self._numbers, self._where = images, numbers, where

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, blocks: Sequence[tuple[int, int]]) -> Iterator[Block]:
        for start, stop in blocks:
            numbers = self._numbers[start:stop]
            rows = take_rows(self._images, numbers.ravel())
            images = [
                EncodedImage(f"{self._where}: image {number}", row)
                for number, row in zip(numbers.ravel().tolist(), rows, strict=True)
            ]
            yield list(zip(images[::2], images[1::2], strict=True))


def _require_fitting(config: GenerateConfig) -> None:
    require_room(config)
    if config.scene is not None:
        raise ValueError("scene: Expected none, as the grid has the images; got one")
    if config.observation_noise:
        raise ValueError(
            f"observation_noise: Expected none, as the grid has the images; got {config.observation_noise}"
        )
    if config.nature.decoder != RotationDecoderConfig():
        kind = config.nature.decoder.kind
        raise ValueError(f"nature.decoder: Expected none, as the grid has the images; got one of kind {kind}")


def _file_of(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = sorted(file for file in source.iterdir() if file.suffix in (".npy", ".npz"))
    if len(found) != 1:
        got = ", ".join(file.name for file in found[:5]) or "none"
        raise ValueError(
            f"{source}: Expected one .npy or .npz file of a grid of images; got {got} (licence {_LICENCE})"
        )
    return found[0]


def _images(path: Path) -> StoredArray:
    images = stored_array(path, _IMAGES)
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise ValueError(f"{images.where}: Expected uint8 images (N, H, H, 3); got {images.dtype} {shape}")
    return images


def _axes(
    images: StoredArray,
    factors: Sequence[int] | None,
    drives: Sequence[int] | None,
    fixed: Mapping[int, int],
    n: int,
) -> GridAxes:
    sizes = tuple(_sizes(images.path) if factors is None else factors)
    if any(length < 1 for length in sizes) or math.prod(sizes) != images.shape[0]:
        got = f"{' x '.join(map(str, sizes))} = {math.prod(sizes):,}"
        raise ValueError(
            f"factors: Expected sizes with the product {images.shape[0]:,}, the number of images; got {got}"
        )
    if drives is None:
        drives = sorted(sorted(range(len(sizes)), key=lambda factor: -sizes[factor])[:n])
    if len(drives) != n or len(set(drives)) != n:
        got = ", ".join(map(str, drives)) or "none"
        raise ValueError(f"drives: Expected {n} different factors, one for each variable; got {got}")
    for what, listed in (("drives", drives), ("fixed", list(fixed))):
        outside = [factor for factor in listed if not 0 <= factor < len(sizes)]
        if outside:
            raise ValueError(f"{what}: Expected factors from 0 to {len(sizes) - 1}; got {outside[0]}")
    for factor in drives:
        if sizes[factor] < 2:
            raise ValueError(f"drives: Expected factors with at least two levels; got factor {factor} with one")
    for factor, level in fixed.items():
        if factor in drives:
            raise ValueError(f"fixed: Expected factors that no variable drives; got {factor}")
        if not 0 <= level < sizes[factor]:
            raise ValueError(f"fixed: Expected a level of factor {factor} from 0 to {sizes[factor] - 1}; got {level}")
    return GridAxes(sizes, tuple(drives), tuple(fixed.get(factor, 0) for factor in range(len(sizes))))


def _sizes(path: Path) -> list[int]:
    """The sizes of the factors that the file gives."""
    found = read_npz(path, (_SIZES,)) if path.suffix == ".npz" else {}
    if _SIZES not in found:
        raise ValueError(f"{path}: {_SIZES}: Expected the levels of each factor here, or --factors; got neither")
    sizes = found[_SIZES]
    if sizes.dtype.kind not in "iu" or sizes.ndim != 1 or not sizes.size:
        raise ValueError(f"{path}: {_SIZES}: Expected whole numbers (k,); got {sizes.dtype} {sizes.shape}")
    return [int(length) for length in sizes]


def _cuts(model: LatentCausalModel, levels: Sequence[int], seed: int) -> list[NDArray[np.float32]]:
    """For each variable, the values between its levels: quantiles of p(z)."""
    z = sample_data(model, _DRAWN_FOR_LEVELS, torch_generator(seed, "levels")).x
    return [
        np.quantile(z[:, variable], np.arange(1, count) / count).astype(np.float32)
        for variable, count in enumerate(levels)
    ]


def level_numbers(z: NDArray[np.float32], cuts: Sequence[NDArray[np.float32]]) -> NDArray[np.int64]:
    """The levels (N, n) of variables z (N, n): how many of its cuts each value is not below."""
    return np.stack([np.searchsorted(each, z[:, k], side="right") for k, each in enumerate(cuts)], axis=1)


def _sources(
    images: StoredArray,
    axes: GridAxes,
    cuts: Sequence[NDArray[np.float32]],
    drawn: Mapping[str, PairData],
    config: GenerateConfig,
) -> list[_GridPairs]:
    """A source of pairs for each split."""
    levels = {
        split: [level_numbers(np.asarray(part, np.float32), cuts) for part in (data.x, data.x_tilde)]
        for split, data in drawn.items()
    }
    numbers = {split: np.stack([axes.numbers(part) for part in parts], axis=1) for split, parts in levels.items()}
    if images.offset is not None:
        rows, places = images.mapped(), numbers
    else:
        needed = np.unique(np.concatenate([part.ravel() for part in numbers.values()]))
        rows = images.gathered(needed)
        places = {split: np.searchsorted(needed, part) for split, part in numbers.items()}
    found = []
    for split, data in drawn.items():
        metadata = _metadata(axes, cuts, config) | {"split": split, "unseen": _unseen(data, numbers[split])}
        truth: dict[str, Any] = {key: value for key, value in data.tensors().items() if key in _TRUTH}
        found.append(_GridPairs(split, truth, metadata, rows, places[split], images.where))
    return found


def _unseen(data: PairData, numbers: NDArray[np.int64]) -> str:
    """The share of the pairs with an intervention whose two images are the same."""
    acted = np.asarray(data.targets).any(axis=1)
    return f"{(numbers[acted, 0] == numbers[acted, 1]).mean() if acted.any() else 0.0:.4f}"


def _metadata(axes: GridAxes, cuts: Sequence[NDArray[np.float32]], config: GenerateConfig) -> dict[str, str]:
    return {
        "source": "grid",
        "seed": str(config.seed),
        "nature": json.dumps(asdict(config.nature)),
        "factor_sizes": json.dumps(axes.sizes),
        "drives": json.dumps(axes.drives),
        "fixed": json.dumps(axes.fixed),
        "cuts": json.dumps([each.tolist() for each in cuts]),
        "licence": _LICENCE,
    }
