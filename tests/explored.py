"""Questions to the explorer that several of its tests ask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lcm.app.explore.asking import answer_to, checked_question
from lcm.app.explore.subject import Subject
from lcm.report.answer import Answer
from lcm.run.refits import Refits

MODES = ("counterfactual", "intervention")


def with_refits(subject: Subject) -> Subject:
    """The subject with four refits that are the fit itself, but one of them with z_0 shifted."""
    assert subject.result is not None
    n = subject.model.n
    positions = np.linspace([-9.0] * n, [9.0] * n, 50)
    images = np.stack([positions] * 4)
    images[0, :, 0] += 0.5
    refits = Refits((subject.model,) * 4, np.tile(np.arange(n), (4, 1)), np.zeros((4, n, n)), positions, images)
    return replace(subject, result=replace(subject.result, refits=refits))


def ask(subject: Subject, mode: str, values: dict[str, float], row: int = 3) -> Answer:
    return answer_to(subject, checked_question(subject, row, mode, values))
