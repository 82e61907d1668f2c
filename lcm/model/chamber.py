"""The light tunnel of the Causal Chambers: actuators, sensors, and the simulator that the extra `chamber` installs.

Sources: Gamella, Peters, Bühlmann 2025, "Causal chambers as a real-world physical testbed for AI methodology"; Gamella,
Bing, Runge 2025, "Sanity checking causal representation learning on a simple real-world system", appendix C, for the
formulas. The parameters are those of the calibration that comes with causalchamber 0.2.8 (tutorial_Deterministic).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

ACTUATORS: dict[str, tuple[float, float]] = {
    "red": (0.0, 255.0),
    "green": (0.0, 255.0),
    "blue": (0.0, 255.0),
    "pol_1": (-90.0, 90.0),
    "pol_2": (-90.0, 90.0),
    "t_ir_3": (0.0, 3.0),
    "t_vis_3": (0.0, 3.0),
}
"""What variables may drive, with its range: brightness, polariser angles in degrees, exposures of the third sensor.

An exposure t means 2ᵗ times the reading at t = 0. The device has whole steps of t; the formula takes any real one.
"""

SENSORS = ("ir_1", "vis_1", "ir_2", "vis_2", "ir_3", "vis_3", "current", "angle_1", "angle_2")
"""The readings in order, all uncalibrated: infrared and visible light before, between and behind the polarisers."""

PARAMETERS: dict[str, Any] = {
    "S": [[4.34165202, 2.8594438, 1.91565691], [0.89410569, 1.58679242, 2.68477163]],
    "d1": 0.1,
    "d2": 0.17,
    "d3": 0.25,
    "Ts": [0.42685688, 0.41231782, 0.46652526],
    "Tp": [0.2909342, 0.29624314, 0.30526271],
    "Tc": [0.00431032, 0.01447611, 0.02041075],
    "Q": [0.12834946, 0.12870338, 0.13078523],
    "C0": 58.13307318503893,
    "A": 1.42261211,
    "a1": 506.8049747171294,
    "a2": 510.98343062774353,
}
"""Of the simulator, by its names: responses S, distances d, transmissions T, current Q and C0, angle sensors A, a."""

FIXED: dict[str, float] = {
    **{f"diode_ir_{k}": 2.0 for k in (1, 2, 3)},
    **{f"diode_vis_{k}": 1.0 for k in (1, 2, 3)},
    **{f"t_{light}_{k}": 3.0 for light in ("ir", "vis") for k in (1, 2, 3)},
    **dict.fromkeys(("v_c", "v_angle_1", "v_angle_2"), 5.0),
}
"""Inputs of the simulator that no variable drives, as in the published benchmark: diodes, exposures, voltages."""

_MISSING = (
    "Expected the extra `chamber` for the causal chambers (pip install 'latent-causal-models[chamber]'); got no {}."
)


def import_simulators(chamber: str) -> Any:
    """The simulators of a chamber, `lt` or `wt`, imported without the citation that the package prints.

    Raises:
        ValueError: the extra is missing.
    """
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module("pandas")
            return import_module(f"causalchamber.simulators.{chamber}")
    except ImportError as error:
        raise ValueError(_MISSING.format((error.name or "causalchamber").partition(".")[0])) from error


def run_simulator(simulator: Any, inputs: Mapping[str, Any], rows: int) -> Values:
    """What a simulator of the package gives for its inputs, each a number or (rows,): (rows, outputs), in float64."""
    pandas = import_module("pandas")
    frame = pandas.DataFrame({name: np.broadcast_to(value, rows) for name, value in inputs.items()})
    found = simulator.simulate_from_inputs(frame)
    outputs = found if isinstance(found, tuple) else (found,)
    # the package gives a number for a single row
    return np.stack([np.broadcast_to(output, rows) for output in outputs], 1).astype(np.float64)


def simulate_light_tunnel(settings: Values) -> Values:
    """Readings (N, 9) of the sensors for settings (N, n) in (0, 1) of the first n of 5 to 7 actuators.

    An exposure without a setting is the longest.

    Raises:
        ValueError: the extra is missing.
    """
    simulator = import_simulators("lt").Deterministic(**{key: np.array(value) for key, value in PARAMETERS.items()})
    low, high = np.array(list(ACTUATORS.values())).T[:, : settings.shape[1]]
    driven = dict(zip(ACTUATORS, (low + (high - low) * settings).T, strict=False))
    return run_simulator(simulator, {**FIXED, **driven}, len(settings))
