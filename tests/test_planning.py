"""`lcm plan` and `lcm.plan_pairs`: what is recommended follows from the fit, is written whole, and can be measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_line import called, refused
from numpy.typing import NDArray
from small import sampled

import lcm
from lcm.base.files import read_json
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import EdgesConfig
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.metric.graph import aligned_adjacency
from lcm.model.intervention import PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanismConfig, UniformWeightConfig
from lcm.readout.pair_plan import PairPlan
from lcm.run.assumption import Certificate
from lcm.run.planning import information, mean_slopes

SHARES = (0.55, 0.4, 0.05)


def nature() -> LatentCausalModel:
    """0 → 1 is strong; z2 is related to nothing, and seldom a target."""
    config = NatureConfig(
        3,
        EdgesConfig(edges=((0, 1),)),
        LinearMechanismConfig(weights=UniformWeightConfig(low=0.8, high=0.8)),
        intervention=PerfectInterventionConfig(targets="atomic", probabilities=SHARES),
    )
    return build_nature(config, 0)


@pytest.fixture(scope="module")
def result() -> lcm.FitResult:
    return lcm.fit(sampled(nature(), 4_000), model="linear", n=3, quiet=True)


@pytest.fixture(scope="module")
def uneven_folder(result: lcm.FitResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uneven") / "run"
    lcm.save(result, folder)
    return folder


@pytest.fixture(scope="module")
def plan(result: lcm.FitResult) -> PairPlan:
    return lcm.plan_pairs(result)


def matched(result: lcm.FitResult, data: lcm.PairData) -> NDArray[np.int64]:
    """The learned variable of every true one."""
    assert data.z is not None
    found: NDArray[np.int64] = match_variables(correlation_matrix(data.z, result.encode(data.x)))
    return found


def rare(result: lcm.FitResult) -> int:
    """The learned variable that was seldom a target."""
    return int(np.argmin(lcm.plan_pairs(result).past))


def test_the_seldom_target_is_named_and_gets_most_of_the_pairs(plan: PairPlan) -> None:
    (seldom,) = plan.seldom
    np.testing.assert_allclose(sorted(plan.past), sorted(4_000 * np.array(SHARES)), rtol=0.15)
    assert plan.past[seldom] == min(plan.past) and plan.shares[seldom] == max(plan.shares) > 0.5
    assert sum(plan.shares) == pytest.approx(1.0) and plan.ratio < 0.7 and not plan.about_uniform
    text = str(plan)
    assert text.count("seldom a target") == 1 and f"by this plan, {plan.uniform_total:,.0f} with equal shares." in text
    assert "Equal shares of all targets are about as good" not in text


def test_what_is_undecided_needs_the_target_of_its_effect(plan: PairPlan, result: lcm.FitResult) -> None:
    undecided = [edge for edge in plan.edges if edge.state == "undecided"]
    assert {(edge.cause, edge.effect) for edge in plan.edges if edge.state == "present"} == set(result.graph.edges())
    for i in range(3):
        into = [edge.pairs for edge in plan.edges if edge.effect == i]
        assert plan.needed[i] == pytest.approx(max(into, default=0.0))
    assert undecided and all(edge.pairs > 0.0 for edge in undecided)
    assert sum(plan.pairs) == int(np.ceil(plan.total)) and plan.uniform_total == pytest.approx(3 * max(plan.needed))


def test_measured_as_planned_the_graph_is_decided_and_nothing_more_is_needed(
    plan: PairPlan, result: lcm.FitResult
) -> None:
    truth, first = nature(), sampled(nature(), 4_000)
    permutation = matched(result, first)
    # the plan in the numbering of the nature, three times over: its power is only 90 %
    counts = [3 * plan.pairs[permutation[i]] for i in range(3)]
    parts = [first]
    for i, count in enumerate(counts):
        alone = PerfectInterventionConfig(targets=((i,),)).target_distribution(3)
        model = LatentCausalModel(truth.scm, truth.decoder, truth.intervention, alone)
        parts.append(sampled(model, max(1, count), seed=i + 1))
    x, x_tilde = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "x_tilde"))
    order = np.random.default_rng(0).permutation(len(x))
    again = lcm.fit(x[order], x_tilde[order], model="linear", n=3, quiet=True)
    after = lcm.plan_pairs(again)
    learned = aligned_adjacency(again.graph.adjacency, matched(again, first))
    assert learned.tolist() == truth.graph.adjacency.tolist()
    before = sum(edge.state == "undecided" for edge in plan.edges)
    assert sum(edge.state == "undecided" for edge in after.edges) == 0 < before
    assert after.total == 0.0 and after.ratio == 1.0 and after.shares == (1 / 3, 1 / 3, 1 / 3)
    assert sum(after.pairs) == 0 and "Nothing more is needed for this goal." in str(after)


def test_a_budget_is_spent_to_the_last_pair(result: lcm.FitResult, plan: PairPlan) -> None:
    for budget in (1, 137, 10**6):
        assert sum(lcm.plan_pairs(result, budget=budget).pairs) == budget
    assert lcm.plan_pairs(result, budget=137).needed == plan.needed
    # a goal that is reached leaves nothing to prefer
    reached = lcm.plan_pairs(result, f"effect {result.graph.edges()[0][0]}:{result.graph.edges()[0][1]}", 30, width=5.0)
    assert reached.total == 0.0 and sum(reached.pairs) == 30


def test_the_budget_is_stated_with_what_it_decides(result: lcm.FitResult, plan: PairPlan) -> None:
    assert "Budget" not in str(plan) and plan.budget is None and plan.numbers()["budget"] is None
    undecided = [edge for edge in plan.edges if edge.state == "undecided"]
    assert plan.met == len(undecided) > 1
    small = lcm.plan_pairs(result, budget=int(0.6 * plan.total))
    met = sum(small.pairs[edge.effect] >= edge.pairs for edge in undecided)
    assert 0 < met < len(undecided) and small.numbers()["budget"] == sum(small.pairs)
    said = f"Budget: {sum(small.pairs):,} further pairs, enough to decide {met} of {len(undecided)} undecided edges."
    assert said in str(small)
    assert "enough for 3 of 3 variables." in str(lcm.plan_pairs(result, "variables", 100_000))
    cause, effect = result.graph.edges()[0]
    of_effect = lcm.plan_pairs(result, f"effect {cause}:{effect}", 500, width=0.03)
    now = of_effect.curves[0].planned[0]
    assert 0.03 < of_effect.expected[0] < now
    assert f"the interval is expected to be {of_effect.expected[0]:.2g} wide." in str(of_effect)


def test_edges_are_listed_for_the_graph_alone(result: lcm.FitResult, plan: PairPlan) -> None:
    assert "state       strength" in str(plan)
    assert "state       strength" not in str(lcm.plan_pairs(result, "variables", width=0.1))


def test_broken_rows_of_the_certificate_are_named(result: lcm.FitResult, plan: PairPlan) -> None:
    assert plan.broken == result.certificate.broken == () and "Warning" not in str(plan)
    row = replace(result.certificate.row("acyclic"), verdict="broken")
    found = lcm.plan_pairs(replace(result, stored_certificate=Certificate((row,))))
    assert str(found).startswith(
        "Warning: the certificate says broken (acyclic); all numbers assume that these hold.\n"
    )
    assert found.numbers()["broken"] == ["acyclic"]


def test_the_saving_that_is_quoted_is_the_one_that_was_measured(plan: PairPlan) -> None:
    measured = read_json(Path(__file__).parents[1] / "results" / "plan" / "results.json")
    whole, once = measured["groups"][0], measured["at_once"][2]
    low, high = whole["over uniform interval"]
    share = f"On {whole['natures']} natures, such plans took {whole['over uniform']:.2f} ({low:.2f} to {high:.2f})"
    assert f"{share} of the pairs of equal shares; {once['pairs']:.2f} was expected (results/plan)." in str(plan)


def test_more_is_needed_of_more_power_narrower_intervals_and_weaker_edges(
    result: lcm.FitResult, plan: PairPlan
) -> None:
    assert lcm.plan_pairs(result, power=0.99).total > plan.total
    assert lcm.plan_pairs(result, width=0.02).total > plan.total
    assert lcm.plan_pairs(result, least=0.06).total > plan.total > lcm.plan_pairs(result, least=0.3).total
    assert lcm.plan_pairs(result, false_discovery_rate=0.001).total > plan.total


def test_curves_end_where_the_goal_is_reached(plan: PairPlan) -> None:
    assert plan.curve_kind == "power" and plan.aim == 0.9 and plan.steps[0] == 0.0
    for curve in plan.curves:
        assert (np.diff(curve.planned) >= -1e-9).all() and (np.diff(curve.uniform) >= -1e-9).all()
        assert np.interp(plan.total, plan.steps, curve.planned) > 0.88
    assert plan.steps[-1] > plan.total


def test_variables_are_levelled(result: lcm.FitResult) -> None:
    found = lcm.plan_pairs(result, "variables", width=0.1)
    seldom = rare(result)
    assert found.needed[seldom] == found.total > 0.0 and found.pairs[seldom] == sum(found.pairs)
    assert found.curve_kind == "width" and found.uniform_total == pytest.approx(3 * found.total)
    # a large budget raises all to one level
    many = lcm.plan_pairs(result, "variables", 100_000)
    np.testing.assert_allclose(np.add(many.past, many.pairs), np.mean(np.add(many.past, many.pairs)), atol=1.0)


def test_an_effect_needs_the_targets_on_its_paths(result: lcm.FitResult) -> None:
    (cause, effect) = result.graph.edges()[0]
    found = lcm.plan_pairs(result, f"effect {cause}:{effect}", width=0.03)
    assert found.total > 0.0 and found.pairs[effect] == max(found.pairs) and found.pairs[cause] == 0
    assert found.total <= found.uniform_total * (1 + 1e-9)
    width = np.interp(found.total, found.steps, found.curves[0].planned)
    assert width == pytest.approx(0.03, rel=0.05)


def test_information_and_slopes_are_those_of_the_model() -> None:
    model = nature()
    z = model.scm.sample(50_000, torch_generator(1, "check")).double().numpy()
    weight = np.cov(z[:, :2].T)[0, 1] / z[:, 0].var()
    slopes = mean_slopes(model)
    assert slopes[0, 1] == pytest.approx(weight * z[:, 0].std() / z[:, 1].std(), rel=0.05)
    assert np.count_nonzero(slopes) == 1
    found = information(model)
    # z1 varies by its parent too, but an imposed value does not: a strength of 1 shows more
    assert found[0, 1] == pytest.approx(z[:, 1].var(), rel=0.1) and found[1, 0] == pytest.approx(
        1 / z[:, 1].var(), rel=0.1
    )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "goal": ({"goal": "edges"}, "goal: Expected graph, variables or effect I:J; got 'edges'"),
    "effect of one variable by name": ({"goal": "effect z1:z1"}, r"goal: Expected two different variables in 0\.\."),
    "effect without variables": ({"goal": "effect 1"}, "goal: Expected effect I:J with two variables; got effect '1'"),
    "variable": ({"goal": "effect 0:3"}, r"goal: Expected two different variables in 0\.\.2; got 0 and 3"),
    "one variable": ({"goal": "effect 1:1"}, r"goal: Expected two different variables in 0\.\.2; got 1 and 1"),
    "budget": ({"budget": 0}, "budget: Expected 1 to 1,000,000,000 further pairs; got 0"),
    "width": ({"width": 0.0}, "width: Expected a finite width above 0; got 0"),
    "no width": ({"width": float("nan")}, "width: Expected a finite width above 0; got nan"),
    "power": ({"power": 1.0}, "power: Expected a probability strictly between 0 and 1; got 1"),
    "least": ({"least": 0.02}, "least: Expected a strength above 0.02, which the tests count as none; got 0.02"),
    "rate": ({"false_discovery_rate": 1.0}, "Expected a false discovery rate strictly between 0 and 1; got 1.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_out_of_range_is_refused(name: str, result: lcm.FitResult) -> None:
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        lcm.plan_pairs(result, **options)


def test_no_path_against_the_order(result: lcm.FitResult) -> None:
    cause, effect = result.graph.edges()[0]
    with pytest.raises(ValueError, match=f"goal: Expected a cause and its possible effect; got z{effect} and z{cause}"):
        lcm.plan_pairs(result, f"effect {effect}:{cause}")


def test_a_fit_without_p_values_is_refused(result: lcm.FitResult) -> None:
    bare = replace(result, found=replace(result.found, evidence=None))
    with pytest.raises(ValueError, match="Expected a fit with p-values; got one of linear, whose graph has none"):
        lcm.plan_pairs(bare)


def test_a_model_without_mechanisms_is_refused(result: lcm.FitResult) -> None:
    class Other:
        n = 3

    with pytest.raises(ValueError, match="Expected a fit of a causal model; got one of linear"):
        lcm.plan_pairs(replace(result, model=Other()))  # type: ignore[arg-type]


def test_the_command_writes_what_it_prints(
    uneven_folder: Path, plan: PairPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "next"
    said = called(capsys, "plan", uneven_folder, "--out", out)
    assert said.startswith(str(plan)) and str(out / "targets.yaml") in said
    written = read_json(out / "plan.json")
    assert written["pairs"] == list(plan.pairs) and written["ratio"] == pytest.approx(plan.ratio)
    assert written["goal"] == "graph" and len(written["edges"]) == len(plan.edges)
    assert written["curves"]["kind"] == "power" and len(written["curves"]["further"]) == len(plan.steps)
    assert (out / "plan.png").read_bytes().startswith(b"\x89PNG")
    targets = yaml.safe_load((out / "targets.yaml").read_text())
    np.testing.assert_allclose(targets["probabilities"], plan.shares, atol=1e-8)
    assert PerfectInterventionConfig(targets="atomic", probabilities=tuple(targets["probabilities"]))
    assert called(capsys, "plan", uneven_folder, "--quiet") == ""
    again = refused(capsys, "plan", uneven_folder, "--out", out)
    assert "Expected a folder without another plan; got one with plan.json (use --overwrite or another folder)" in again
    assert str(out / "plan.json") in called(capsys, "plan", uneven_folder, "--out", out, "--overwrite")


def test_options_of_the_command_are_arguments(uneven_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "--goal",
        "variables",
        "--budget",
        "50",
        "--width",
        "0.1",
        "--power",
        "0.8",
        "--least",
        "0.2",
        "--fdr",
        "0.1",
    ]
    options: dict[str, Any] = {"width": 0.1, "power": 0.8, "least": 0.2, "false_discovery_rate": 0.1}
    expected = lcm.plan_pairs(uneven_folder, "variables", 50, **options)
    assert called(capsys, "plan", uneven_folder, *argv) == f"{expected}\n"


def test_the_command_refuses_in_one_line(
    uneven_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "goal: Expected graph, variables" in refused(capsys, "plan", uneven_folder, "--goal", "edges")
    assert "no such folder" in refused(capsys, "plan", tmp_path / "none")
    (tmp_path / "file").write_text("")
    assert "Expected a folder to write to" in refused(capsys, "plan", uneven_folder, "--out", tmp_path / "file")


def measured_shares(truth: Path) -> NDArray[np.float64]:
    """The share of each of three variables among all targets of a protocol."""
    counts = np.bincount([target for row in read_json(truth)["targets"] for target in row], minlength=3)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def test_a_protocol_has_the_planned_targets(
    uneven_folder: Path, plan: PairPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "plan", uneven_folder, "--out", tmp_path / "next")
    out = tmp_path / "protocol.txt"
    argv = ["protocol", uneven_folder, "--pairs", "2000", "--targets", tmp_path / "next" / "targets.yaml", "--out", out]
    called(capsys, *argv)
    np.testing.assert_allclose(measured_shares(tmp_path / "protocol.json"), plan.shares, atol=0.05)
    # without the option, the targets are those of the fit
    called(capsys, *argv[:4], "--out", out)
    np.testing.assert_allclose(measured_shares(tmp_path / "protocol.json"), plan.past_shares, atol=0.05)


BAD_TARGETS = {
    "targets: atomic\nprobabilities: [0.5, 0.5]\n": "targets.yaml: Expected 3 probabilities, one for each target set",
    "targets: atomic\nprobabilities: [0.5, 0.5, 0.5]\n": "Expected probabilities that sum to 1",
    "targets: [[0], [7]]\n": "targets.yaml: Expected intervention targets in 0..2; got 7",
    "probabilities: [1.0]\n": "targets.yaml",
}


@pytest.mark.parametrize("text", BAD_TARGETS)
def test_bad_targets_are_one_line(
    text: str, uneven_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "targets.yaml").write_text(text)
    argv = [
        "protocol",
        uneven_folder,
        "--pairs",
        "5",
        "--targets",
        tmp_path / "targets.yaml",
        "--out",
        tmp_path / "p.txt",
    ]
    assert BAD_TARGETS[text] in refused(capsys, *argv)
    assert not (tmp_path / "p.txt").exists()


@pytest.mark.parametrize("pairs", [(1, 1, 1, 0), (3, 7, 11, 0), (1, 2, 4, 8, 16, 0), (0, 5, 0), (0, 0, 0)])
def test_recommended_targets_are_probabilities(pairs: tuple[int, ...]) -> None:
    n, needed = len(pairs), tuple(map(float, pairs))
    names = {"names": tuple(f"z{i}" for i in range(n)), "related": ("",) * n}
    asked = {"false_discovery_rate": 0.05, "power": 0.9, "width": 0.2, "least": 0.1}
    curves: dict[str, Any] = {"curves": (), "steps": (), "uniform_total": 900.0, "curve_kind": "power", "aim": 0.9}
    plan = PairPlan("graph", None, (), (50.0,) * n, needed, pairs, edges=(), **curves, **names, **asked)  # type: ignore[arg-type]
    listed = yaml.safe_load(plan.targets_yaml())["probabilities"]
    assert min(listed) >= 0.0 and sum(listed) == pytest.approx(1.0, abs=1e-12)
