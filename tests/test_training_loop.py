"""The optimisation loop: where it ends, when it stops, and that an interruption leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from laws import generator, normal
from torch import Tensor, nn

from lcm.base.chunks import in_chunks
from lcm.learn.training.loop import optimise
from lcm.learn.training.objective import Objective, ParameterGroup, Schedule

STEPS, EVERY = 300, 50
MINIMUM = torch.tensor([1.0, -2.0])


class Memory:
    """A tracker that keeps all it is told, and fails at a chosen record or checkpoint as a signal would."""

    def __init__(self, saved: dict[str, Tensor] | None = None, fail: tuple[str, int] = ("", -1)) -> None:
        self.saved, self.fail = saved, fail
        self.records: list[dict[str, object]] = []
        self.members: list[int] = []
        self.shown: list[float] = []
        self.states: list[dict[str, Tensor]] = []
        self.advances: list[tuple[int, int]] = []

    def record(self, values: Mapping[str, object], member: int = 0) -> None:
        self.records.append(dict(values))
        self.members.append(member)
        self._stop("record", self.records[-1]["step"])

    def advance(self, step: int, steps: int, log_likelihood: float) -> None:
        self.advances.append((step, steps))
        self.shown.append(log_likelihood)

    def save(self, state: dict[str, Tensor]) -> None:
        self.saved = {name: value.clone() for name, value in state.items()}
        self.states.append(self.saved)
        self._stop("save", int(state["step"]))

    def restore(self) -> dict[str, Tensor] | None:
        return self.saved

    def _stop(self, event: str, step: object) -> None:
        if (event, step) == self.fail:
            raise KeyboardInterrupt

    @property
    def steps(self) -> list[object]:
        return [record["step"] for record in self.records]


class Quadratic(Objective):
    """½ |θ − row|², averaged over rows whose mean is `MINIMUM`; `held_out` maps θ to a log-likelihood."""

    running: Tensor

    def __init__(self, held_out: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2))
        self.register_buffer("running", torch.zeros(2))
        rows = normal(64, 2)
        self._rows = rows - rows.mean(0) + MINIMUM
        self._held_out = held_out or (lambda theta: -(theta - MINIMUM).square().sum())
        self.progress: list[float] = []

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup([self.theta], 0.1)]

    @property
    def n_rows(self) -> int:
        return len(self._rows)

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (self._rows[rows],)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        self.progress.append(progress)
        self.running.copy_(self.running.lerp(self.theta.detach(), 0.1))
        return 0.5 * (self.theta - batch[0]).square().sum(1).mean()

    def validate(self) -> dict[str, float | list[float]]:
        return {"validation_log_likelihood": float(self._held_out(self.theta)), "theta": self.theta.tolist()}


class Slope(Objective):
    """Two parameters on slopes of very different steepness, each in a group of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.steep, self.gentle = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup([self.steep], 0.3), ParameterGroup([self.gentle], 0.1)]

    @property
    def n_rows(self) -> int:
        return 1

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (rows,)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return (1e6 * self.steep + self.gentle).sum()

    def validate(self) -> dict[str, float | list[float]]:
        return {"validation_log_likelihood": -float(self.gentle.detach())}


SCHEDULE = Schedule(STEPS, 16, EVERY)


def never_better(theta: Tensor) -> Tensor:
    return torch.tensor(-1.0)


def peaked(theta: Tensor) -> Tensor:
    """Best on the way to the minimum, and worse there."""
    return -(theta[1] + 1.0).abs()


def test_it_reaches_the_minimum() -> None:
    objective, memory = Quadratic(), Memory()
    optimise(objective, SCHEDULE, generator(), memory)
    torch.testing.assert_close(objective.theta.detach(), MINIMUM, atol=0.05, rtol=0)
    assert memory.steps == list(range(0, STEPS + 1, EVERY))
    assert memory.advances == [(step, STEPS) for step in memory.steps]
    assert objective.progress == [step / STEPS for step in range(STEPS)]
    assert "log_likelihood" not in memory.records[0]
    assert all(float(str(record["log_likelihood"])) < 0.0 for record in memory.records[1:])


def test_it_ends_at_the_best_validated_state_and_not_the_last() -> None:
    objective, memory = Quadratic(peaked), Memory()
    optimise(objective, Schedule(STEPS, 16, 5), generator(), memory)
    values = torch.tensor([float(str(record["validation_log_likelihood"])) for record in memory.records])
    best = int(values.argmax())
    assert 0 < best < len(values) - 1
    # Nothing is saved before the first step.
    state = memory.states[best - 1]
    assert torch.equal(objective.theta, state["state.group.0"][0])
    assert torch.equal(objective.running, state["state.buffer.running"][0])
    assert not torch.equal(objective.theta, memory.states[-1]["state.group.0"][0])


def test_patience_ends_it_once_it_counts() -> None:
    memory = Memory()
    schedule = Schedule(1000, 16, validate_every=10, patience=5, patient_from=0.6)
    objective = Quadratic(never_better)
    optimise(objective, schedule, generator(), memory)
    # Steps 600, 610, …, 640 are the five without progress.
    assert memory.steps[-1] == 640
    assert torch.equal(objective.theta, torch.zeros(2))


def test_it_gives_up_where_no_state_is_better_than_the_first() -> None:
    schedule = Schedule(1000, 16, validate_every=10, patience=1000, give_up_at=0.1)
    hopeless, hopeful = Memory(), Memory()
    optimise(Quadratic(never_better), schedule, generator(), hopeless)
    optimise(Quadratic(), schedule, generator(), hopeful)
    assert hopeless.steps[-1] == 100
    assert hopeful.steps[-1] == 1000


