"""What a scene is: a simulator's model or a formula, and named parameters in (0, 1) that set it up."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.requirement import require
from lcm.base.text import printable

_SMALLEST, _LARGEST, _MULTIPLE, _MOST_SUPERSAMPLING = 16, 512, 16, 4
SCENE_HOMES = {
    "circuit": ("lcm.data.scene.circuit", "CircuitScene"),
    "objects": ("lcm.data.scene.objects", "ObjectsScene"),
    "light-tunnel": ("lcm.data.scene.light_tunnel", "LightTunnelScene"),
}
"""The scenes of the package: module and class."""

Images = NDArray[np.uint8]


class Scene(ABC):
    """Abstract: a MuJoCo model with a camera, and parameters in (0, 1) that move, turn and colour its parts.

    A scene of one's own is a file with a subclass, named FILE.py:CLASS in a config (docs/images.md). Together with the
    SCM that drives it, it is the decoder g: images should tell every parameter apart over its whole range.
    """

    parameters: ClassVar[Mapping[str, float]]
    """Names, in the order in which variables drive them, with the value of each that no variable drives."""

    camera: ClassVar[str] = "camera"

    @abstractmethod
    def xml(self) -> str:
        """The model in MuJoCo's own format, MJCF, with the camera; sizes and quality of images are set elsewhere."""

    def begin(self, model: Any, data: Any) -> None:  # noqa: B027  most scenes look parts up by name as they go
        """Called once before any `place`; the views of parts that `model.light(NAME)` gives may be kept, for speed."""

    @abstractmethod
    def place(self, model: Any, data: Any, values: Mapping[str, float]) -> None:
        """Set up `model` (mujoco.MjModel) and `data` (mujoco.MjData) for the values of all parameters, in (0, 1)."""


class FormulaScene(ABC):
    """Abstract: images by a formula, without MuJoCo, and parameters in (0, 1) that enter it.

    parameters: as those of a `Scene`.
    """

    parameters: ClassVar[Mapping[str, float]]

    @abstractmethod
    def image(self, values: Mapping[str, float], pixels: int) -> Images:
        """The image (pixels, pixels, 3) for the values of all parameters, in (0, 1)."""


def find_scene(kind: str) -> type[Scene] | type[FormulaScene]:
    """The class of a scene by its name, or by FILE.py:CLASS, whose file is run.

    Raises:
        ValueError: no such name, file or class, or the class is no scene.
    """
    if kind in SCENE_HOMES:
        module, name = SCENE_HOMES[kind]
        found: Any = getattr(importlib.import_module(module), name)
    else:
        found = _from_file(kind)
    if not (isinstance(found, type) and issubclass(found, Scene | FormulaScene)):
        raise ValueError(f"scene.kind: Expected a subclass of lcm.data.scene.scene.Scene; got {kind!r}")
    return found


def require_allowed(config: SceneConfig | None, source: str, allow_code: bool) -> None:
    """Raise ValueError if a config from a file names a scene whose Python file would run, and that is not allowed."""
    if config is not None and config.kind not in SCENE_HOMES and not allow_code:
        file = printable(config.kind.rpartition(":")[0] or config.kind)[:200]
        raise ValueError(
            f"{source}: scene.kind: Expected one of {', '.join(SCENE_HOMES)}, or --allow-code to run a file; got {file}"
            " without it"
        )


def _from_file(kind: str) -> Any:
    file, colon, name = kind.rpartition(":")
    if not colon or not file.endswith(".py"):
        known = ", ".join(SCENE_HOMES)
        raise ValueError(f"scene.kind: Expected one of {known}, or FILE.py:CLASS; got {kind!r}")
    if not Path(file).is_file():
        raise ValueError(f"scene.kind: Expected a file with a scene; got {file!r}, which is not there")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"scene.kind: Expected a Python file; got {file!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise ValueError(f"scene.kind: Expected a class {name} in {file}; got none")
    return getattr(module, name)


@final
@dataclass(frozen=True)
class SceneConfig:
    """Images instead of vectors: a scene, and which of its parameters each variable drives.

    Attributes:
        kind: circuit, objects, light-tunnel, or FILE.py:CLASS, a scene of one's own (docs/images.md).
        size: height and width in pixels, a multiple of 16 from 16 to 512, which the default autoencoder can halve.
        supersampling: drawn so many times larger, then averaged; 1 to 4.
        parameters: of the scene, one for each variable in order; by default its first n.
        values: how a variable becomes a parameter in (0, 1): "unit", as it is; "logistic", standardised, then through
            1 / (1 + exp(−1.5 v)); "auto", unit for mechanisms whose values lie in (0, 1), logistic for others.
    """

    kind: str = "circuit"
    size: int = 64
    supersampling: int = 2
    parameters: tuple[str, ...] | None = None
    values: Literal["auto", "unit", "logistic"] = "auto"

    def __post_init__(self) -> None:
        sizes = f"a multiple of {_MULTIPLE} from {_SMALLEST} to {_LARGEST}"
        require(self, ("size",), lambda v: _SMALLEST <= v <= _LARGEST and v % _MULTIPLE == 0, sizes)
        require(self, ("supersampling",), lambda v: 1 <= v <= _MOST_SUPERSAMPLING, f"1 to {_MOST_SUPERSAMPLING}")
        names = self.parameters or ()
        twice = [name for index, name in enumerate(names) if name in names[:index]]
        if twice:
            raise ValueError(f"parameters: Expected each parameter once; got {twice[0]} again.")
