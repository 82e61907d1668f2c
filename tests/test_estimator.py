"""The scikit-learn estimator: scikit-learn's own checks, and their laws again on data that can be fitted."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from small import small_data

import lcm
from lcm import LatentCausalRepresentation

FEW = "fits fewer rows than 50 (n + 1) pairs, of columns that are no pairs"
CANNOT = dict.fromkeys(
    (
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_fit_returns_self",
        "check_estimators_nan_inf",
        "check_estimators_overwrite_params",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit2d_1feature",
        "check_fit2d_predict1d",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_n_features_in",
        "check_n_features_in_after_fitting",
        "check_pipeline_consistency",
        "check_positive_only_tag_during_fit",
        "check_readonly_memmap_input",
        "check_transformer_data_not_an_array",
        "check_transformer_general",
        "check_transformer_preserve_dtypes",
    ),
    FEW,
)
"""Checks of scikit-learn that fit data of their own, which no model of pairs can be fitted to."""


@parametrize_with_checks(
    [LatentCausalRepresentation(model="linear")],
    expected_failed_checks=lambda _: CANNOT,
    xfail_strict=True,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


X: NDArray[np.float32] = small_data("linear", 1000).x
X_TILDE: NDArray[np.float32] = small_data("linear", 1000).x_tilde


def fitted(**options: Any) -> LatentCausalRepresentation:
    return LatentCausalRepresentation(model="linear", **options).fit(X, X_TILDE)


def test_stacked_pairs_are_the_same_as_two_arguments() -> None:
    stacked = LatentCausalRepresentation(model="linear").fit(np.vstack([X, X_TILDE]))
    np.testing.assert_array_equal(stacked.transform(X), fitted().transform(X))
    with pytest.raises(ValueError, match="X: Expected x and x_tilde stacked, an even number of rows; got 999"):
        LatentCausalRepresentation(model="linear").fit(X[:999])
    with pytest.raises(ValueError, match="x: Expected at least 150 pairs"):
        LatentCausalRepresentation(model="linear").fit(X[:100])


def test_a_fit_is_idempotent_and_leaves_its_parameters_and_data_alone() -> None:
    before, x = X.copy(), np.asfortranarray(X)
    learner = LatentCausalRepresentation(n=2, model="linear", seed=3)
    parameters = learner.get_params()
    x.setflags(write=False)
    first = learner.fit(x, X_TILDE).transform(X)
    np.testing.assert_array_equal(learner.fit(X, X_TILDE).transform(X), first)
    np.testing.assert_array_equal(X, before)
    assert learner.get_params() == parameters and clone(learner).get_params() == parameters
    np.testing.assert_allclose(learner.transform(X[5:9]), first[5:9], rtol=1e-5, atol=1e-6)


def test_variables_decode_to_their_observations() -> None:
    learner = fitted()
    z = learner.transform(X)
    assert z.shape == (1000, 2) and learner.n_features_in_ == 2
    np.testing.assert_allclose(learner.inverse_transform(z), X, atol=1e-3)
    assert learner.result_.graph.edges()


def test_the_score_is_the_likelihood_of_pairs() -> None:
    learner, test = fitted(), small_data("linear", 400, seed=0)
    assert learner.score(test.x, test.x_tilde) == learner.score(np.vstack([test.x, test.x_tilde]))
    assert learner.score(test.x, test.x_tilde) > learner.score(test.x, test.x_tilde[::-1])
    expected = float(learner.result_.model.log_prob(test.x, test.x_tilde).mean())
    assert learner.score(test.x, test.x_tilde) == pytest.approx(expected, rel=1e-5)


def test_pandas_comes_out_where_it_is_asked_for() -> None:
    frame = pd.DataFrame(X, columns=["speed", "height"])
    learner = LatentCausalRepresentation(model="linear").set_output(transform="pandas")
    z = learner.fit(frame, pd.DataFrame(X_TILDE, columns=frame.columns)).transform(frame)
    assert list(z.columns) == ["z0", "z1"] == list(learner.get_feature_names_out())
    assert list(learner.feature_names_in_) == ["speed", "height"]
    with pytest.raises(ValueError, match="feature names"):
        learner.transform(frame.rename(columns={"speed": "length"}))


def test_it_stands_in_a_pipeline_and_comes_back_from_pickle() -> None:
    stacked = np.vstack([X, X_TILDE])
    pipeline = make_pipeline(StandardScaler(), LatentCausalRepresentation(model="linear")).fit(stacked, np.ones(2000))
    z = pipeline.transform(X)
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.transform(X), z)


def test_a_file_of_pairs_is_taken_with_the_names_of_its_columns(tmp_path: Path) -> None:
    frames = [pd.DataFrame(part, columns=["speed", "height"]) for part in (X, X_TILDE)]
    lcm.save_pairs(tmp_path / "pairs.csv", *frames)
    learner = LatentCausalRepresentation(model="linear").fit(tmp_path / "pairs.csv")
    assert list(learner.feature_names_in_) == ["speed", "height"] == list(learner.result_.columns)
    np.testing.assert_array_equal(learner.transform(frames[0]), fitted().transform(X))
    again = learner.fit(lcm.PairData.from_arrays(X, X_TILDE))
    assert not hasattr(again, "feature_names_in_") and again.n_features_in_ == 2


def test_an_error_names_the_column_of_a_frame() -> None:
    frame = pd.DataFrame(X, columns=["speed", "height"]).assign(height=1.0)
    with pytest.raises(ValueError, match="x: Expected columns that vary; got 1 constant: 'height'"):
        LatentCausalRepresentation(model="linear").fit(frame, frame)
