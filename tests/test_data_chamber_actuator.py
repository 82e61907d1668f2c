"""Actuators have values in steps of their ranges, and those that are not known need a range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcm.data.chamber.actuator import LIGHT_TUNNEL, Actuator, chosen_actuators


@given(st.integers(-300, 300), st.integers(1, 600), st.sampled_from([1.0, 0.5, 0.25, 0.1, 0.01]), st.floats(-0.5, 1.5))
def test_values_are_steps_of_the_range(low: int, width: int, step: float, share: float) -> None:
    actuator = Actuator("a", low, low + width, step)
    value = float(actuator.values(np.array(share)))
    steps = (value - low) / step
    assert low <= value <= low + width and steps == pytest.approx(round(steps), abs=1e-6)
    assert float(actuator.text(value)) == value
    assert abs(value - (low + np.clip(share, 0, 1) * width)) <= step / 2 + 1e-9


def test_values_rise_and_reach_both_ends() -> None:
    shares = np.linspace(0, 1, 1001)
    for actuator in LIGHT_TUNNEL.values():
        values = actuator.values(shares)
        assert (np.diff(values) >= 0).all() and (values[0], values[-1]) == (actuator.low, actuator.high)
    texts = [LIGHT_TUNNEL[name].text(value) for name, value in (("red", 7.0), ("pol_1", -0.0 + 0.0), ("pol_2", -12.3))]
    assert texts == ["7", "0.0", "-12.3"]


CHOICES: dict[str, tuple[dict[str, Any], str]] = {
    "too many variables": (
        {"n": 12},
        r"^actuators: Expected 12 names, as the light tunnel has 11 actuators; got none$",
    ),
    "a name too few": ({"names": ["red"]}, r"^actuators: Expected 2, one for each variable; got 1$"),
    "a name twice": ({"names": ["red", "red"]}, r"^actuators: Expected each name once; got red again$"),
    "an unknown name": (
        {"names": ["red", "fan"]},
        r"^actuators: Expected a range for fan, which the light tunnel does",
    ),
    "a range of another": ({"ranges": ["fan=0,1"]}, r"^range: Expected actuators among red, green; got fan$"),
    "two ranges": ({"ranges": ["red=0,9", "red=0,8"]}, r"^range: Expected one range for an actuator; got two$"),
    "no number": ({"ranges": ["red=0,a"]}, r"^range: Expected NAME=LOW,HIGH or NAME=LOW,HIGH,STEP; got 'red=0,a'$"),
    "one number": ({"ranges": ["red=5"]}, r"^range: Expected NAME=LOW,HIGH or NAME=LOW,HIGH,STEP; got 'red=5'$"),
    "no equals": ({"ranges": ["red"]}, r"^range: Expected NAME=LOW,HIGH or NAME=LOW,HIGH,STEP; got 'red'$"),
    "upside down": ({"ranges": ["red=9,2"]}, r"^range: red: Expected a range low,high with low < high; got 9,2$"),
    "infinite": ({"ranges": ["red=0,inf"]}, r"^range: red: Expected a range low,high with low < high; got 0,inf$"),
    "no step": ({"ranges": ["red=0,9,0"]}, r"^range: red: Expected a step above 0, at most 9, with at most .*; got 0$"),
    "too many steps": ({"ranges": ["red=0,9,1e-12"]}, r"^range: red: Expected a step above 0, at most 9, with at most"),
}


@pytest.mark.parametrize(("options", "message"), CHOICES.values(), ids=CHOICES.keys())
def test_actuators_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chosen_actuators(**{"n": 2} | options)


def test_ranges_are_those_that_are_given_or_published() -> None:
    found = chosen_actuators(3, ["fan", "pol_1", "red"], ["fan=0.1,1,0.01", "pol_1=0,90"])
    assert found == (Actuator("fan", 0.1, 1.0, 0.01), Actuator("pol_1", 0.0, 90.0, 0.1), LIGHT_TUNNEL["red"])
    assert [each.decimals for each in found] == [2, 1, 0]
    assert [each.name for each in chosen_actuators(11)] == list(LIGHT_TUNNEL)
    assert chosen_actuators(1, ["fan"], ["fan=0,9"])[0].step == 1.0
