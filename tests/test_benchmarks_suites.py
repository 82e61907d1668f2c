"""What the suites measure is what they say: steps of a real fit, counted operations, a yardstick that trains."""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import children
from benchmarks.children import peak_resident_bytes, run_child
from benchmarks.ensemble import UNAVAILABLE, ensemble_fit
from benchmarks.operations import (
    COPY,
    ELEMENTWISE,
    INDEX,
    KINDS,
    MATMUL,
    OPTIMISER,
    REDUCTION,
    SHARES,
    SOFTMAX,
    kind_of,
    product_rate,
    profiled_seconds,
    work_of,
)
from benchmarks.problems import Problem, curved, draw, linear
from benchmarks.reference_style import ReferenceStyleModel, Training
from benchmarks.row import Label, Plan
from benchmarks.suites import MODULES, cases_of, compiled, ensemble, peers
from benchmarks.suites.compiled import compiled_rows
from benchmarks.suites.ensemble import fit_rows
from benchmarks.suites.memory import memory_rows
from benchmarks.suites.profile import step_rows, step_work
from benchmarks.suites.quality import time_to_quality
from benchmarks.suites.threads import thread_counts
from benchmarks.training import STAGES, Stage, begun_stage
from lcm.data.pairs import PairData
from lcm.run.config import FitConfig

pytestmark = pytest.mark.usefixtures("cheap_scores")

PLAN = Plan(quick=True, repeats=1)
LABEL = Label("suite", "case")


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    natures = {"flow": curved(2), "linear": linear(2)}
    return {name: draw(config, 400, seed=0, test_pairs=400) for name, config in natures.items()}


@pytest.fixture(scope="module")
def stages(problems: dict[str, Problem]) -> dict[str, Stage]:
    return {name: begun_stage(problems["flow" if name == "flow" else "linear"], name) for name in STAGES}


@pytest.mark.parametrize("suite", MODULES)
@pytest.mark.parametrize("quick", [True, False])
def test_every_suite_has_named_cases(suite: str, quick: bool) -> None:
    names = list(cases_of(suite, Plan(quick=quick)))
    assert names
    assert all(names)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_takes_real_steps_and_ends_where_it_began(stages: dict[str, Stage], name: str) -> None:
    stage = stages[name]
    before = {key: value.clone() for key, value in stage.objective.state_dict().items()}
    moved: list[bool] = []
    objective: Any = stage.objective
    loss = objective.loss

    def watched(batch: Any, progress: float) -> torch.Tensor:
        now = stage.objective.state_dict()
        moved.append(any(not torch.equal(now[key], before[key]) for key in before))
        return loss(batch, progress)

    objective.loss = watched
    try:
        stage.run(3)
    finally:
        del objective.loss
    assert moved == [False, True, True]
    after = stage.objective.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_the_batches_are_those_of_the_default_config(stages: dict[str, Stage]) -> None:
    config = FitConfig()
    sizes = {name: stage.batch_size for name, stage in stages.items()}
    flow = config.noise_encoder.batch_size
    assert sizes == {"flow": flow, "marginal": flow, "mechanisms": config.mechanisms.batch_size}


def test_the_loop_is_put_back(problems: dict[str, Problem]) -> None:
    before = {key: dict(vars(module)) for key, module in sys.modules.items() if key.startswith("lcm.learn.")}
    begun_stage(problems["linear"], "marginal")
    assert all(vars(sys.modules[key]).items() >= names.items() for key, names in before.items())


