"""One object under a coloured, movable spotlight (after Causal3DIdent, von Kügelgen et al. 2021)."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping
from typing import Any, ClassVar, final

from lcm.data.scene.scene import Scene

_TURN = math.radians(75.0)
_REACH = 0.55
_LAMP_REACH, _LAMP_FRONT, _LAMP_HEIGHT = 1.2, 0.75, 0.6
_HUES = (0.0, 0.72)


@final
class ObjectsScene(Scene):
    """Rotation and hue of the object, position and hue of the spotlight, place of the object, hue of the floor.

    Turns stay within ±75° and hues from red to violet, so that no two values look alike.
    """

    parameters: ClassVar[Mapping[str, float]] = {
        "rotation": 0.5,
        "hue": 0.15,
        "spotlight": 0.5,
        "position_x": 0.5,
        "position_y": 0.5,
        "spotlight_hue": 0.2,
        "floor_hue": 0.6,
    }

    def xml(self) -> str:
        return f"""<mujoco>
  <visual><headlight ambient=".35 .35 .35" diffuse=".35 .35 .35" specular="0 0 0"/></visual>
  <asset><material name="object" rgba="1 1 1 1" specular="0"/><material name="lamp" rgba="1 1 1 1" specular="0"/>
    <material name="floor" rgba="1 1 1 1" specular="0"/></asset>
  <worldbody>
    <camera name="camera" pos="0 -2.1 2.3" xyaxes="1 0 0 0 .74 .67" fovy="43"/>
    <geom type="plane" size="3 3 .15" material="floor"/>
    <body name="object">
      <joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/>
      <joint name="turn" type="hinge" axis="0 0 1"/>
      <geom type="box" size=".14 .36 .13" pos="0 0 .14" material="object"/>
      <geom type="box" size=".34 .1 .05" pos="0 -.2 .2" material="object"/>
      <geom type="box" size=".05 .12 .14" pos="0 -.24 .38" rgba=".15 .15 .15 1"/>
      <geom type="sphere" size=".13" pos="0 .36 .16" rgba=".95 .95 .95 1"/></body>
    <body name="lamp"><joint name="lamp" type="slide" axis="1 0 0"/>
      <geom type="sphere" size=".1" pos="0 {_LAMP_FRONT} {_LAMP_HEIGHT}" material="lamp"/>
      <light name="lamp" pos="0 {_LAMP_FRONT} {_LAMP_HEIGHT}" dir="0 0 -1" castshadow="false" cutoff="90" exponent="0"
        attenuation=".4 0 1.2" specular="0 0 0" ambient="0 0 0"/></body>
  </worldbody>
</mujoco>"""

    def begin(self, model: Any, data: Any) -> None:
        self._joints = {name: data.joint(name).qpos for name in ("x", "y", "turn", "lamp")}
        self._object, self._floor, self._lamp = (model.mat(name).rgba for name in ("object", "floor", "lamp"))
        self._light = model.light("lamp").diffuse

    def place(self, model: Any, data: Any, values: Mapping[str, float]) -> None:
        self._joints["x"][0] = _REACH * (2.0 * values["position_x"] - 1.0)
        self._joints["y"][0] = _REACH * (2.0 * values["position_y"] - 1.0) - 0.15
        self._joints["turn"][0] = _TURN * (1.0 - 2.0 * values["rotation"])
        self._joints["lamp"][0] = _LAMP_REACH * (2.0 * values["spotlight"] - 1.0)
        self._object[:3] = _hue(values["hue"], 0.9, 0.8)
        self._floor[:3] = _hue(values["floor_hue"], 0.35, 0.6)
        self._lamp[:3] = _hue(values["spotlight_hue"], 0.8)
        self._light[:] = _hue(values["spotlight_hue"], 0.8, 0.8)


def _hue(value: float, saturation: float, brightness: float = 1.0) -> tuple[float, float, float]:
    low, high = _HUES
    return colorsys.hsv_to_rgb(low + (high - low) * value, saturation, brightness)
