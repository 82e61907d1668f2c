"""When the rounds of a noise encoder end, with objectives that only pretend to be fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lcm.learn.config import NoiseEncoderConfig
from lcm.learn.rounds import Rounds, fit_in_rounds, usual_thickness
from lcm.learn.training.objective import Job

CONFIG = NoiseEncoderConfig(precision=0.01, least_gain=0.1, most_seconds=100.0)


@dataclass
class Pretended:
    """An objective whose held-out likelihood after each round is given, as are its thickness and its pace."""

    likelihoods: Sequence[float]
    thickness: Sequence[float]
    pace: float = 0.0
    n_rows: int = 90_000
    n: int = 4

    def __post_init__(self) -> None:
        self.round, self.seconds, self.rates = 0, 0.0, [1.0]
        self.deepened_after: list[int] = []
        self.model: Any = SimpleNamespace(
            noise_decoder=SimpleNamespace(n=self.n), thickness=torch.ones(self.n), growth=torch.tensor(0.0)
        )

    def held_out(self) -> float:
        return self.likelihoods[min(self.round, len(self.likelihoods) - 1)]

    def begin_later_round(self, rate: float) -> None:
        self.rates.append(rate)

    def deepen(self, generator: torch.Generator) -> None:
        self.deepened_after.append(self.round)

    def end_round(self, steps: int) -> None:
        self.seconds += self.pace * steps
        self.model.thickness.fill_(self.thickness[min(self.round, len(self.thickness) - 1)])
        self.round += 1


def run(objective: Any, config: NoiseEncoderConfig = CONFIG) -> tuple[Rounds, list[Job]]:
    rounds, jobs = fit_in_rounds(objective, config, torch.Generator()), []
    while True:
        try:
            job = next(rounds)
        except StopIteration as end:
            progress: Rounds = end.value
            return progress, jobs
        jobs.append(job)
        objective.end_round(job.schedule.steps)


def test_a_fit_ends_when_it_is_exact_enough() -> None:
    objective = Pretended([0.0, 1.0, 2.0, 3.0], [0.5, 0.02, 0.0099])
    progress, jobs = run(objective)
    assert [job.schedule.steps for job in jobs] == [2000, 1000, 1500]
    assert [job.stage for job in jobs] == ["noise encoder", "noise encoder, round 2", "noise encoder, round 3"]
    assert all(job.schedule.linear and job.schedule.patience == job.schedule.steps for job in jobs)
    assert objective.rates == [1.0, 0.5, 0.5]
    assert (progress.rounds, progress.steps, progress.limited) == (3, 4500, False)
    assert progress.gain == pytest.approx(1.0)


def test_a_fit_ends_when_a_later_round_gains_little() -> None:
    # what the first round gains from its start says nothing
    progress, jobs = run(Pretended([0.0, 0.05, 0.3, 0.39], [0.5]))
    assert len(jobs) == 3 and not progress.limited


def test_a_fit_that_would_take_too_long_is_limited() -> None:
    # 40 s after the first round and 60 s after the second; the third would end at 90 s and the fourth at 135 s
    progress, jobs = run(Pretended([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.5], pace=0.02))
    assert len(jobs) == 3 and progress.limited


def test_without_a_limit_there_are_ten_seconds_a_variable_and_thirty_far_from_exact() -> None:
    config = replace(CONFIG, most_seconds=None)
    # after each round, the time so far is a hundredth of a second for each of 2000, 3000, 4500, ... steps
    for n, thickness, count in ((4, 0.09, 2), (5, 0.09, 3), (2, 0.11, 5), (4, 0.11, 5)):
        progress, jobs = run(Pretended([0.0, *range(1, 9)], [thickness], pace=0.01, n=n), config)
        assert len(jobs) == count and progress.limited


def test_an_encoder_far_from_exact_after_the_first_round_gets_more_layers_once() -> None:
    def deepened(thickness: Sequence[float], config: NoiseEncoderConfig = CONFIG, pace: float = 0.0) -> list[int]:
        objective = Pretended([0.0, 1.0, 2.0, 2.01], thickness, pace)
        run(objective, config)
        return objective.deepened_after

    assert deepened([0.11]) == [1]
    assert deepened([0.09]) == deepened([0.09, 0.5]) == []
    # no more layers where no round follows
    assert deepened([0.5], pace=1.0) == []
    assert deepened([0.5], replace(CONFIG, layers=16)) == deepened([0.5], replace(CONFIG, steps=9)) == []


def test_few_pairs_allow_few_passes() -> None:
    progress, jobs = run(Pretended([0.0, 1.0, 2.0, 3.0], [0.5], n_rows=6_500))
    assert [job.schedule.steps for job in jobs] == [2000, 1000] and not progress.limited
    assert [job.schedule.steps for job in run(Pretended([0.0, 1.0], [0.5], n_rows=900))[1]] == [1000]


def test_two_variables_begin_with_a_shorter_round() -> None:
    assert [job.schedule.steps for job in run(Pretended([0.0, 1.0], [0.5, 0.001], n=2))[1]] == [1000, 500]


def test_a_number_of_steps_is_one_round() -> None:
    progress, jobs = run(Pretended([0.0, 1.0], [0.5]), replace(CONFIG, steps=123))
    assert [job.schedule.steps for job in jobs] == [123] and not progress.limited


def test_the_usual_thickness_is_the_root_mean_square() -> None:
    model: Any = SimpleNamespace(thickness=torch.tensor([0.03, 0.01]), growth=torch.tensor(2.0))
    assert usual_thickness(model) == pytest.approx(0.0005**0.5)
