"""Refits: fits to random halves of the pairs, aligned with the fit of all, and the error bars that they give.

Estimates from random halves of N pairs scatter about as far as that of all N lies from the truth: their variance is
twice as large, and one half of it they share (Politis, Romano and Wolf 1999). Each has the error of its own
optimisation too, once; their distances from the fit of all would count the error of that one as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from lcm.model.do import Do
from lcm.model.noise import Noise
from lcm.model.pair_model import PairModel

Array = NDArray[np.float64]

_BINS = 20


class Interval(NamedTuple):
    """An answer with its interval, of the shape of the answer; `error` is the standard error."""

    estimate: Any
    low: Any
    high: Any
    error: Any


class Band(NamedTuple):
    """Half-widths (n, B) of a band around each variable, at the centres (n, B) of bins of equal numbers of rows."""

    centres: Array
    half_widths: Array


@final
@dataclass(frozen=True, eq=False)
class Refits:
    """Fits to random halves of the pairs, whose variables are matched with those of the fit of all pairs.

    Attributes:
        models: K models of the observations; those of a run are read from its folder when one is asked for.
        permutations: (K, n): variable i of the fit is variable permutations[k, i] of refit k.
        strengths: (K, n, n), [k, i, j] for i → j, edge strengths of the refits in the numbering of the fit.
        positions: (G, n), values of the variables of the fit. images: (K, G, n), those of the matched variables there.
        drawn: the band that the figure of the run shows, kept since a run has no data to make it from; None for none.
    """

    models: Sequence[PairModel]
    permutations: NDArray[np.int64]
    strengths: Array
    positions: Array
    images: Array
    drawn: Band | None = None

    @torch.no_grad()
    def variables(self, x: Any) -> Array:
        """The variables (K, N, n) that each refit finds in observations x (N, d), in the units of the fit."""
        found = []
        for k, model in enumerate(self.models):
            found.append(_through(_variables(model, x)[:, self.permutations[k]], self.images[k], self.positions))
        return np.stack(found)

    @torch.no_grad()
    def standard_errors(self, x: Any) -> Array:
        """Standard errors (N, n) of the variables of observations x (N, d)."""
        errors: Array = self.variables(x).std(0, ddof=1)
        return errors

    @torch.no_grad()
    def band(self, model: PairModel, x: Any, level: float = 0.9) -> Band:
        """A band that holds all refits' maps of each variable in a share `level` of observations x (N, d)."""
        z = _variables(model, x)
        farthest = np.abs(self.variables(x) - z).max(0)
        bins = [np.array_split(np.argsort(column), _BINS) for column in z.T]
        centres = [[np.median(z[rows, i]) for rows in each] for i, each in enumerate(bins)]
        widths = [[np.quantile(farthest[rows, i], level) for rows in each] for i, each in enumerate(bins)]
        return Band(np.asarray(centres), np.asarray(widths))

    def translated(self, do: Do) -> list[Do]:
        """The intervention in the variables of each refit.

        Raises:
            ValueError: a stochastic value, or a target out of range.
        """
        n = self.positions.shape[1]
        for variable, value in do.values.items():
            if isinstance(value, Noise):
                raise ValueError("interval: Expected numbers as values of the intervention; got a distribution.")
            if not 0 <= variable < n:
                raise ValueError(f"Expected intervention targets in 0..{n - 1}; got {variable}.")
        row = np.array([[float(do.values.get(i, 0.0)) for i in range(n)]])  # type: ignore[arg-type]
        found = []
        for permutation, images in zip(self.permutations, self.images, strict=True):
            values = _through(row, self.positions, images)[0]
            found.append(Do({int(permutation[i]): float(values[i]) for i in do.values}))
        return found

    @torch.no_grad()
    def counterfactuals(self, x: Any, do: Do) -> Array:
        """What each refit answers (K, N, …) for observations x (N, …) under `do`, given in the units of the fit."""
        answers = [
            np.asarray(model.counterfactual(_as_tensor(x, model), each).double().cpu().numpy())
            for model, each in zip(self.models, self.translated(do), strict=True)
        ]
        return np.stack(answers)


def refit_interval(estimate: Array, answers: Array, level: float) -> tuple[Array, Array, Array]:
    """Lower and upper ends, and standard errors, of an answer, from those (K, …) of the refits.

    Raises:
        ValueError: a level that is not strictly between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"interval: Expected a level strictly between 0 and 1; got {level}.")
    error = answers.std(0, ddof=1)
    reach = float(stdtrit(len(answers) - 1, 0.5 + 0.5 * level)) * error
    return estimate - reach, estimate + reach, error


def _through(values: Array, source: Array, target: Array) -> Array:
    """Values (N, n) under the monotone maps through points (G, n), piecewise linear.

    Beyond the points they go on with the slope of the whole: that of the last pieces rests on a few extreme rows.
    """
    found = np.empty_like(values)
    for i in range(values.shape[1]):
        order = np.argsort(source[:, i], kind="stable")
        x, y = source[order, i], target[order, i]
        slope = (y[-1] - y[0]) / max(x[-1] - x[0], 1e-300)
        inside = np.clip(values[:, i], x[0], x[-1])
        found[:, i] = np.interp(inside, x, y) + slope * (values[:, i] - inside)
    return found


def _variables(model: PairModel, x: Any) -> Array:
    """The variables (N, n) that a model finds in observations x (N, d), in its own units."""
    z: Array = torch.as_tensor(model.encode(_as_tensor(x, model)).z).double().cpu().numpy()
    return z


def _as_tensor(x: Any, model: PairModel) -> torch.Tensor:
    return torch.as_tensor(np.asarray(x)).to(model.like_observations)
