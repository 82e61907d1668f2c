"""Fixtures shared by the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from laws import default_dtype


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """Run a module's tests in float64, so that exact statements can be tested to many digits."""
    with default_dtype(torch.float64):
        yield
