"""Two models side by side: the question of one, carried to the other by the isomorphism that was found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.app.explore.asking import COUNTERFACTUAL, Question, answer_to, drawn_under
from lcm.app.explore.subject import Subject
from lcm.isomorphism import Comparison, find_isomorphism
from lcm.report.answer import Answer

_FINDING = Lock()


@final
@dataclass(frozen=True, eq=False)
class Carried:
    """The answers of models A and B to one question.

    Attributes:
        mine, other: the answers, each in its own numbering.
        permutation: variable i of A is variable permutation[i] of B.
        carried: (n,), where the isomorphism takes the variables of A after the intervention, in A's numbering; for
            draws, the means.
        apart: (n,), how far B's own answer is from there, in standard deviations of B's variables.
    """

    mine: Answer
    other: Answer
    permutation: tuple[int, ...]
    carried: NDArray[np.float64]
    apart: NDArray[np.float64]


@final
class Beside:
    """Another model of the same observations, beside the one that is explored."""

    def __init__(self, subject: Subject, other: Subject) -> None:
        self.subject, self.other = subject, other

    @property
    def found(self) -> Comparison:
        """The isomorphism, found when it is first asked for, which takes seconds."""
        with _FINDING:
            return self._found

    @cached_property
    def _found(self) -> Comparison:
        return find_isomorphism(self.subject.model, self.other.model, self.subject.data)

    @torch.no_grad()
    def carry(self, question: Question) -> Carried:
        """Both answers: do(z_i = v) for A, do(z_π(i) = h_i(v)) for B."""
        permutation, h = list(self.found.permutation), self.found.variable_map
        row = torch.zeros(1, self.subject.model.n, dtype=torch.float64)
        for i, value in question.values.items():
            row[0, i] = value
        there = h(row)[0][0]
        values = {permutation[i]: float(there[i]) for i in question.values}
        mine, other = (
            answer_to(self.subject, question),
            answer_to(self.other, Question(question.row, question.mode, values)),
        )
        carried = h(torch.from_numpy(self._after(question, mine)))[0].numpy().mean(0)
        spread = np.maximum(self.other.z.std(0)[permutation], 1e-9)
        apart = np.abs(carried - other.z_after[permutation]) / spread
        return Carried(mine, other, tuple(permutation), carried, apart)

    def _after(self, question: Question, answer: Answer) -> NDArray[np.float64]:
        """The variables (N, n) of A after the intervention, of the observation or of all draws."""
        if question.mode == COUNTERFACTUAL:
            return answer.z_after[None].astype(np.float64)
        drawn = drawn_under(self.subject, tuple(question.values.items())).z_tilde
        return np.asarray(drawn, dtype=np.float64)
