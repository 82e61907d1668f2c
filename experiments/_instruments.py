"""Instruments: settings in (0, 1) that causal variables drive, and what their sensors read, in SI units.

Each reads more columns than it has settings, and the columns lie on a curved sheet. The two tunnels read what their own
simulators give, and need the extra `chamber`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import final

import numpy as np

from lcm.model.chamber import ACTUATORS, Values, import_simulators, run_simulator, simulate_light_tunnel


@final
@dataclass(frozen=True)
class Instrument:
    """`read` takes settings (N, n) in (0, 1) to readings (N, d). Different settings give different readings.

    settings: their names. needs_extra: whether the simulator is that of the extra `chamber`.
    """

    settings: tuple[str, ...]
    read: Callable[[Values], Values]
    needs_extra: bool = False

    @property
    def n(self) -> int:
        """The number of settings."""
        return len(self.settings)

    @property
    def is_installed(self) -> bool:
        """Whether its simulator is there."""
        return not self.needs_extra or find_spec("causalchamber") is not None


def arm(settings: Values) -> Values:
    """Planar arm of three links: x and y of five markers, in m; settings are its joint angles."""
    lengths, ranges, middles = (1.0, 0.8, 0.6), (2.4, 2.0, 1.8), (0.6, 0.5, 0.3)
    angles = np.cumsum((settings - 0.5) * ranges + middles, axis=1)
    links = np.stack([np.cos(angles), np.sin(angles)], 2) * np.array(lengths)[:, None]
    ends = np.cumsum(links, axis=1)
    halfway = ends - 0.5 * links
    return np.concatenate([ends, halfway[:, :2]], 1).reshape(len(settings), -1)


def photodiodes(settings: Values) -> Values:
    """Irradiance of 16 photodiodes on a square of 2 m by 2 m, in W/m²; settings are the place of a lamp of 4π W."""
    side = np.linspace(-1.0, 1.0, 4)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), 2).reshape(-1, 2)
    place, height = 1.2 * (settings[:, :2] - 0.5), 0.7 + 0.8 * settings[:, 2:]
    squares = np.square(place[:, None] - grid).sum(2) + np.square(height)
    return height / squares**1.5


def tanks(settings: Values) -> Values:
    """Levels of two tanks in a row at six times, in m; settings: inflow, both outlets, level of the first at first."""
    inflow, first_level = 0.5 + settings[:, 0], 0.5 + 1.5 * settings[:, 3]
    outlets = np.stack([0.3 + 0.5 * settings[:, 1], 0.2 + 0.4 * settings[:, 2]], 1)
    levels, step, readings = np.stack([first_level, np.full(len(settings), 0.3)], 1), 0.02, []
    for index in range(1, 601):
        flow = outlets * np.sqrt(np.maximum(levels, 0.0))
        levels = levels + step * np.stack([inflow - flow[:, 0], flow[:, 0] - flow[:, 1]], 1)
        if index % 100 == 0:
            readings.append(levels)
    return np.concatenate(readings, 1)


def polarisers(settings: Values) -> Values:
    """Three lamps, two polarisers, nine sensors: six photocurrents in A, the lamps' current in A, both angles in rad.

    The last two photodiodes are behind both polarisers, of which Malus's law passes cos² of the angle between them.
    """
    lamps, angles = settings[:, :3], np.radians(80.0) * settings[:, 3:] + np.radians([0.0, 95.0])
    response = np.array([[0.90, 0.35, 0.25], [0.50, 1.10, 0.75]])
    one, parallel, crossed = np.array([0.29, 0.30, 0.31]), np.array([0.20, 0.22, 0.18]), np.array([0.03, 0.005, 0.02])
    passed = np.square(np.cos(angles[:, :1] - angles[:, 1:]))
    behind = lamps * (passed * (parallel - crossed) + crossed)
    light = [lamps, 0.25 * one * lamps, 0.11 * behind]
    photocurrents = np.concatenate([each @ response.T for each in light], 1)
    return np.concatenate([photocurrents, 0.3 + lamps @ np.array([[0.31], [0.28], [0.23]]), angles], 1)


def springs(settings: Values) -> Values:
    """Places of three masses of 1 kg at four times, in m: springs in a row from a wall; settings: stiffness, pull.

    The masses start at rest, the first two at 0.02 m and −0.03 m from rest. The solution is exact, by normal modes.
    """
    stiffness, pull = 20.0 + 40.0 * settings[:, :3], 0.05 + 0.1 * settings[:, 3]
    first, second, third = stiffness.T
    zero = np.zeros(len(settings))
    rows = [[first + second, -second, zero], [-second, second + third, -third], [zero, -third, third]]
    squares, modes = np.linalg.eigh(np.array(rows).transpose(2, 0, 1))
    start = np.stack([zero + 0.02, zero - 0.03, pull], 1)
    amplitudes = np.einsum("nij,ni->nj", modes, start)
    phases = np.sqrt(squares)[:, None] * np.array([0.1, 0.2, 0.3, 0.4])[:, None]
    places: Values = np.einsum("nij,ntj->nti", modes, np.cos(phases) * amplitudes[:, None])
    return places.reshape(len(settings), -1)


def wind_tunnel(settings: Values) -> Values:
    """The wind tunnel of the Causal Chambers: pressure in Pa, speeds of two fans in 1/min, their currents in A.

    Settings: load of the fan that blows in, load of the one that sucks out, hatch. The hatch shows in the pressure
    alone, and only where the two fans work differently: their loads have ranges apart. Models A1, B1 and C3 of Gamella,
    Peters, Bühlmann 2025, appendix IV, with the parameters of their notebook and without sensor noise.
    """
    simulators = import_simulators("wt")
    still = {"barometer_error": 0.0, "barometer_precision": 0.0}
    fans = {"L_min": 0.1, "omega_max": 3000.0}
    air = {"S_max": 74.82473949999999, "Q_max": 186.7 / 3600.0, "r_0": 0.75, "beta": 0.15}
    rows, hatch = len(settings), 45.0 * settings[:, 2]
    loads = {"load_in": 0.6 + 0.4 * settings[:, 0], "load_out": 0.1 + 0.4 * settings[:, 1]}
    inputs = {**loads, "hatch": hatch, "pressure_ambient": 101_325.0}
    flow = run_simulator(simulators.SimA1C3(**fans, **air, **still), inputs, rows)
    meter = simulators.ModelB1(C_min=0.166, C_max=0.27, L_min=0.1)
    currents = [run_simulator(meter, {"load": load}, rows) for load in loads.values()]
    return np.concatenate([flow, *currents], 1)


INSTRUMENTS: dict[str, Instrument] = {
    "arm": Instrument(("first joint", "second joint", "third joint"), arm),
    "photodiodes": Instrument(("lamp: x", "lamp: y", "lamp: height"), photodiodes),
    "tanks": Instrument(("inflow", "first outlet", "second outlet", "first level"), tanks),
    "polarisers": Instrument(("first lamp", "second lamp", "third lamp", "first angle", "second angle"), polarisers),
    "springs": Instrument(("first spring", "second spring", "third spring", "pull"), springs),
    "wind_tunnel": Instrument(("load in", "load out", "hatch"), wind_tunnel, needs_extra=True),
    "light_tunnel": Instrument(tuple(ACTUATORS)[:5], simulate_light_tunnel, needs_extra=True),
    "light_tunnel_7": Instrument(tuple(ACTUATORS), simulate_light_tunnel, needs_extra=True),
}
"""By name; a new one is a function and a line here."""
