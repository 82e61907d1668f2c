"""Images of a scene, for single values and for whole data sets, without a screen or a GPU, on all cores.

The same values give the same bytes.

Source: MuJoCo (Todorov et al. 2012), which the extra `images` installs; a scene by a formula needs neither.
"""

from __future__ import annotations

import ctypes.util
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lcm.data.image_files import PairWriter
from lcm.data.pairs import PairData
from lcm.data.scene.scene import FormulaScene, Images, Scene, SceneConfig, find_scene
from lcm.model.decoder import LinearDecoder
from lcm.model.latent_causal_model import LatentCausalModel

Values = NDArray[np.floating[Any]]

EXTRA = "images: Expected the extra `images` for scenes (pip install 'latent-causal-models[images]'); got no {name}"
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_BLOCK = 250
_SLOPE = 1.5
_CALIBRATION_SAMPLES = 4096
_PACKAGES = "apt-get install libegl1 libgl1-mesa-dri, or libosmesa6"

_painter: Painter | None = None


@final
class Painter:
    """One scene, ready to be drawn in this process, at a size (pixels) and averaged from `supersampling` times that."""

    def __init__(self, kind: str, size: int, supersampling: int) -> None:
        """Raises ValueError where an extra or the libraries to draw without a screen are missing."""
        self.scene = find_scene(kind)()
        self.size, self.supersampling = size, supersampling
        self._camera = _Camera(self.scene, size * supersampling) if isinstance(self.scene, Scene) else None

    def draw(self, values: Mapping[str, float]) -> Images:
        """The image (size, size, 3) for values of the scene's parameters in (0, 1)."""
        image = self._large(values)
        return image.copy() if self.supersampling == 1 else _averaged(image, self.supersampling)

    def _large(self, values: Mapping[str, float]) -> Images:
        if isinstance(self.scene, FormulaScene):
            return self.scene.image(values, self.size * self.supersampling)
        if self._camera is None:
            raise RuntimeError("a scene of MuJoCo has a camera")
        return self._camera.take(values)


@final
class _Camera:
    """The camera of a scene of MuJoCo; the image that it takes is overwritten by the next one."""

    def __init__(self, scene: Scene, pixels: int) -> None:
        self.scene, mujoco = scene, _import_mujoco()
        self._mujoco, self.model = mujoco, mujoco.MjModel.from_xml_string(scene.xml())
        visual = self.model.vis
        # shadows and multisampling cost a software renderer 30 times the rest
        visual.quality.shadowsize = visual.quality.offsamples = 0
        # corners of round parts, as many as a few dozen pixels show; the default costs two thirds of the time
        visual.quality.numslices, visual.quality.numstacks = 16, 10
        visual.global_.offwidth = visual.global_.offheight = pixels
        self.data = mujoco.MjData(self.model)
        try:
            self._renderer = mujoco.Renderer(self.model, pixels, pixels)
        except Exception as error:
            raise ValueError(_no_graphics(f"{os.environ.get('MUJOCO_GL')} fails: {error}")) from error
        scene.begin(self.model, self.data)
        self._buffer: Images = np.empty((pixels, pixels, 3), np.uint8)

    def take(self, values: Mapping[str, float]) -> Images:
        self.scene.place(self.model, self.data, values)
        self._mujoco.mj_kinematics(self.model, self.data)
        self._mujoco.mj_camlight(self.model, self.data)
        self._renderer.update_scene(self.data, camera=self.scene.camera)
        self._renderer.render(out=self._buffer)
        return self._buffer