def test_each_group_is_clipped_and_stepped_on_its_own() -> None:
    objective, memory = Slope(), Memory()
    optimise(objective, Schedule(100, 1), generator(), memory)
    # On a slope, Adam's mean of the gradients is the gradient, which is clipped at 5.
    assert float(memory.states[-1]["optimiser.0.exp_avg"]) == pytest.approx(5.0, rel=1e-3)
    assert float(memory.states[-1]["optimiser.1.exp_avg"]) == pytest.approx(1.0, rel=1e-3)
    assert float((objective.steep / objective.gentle).detach()) == pytest.approx(3.0, rel=1e-4)


def test_the_step_size_warms_up_and_decays() -> None:
    memory = Memory()
    optimise(Slope(), Schedule(400, 1, validate_every=1), generator(), memory)
    places = torch.tensor([0.0] + [float(state["state.group.1"]) for state in memory.states], dtype=torch.float64)
    # On a slope, Adam's step is the step size.
    sizes = -places.diff() / 0.1
    torch.testing.assert_close(sizes[:50], torch.arange(1.0, 51.0).double() / 50, atol=1e-3, rtol=0)
    torch.testing.assert_close(sizes[50:200], torch.ones(150).double(), atol=1e-3, rtol=0)
    assert bool((sizes[201:].diff() < 1e-3).all()) and sizes[300] == pytest.approx(0.505, abs=0.01)
    assert sizes[-1] == pytest.approx(0.01, abs=1e-3)


HELD_OUT = {"improves": None, "turns": peaked}
EVENTS = [("record", step) for step in range(0, STEPS + 1, EVERY)] + [
    ("save", step) for step in range(EVERY, STEPS + 1, EVERY)
]


def whole_run(name: str) -> tuple[Quadratic, Memory]:
    objective, memory = Quadratic(HELD_OUT[name]), Memory()
    optimise(objective, SCHEDULE, generator(), memory)
    return objective, memory


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event[0]}-{event[1]}")
@pytest.mark.parametrize("name", HELD_OUT)
def test_an_interrupted_run_ends_as_one_that_was_not(name: str, event: tuple[str, int]) -> None:
    objective, memory = whole_run(name)
    broken = Memory(fail=event)
    with pytest.raises(KeyboardInterrupt):
        optimise(Quadratic(HELD_OUT[name]), SCHEDULE, generator(), broken)
    resumed, rest = Quadratic(HELD_OUT[name]), Memory(broken.saved)
    # With a checkpoint, the state of the generator comes from there.
    optimise(resumed, SCHEDULE, generator(0 if broken.saved is None else 99), rest)
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in objective.state_dict().items())
    assert rest.records == memory.records[len(memory.records) - len(rest.records) :]
    if rest.states:
        kept = {key: value for key, value in memory.states[-1].items() if key != "seconds"}
        assert all(torch.equal(value, rest.states[-1][key]) for key, value in kept.items())


def test_the_time_of_an_interrupted_run_counts() -> None:
    broken = Memory(fail=("save", 100))
    with pytest.raises(KeyboardInterrupt):
        optimise(Quadratic(), SCHEDULE, generator(), broken)
    assert broken.saved is not None
    spent = broken.saved["seconds"].clone()
    assert bool((spent > 0).all())
    broken.saved["seconds"] += 1000.0
    resumed = Quadratic()
    optimise(resumed, SCHEDULE, generator(), Memory(broken.saved))
    assert 1000.0 < resumed.seconds < 1100.0


def test_an_interrupted_run_counts_its_patience_on() -> None:
    schedule = Schedule(1000, 16, validate_every=10, patience=5)
    broken = Memory(fail=("save", 620))
    with pytest.raises(KeyboardInterrupt):
        optimise(Quadratic(never_better), schedule, generator(), broken)
    rest = Memory(broken.saved)
    optimise(Quadratic(never_better), schedule, generator(), rest)
    assert rest.steps == [630, 640]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_likelihood_that_is_not_finite_is_an_error(value: float) -> None:
    def held_out(theta: Tensor) -> Tensor:
        return torch.tensor(0.0 if float(theta.sum()) == 0.0 else value)

    memory = Memory()
    with pytest.raises(FloatingPointError, match=f"the held-out log-likelihood became {value} at step {EVERY}"):
        optimise(Quadratic(held_out), SCHEDULE, generator(), memory)
    # The record of the failure is kept, its state is not.
    assert memory.steps == [0, EVERY] and memory.saved is None


def test_chunks_are_joined_in_order() -> None:
    first, second = normal(11, 2), normal(11, 3, seed=5)
    sizes = []

    def function(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(a))
        return a.sum(1) + b.sum(1), b.requires_grad_() * 2.0

    total, double = in_chunks(function, first, second, size=4)
    assert sizes == [4, 4, 3] and not double.requires_grad
    torch.testing.assert_close(total, first.sum(1) + second.sum(1))
    torch.testing.assert_close(double, 2.0 * second)


@pytest.mark.parametrize("most", [0, 1, 5, 8, 100])
def test_chunks_end_where_they_are_told_to(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcm.learn.training.loop._ROWS_AT_ONCE", 4)
    values = normal(11, 2)
    (same,) = in_chunks(lambda part: (part.clone(),), values, size=3, most=most)
    assert torch.equal(same, values[:most])
