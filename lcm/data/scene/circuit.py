"""The circuit: a robot arm on an arc over three buttons, and three lights (after CausalCircuit, Brehmer et al.)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, final

from lcm.data.scene.scene import Scene

BUTTON_POSITIONS = (0.2, 0.5, 0.8)
"""Arm positions, in (0, 1), at which the arm is over the red, the green and the blue button."""

_LIGHTS = ("red", "green", "blue")
_COLOURS = ((1.0, 0.1, 0.1), (0.1, 1.0, 0.1), (0.2, 0.3, 1.0))
_HALF_ARC = math.radians(60.0)
_BUTTON_RADIUS, _LIGHT_RADIUS = 0.8, 1.28
_DARK, _LIT, _GLOW = 0.04, 0.56, 0.8


@final
class CircuitScene(Scene):
    """Intensities of the red, green and blue light, and the position of the arm on its arc from left to right.

    Each light shows by its lamp and by its glow on the floor, which is seen where the arm is in front of the lamp.
    """

    parameters: ClassVar[Mapping[str, float]] = {"red": 0.5, "green": 0.5, "blue": 0.5, "arm": 0.5}

    def xml(self) -> str:
        parts = "".join(_light(*light) for light in zip(_LIGHTS, _COLOURS, BUTTON_POSITIONS, strict=True))
        materials = "".join(
            f'<material name="{name}" rgba="{_text(colour)} 1" specular="0" emission=".4"/>'
            for name, colour in zip(_LIGHTS, _COLOURS, strict=True)
        )
        return f"""<mujoco>
  <visual><headlight ambient=".3 .3 .3" diffuse=".3 .3 .3" specular="0 0 0"/></visual>
  <asset>{materials}<material name="floor" rgba=".5 .5 .5 1" specular="0"/>
    <material name="arm" rgba=".95 .85 .55 1" specular="0"/></asset>
  <worldbody>
    <camera name="camera" pos="0 -.35 2.5" xyaxes="1 0 0 0 .93 .37" fovy="43"/>
    <geom type="plane" size="1.9 1.9 .19" pos="0 .6 0" material="floor"/>
    {parts}
    <geom type="cylinder" size=".17 .12" pos="0 0 .12" rgba=".25 .25 .3 1"/>
    <body name="arm"><joint name="arm" type="hinge" axis="0 0 1"/>
      <geom type="capsule" fromto="0 0 .28 0 .5 .42" size=".085" material="arm"/>
      <geom type="capsule" fromto="0 .5 .42 0 .8 .3" size=".075" material="arm"/>
      <geom type="capsule" fromto="0 .8 .3 0 .8 .1" size=".06" rgba=".9 .9 .95 1"/></body>
  </worldbody>
</mujoco>"""

    def begin(self, model: Any, data: Any) -> None:
        self._arm = data.joint("arm").qpos
        self._lights = [(model.light(name).diffuse, model.mat(name).rgba) for name in _LIGHTS]

    def place(self, model: Any, data: Any, values: Mapping[str, float]) -> None:
        self._arm[0] = (1.0 - 2.0 * values["arm"]) * _HALF_ARC
        for name, colour, (glow, lamp) in zip(_LIGHTS, _COLOURS, self._lights, strict=True):
            brightness = _DARK + (_LIT - _DARK) * values[name]
            glow[:] = [_GLOW * values[name] * part for part in colour]
            lamp[:3] = [brightness * part for part in colour]


def _light(name: str, colour: tuple[float, float, float], position: float) -> str:
    """A button, the lamp behind it, and the light over the lamp, which makes the glow."""
    button, lamp = _on_arc(_BUTTON_RADIUS, position), _on_arc(_LIGHT_RADIUS, position)
    return (
        f'<geom type="cylinder" size=".1 .03" pos="{button} .03" rgba="{_text(colour)} 1"/>'
        f'<geom type="cylinder" size=".2 .05" pos="{lamp} .05" material="{name}"/>'
        f'<light name="{name}" pos="{lamp} .5" dir="0 0 -1" castshadow="false" cutoff="90" exponent="0" '
        'attenuation=".4 0 2.5" specular="0 0 0" ambient="0 0 0"/>'
    )


def _on_arc(radius: float, position: float) -> str:
    angle = math.pi / 2 - (2.0 * position - 1.0) * _HALF_ARC
    return f"{radius * math.cos(angle):.4f} {radius * math.sin(angle):.4f}"


def _text(colour: tuple[float, float, float]) -> str:
    return " ".join(f"{part:g}" for part in colour)