def test_a_stage_that_a_fit_does_not_have_is_an_error(problems: dict[str, Problem]) -> None:
    with pytest.raises(ValueError, match=r"Expected a fit with the stage flow; got one without it"):
        begun_stage(problems["linear"], "flow")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::addmm", MATMUL),
        ("aten.bmm.default", MATMUL),
        ("aten::mul", ELEMENTWISE),
        ("aten.where.self", ELEMENTWISE),
        ("aten::gather", INDEX),
        ("aten::sum", REDUCTION),
        ("aten::copy_", COPY),
        ("aten::_fused_adam_", OPTIMISER),
        ("aten::_softmax_backward_data", SOFTMAX),
        ("Optimizer.step#Adam.step", OPTIMISER),
        ("autograd::engine::evaluate_function: MulBackward0", KINDS[-1]),
        ("MulBackward0", KINDS[-1]),
    ],
)
def test_operations_have_kinds(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_operations_are_counted() -> None:
    left, right = torch.ones(3, 5), torch.ones(5, 7)
    work = work_of(lambda: (left @ right).exp().sum())
    assert work.flops == 2 * 3 * 5 * 7
    assert work.calls == {MATMUL: 1, ELEMENTWISE: 1, REDUCTION: 1}
    assert work.entries == {MATMUL: 21, ELEMENTWISE: 21, REDUCTION: 1}


def test_the_work_of_a_step_is_that_of_its_loss_and_gradients(stages: dict[str, Stage]) -> None:
    work, of_two_sizes = step_work(stages["flow"]), stages["flow"]
    twice = Stage("flow", of_two_sizes.objectives, 2 * of_two_sizes.batch_size)
    assert work.flops > 0
    assert 1.9 * work.flops < step_work(twice).flops <= 2 * work.flops
    assert step_work(twice).calls == work.calls
    assert work.calls[OPTIMISER] > 0


def test_the_shares_add_up_to_the_time(stages: dict[str, Stage]) -> None:
    spent = profiled_seconds(lambda: stages["flow"].run(2))
    assert tuple(spent) == SHARES
    assert min(spent.values()) >= 0.0
    assert spent[MATMUL] > 0.0
    assert spent[ELEMENTWISE] > 0.0


def test_a_rate_of_products_is_positive() -> None:
    assert product_rate((8, 8, 8), 2) > 0.0


def test_a_profile_says_what_share_of_the_peak_is_reached(stages: dict[str, Stage]) -> None:
    rows = {row.quantity: row for row in step_rows(stages["flow"], LABEL, peak=1e15, call=1e-9, plan=PLAN)}
    share = rows["peak rate reached by the step"].median
    step, products = rows["step"].median, rows["matrix products of a step"].median
    assert share is not None and step is not None and products is not None
    assert np.isclose(share, 100 * products * 1e6 / (step * 1e15))
    shares = [row.median for name, row in rows.items() if name.startswith("share: ")]
    assert len(shares) == len(SHARES)
    assert np.isclose(sum(value for value in shares if value is not None), 100)


def test_the_reference_style_model_trains(problems: dict[str, Problem]) -> None:
    data = problems["linear"].train
    training = Training(data.x, data.x_tilde, seed=0)
    losses, seconds = training.run(60.0, most_steps=150)
    assert len(losses) == 150
    assert 0.0 < seconds < 60.0
    assert statistics.mean(losses[-10:]) < 0.5 * statistics.mean(losses[:10])


def test_the_seed_decides_the_reference_style_run(problems: dict[str, Problem]) -> None:
    data = problems["linear"].train
    state = torch.random.get_rng_state()
    runs = [Training(data.x, data.x_tilde, seed).run(60.0, most_steps=3)[0] for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_reference_style_posterior_is_one() -> None:
    torch.manual_seed(0)
    model = ReferenceStyleModel(3, hidden=4)
    posterior = model._log_posterior(torch.tensor([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0]])).exp()
    assert torch.allclose(posterior.sum(1), torch.ones(2))
    assert posterior[0].argmax() == 3


def test_the_reference_style_bound_bounds_the_evidence() -> None:
    """With a decoder that ignores the noise, p(x, x̃) is known."""
    torch.manual_seed(0)
    model = ReferenceStyleModel(2, hidden=4)
    for parameter in model.decoder[-1].parameters():
        torch.nn.init.zeros_(parameter)
    x, x_tilde, draws = torch.randn(1, 2), torch.randn(1, 2), torch.randn(2, 20_000, 2)
    bound = model.elbo(x.expand(20_000, 2), x_tilde.expand(20_000, 2), (draws[0], draws[1])).mean()
    spread = torch.distributions.Normal(0.0, 0.1)
    evidence = spread.log_prob(x).sum() + spread.log_prob(x_tilde).sum()
    assert bound < evidence
    assert bound > evidence - 20.0


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_threads_double_up_to_all_cores(most: int, counts: list[int]) -> None:
    assert thread_counts(most) == counts


def test_time_to_quality_is_that_of_a_fit_which_reaches_it() -> None:
    (row,) = time_to_quality(draw(linear(2), 5_000, seed=0), LABEL, 0, (1, 50), PLAN)
    assert row.median is not None and row.median > 0.0
    assert "SHD 0" in row.note


def test_quality_out_of_reach_is_said(problems: dict[str, Problem]) -> None:
    (row,) = time_to_quality(problems["flow"], LABEL, 0, (1,), PLAN)
    assert row.median is None
    assert row.note.startswith("not reached with 1 steps; MCC 0.")


def test_models_are_timed_at_one_quality_and_left_where_they_miss_it(
    problems: dict[str, Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int | None] = []

    def fit(model: str, problem: Problem, seed: int, steps: int | None) -> Any:
        tried.append(steps)
        return SimpleNamespace(model=model, steps=steps or 10_000, seconds=float(steps or 10_000))

    def disentanglement(result: Any, problem: Problem) -> float:
        return 0.5 if result.model == "dvae" else 1.0 - 30.0 / result.steps

    monkeypatch.setattr(peers, "_fit", fit)
    monkeypatch.setattr(peers, "_disentanglement", disentanglement)
    (reached,) = peers.time_to_disentanglement("flow", problems["linear"], LABEL, Plan(repeats=2))
    assert tried == [None, 100, 200, 400, 800, 800, 800]
    assert (reached.median, reached.repeats) == (800.0, 2) and reached.note == "800 steps; disentanglement 0.963"
    tried.clear()
    (missed,) = peers.time_to_disentanglement("dvae", problems["linear"], LABEL, Plan(repeats=2))
    assert tried == [None] and missed.median is None
    assert missed.note == "not reached: 0.500 with the default steps"


def test_models_with_and_without_known_targets_can_be_timed_at_one_quality(problems: dict[str, Problem]) -> None:
    for model in ("linear", "vae-supervised-interventions"):
        (row,) = peers.time_to_disentanglement(model, problems["linear"], LABEL, PLAN)
        assert row.quantity == "fit with disentanglement >= 0.95" and "50 steps" in row.note


def test_an_ensemble_is_timed_beside_one(problems: dict[str, Problem]) -> None:
    sizes: list[int] = []

    def fit(data: PairData, config: FitConfig, size: int) -> None:
        sizes.append(size)

    rows = fit_rows(fit, problems["linear"], "case", (1, 4), 2, PLAN)
    assert sizes == [1, 1, 4, 4]
    assert [(row.quantity, row.at) for row in rows] == [
        (quantity, size) for size in (1, 4) for quantity in ("fit of K models", "fit of K models beside one")
    ]
    assert rows[1].median == 1.0


def test_steps_of_an_ensemble_are_those_of_all_its_models(problems: dict[str, Problem]) -> None:
    fit = ensemble_fit()
    if fit is None:
        pytest.skip(UNAVAILABLE)
    stage = begun_stage(problems["linear"], "marginal", lambda data, config: fit(data, config, 3))
    assert len(stage.objectives) == 3
    rows = ensemble.step_rows(fit, problems["linear"], "case", (1, 2), "marginal", 32, PLAN)
    assert [row.at for row in rows] == [1, 1, 2, 2]


def test_without_ensembles_a_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "ensemble_fit", lambda: None)
    for case in cases_of("ensemble", Plan()).values():
        (row,) = case()
        assert row.median is None
        assert row.note.startswith("not available")


def test_without_a_compiler_a_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    (row,) = next(iter(cases_of("compile", Plan()).values()))()
    assert (row.median, row.note) == (None, "no C++ compiler on this machine")


def test_compilation_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **named: object) -> None:
        raise RuntimeError("took longer than 600 s")

    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(compiled, "run_child", fails)
    (row,) = next(iter(cases_of("compile", Plan()).values()))()
    assert (row.median, row.note) == (None, "torch.compile failed: took longer than 600 s")


