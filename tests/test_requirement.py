"""What settings must hold, and what is said of one that does not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lcm.base.requirement import require, require_at_least, require_positive

CONFIG = SimpleNamespace(steps=0, rate=-0.5, share=1.5, none=None, fine=3)


def test_settings_that_hold_or_are_not_given_pass() -> None:
    require_at_least(CONFIG, 3, "none", "fine")
    require_positive(CONFIG, "none", "fine")
    require(CONFIG, ("none", "fine"), lambda value: value == 3, "three")


def test_the_first_that_does_not_hold_is_named() -> None:
    with pytest.raises(ValueError, match=r"^steps: Expected at least 1; got 0\.$"):
        require_at_least(CONFIG, 1, "fine", "steps", "rate")
    with pytest.raises(ValueError, match=r"^rate: Expected a positive number; got -0\.5\.$"):
        require_positive(CONFIG, "fine", "rate")
    with pytest.raises(ValueError, match=r"^share: Expected a share; got 1\.5\.$"):
        require(CONFIG, ("share",), lambda value: 0 <= value <= 1, "a share")
