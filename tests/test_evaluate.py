"""All scores together: perfect for the truth itself, indifferent to its labels, null where it is not known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from laws import PERMUTATION, default_dtype, negative_affine
from small import relabelled, sampled, small_data, small_nature, thick_nature, without

from lcm.app.commands.evaluate import DESCRIPTION
from lcm.data.encode import encode_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism import Isomorphism
from lcm.metric.case import GROUPS, Metric
from lcm.metric.scores import KEYS, METRICS, evaluate
from lcm.model.intervention import PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel

CONTRACT = {
    "n_variables",
    "mcc",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness_r2",
    "r2",
    "intervention_accuracy",
    "shd",
    "edge_precision",
    "edge_recall",
    "edge_f1",
    "graph_isomorphic",
    "permutation",
    "nll",
    "fit_seconds",
}
NEEDS_Z = {
    "mcc",
    "mcc_pearson",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness_r2",
    "r2",
    "r2_per_variable",
    "permutation",
    "mcc_cauca",
    "kernel_r2",
    "kernel_r2_matched",
    "tmex",
}
NEEDS_NATURE = {"ate_error", "interventional_mmd"}
COUNTERFACTUAL = {"counterfactual_error_z", "counterfactual_error_x"}
NEEDS_TARGETS = {"intervention_accuracy", "intervention_calibration_error"}
NEEDS_GRAPH = {"shd", "edge_precision", "edge_recall", "edge_f1", "edge_auroc"}
MISSING: dict[tuple[str, ...], set[str]] = {
    (): set(),
    ("targets",): NEEDS_TARGETS | COUNTERFACTUAL,
    ("z_tilde",): COUNTERFACTUAL,
    ("adjacency",): NEEDS_GRAPH | {"graph_isomorphic"},
    ("z",): NEEDS_Z | NEEDS_TARGETS | NEEDS_GRAPH | COUNTERFACTUAL,
    ("z", "targets"): NEEDS_Z | NEEDS_TARGETS | NEEDS_GRAPH | COUNTERFACTUAL,
    ("z", "z_tilde", "noise", "noise_tilde", "targets", "adjacency"): (
        NEEDS_Z | NEEDS_TARGETS | NEEDS_GRAPH | COUNTERFACTUAL | {"graph_isomorphic"}
    ),
}


@pytest.fixture(scope="module")
def model() -> LatentCausalModel:
    return thick_nature(3)


@pytest.fixture(scope="module")
def data(model: LatentCausalModel) -> PairData:
    return sampled(model, 1500)


def strength(model: LatentCausalModel) -> np.ndarray:
    values: np.ndarray = model.scm.graph.adjacency * np.linspace(0.5, 1.5, model.n**2).reshape(model.n, model.n)
    return values


FURTHER = {"mcc_pearson", "r2_per_variable", "edge_auroc", "intervention_calibration_error"}
FURTHER |= {"mcc_cauca", "kernel_r2", "kernel_r2_matched", "tmex"} | NEEDS_NATURE | COUNTERFACTUAL


@pytest.fixture(scope="module")
def scores(model: LatentCausalModel, data: PairData) -> dict[str, Any]:
    return evaluate(model, data, edge_strength=strength(model), fit_seconds=1.5)


def test_the_keys_are_those_of_the_contract_and_more(scores: dict[str, Any]) -> None:
    assert set(scores) == CONTRACT | FURTHER == set(KEYS)


def test_every_key_is_documented() -> None:
    for key, metric in METRICS.items():
        assert metric.key == key and len(metric.about.split()) > 3


def test_the_truth_scores_perfectly_against_itself(scores: dict[str, Any]) -> None:
    assert scores["n_variables"] == 3 and scores["permutation"] == [0, 1, 2] and scores["fit_seconds"] == 1.5
    assert scores["mcc"] > 0.9999 and scores["mcc_pearson"] > 0.9999
    assert scores["r2"] > 0.99 and len(scores["r2_per_variable"]) == 3
    assert scores["r2"] == pytest.approx(np.mean(scores["r2_per_variable"]))
    assert scores["dci_disentanglement"] > 0.95 and scores["dci_completeness"] > 0.95
    assert scores["dci_informativeness_r2"] > 0.95
    assert scores["intervention_accuracy"] > 0.97
    assert scores["shd"] == 0 and scores["graph_isomorphic"] is True
    assert [scores[key] for key in ("edge_precision", "edge_recall", "edge_f1", "edge_auroc")] == [1.0] * 4


def test_nll_is_the_mean_over_the_pairs(model: LatentCausalModel, data: PairData, scores: dict[str, Any]) -> None:
    log_density = model.pair_log_density(torch.from_numpy(data.x), torch.from_numpy(data.x_tilde))
    assert scores["nll"] == pytest.approx(-float(log_density.mean()), abs=1e-4)


@pytest.mark.parametrize("keys", MISSING, ids="+".join)
def test_what_has_no_truth_is_null_and_nothing_else(
    keys: tuple[str, ...], model: LatentCausalModel, data: PairData, scores: dict[str, Any]
) -> None:
    small = PairData.from_arrays(
        **{key: value if key == "adjacency" else value[:200] for key, value in data.tensors().items()}
    )
    found = evaluate(model, without(small, *keys), edge_strength=strength(model), fit_seconds=1.5)
    assert {key for key, value in found.items() if value is None} == MISSING[keys] | NEEDS_NATURE
    assert found.keys() == scores.keys()


def test_what_is_not_given_is_null(model: LatentCausalModel, data: PairData) -> None:
    found = evaluate(model, without(data, "z"))
    assert found["fit_seconds"] is None and found["edge_auroc"] is None


def test_the_labels_of_the_true_variables_do_not_matter(
    model: LatentCausalModel, data: PairData, scores: dict[str, Any]
) -> None:
    order = [2, 0, 1]
    found = evaluate(model, relabelled(data, order), edge_strength=strength(model), fit_seconds=1.5)
    assert found.pop("permutation") == order
    expected = {key: value for key, value in scores.items() if key != "permutation"}
    expected["r2_per_variable"] = [scores["r2_per_variable"][variable] for variable in order]
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-9), key


def test_labels_and_units_of_the_learned_variables_do_not_matter() -> None:
    with default_dtype(torch.float64):
        model = thick_nature(4)
        data = sampled(model, 400)
        image = Isomorphism(PERMUTATION, negative_affine(), negative_affine()).apply(model)
    moved = np.empty((4, 4))
    moved[np.ix_(PERMUTATION, PERMUTATION)] = strength(model)
    plain = evaluate(model, data, edge_strength=strength(model))
    found = evaluate(image, data, edge_strength=moved)
    assert found["permutation"] == list(PERMUTATION)
    for key in ("mcc", "mcc_pearson", "nll", *NEEDS_GRAPH, *NEEDS_TARGETS, "graph_isomorphic"):
        assert found[key] == pytest.approx(plain[key], abs=1e-6), key
    # Trees look at the learned variables in another order, and splines at mirrored ones.
    for key in ("dci_disentanglement", "dci_completeness", "dci_informativeness_r2", "r2"):
        assert found[key] == pytest.approx(plain[key], abs=0.05), key


def test_another_graph_is_scored_by_the_permutation(model: LatentCausalModel, data: PairData) -> None:
    assert data.adjacency is not None
    tensors = data.tensors() | {"adjacency": data.adjacency.T}
    found = evaluate(model, PairData.from_arrays(**tensors), keys=("shd", "edge_f1", "graph_isomorphic"))
    assert found["shd"] == 3 and found["edge_f1"] == 0.0
    # A full graph turned round is a full graph.
    assert found["graph_isomorphic"] is True


def test_sets_that_the_model_does_not_have_are_wrong() -> None:
    nature = thick_nature(3, PerfectInterventionConfig(targets=((0, 1), (2,)), probabilities=(0.5, 0.5)))
    data = sampled(nature, 400)
    assert data.targets is not None
    found = evaluate(thick_nature(3), data, keys=("intervention_accuracy",))
    single = data.targets.sum(1) == 1
    assert found["intervention_accuracy"] <= single.mean()


def test_more_true_variables_than_learned_ones() -> None:
    data = small_data("linear", 400)
    assert data.z is not None and data.targets is not None
    extra = np.random.default_rng(0).standard_normal((400, 1))
    wider = PairData.from_arrays(
        data.x,
        data.x_tilde,
        z=np.hstack([extra, data.z]),
        targets=np.hstack([np.zeros((400, 1), dtype=np.bool_), data.targets]),
        adjacency=np.pad(data.tensors()["adjacency"], ((1, 0), (1, 0))),
    )
    found = evaluate(small_nature("linear"), wider, edge_strength=np.eye(2)[::-1])
    assert found["permutation"] == [-1, 0, 1] and found["n_variables"] == 2
    assert found["mcc"] == pytest.approx(2 / 3, abs=1e-3) and found["graph_isomorphic"] is False
    assert found["shd"] == 0 and found["r2_per_variable"][0] == 0.0


def test_a_pair_whose_target_no_learned_variable_is_never_counts_as_right() -> None:
    nature, data = small_nature("linear"), small_data("linear", 400)
    assert data.z is not None and data.targets is not None
    extra = np.random.default_rng(0).standard_normal((400, 1))
    untouched = ~data.targets.any(1)
    # the targets of the pairs in which nothing else changes are the variable that no learned one stands for
    targets = np.hstack([untouched[:, None], data.targets])
    truth = {"z": np.hstack([extra, data.z]), "adjacency": np.pad(data.tensors()["adjacency"], ((1, 0), (1, 0)))}
    wider = PairData.from_arrays(data.x, data.x_tilde, targets=targets, **truth)
    accuracy = ("intervention_accuracy",)
    before = evaluate(nature, data, keys=accuracy)["intervention_accuracy"]
    assert before > 0.95 and untouched.mean() > 0.2
    lost = evaluate(nature, wider, keys=accuracy)["intervention_accuracy"]
    assert lost == pytest.approx(before - untouched.mean(), abs=0.02)


@pytest.mark.parametrize("rows", [1, 2, 9, 10])
def test_few_rows_give_null_and_no_nan(rows: int, model: LatentCausalModel, data: PairData) -> None:
    few = PairData.from_arrays(
        **{key: value if key == "adjacency" else value[:rows] for key, value in data.tensors().items()}
    )
    found = evaluate(model, few, edge_strength=strength(model))
    json.dumps(found, allow_nan=False)
    kernel = ("kernel_r2", "kernel_r2_matched")
    for key in ("dci_disentanglement", "dci_completeness", "dci_informativeness_r2", "r2", "r2_per_variable", *kernel):
        assert (found[key] is None) == (rows < 10)
    assert all(found[key] is None for key in ("tmex", *COUNTERFACTUAL))


def test_a_constant_true_variable_is_no_nan(model: LatentCausalModel, data: PairData) -> None:
    assert data.z is not None
    tensors = data.tensors() | {"z": data.z * np.array([1.0, 0.0, 1.0])}
    found = evaluate(model, PairData.from_arrays(**{k: v if k == "adjacency" else v[:200] for k, v in tensors.items()}))
    json.dumps(found, allow_nan=False)
    assert found["mcc"] == pytest.approx(2 / 3, abs=1e-3) and found["r2_per_variable"][1] == 0.0


def test_graphs_without_edges() -> None:
    model = small_nature("linear")
    data = small_data("linear", 100)
    empty = PairData.from_arrays(**(data.tensors() | {"adjacency": np.zeros((2, 2), dtype=np.uint8)}))
    found = evaluate(model, empty, edge_strength=np.zeros((2, 2)))
    assert found["edge_precision"] == 0.0 and found["edge_recall"] == 1.0 and found["edge_auroc"] is None


def test_a_likelihood_that_is_not_finite_is_null(model: LatentCausalModel, data: PairData) -> None:
    few = without(PairData.from_arrays(data.x[:5], data.x_tilde[:5]))
    encoded = encode_pairs(model, few)
    broken = encoded._replace(log_density=torch.full((5,), -torch.inf))
    assert evaluate(model, few, encoded=broken)["nll"] is None


def test_an_exact_model_has_a_finite_likelihood() -> None:
    found = evaluate(small_nature("linear"), without(small_data("linear", 50), "z"))
    assert np.isfinite(found["nll"])


def test_encodings_that_are_not_finite_are_refused(model: LatentCausalModel, data: PairData) -> None:
    encoded = encode_pairs(model, data)
    encoded.z[3, 1] = torch.nan
    with pytest.raises(ValueError, match="Expected finite learned variables; got 1 rows that are not"):
        evaluate(model, data, encoded=encoded)


def test_strengths_of_another_size_are_refused(model: LatentCausalModel, data: PairData) -> None:
    with pytest.raises(ValueError, match=r"^edge_strength: Expected shape \(3, 3\); got \(2, 2\)"):
        evaluate(model, data, edge_strength=np.zeros((2, 2)))


def test_another_dimension_is_refused(model: LatentCausalModel) -> None:
    with pytest.raises(ValueError, match=r"^x: Expected shape \(N, 3\), .*; got \(20, 2\)"):
        evaluate(model, small_data("linear", 20))


def test_images_are_refused(model: LatentCausalModel) -> None:
    images = np.zeros((4, 1, 3, 1), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"^x: Expected shape \(N, 3\)"):
        evaluate(model, PairData.from_arrays(images, images))


def test_seeded_scores_are_the_same_twice_and_on_any_number_of_threads(
    model: LatentCausalModel, data: PairData, scores: dict[str, Any]
) -> None:
    assert evaluate(model, data, edge_strength=strength(model), fit_seconds=1.5, n_jobs=1) == scores


def test_the_pearson_match_is_its_own() -> None:
    data = small_data("linear", 400)
    assert data.z is not None
    # by ranks the first learned variable is the first true one; by values, which outliers dominate, the second
    learned = data.z.astype(np.float64).copy()
    learned[0] = [40.0, -40.0]
    true = data.z.astype(np.float64).copy()
    true[0] = [-40.0, 50.0]
    true[1:, 0] += true[1:, 1]
    pairs = PairData.from_arrays(data.x, data.x_tilde, z=true)
    model = small_nature("linear")
    encoded = encode_pairs(model, pairs)._replace(z=torch.from_numpy(learned))
    found = evaluate(model, pairs, encoded=encoded)
    table = np.abs(np.corrcoef(true.T, learned.T)[:2, 2:])
    best = max(table[0, 0] + table[1, 1], table[0, 1] + table[1, 0]) / 2
    assert found["mcc_cauca"] == pytest.approx(best, abs=1e-6) and found["mcc_cauca"] >= found["mcc_pearson"]


def test_a_group_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^pairs: Expected a group of variables, .*, further; got 'others'\.$"):
        Metric("pairs", "number of pairs", lambda case: len(case.learned), group="others")


def test_every_score_is_in_the_help_under_its_group() -> None:
    heads, group = {"dci_*": "dci_", "edge_*": "edge_"}, ""
    named: dict[str, str] = {}
    for line in DESCRIPTION.splitlines():
        group = line.rstrip(":") if line.rstrip(":") in GROUPS else group
        if line.startswith("  ") and not line.startswith("   "):
            for name in line[2:].partition("  ")[0].split(", "):
                named |= {
                    key: group for key in METRICS if key == name.split(" ")[0] or key.startswith(heads.get(name, "-"))
                }
    assert named == {key: metric.group for key, metric in METRICS.items()}


def test_every_score_is_in_the_table_of_the_docs_under_its_group() -> None:
    text = (Path(__file__).parent.parent / "docs" / "scores.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", text, flags=re.MULTILINE)
    assert rows == [(key, metric.group) for group in GROUPS for key, metric in METRICS.items() if metric.group == group]
