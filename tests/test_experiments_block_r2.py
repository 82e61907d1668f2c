"""R² of a block: blind to what mixes its variables, not to what loses them."""

from __future__ import annotations

import numpy as np
import pytest

from experiments._block_r2 import block_r2

GENERATOR = np.random.default_rng(0)
TRUE = GENERATOR.standard_normal((4000, 2))
TURN = np.array([[0.8, 0.6], [-0.6, 0.8]])


def test_a_mixed_block_is_found() -> None:
    turned = TRUE @ TURN
    for learned in (TRUE, 5.0 - 100.0 * turned, turned + 0.1 * np.sin(turned), np.tanh(0.5 * turned)):
        assert (block_r2(TRUE, learned) > 0.99).all()


def test_what_is_missing_is_not_found() -> None:
    found = block_r2(TRUE, TRUE[:, :1])
    assert found[0] > 0.999 and abs(found[1]) < 0.05
    assert block_r2(TRUE, TRUE @ TURN[:, :1]) == pytest.approx([0.64, 0.36], abs=0.05)


def test_a_noisy_block_is_found_in_part() -> None:
    noisy = TRUE @ TURN + np.random.default_rng(1).standard_normal(TRUE.shape)
    assert block_r2(TRUE, noisy) == pytest.approx([0.5, 0.5], abs=0.05)


def test_a_constant_has_no_variance_to_explain() -> None:
    constant = np.column_stack([TRUE[:, 0], np.full(len(TRUE), 3.0)])
    assert block_r2(constant, TRUE)[1] == 0.0
    assert (block_r2(TRUE, constant)[0] > 0.999) and abs(block_r2(TRUE, constant)[1]) < 0.05


def test_too_few_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="Expected at least 100 rows; got 99"):
        block_r2(TRUE[:99], TRUE[:99])
