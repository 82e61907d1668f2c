"""Errors of a learned model's counterfactuals, in the true variables and in x.

An intervention on targets I is asked with the values that it imposed: abduct the noise of x, set z_I, predict
(docs/theory.md section 1). Pairs of data are such counterfactuals, for any kind of intervention.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.base.rows import take_rows
from lcm.isomorphism.matching import FloatArray
from lcm.metric.case import Case, Metric
from lcm.metric.translation import decoded, mechanisms_of, solved, translation_of
from lcm.model.latent_causal_model import LatentCausalModel

_ROWS = 2_000
# of x in float64: about 330 images of 64 x 64 pixels
_MOST_ENTRIES = 4_000_000


class Questions(NamedTuple):
    """What was asked, in true variables, and the true answers.

    rows: (N,) the pairs of the data whose x is asked about. targets: bool (N, n). z: (N, n) after the intervention, the
    imposed values among them. x: (N, ...) after it, None where it is not known.
    """

    rows: NDArray[np.int64]
    targets: NDArray[np.bool_]
    z: FloatArray
    x: FloatArray | None


class Answers(NamedTuple):
    """The answers of a learned model: z (N, n) in true units, and x (N, ...), None if the model cannot decode."""

    z: FloatArray
    x: FloatArray | None


def questions_of(case: Case) -> Questions | None:
    """The first 2,000 pairs with a target, if the data have z, z_tilde and targets; else questions to the nature.

    The nature is asked about the first 2,000 pairs: variable r mod n of pair r takes its value in another pair. Fewer
    pairs of images are used. None where neither is known, or no pair has a target.
    """
    if case.data.z_tilde is None or case.data.targets is None:
        return None if case.nature is None else _asked_of_nature(case, case.nature)
    rows = np.flatnonzero(case.targets.any(1))[: _most_rows(case)]
    if not len(rows):
        return None
    x_tilde = take_rows(case.data.x_tilde, rows)
    return Questions(rows, case.targets[rows], _float(case.data.z_tilde[rows]), _float(x_tilde))


def _most_rows(case: Case) -> int:
    return min(_ROWS, max(1, _MOST_ENTRIES // int(np.prod(case.data.x.shape[1:]))))


@torch.no_grad()
def _asked_of_nature(case: Case, nature: LatentCausalModel) -> Questions:
    z = case.z[: _most_rows(case)]
    rows = np.arange(len(z))
    targets = rows[:, None] % z.shape[1] == np.arange(z.shape[1])
    values = np.random.default_rng(case.seed).permutation(z) * targets
    start = torch.from_numpy(np.array(z)).to(nature.thickness)
    after = solved(nature, nature.scm.abduct(start)[0], targets, values)
    x = None
    if nature.observation_shape == case.data.x.shape[1:]:
        x = decoded(nature, after, start)
    return Questions(rows, targets, after, x)


@torch.no_grad()
def _answers(case: Case) -> tuple[Questions, Answers] | None:
    translation = case.once(translation_of)
    questions, model = case.once(questions_of), mechanisms_of(case)
    if translation is None or questions is None or model is None:
        return None
    targets, values = translation.to_learned(questions.targets, questions.z)
    start = case.encoded.z[torch.from_numpy(questions.rows).to(case.encoded.z.device)]
    after = solved(model, model.scm.abduct(start)[0], targets, values)
    try:
        x = decoded(case.model, after, start)
    except NotImplementedError:
        x = None
    return questions, Answers(translation.to_true(after), x)


def _error_z(case: Case) -> float | None:
    found = case.once(_answers)
    if found is None:
        return None
    questions, answers = found
    errors = (answers.z - questions.z) / _spread(case.z)
    others = errors[~questions.targets]
    return _finite(np.sqrt(np.square(others).mean())) if others.size else None


def _error_x(case: Case) -> float | None:
    found = case.once(_answers)
    if found is None or found[0].x is None or found[1].x is None:
        return None
    spread = np.sqrt(_float(case.data.x[: _most_rows(case)]).var(0).mean())
    error = np.sqrt(np.square(found[1].x - found[0].x).mean())
    return _finite(error / spread) if spread > 0 else None


def _spread(z: NDArray[Any]) -> FloatArray:
    """Standard deviations (n,) of the true variables; 1 for a constant one."""
    spread: FloatArray = np.asarray(z, dtype=np.float64).std(0)
    return np.where(spread > 0, spread, 1.0)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _float(values: NDArray[Any]) -> FloatArray:
    return np.asarray(values, dtype=np.float64)


_ASKED = (
    "of the first 2,000 pairs with a target, given the values that were imposed; of as many questions to the nature"
    " where z_tilde or targets are missing; null without either, without mechanisms, or where a variable has no match"
)
COUNTERFACTUAL_ERROR_Z = Metric(
    "counterfactual_error_z",
    f"root mean square error of counterfactual z, in standard deviations, over non-targets, at least 0, {_ASKED}",
    _error_z,
    ("z",),
    "answers",
)
COUNTERFACTUAL_ERROR_X = Metric(
    "counterfactual_error_x",
    f"root mean square error of counterfactual x over the root mean variance of x, at least 0, {_ASKED}",
    _error_x,
    ("z",),
    "answers",
)
