"""The light tunnel of the Causal Chambers as its camera sees it: a hexagon of one colour.

Source: model F3 of Gamella, Peters, Bühlmann 2025, appendix IV.2.2, in causalchamber, which the extra `chamber`
installs; parameters as in its tutorial (tutorial_ModelsF), and an exposure at which nothing is clipped.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, final

import numpy as np

from lcm.data.scene.scene import FormulaScene, Images
from lcm.model.chamber import ACTUATORS, import_simulators

_CAMERA: dict[str, Any] = {
    "S": [[0.2995802, 0.06920322, 0.028159], [0.04017132, 0.9209918, 0.31265], [0.00217392, 0.2071558, 0.75763]],
    "w_r": 2.65625,
    "w_g": 1.0,
    "w_b": 1.77344,
    "exposure": 1.7,
    "Tp": [[0.29], [0.35], [0.33]],
    "Tc": [[0.02], [0.08], [0.18]],
    "center_x": 0.5,
    "center_y": 0.5,
    "radius": 0.22,
    "offset": 0.0,
}


@final
class LightTunnelScene(FormulaScene):
    """Red, green and blue of the lamp, from 0 to 255, and both polarisers, from −90° to 90°, which rest in parallel.

    An image shows three numbers, its colour. So three lamps can be told apart, but not these and the polarisers, of
    which cos²(pol_1 − pol_2) alone enters (docs/instruments.md, Light tunnel).
    """

    parameters: ClassVar[Mapping[str, float]] = dict.fromkeys(("red", "green", "blue", "pol_1", "pol_2"), 0.5)

    def __init__(self) -> None:
        """Raises ValueError without the extra `chamber`."""
        self._simulators = import_simulators("lt")

    def image(self, values: Mapping[str, float], pixels: int) -> Images:
        camera = {key: np.array(value) if isinstance(value, list) else value for key, value in _CAMERA.items()}
        ends = {name: ACTUATORS[name] for name in self.parameters}
        inputs = {name: [low + (high - low) * values[name]] for name, (low, high) in ends.items()}
        with warnings.catch_warnings():
            # cross products of planar vectors, which numpy will drop
            warnings.simplefilter("ignore", DeprecationWarning)
            model = self._simulators.ModelF3(**camera, image_size=pixels)
            (found,) = model.simulate_from_inputs(import_module("pandas").DataFrame(inputs))
        return np.rint(255.0 * found).astype(np.uint8)
