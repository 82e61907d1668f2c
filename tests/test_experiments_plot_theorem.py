"""The figures of the theorem: written whole, from odd records too, and their errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments._plot_theorem import draw_equal_densities, draw_likelihood_against_distance, draw_power

SPAN = (-17.0, -8.0, 3)


def power(kind: str, strength: float, mmd: bool = True) -> dict[str, Any]:
    sizes = {"sizes": [100, 1000], "power": [0.1, 0.9], "mmd_sizes": [], "mmd_power": []}
    return {"kind": kind, "strength": strength, **sizes, **({"mmd_sizes": [1000], "mmd_power": [0.3]} if mmd else {})}


def fit(**changes: Any) -> dict[str, Any]:
    known = {"nature": "linear", "budget": "100 steps", "gap": 0.3, "gap_standard_error": 0.01}
    return {**known, "distance": 0.02, "isomorphic": False, **changes}


@pytest.mark.parametrize("kinds", [1, 3, 4, 7])
def test_power_has_a_panel_for_every_kind_and_a_legend(tmp_path: Path, kinds: int) -> None:
    records = [power(f"kind {index}", strength, mmd=index > 0) for index in range(kinds) for strength in (0.1, 0.8)]
    draw_power(tmp_path / "power.png", records)
    assert (tmp_path / "power.png").read_bytes().startswith(b"\x89PNG")


def test_densities_are_drawn_with_and_without_exact_zeros(tmp_path: Path) -> None:
    for name, counts in {"some": [[5, 2, 1], [0, 3, 0]], "none": [[0, 2, 1]]}.items():
        draw_equal_densities(tmp_path / f"{name}.png", counts, SPAN, [0.2, 0.9])
    assert (tmp_path / "some.png").read_bytes() != (tmp_path / "none.png").read_bytes()


def test_fits_below_their_standard_error_and_at_no_distance_are_drawn(tmp_path: Path) -> None:
    records = [fit(), fit(nature="flow", budget="default", gap=-0.002, distance=0.0, isomorphic=True)]
    draw_likelihood_against_distance(tmp_path / "both.png", records)
    draw_likelihood_against_distance(tmp_path / "one.png", records[:1])
    assert (tmp_path / "both.png").read_bytes() != (tmp_path / "one.png").read_bytes()


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    for draw in (draw_power, draw_likelihood_against_distance):
        with pytest.raises(ValueError, match=r"Expected one or more records; got none\."):
            draw(tmp_path / "none.png", [])
    for counts, p_values in (([], [0.5]), ([[1, 2, 3]], []), ([[1, 2]], [0.5])):
        with pytest.raises(ValueError, match="Expected one or more histograms of 3 bins, and p-values; got others"):
            draw_equal_densities(tmp_path / "none.png", counts, SPAN, p_values)
    assert not list(tmp_path.iterdir())
