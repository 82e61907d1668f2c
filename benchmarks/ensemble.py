"""The one place that knows how the package trains several models at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lcm.data.pairs import PairData
from lcm.run import fitting
from lcm.run.config import FitConfig

EnsembleFit = Callable[[PairData, FitConfig, int], object]
"""Fits K models, with the seed of a config and those that follow it, to the same pairs."""

_NAME = "fit_ensemble"
UNAVAILABLE = f"not available: this version has no {_NAME} in {fitting.__name__}"


def ensemble_fit() -> EnsembleFit | None:
    """How to fit an ensemble; None where this version of the package cannot."""
    fit_ensemble: Any = vars(fitting).get(_NAME)
    if fit_ensemble is None:
        return None

    def fit(data: PairData, config: FitConfig, size: int) -> object:
        return fit_ensemble(data, [replace(config, seed=config.seed + member) for member in range(size)], "cpu")

    return fit