@pytest.mark.parametrize(("compiled_seconds", "steps"), [(0.5, 20.0), (2.0, None)])
def test_compilation_has_to_pay(compiled_seconds: float, steps: float | None) -> None:
    assert compiled_rows(LABEL, [1.0], [compiled_seconds], 10.0)[-1].median == steps


def test_memory_is_in_multiples_of_the_data() -> None:
    found = {"peak_bytes": 300.0, "loaded_bytes": 150.0, "seconds": 1.0}
    multiple = memory_rows(LABEL, "fit", found, idle=100, data=50)[1]
    assert (multiple.median, multiple.unit) == (4.0, "× the data")
    assert multiple.note == "1.00 before the fit, imports included"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak includes that of the parent")
def test_a_child_does_not_inherit_the_peak_of_its_parent() -> None:
    large = np.ones(50_000_000)
    here = peak_resident_bytes()
    assert here > large.nbytes
    assert run_child("idle", 1, 60.0)["peak_bytes"] < here


def test_a_child_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    with pytest.raises(RuntimeError, match=r"^FileNotFoundError: .*x\.npy'$"):
        run_child("pairs", 1, 60.0, nature="linear", n=2, pairs=10, seed=0, out=missing)


def test_a_child_that_hangs_is_ended() -> None:
    with pytest.raises(RuntimeError, match=r"^took longer than 0\.01 s$"):
        run_child("idle", 1, 0.01)


def test_a_fit_from_arrays_and_from_a_file_are_measured(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    made = children.pairs({"nature": "linear", "n": 2, "pairs": 300, "seed": 0, "out": str(tmp_path)})
    assert made["data_bytes"] == 2 * 300 * 2 * 4
    assert set(os.listdir(tmp_path)) == {"x.npy", "x_tilde.npy", "pairs.safetensors"}
    for source in ("arrays", "file"):
        found = children.fit({"source": source, "steps": 2, "out": str(tmp_path), "threads": threads})
        assert found["peak_bytes"] >= found["loaded_bytes"] > 0
        assert found["seconds"] > 0
