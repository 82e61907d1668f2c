"""Actuators of a causal chamber: their names, ranges and steps, and how a variable sets them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_MOST_LEVELS = 1 << 31
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_LEDS = ("red", "green", "blue")
_POLARISERS = ("pol_1", "pol_2")
_SMALL_LEDS = ("l_11", "l_12", "l_21", "l_22", "l_31", "l_32")


@final
@dataclass(frozen=True)
class Actuator:
    """A setting of a chamber that a variable drives.

    Attributes:
        name: as in SET lines and in the header of the measurements.
        low, high: the range.
        step: between two values that can be told apart; positive, at most high - low. With 1, values are integers.
    """

    name: str
    low: float
    high: float
    step: float = 1.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"Expected the name of an actuator, a letter and then letters, digits and _; got {self.name!r}"
            )
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.name}: Expected a range low,high with low < high; got {self.low:g},{self.high:g}")
        if not 0.0 < self.step <= self.high - self.low or (self.high - self.low) / self.step > _MOST_LEVELS:
            expected = f"a step above 0, at most {self.high - self.low:g}, with at most {_MOST_LEVELS:,} steps"
            raise ValueError(f"{self.name}: Expected {expected}; got {self.step:g}")

    @property
    def decimals(self) -> int:
        """Digits after the point of a value."""
        exponents = [Decimal(repr(number)).normalize().as_tuple().exponent for number in (self.low, self.step)]
        return max(0, *(-int(exponent) for exponent in exponents))

    def values(self, shares: NDArray[Any]) -> NDArray[np.float64]:
        """The values at shares of the range, elementwise: rising, from low at 0 to at most high at 1, in steps."""
        steps = math.floor((self.high - self.low) / self.step + 1e-9)
        nearest = np.rint(np.clip(np.asarray(shares, np.float64), 0.0, 1.0) * steps)
        # adding zero turns -0.0 into 0.0
        return np.round(self.low + nearest * self.step, self.decimals) + 0.0

    def text(self, value: float) -> str:
        """A value as it stands in a SET line."""
        return f"{value:.{self.decimals}f}"


LIGHT_TUNNEL: Mapping[str, Actuator] = {
    **{name: Actuator(name, 0.0, 255.0) for name in _LEDS},
    # lt_crl_benchmark_v1: half a turn, in which the light behind both polarisers repeats
    **{name: Actuator(name, -90.0, 90.0, 0.1) for name in _POLARISERS},
    **{name: Actuator(name, 0.0, 255.0) for name in _SMALL_LEDS},
}
"""Actuators of the light tunnel with the ranges of its published protocols: brightness, and angles in degrees."""

TUNNEL_ACTUATORS = (*_LEDS, *_POLARISERS)
"""The variables of the light tunnel's data sets for causal representation learning, lt_crl_benchmark_v1."""

SETTINGS = frozenset(
    [
        *LIGHT_TUNNEL,
        *("osr_c", "v_c", "osr_angle_1", "osr_angle_2", "v_angle_1", "v_angle_2", "aperture", "iso", "shutter_speed"),
        *(f"{kind}_{light}_{sensor}" for kind in ("diode", "t") for light in ("ir", "vis") for sensor in (1, 2, 3)),
        *(
            "hatch",
            "load_in",
            "load_out",
            "pot_1",
            "pot_2",
            "res_in",
            "res_out",
            "v_1",
            "v_2",
            "v_mic",
            "v_in",
            "v_out",
        ),
        *(f"osr_{sensor}" for sensor in (1, 2, "mic", "in", "out", "upwind", "downwind", "ambient", "intake")),
    ]
)
"""Columns of the published data sets that are set, not measured, in either chamber."""


def chosen_actuators(n: int, names: Sequence[str] | None = None, ranges: Sequence[str] = ()) -> tuple[Actuator, ...]:
    """The actuators of n variables.

    Args:
        names: of the actuators, in the order of the variables; by default the first n of `LIGHT_TUNNEL`.
        ranges: "name=low,high" or "name=low,high,step", in place of the published range, or for another actuator. The
            step is by default the published one, else 1.

    Raises:
        ValueError: not n names, a name twice, a range in another form or of an actuator that is not chosen, or none for
            an actuator whose range is not known.
    """
    if names is None:
        names = list(LIGHT_TUNNEL)[:n]
        if len(names) < n:
            raise ValueError(f"actuators: Expected {n} names, as the light tunnel has {len(names)} actuators; got none")
    if len(names) != n:
        raise ValueError(f"actuators: Expected {n}, one for each variable; got {len(names)}")
    require_distinct(names, "actuators")
    given = dict(_parsed_range(text) for text in ranges)
    if len(given) < len(ranges):
        raise ValueError("range: Expected one range for an actuator; got two")
    stray = [name for name in given if name not in names]
    if stray:
        raise ValueError(f"range: Expected actuators among {', '.join(names)}; got {stray[0]}")
    unknown = [name for name in names if name not in given and name not in LIGHT_TUNNEL]
    if unknown:
        raise ValueError(
            f"actuators: Expected a range for {unknown[0]}, which the light tunnel does not have; got none"
        )
    return tuple(given.get(name) or LIGHT_TUNNEL[name] for name in names)


def require_distinct(names: Sequence[str], what: str) -> None:
    """Raise ValueError for a name that is given twice."""
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise ValueError(f"{what}: Expected each name once; got {twice[0]} again")


def _parsed_range(text: str) -> tuple[str, Actuator]:
    name, equals, rest = text.partition("=")
    try:
        numbers = [float(part) for part in rest.split(",")]
    except ValueError:
        numbers = []
    if not equals or len(numbers) not in (2, 3):
        raise ValueError(f"range: Expected NAME=LOW,HIGH or NAME=LOW,HIGH,STEP; got {text!r}")
    known = LIGHT_TUNNEL.get(name)
    step = numbers[2] if len(numbers) == 3 else known.step if known else 1.0
    try:
        return name, Actuator(name, numbers[0], numbers[1], step)
    except ValueError as error:
        raise ValueError(f"range: {error}") from error
