"""The public API: what `lcm.<tab>` offers, its examples, and the ten lines of the README, in every kind of array."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from small import small_data, without

import lcm
from lcm.model.pair_model import PairModel

pytestmark = pytest.mark.usefixtures("cheap_scores")

ROOT = Path(__file__).parent.parent
KINDS: dict[str, Callable[[NDArray[np.float32]], Any]] = {
    "array": lambda x: x,
    "float64 array": lambda x: x.astype(np.float64),
    "tensor": lambda x: torch.from_numpy(x.copy()),
    "frame": lambda x: pd.DataFrame(x, columns=["speed", "height"], index=np.arange(len(x)) + 100),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def result() -> lcm.FitResult:
    return lcm.fit(without(small_data("linear", 2000), "targets"), model="linear", quiet=True)


def test_tab_offers_exactly_the_public_names() -> None:
    assert dir(lcm) == sorted(lcm.__all__)
    assert all(getattr(lcm, name) is not None for name in lcm.__all__)
    with pytest.raises(AttributeError, match="module 'lcm' has no attribute 'fits'"):
        lcm.fits  # noqa: B018


@pytest.mark.parametrize("name", [name for name in lcm.__all__ if name != "__version__"])
def test_every_public_name_has_an_example_that_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    public = getattr(lcm, name)
    documented = inspect.getdoc(public) or ""
    assert ">>>" in documented, f"lcm.{name} has no example"
    test = doctest.DocTestParser().get_doctest(documented, {}, name, None, 0)
    found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL).run(test)
    assert found.attempted > 0 and found.failed == 0


@every_kind
def test_what_is_given_in_one_kind_comes_back_in_it(kind: str, result: lcm.FitResult) -> None:
    data = small_data("linear", 2000)
    x, x_tilde = (KINDS[kind](part[:50]) for part in (data.x, data.x_tilde))
    z = result.encode(x)
    acted = result.model.counterfactual(x, lcm.Do({0: 1.0}))
    density = result.model.log_prob(x, x_tilde)
    assert type(z) is type(acted) is type(x) and z.shape == acted.shape == (50, 2) and len(density) == 50
    np.testing.assert_allclose(np.asarray(result.encode(acted))[:, 0], 1.0, atol=1e-4)
    if kind == "frame":
        assert list(z.columns) == ["z0", "z1"] and list(acted.columns) == ["speed", "height"]
        assert z.index.equals(x.index) and acted.index.equals(x.index) and density.index.equals(x.index)


@every_kind
def test_a_fit_is_the_same_whatever_the_kind(kind: str, result: lcm.FitResult) -> None:
    data = small_data("linear", 2000)
    again = lcm.fit(KINDS[kind](data.x), KINDS[kind](data.x_tilde), model="linear", quiet=True)
    np.testing.assert_array_equal(again.edge_strength, result.edge_strength)
    assert again.columns == (("speed", "height") if kind == "frame" else ())


def _edge_strengths(found: Any) -> NDArray[np.float64]:
    return (found.result_ if isinstance(found, lcm.LatentCausalRepresentation) else found).edge_strength


OF_PAIRS: dict[str, Callable[[lcm.FitResult, Path, Any, Any], Any]] = {
    "PairData": lambda _, __, x, after: lcm.load_pairs(x, after).x,
    "evaluate": lambda result, _, *pairs: lcm.evaluate(result, *pairs, keys=("nll",))["nll"],
    "find_isomorphism": lambda result, _, x, after: lcm.find_isomorphism(result, result, x, x_tilde=after).r2,
    "check_pairs": lambda _, __, *pairs: lcm.check_pairs(*pairs)["singular_values"],
    "fit": lambda _, __, *pairs: _edge_strengths(lcm.fit(*pairs, model="linear", quiet=True)),
    "fit_ensemble": lambda _, __, x, after: _edge_strengths(
        lcm.fit_ensemble(x, [lcm.FitConfig(model="linear")], x_tilde=after)[0]
    ),
    "load_pairs": lambda _, __, *pairs: lcm.load_pairs(*pairs).x_tilde,
    "LatentCausalRepresentation": lambda _, __, *pairs: _edge_strengths(
        lcm.LatentCausalRepresentation(model="linear").fit(*pairs)
    ),
    "refit": lambda result, _, *pairs: lcm.refit(result, *pairs, halves=4, quiet=True).edge_interval(),
    "save_pairs": lambda _, folder, *pairs: (
        lcm.save_pairs(folder / "saved.npz", *pairs),
        lcm.load_pairs(folder / "saved.npz").x_tilde,
    )[1],
    "result.certify": lambda result, _, *pairs: [row.p_value for row in result.certify(*pairs).rows],
    "result.encode_pairs": lambda result, _, *pairs: np.asarray(result.encode_pairs(*pairs).posterior),
    "result.log_prob": lambda result, _, *pairs: result.log_prob(*pairs),
    "estimator.score": lambda _, __, *pairs: lcm.LatentCausalRepresentation(model="linear").fit(*pairs).score(*pairs),
}
"""What takes pairs, by name, as a call with x and x_tilde; whoever writes a new one adds a line."""


@pytest.mark.parametrize("name", OF_PAIRS)
def test_what_takes_pairs_takes_files_objects_and_arrays(name: str, result: lcm.FitResult, tmp_path: Path) -> None:
    data = without(small_data("linear", 400), "targets", "z", "z_tilde", "noise", "noise_tilde", "adjacency")
    lcm.save_pairs(tmp_path / "pairs.safetensors", data)
    for key, part in (("x", data.x), ("after", data.x_tilde)):
        pd.DataFrame(part, columns=["speed", "height"]).to_csv(tmp_path / f"{key}.csv", index=False)
    given = [
        (data, None),
        (str(tmp_path / "pairs.safetensors"), None),
        (tmp_path / "x.csv", tmp_path / "after.csv"),
        (data.x, data.x_tilde),
    ]
    answers = [OF_PAIRS[name](result, tmp_path, *pairs) for pairs in given]
    for answer in answers[1:]:
        np.testing.assert_array_equal(np.asarray(answer, float), np.asarray(answers[0], float))


def test_the_law_of_pairs_covers_every_public_name_that_takes_them() -> None:
    taking = {
        name
        for name in lcm.__all__
        if callable(public := getattr(lcm, name))
        and {"x", "data", "pairs"} & set(inspect.signature(getattr(public, "fit", public)).parameters)
    }
    assert taking <= set(OF_PAIRS) | {"FitResult"}


def test_frames_are_aligned_by_their_labels(result: lcm.FitResult) -> None:
    data = small_data("linear", 2000)
    x, x_tilde = (KINDS["frame"](part) for part in (data.x, data.x_tilde))
    turned = x_tilde.iloc[::-1][["height", "speed"]]
    pairs = lcm.load_pairs(x, turned)
    np.testing.assert_array_equal(pairs.x_tilde, data.x_tilde)
    z = result.encode(pairs)
    assert list(z.columns) == ["z0", "z1"] and z.index.equals(x.index)
    with pytest.raises(ValueError, match="x_tilde: Expected the columns of x; got none named 'height', but 'width'"):
        lcm.load_pairs(x, x_tilde.rename(columns={"height": "width"}))
    with pytest.raises(ValueError, match="x_tilde: Expected rows with the labels of x, each once; got others"):
        lcm.load_pairs(x, x_tilde.set_axis(np.arange(len(x)), axis=0))


def test_a_result_prints_itself_and_holds_what_was_found(result: lcm.FitResult) -> None:
    page = str(result)
    assert page.startswith("Fitted 2 causal variables to 2,000 pairs") and "z" in page
    assert result.p_values is not None and result.p_values.shape == (2, 2)
    assert result.graph == result.model.graph and sorted(result.order) == [0, 1]
    assert "# Fit of the model linear" in result.report()
    assert result.doubts == ()


def test_save_and_load_give_the_result_back(result: lcm.FitResult, tmp_path: Path) -> None:
    lcm.save(result, tmp_path / "run")
    again = lcm.load(tmp_path / "run")
    assert str(again) == str(result) and again.report() == result.report()
    np.testing.assert_array_equal(again.p_values, result.p_values)
    x = small_data("linear").x
    np.testing.assert_array_equal(again.encode(x), result.encode(x))
    with pytest.raises(ValueError, match="Expected a folder without another run; got a finished run"):
        lcm.save(result, tmp_path / "run")
    lcm.save(again, tmp_path / "other")
    assert str(lcm.load(tmp_path / "other")) == str(result)
    lcm.save(result.model, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(lcm.load(tmp_path / "model.safetensors").encode(x).z, result.encode(x))


def test_errors_name_the_folder_where_its_path_does_not(
    result: lcm.FitResult, tmp_path: Path, figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "inner").mkdir(parents=True)
    for at, path in (("here", "."), ("here", ""), ("here/inner", "..")):
        monkeypatch.chdir(tmp_path / at)
        with pytest.raises(ValueError, match=r"/here/run\.json: Expected a file; got no such file"):
            lcm.load(path)
    (tmp_path / "here" / "inner").rmdir()
    monkeypatch.chdir(tmp_path / "here")
    lcm.save(result, ".")
    assert "here/config.yaml --out" in Path("report.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"/here: Expected a folder without another run; got a finished run"):
        lcm.save(result, ".")


def test_evaluate_gives_the_keys_of_the_command(result: lcm.FitResult) -> None:
    from lcm.metric.scores import KEYS

    scores = lcm.evaluate(result, small_data("linear", 2000, seed=0))
    assert tuple(scores) == tuple(KEYS)
    assert scores["mcc"] > 0.99 and scores["shd"] == 0 and scores["fit_seconds"] == result.seconds
    assert scores["edge_auroc"] == 1.0


@pytest.mark.parametrize("model", ["flow", "dvae"])
def test_every_model_answers_or_says_that_it_cannot(model: str) -> None:
    from test_models import CONFIG

    from lcm.run.config import FitConfig

    data = small_data("linear")
    config: FitConfig = CONFIG
    fitted: PairModel = lcm.fit(data, config=config, model=model, quiet=True).model
    assert fitted.encode(data.x[0]).z.shape == (2,) and fitted.log_prob(data.x[:3], data.x_tilde[:3]).shape == (3,)
    if model == "flow":
        assert fitted.sample(5, seed=1).x.shape == (5, 2)
        return
    for asked in (lambda: fitted.sample(5), lambda: fitted.counterfactual(data.x, lcm.Do({0: 1.0}))):
        with pytest.raises(NotImplementedError, match="A model of kind dvae has no mechanisms to"):
            asked()
    with pytest.raises(ValueError, match=r"x: Expected shape \(N, 2\), as the model's observations; got \(3, 4\)"):
        fitted.encode(np.zeros((3, 4)))


def test_a_torch_device_and_threads_are_taken() -> None:
    before = torch.get_num_threads()
    data = small_data("linear")
    first = lcm.fit(data, model="linear", device=torch.device("cpu"), threads=1, quiet=True)
    assert first.model.n == 2 and torch.get_num_threads() == before


def test_every_option_of_the_command_is_an_argument(tmp_path: Path) -> None:
    from lcm.app.cli import _parsers

    options = {action.dest for action in _parsers()[1]["fit"]._actions}
    arguments = set(inspect.signature(lcm.fit).parameters)
    assert options - arguments == {"help", "data", "after", "after_mark", "debug"}
    assert arguments - options == {"x", "x_tilde"}
    data = small_data("linear")
    first = lcm.fit(data, model="linear", quiet=True, out=tmp_path / "run")
    with pytest.raises(ValueError, match="Expected a folder without another run; got a finished run"):
        lcm.fit(data, model="linear", quiet=True, out=tmp_path / "run")
    again = lcm.fit(data, model="linear", quiet=True, out=tmp_path / "run", overwrite=True, seed=1)
    assert lcm.load(tmp_path / "run").report() == again.report() and first.config.seed == 0
