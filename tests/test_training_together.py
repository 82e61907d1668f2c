"""Several fits as one batched computation: each comes out as it would alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from laws import default_dtype, generator
from small import SHORT, STEPS, equal_weights, small_data
from test_learn_mechanisms import nature_of, objective_of
from test_training_loop import Memory, Quadratic, never_better
from torch import Tensor

import lcm
from lcm.data.pairs import PairData
from lcm.learn.mechanisms import ExplicitObjective
from lcm.learn.noise_encoder_fit import fit_noise_encoder
from lcm.learn.prepared import prepare
from lcm.learn.training.loop import optimise, optimise_together, run_together
from lcm.learn.training.objective import Job, Objective, Schedule
from lcm.learn.training.stack import Stack, structure
from lcm.learn.training.tracker import Recorder, StageTracker
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_ensemble, fit_pairs
from lcm.run.result import FitResult

pytestmark = pytest.mark.usefixtures("cheap_scores")

FLOWS = ("residual", "spline", "affine")
FEW = replace(
    SHORT,
    noise_encoder=replace(SHORT.noise_encoder, steps=20, marginal_steps=20),
    mechanisms=replace(SHORT.mechanisms, steps=20),
)
"""So few steps that rounding is not amplified."""


class Starred(Quadratic):
    """A quadratic that may be stacked."""

    def structure(self) -> str:
        return "starred"


@pytest.fixture
def exact() -> Iterator[None]:
    """Compute in float64, for one test."""
    with default_dtype(torch.float64):
        yield


def quadratics(count: int, held_out: Mapping[int, Any] | None = None) -> list[Starred]:
    found = [Starred((held_out or {}).get(k)) for k in range(count)]
    for k, objective in enumerate(found):
        objective.theta.data += 0.1 * k
        objective._rows = objective._rows + 0.2 * k
    return found


SCHEDULE = Schedule(200, 16, 20)


def alone(objectives: list[Starred], schedule: Schedule = SCHEDULE) -> list[Memory]:
    memories = [Memory() for _ in objectives]
    for k, (objective, memory) in enumerate(zip(objectives, memories, strict=True)):
        optimise(objective, schedule, generator(k), memory)
    return memories


def together(objectives: list[Starred], memory: Memory, schedule: Schedule = SCHEDULE) -> None:
    optimise_together(objectives, schedule, [generator(k) for k in range(len(objectives))], memory)


def assert_close(first: list[Starred], second: list[Starred]) -> None:
    for one, two in zip(first, second, strict=True):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, two.state_dict()[name])


def test_objectives_that_are_optimised_together_end_as_alone(exact: None) -> None:
    first, second = quadratics(4), quadratics(4)
    memories, memory = alone(first), Memory()
    together(second, memory)
    assert_close(first, second)
    assert not torch.equal(second[0].theta, second[1].theta)
    for k, other in enumerate(memories):
        mine = [record for member, record in zip(memory.members, memory.records, strict=True) if member == k]
        assert [record["step"] for record in mine] == other.steps
        values = [
            [float(str(record["validation_log_likelihood"])) for record in part] for part in (mine, other.records)
        ]
        np.testing.assert_allclose(values[0], values[1])


def test_one_that_has_ended_leaves_the_others_alone(exact: None) -> None:
    # Members 1 and 2 give up at different times, and the last one is left on its own.
    schedule = replace(SCHEDULE, patience=3, patient_from=0.2)
    held_out = {1: never_better, 2: lambda theta: -(theta[1] + 1.0).abs()}
    first, second = quadratics(3, held_out), quadratics(3, held_out)
    memories, memory = alone(first, schedule), Memory()
    together(second, memory, schedule)
    assert_close(first, second)
    lengths = [memory.members.count(k) for k in range(3)]
    assert lengths == [len(other.records) for other in memories]
    assert len(set(lengths)) == 3


EVENTS = [("record", 60), ("save", 20), ("save", 80), ("save", 200)]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event[0]}-{event[1]}")
def test_an_interrupted_ensemble_ends_as_one_that_was_not(event: tuple[str, int]) -> None:
    schedule = replace(SCHEDULE, patience=3, patient_from=0.1)
    held_out = {1: never_better}
    whole, broken, resumed = (quadratics(3, held_out) for _ in range(3))
    memory, interrupted = Memory(), Memory(fail=event)
    together(whole, memory, schedule)
    with pytest.raises(KeyboardInterrupt):
        together(broken, interrupted, schedule)
    rest = Memory(interrupted.saved)
    generators = [generator(99 + k) for k in range(3)]
    optimise_together(resumed, schedule, generators, rest)
    for one, two in zip(whole, resumed, strict=True):
        assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    assert rest.records == memory.records[len(memory.records) - len(rest.records) :]


def test_objectives_own_their_tensors_when_they_have_ended() -> None:
    objectives = quadratics(2)
    together(objectives, Memory())
    storages = {objective.theta.untyped_storage().data_ptr() for objective in objectives}
    sizes = {objective.theta.untyped_storage().nbytes() for objective in objectives}
    assert len(storages) == 2 and sizes == {2 * objectives[0].theta.element_size()}


def test_jobs_of_different_structure_are_done_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    stage = Recorder.stage

    def watched(self: Recorder, restarts: list[int], name: str) -> StageTracker:
        asked.append(tuple(restarts))
        return stage(self, restarts, name)

    monkeypatch.setattr(Recorder, "stage", watched)

    def fit(objective: Objective, schedule: Schedule, seed: int):  # type: ignore[no-untyped-def]
        yield Job("a stage", objective, schedule, generator(seed))
        return seed

    starred, short = quadratics(3), replace(SCHEDULE, steps=20)
    fits = [fit(starred[0], SCHEDULE, 5), fit(Quadratic(), SCHEDULE, 6), fit(starred[1], SCHEDULE, 7)]
    fits.append(fit(starred[2], short, 8))
    assert run_together(fits, Recorder()) == [5, 6, 7, 8]
    assert asked == [(0, 2), (1,), (3,)]


def members(flow: str, name: str, count: int = 3) -> list[Objective]:
    """First objectives of fits to other data sets, from other seeds."""
    found = []
    for k in range(count):
        data = small_data(name, 400, seed=k)
        prepared = prepare(data.x, data.x_tilde, 2, 0.1, k, torch.device("cpu"))
        targets = TargetDistribution.family(2, "atomic-or-empty")
        config = replace(FEW.noise_encoder, flow=flow)  # type: ignore[arg-type]
        found.append(next(fit_noise_encoder(prepared, targets, config, generator(k))).objective.double())
    return found


def doubled(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.double() for part in batch)


@pytest.mark.parametrize(("flow", "name"), [*((flow, "nonlinear") for flow in FLOWS), ("residual", "linear")])
def test_a_stack_has_the_losses_gradients_and_buffers_of_its_members(flow: str, name: str) -> None:
    first, second = members(flow, name), members(flow, name)
    assert len({structure(objective) for objective in first}) == 1
    batches = [doubled(objective.batch(torch.arange(40))) for objective in first]
    stack, progress = Stack(first), 0.5
    losses = stack.backward(tuple(torch.stack(parts) for parts in zip(*batches, strict=True)), progress)
    for k, (one, two) in enumerate(zip(first, second, strict=True)):
        single = Stack([two])
        expected = single.backward(tuple(part.unsqueeze(0) for part in batches[k]), progress)
        torch.testing.assert_close(losses[k], expected[0])
        for many, own in zip(stack.gradients, single.gradients, strict=True):
            torch.testing.assert_close(many[k], own[0])
        for buffer, other in zip(one.buffers(), two.buffers(), strict=True):
            torch.testing.assert_close(buffer, other)


def explicit(edges: list[tuple[int, int]]) -> ExplicitObjective:
    return objective_of(nature_of(), Graph.from_edges(3, edges)).double()


GRAPHS = {
    "one shape": [[(0, 1), (0, 2)], [(1, 0), (1, 2)]],
    "other shapes": [[(0, 1), (1, 2)], [(2, 0), (2, 1)], []],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_mechanisms_of_different_graphs_are_evaluated_as_one(name: str) -> None:
    first, second = ([explicit(edges) for edges in GRAPHS[name]] for _ in range(2))
    assert (len({structure(objective) for objective in first}) == 1) == (name == "one shape")
    ExplicitObjective.align(first)
    assert len({structure(objective) for objective in first}) == 1
    batches = [doubled(objective.batch(torch.arange(40))) for objective in first]
    losses = Stack(first).backward(tuple(torch.stack(parts) for parts in zip(*batches, strict=True)), 0.0)
    expected = [objective.loss(batch, 0.0).detach() for objective, batch in zip(second, batches, strict=True)]
    torch.testing.assert_close(losses, torch.stack(expected))


def assert_same_fit(first: FitResult, second: FitResult) -> None:
    """Equal to float tolerance."""
    tensors, others = first.model.state_dict(), second.model.state_dict()
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-3)
    assert first.model.scm.graph == second.model.scm.graph
    assert first.held_out_nll == pytest.approx(second.held_out_nll, abs=1e-3)
    labels = [[(r["restart"], r["stage"], r["step"]) for r in result.records] for result in (first, second)]
    assert sorted(labels[0]) == sorted(labels[1])


ENSEMBLES: dict[str, tuple[list[PairData], list[FitConfig]]] = {
    "seeds": ([small_data("nonlinear")] * 3, [replace(FEW, seed=k) for k in range(3)]),
    "data sets": ([small_data("nonlinear", seed=k) for k in range(3)], [FEW] * 3),
    "linear": ([small_data("linear", seed=k) for k in range(3)], [replace(FEW, seed=k) for k in range(3)]),
    "mixed": (
        [small_data("linear"), small_data("nonlinear"), small_data("nonlinear", seed=1)],
        [FEW, replace(FEW, restarts=2), replace(FEW, mechanisms=replace(FEW.mechanisms, hidden=6))],
    ),
}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_equals_separate_fits(name: str) -> None:
    data, configs = ENSEMBLES[name]
    found = fit_ensemble(data, configs, device="cpu")
    assert len(found) == len(configs)
    for result, own, config in zip(found, data, configs, strict=True):
        assert_same_fit(result, fit_pairs(own, config))
    assert not equal_weights(found[0].model, found[1].model)


def test_restarts_equal_separate_fits() -> None:
    data = small_data("nonlinear")
    results = [fit_pairs(data, replace(FEW, restarts=count)) for count in (1, 3)]
    assert results[1].restart_nll[0] == pytest.approx(results[0].restart_nll[0], abs=1e-3)
    assert len(set(results[1].restart_nll)) == 3


def test_a_killed_ensemble_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SHORT, restarts=2)
    data = small_data("nonlinear")
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    whole = fit_pairs(data, config, recorder=Recorder(tmp_path / "whole"))
    record = Recorder.record

    def recorded(self: Recorder, restart: int, stage: str, values: dict[str, object]) -> None:
        record(self, restart, stage, values)
        if (restart, values["step"]) == (1, STEPS):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Recorder, "record", recorded)
        fit_pairs(data, config, recorder=Recorder(tmp_path / "broken"))
    resumed = fit_pairs(data, config, recorder=Recorder(tmp_path / "broken"))
    assert equal_weights(resumed.model, whole.model) and resumed.restart_nll == whole.restart_nll
    timeless = [[{k: v for k, v in r.items() if k != "seconds"} for r in result.records] for result in (resumed, whole)]
    assert timeless[0] == timeless[1]


def test_one_bar_shows_the_best_of_an_ensemble() -> None:
    memory = Memory()
    together(quadratics(2), memory)
    best = [max(float(str(r["validation_log_likelihood"])) for r in memory.records[k : k + 2]) for k in range(0, 22, 2)]
    assert memory.shown == best and memory.advances == [(step, 200) for step in range(0, 201, 20)]


def test_an_ensemble_is_public() -> None:
    assert lcm.fit_ensemble is fit_ensemble


@pytest.mark.parametrize(
    ("data", "configs", "message"),
    [
        ([], [], "configs: Expected at least one; got none"),
        ([small_data("linear")], [FEW, FEW], "data: Expected a data set for each of 2 configs; got 1"),
        (
            [small_data("linear"), small_data("linear", 299)],
            [FEW, FEW],
            r"data: Expected data sets of one shape, \(300, 2\); got \(299, 2\)",
        ),
    ],
)
def test_ensembles_that_cannot_be_are_refused(data: list[PairData], configs: list[FitConfig], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        fit_ensemble(data, configs)