def _averaged(image: Images, factor: int) -> Images:
    """Means of blocks of factor × factor pixels, rounded."""
    # row by row, then column by column: five times as fast as one sum over both axes of a block
    rows = sum((image[k::factor] for k in range(1, factor)), image[0::factor].astype(np.uint16))
    total = sum((rows[:, k::factor] for k in range(1, factor)), rows[:, 0::factor])
    count = factor**2
    return ((total + count // 2) // count).astype(np.uint8)


def render_blocks(
    kind: str, driven: Iterable[str], size: int, supersampling: int, blocks: Iterable[Values], processes: int
) -> Iterator[Images]:
    """Images (B, size, size, 3) of each block of values (B, k), in order, drawn by several processes.

    Raises:
        ValueError: the extra or the libraries to draw without a screen are missing, or a process died.
    """
    names, scene = list(driven), find_scene(kind)
    if issubclass(scene, FormulaScene):
        # before any process starts: one that fails does not say why
        scene()
    else:
        choose_library()
    if processes == 1:
        painter = Painter(kind, size, supersampling)
        for block in blocks:
            yield _draw_all(painter, names, block)
        return
    setting = (kind, size, supersampling)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _start, setting) as pool:
        waiting, rest = [], iter(blocks)
        try:
            # a few ahead, and no more: their images wait in memory
            for block in islice(rest, 2 * processes):
                waiting.append(pool.submit(_draw_block, names, block))
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(_draw_block, names, block) for block in islice(rest, 1)]
        except BrokenProcessPool as error:
            raise ValueError(_no_graphics("a process that died while drawing")) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start(*setting: Any) -> None:
    global _painter
    _painter = Painter(*setting)


def _draw_block(names: list[str], block: Values) -> Images:
    if _painter is None:
        raise RuntimeError("the process was not set up")
    return _draw_all(_painter, names, block)


def _draw_all(painter: Painter, names: list[str], block: Values) -> Images:
    rest = dict(painter.scene.parameters)
    return np.stack([painter.draw({**rest, **dict(zip(names, row, strict=True))}) for row in block.tolist()])


def choose_library() -> str:
    """Set MUJOCO_GL to a library that draws without a screen, EGL or OSMesa, unless it is set; returns its name.

    Raises:
        ValueError: neither is installed.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if not chosen:
        found = [name for name, library in _LIBRARIES.items() if ctypes.util.find_library(library)]
        if not found:
            raise ValueError(_no_graphics("neither"))
        chosen = os.environ["MUJOCO_GL"] = found[0]
    # one thread a process: the renderer's own would take the other processes' cores
    os.environ.setdefault("LP_NUM_THREADS", "0")
    return chosen


def _no_graphics(got: str) -> str:
    return f"images: Expected EGL or OSMesa, to draw without a screen; got {got} ({_PACKAGES})"


def _import_mujoco() -> Any:
    choose_library()
    try:
        import mujoco
    except ImportError as error:
        if error.name == "mujoco":
            raise ValueError(EXTRA.format(name="mujoco")) from error
        raise ValueError(_no_graphics(str(error))) from error
    except AttributeError as error:
        raise ValueError(_no_graphics(f"{os.environ['MUJOCO_GL']} fails: {error}")) from error
    return mujoco


@final
@dataclass(frozen=True)
class SceneMap:
    """How variables (N, n) become parameters in (0, 1): as they are, or standardised and squashed.

    parameters: the names, one for each variable. mean, scale: of the variables, None where they are in (0, 1) already.
    """

    parameters: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    def __call__(self, z: Values) -> Values:
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


def scene_map(scene: SceneConfig, model: LatentCausalModel, generator: torch.Generator) -> SceneMap:
    """The map from the variables of a ground truth to the scene; the generator draws those that set its scales."""
    names = scene_parameters(scene, model.n)
    unit = model.scm.mechanism.in_unit_interval if scene.values == "auto" else scene.values == "unit"
    if unit:
        return SceneMap(names)
    z = model.scm.sample(_CALIBRATION_SAMPLES, generator).double()
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


def _require_unit(values: Sequence[Values], names: Sequence[str]) -> None:
    for array in values:
        outside = ~((array >= 0.0) & (array <= 1.0)).all(0)
        if outside.any():
            name = names[int(np.argmax(outside))]
            raise ValueError(f"scene.values: Expected {name} in (0, 1), as for unit; got values outside. Use logistic.")
