"""Data sets of images: pairs of variables drawn from a ground truth, and a scene drawn for each of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lcm.data.image_files import PairWriter
from lcm.data.nature.build import torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.pairs import PairData
from lcm.data.scene.render import render_blocks
from lcm.data.scene.scene import SceneConfig, find_scene
from lcm.model.decoder import LinearDecoder
from lcm.model.latent_causal_model import LatentCausalModel

Array = NDArray[Any]

_BLOCK = 250
_SLOPE = 1.5
_CALIBRATION_SAMPLES = 4096


@final
@dataclass(frozen=True)
class SceneMap:
    """How variables (N, n) become parameters in (0, 1): as they are, or standardised and squashed.

    parameters: the names, one for each variable. mean, scale: of the variables, None where they are in (0, 1) already.
    """

    parameters: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    def __call__(self, z: Array) -> Array:
        """Parameters (N, n) in (0, 1) of variables (N, n)."""
        if self.mean is None or self.scale is None:
            return z.astype(np.float64)
        standardised = (z.astype(np.float64) - self.mean) / self.scale
        return np.asarray(1.0 / (1.0 + np.exp(-_SLOPE * standardised)))

    def metadata(self) -> dict[str, str]:
        """What is needed to draw the images again."""
        values = {"mean": self.mean, "scale": self.scale, "slope": _SLOPE} if self.mean else {}
        return {"variables": json.dumps(self.parameters), **({"scene_map": json.dumps(values)} if values else {})}


def scene_parameters(scene: SceneConfig, n: int) -> tuple[str, ...]:
    """The names of the parameters that n variables drive.

    Raises:
        ValueError: an unknown scene or parameter, or another number of them than variables.
    """
    known = tuple(find_scene(scene.kind).parameters)
    names = known[:n] if scene.parameters is None else scene.parameters
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"scene.parameters: Expected some of {', '.join(known)}; got {unknown[0]!r}.")
    if len(names) != n:
        raise ValueError(f"scene.parameters: Expected one for each of {n} variables; got {len(names)}.")
    return names


def scene_map(scene: SceneConfig, nature: NatureConfig, model: LatentCausalModel, seed: int) -> SceneMap:
    """The map from the variables of a ground truth to the scene."""
    names = scene_parameters(scene, nature.n)
    unit = nature.mechanism.kind == "circuit" if scene.values == "auto" else scene.values == "unit"
    if unit:
        return SceneMap(names)
    z = model.scm.sample(_CALIBRATION_SAMPLES, torch_generator(seed, "scene")).double()
    return SceneMap(names, tuple(z.mean(0).tolist()), tuple(z.std(0).tolist()))


def without_decoder(model: LatentCausalModel) -> LatentCausalModel:
    """The model whose observations are its variables, x = z: what drives the scene."""
    parts = model.scm, LinearDecoder(model.n, torch.eye(model.n)), model.intervention, model.target_distribution
    return LatentCausalModel(*parts, model.thickness).requires_grad_(False)


def write_images(
    path: Path,
    pairs: PairData,
    scene: SceneConfig,
    to_scene: SceneMap,
    metadata: Mapping[str, str],
    *,
    processes: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Draw both images of every pair and write them with their truth; goes on where it was interrupted.

    Args:
        path: the .safetensors file, or the name of several above 1 GB.
        pairs: variables, as their x and x_tilde, and their truth.
        to_scene: from variables to parameters.
        metadata: of the file.
        processes: that draw, by default one a core.
        progress: whether to show a progress bar on stderr.

    Raises:
        ValueError: variables outside (0, 1) where they are not squashed, a full disk, or no library to draw with.
    """
    values = [to_scene(part) for part in (pairs.x, pairs.x_tilde)]
    _require_unit(values, to_scene.parameters)
    truth = {key: array for key, array in pairs.tensors().items() if key not in ("x", "x_tilde")}
    known = {**metadata, **to_scene.metadata()}
    writer = PairWriter(path, len(pairs), (scene.size, scene.size, 3), truth, known)
    missing = writer.missing(_BLOCK)
    blocks = (np.concatenate([part[start:stop] for part in values]) for start, stop in missing)
    count = processes or len(os.sched_getaffinity(0))
    drawn = render_blocks(scene.kind, to_scene.parameters, scene.size, scene.supersampling, blocks, count)
    bar = tqdm(
        total=2 * len(pairs), desc=path.stem, unit=" images", file=sys.stderr, disable=None if progress else True
    )
    with bar:
        bar.update(2 * (len(pairs) - sum(stop - start for start, stop in missing)))
        for (start, _), images in zip(missing, drawn, strict=True):
            before, after = np.split(images, 2)
            writer.write(start, before, after)
            bar.update(len(images))
    return writer.finish()


def _require_unit(values: Sequence[Array], names: Sequence[str]) -> None:
    for array in values:
        outside = ~((array >= 0.0) & (array <= 1.0)).all(0)
        if outside.any():
            name = names[int(np.argmax(outside))]
            raise ValueError(f"scene.values: Expected {name} in (0, 1), as for unit; got values outside. Use logistic.")
