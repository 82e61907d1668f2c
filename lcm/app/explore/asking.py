"""A question of the explorer and its answer: a counterfactual of one observation, or an intervention on all."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch

from lcm.app.explore.subject import Subject, observation
from lcm.base.text import shown
from lcm.data.pairs import PairData
from lcm.data.sample import sample_counterfactuals
from lcm.model.do import Do
from lcm.report.answer import Answer
from lcm.run.refits import refit_interval
from lcm.run.support import beyond_data

MODES = COUNTERFACTUAL, INTERVENTION = "counterfactual", "intervention"
LEVEL = 0.9
"""The level of intervals."""
DRAWS, IMAGE_DRAWS, SEED = 500, 4, 0
"""Draws that show an intervention, of vectors and of images, and their seed."""


@final
@dataclass(frozen=True)
class Question:
    """What one tab of a browser asks; the server keeps nothing of it.

    Attributes:
        row: of the observation.
        mode: "counterfactual" or "intervention".
        values: of the variables that are set.
    """

    row: int
    mode: str
    values: Mapping[int, float]


def checked_question(subject: Subject, row: Any, mode: Any, values: Any) -> Question:
    """The question in what a browser sent.

    Raises:
        ValueError: a row, a mode or values that the subject does not have.
    """
    row = checked_row(subject, row)
    if mode not in MODES:
        raise ValueError(f"mode: Expected {COUNTERFACTUAL} or {INTERVENTION}; got {shown(mode)}")
    given = {} if values is None else values
    if not isinstance(given, Mapping):
        raise ValueError(f"values: Expected a mapping from variables to numbers; got {shown(values)}")
    known = {str(i): i for i in range(subject.model.n)}
    for key, value in given.items():
        numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if str(key) not in known or not numeric:
            raise ValueError(f"values: Expected finite numbers for variables; got {shown(key)}: {shown(value)}")
    return Question(row, mode, {known[str(key)]: float(value) for key, value in sorted(given.items())})


def checked_row(subject: Subject, row: Any) -> int:
    """The observation in what a browser sent. Raises ValueError for none, or one that the subject does not have."""
    rows = len(subject.data)
    if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < rows:
        kept = f" (the first {rows:,} rows are kept)" if subject.given.is_cut else ""
        got = "no number" if row is None else shown(row)
        raise ValueError(f"observation: Expected a row in 0..{rows - 1}{kept}; got {got}")
    return row


def answer_to(subject: Subject, question: Question) -> Answer:
    """What the question's intervention does to the observation, or to draws from the model."""
    if question.mode == INTERVENTION:
        return _intervention(subject, question)
    return _counterfactual(subject, question)


def question_text(subject: Subject, question: Question) -> str:
    """The question in words."""
    names = subject.names()
    done = ", ".join(f"{names[i]} = {value:.3g}" for i, value in question.values.items())
    act = f"do({done})" if done else "nothing set"
    whose = f"observation {question.row}" if question.mode == COUNTERFACTUAL else f"{_draws(subject)} draws"
    return f"{question.mode.capitalize()} of {whose}: {act}"


def warnings_of(subject: Subject, question: Question) -> list[str]:
    """One text for each value, and the observation, that lies beyond the data of the fit."""
    if subject.result is None:
        return _beyond_ranges(subject, question)
    x = subject.data.x[question.row : question.row + 1]
    return beyond_data(subject.result.named(dict(enumerate(subject.names()))), x, Do(question.values))


def whiskers_text(subject: Subject, question: Question) -> str:
    """What the whiskers of x are; "" for none."""
    if subject.is_image:
        return ""
    if question.mode == INTERVENTION:
        return "nine in ten draws after the intervention"
    if subject.result is None or subject.result.refits is None:
        return ""
    return f"{LEVEL:.0%} interval of the counterfactual, from refits to halves of the pairs"


def interval_text(subject: Subject, question: Question) -> str:
    """What the whiskers of x are, or why there are none."""
    if text := whiskers_text(subject, question):
        return f"Whiskers: {text}."
    if question.mode == INTERVENTION:
        return ""
    if subject.result is None:
        return "No interval: a model file has no refits. A run has them after lcm refit."
    if subject.is_image:
        return "Counterfactual images have no interval."
    return f"No interval: the run has no refits. This command makes them: {_refit_command(subject)}"


def _refit_command(subject: Subject) -> str:
    given = subject.given
    words = ["lcm", "refit", str(subject.path), *(given.files or ["DATA"])]
    return shlex.join([*words, "--after-mark", given.mark] if given.mark else words)


def _draws(subject: Subject) -> int:
    return IMAGE_DRAWS if subject.is_image else DRAWS


def _beyond_ranges(subject: Subject, question: Question) -> list[str]:
    names, z = subject.names(), subject.z
    outside = [i for i, value in question.values.items() if not z[:, i].min() <= value <= z[:, i].max()]
    return [f"{names[i]} = {question.values[i]:.3g} lies outside all {len(z)} observations." for i in outside]


@torch.no_grad()
def _counterfactual(subject: Subject, question: Question) -> Answer:
    x, z = observation(subject, question.row)
    do = Do(question.values)
    z_after = subject.model.causal_model().scm.counterfactual(z, do)
    x_after = subject.model.decode(z_after).cpu().numpy()
    low = high = None
    result = subject.result
    if result is not None and result.refits is not None and not subject.is_image:
        low, high, _ = refit_interval(x_after, result.refits.counterfactuals(x, do), LEVEL)
    ends = [None if end is None else np.asarray(end)[0] for end in (low, high)]
    parts = (x, x_after) if subject.is_image else (x[0], x_after[0])
    return _answered(subject, question, (z[0].cpu().numpy(), z_after[0].cpu().numpy()), parts, ends)


def _intervention(subject: Subject, question: Question) -> Answer:
    pairs = drawn_under(subject, tuple(question.values.items()))
    if pairs.z is None or pairs.z_tilde is None:
        raise ValueError("Expected draws with their variables; got none")
    z = pairs.z.mean(0), pairs.z_tilde.mean(0)
    if subject.is_image:
        return _answered(subject, question, z, (pairs.x, pairs.x_tilde), [None, None])
    ends = list(np.quantile(pairs.x_tilde, (0.05, 0.95), axis=0))
    return _answered(subject, question, z, (pairs.x.mean(0), pairs.x_tilde.mean(0)), ends)


@lru_cache(maxsize=16)
def drawn_under(subject: Subject, values: tuple[tuple[int, float], ...]) -> PairData:
    """Draws from the model, each before and after the intervention; the same draws whatever the values."""
    return sample_counterfactuals(subject.model, dict(values), n=_draws(subject), seed=SEED)


def _answered(subject: Subject, question: Question, z: tuple[Any, Any], x: tuple[Any, Any], ends: list[Any]) -> Answer:
    return Answer(
        title=question_text(subject, question),
        graph=subject.model.graph,
        names=subject.names(),
        done=tuple(question.values),
        z=z[0],
        z_after=z[1],
        columns=subject.columns,
        x=x[0],
        x_after=x[1],
        low=ends[0],
        high=ends[1],
        usual=subject.usual,
        whiskers=whiskers_text(subject, question),
    )
