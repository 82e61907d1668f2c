"""Images of a scene, without a screen or a GPU, on all cores; the same values give the same bytes.

Source: MuJoCo (Todorov et al. 2012), which the extra `images` installs.
"""

from __future__ import annotations

import ctypes.util
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.data.scene.scene import Scene, find_scene

Images = NDArray[np.uint8]
Values = NDArray[np.floating[Any]]

EXTRA = "images: Expected the extra `images` for scenes (pip install 'latent-causal-models[images]'); got no {name}"
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_PACKAGES = "apt-get install libegl1 libgl1-mesa-dri, or libosmesa6"

_painter: Painter | None = None


@final
class Painter:
    """One scene, ready to be drawn in this process, at a size (pixels) and averaged from `supersampling` times that."""

    def __init__(self, kind: str, size: int, supersampling: int) -> None:
        """Raises ValueError where the extra or the libraries to draw without a screen are missing."""
        self.scene: Scene = find_scene(kind)()
        self.size, self.supersampling = size, supersampling
        mujoco = _import_mujoco()
        self._mujoco, self.model = mujoco, mujoco.MjModel.from_xml_string(self.scene.xml())
        visual, pixels = self.model.vis, size * supersampling
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
        self.scene.begin(self.model, self.data)
        self._buffer: Images = np.empty((pixels, pixels, 3), np.uint8)

    def draw(self, values: Mapping[str, float]) -> Images:
        """The image (size, size, 3) for values of the scene's parameters in (0, 1)."""
        self.scene.place(self.model, self.data, values)
        self._mujoco.mj_kinematics(self.model, self.data)
        self._mujoco.mj_camlight(self.model, self.data)
        self._renderer.update_scene(self.data, camera=self.scene.camera)
        self._renderer.render(out=self._buffer)
        if self.supersampling == 1:
            return self._buffer.copy()
        return _averaged(self._buffer, self.supersampling)


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
    names = list(driven)
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
