"""What a supervised network reaches: it is told the variables and the targets of the pairs that a fit is not.

Where sensor noise blurs the readings, no model reaches a mean correlation or a target accuracy of 1. These networks say
how far from 1 that is, about: they are networks with fixed settings, and no bound.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.data.pairs import PairData
from lcm.isomorphism.matching import correlation_matrix, mean_correlation
from lcm.report.tables import Column

CEILINGS = (Column("ceiling_mcc", "MCC, supervised"), Column("ceiling_accuracy", "intervention accuracy, supervised"))
"""The columns that stand beside those of the fits; a cell without sensor noise has none."""

NETWORK: dict[str, Any] = {
    "hidden_layer_sizes": [128, 128],
    "batch_size": 500,
    "learning_rate_init": 0.002,
    "max_iter": 60,
    "n_iter_no_change": 8,
    "early_stopping": True,
    "random_state": 0,
}
"""Settings of both networks, by the names of scikit-learn; a tenth of the pairs stops them early."""

Array = NDArray[np.float64]


def supervised_ceiling(train: PairData, test: PairData) -> dict[str, float]:
    """`ceiling_mcc` and `ceiling_accuracy` on the test pairs, of networks that are told the truth of the train pairs.

    The first takes x to z; its score is the mean |Spearman| with z. The second takes x and x̃ − x to the target set.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    (z, targets), (true_z, true_targets) = _truth(train), _truth(test)
    (x, both), (seen, seen_both) = _inputs(train, train), _inputs(test, train)
    with warnings.catch_warnings():
        # a limit of passes is part of the settings
        warnings.simplefilter("ignore")
        values = MLPRegressor(**NETWORK).fit(x, (z - z.mean(0)) / z.std(0)).predict(seen)
        named = MLPClassifier(**NETWORK).fit(both, targets).predict(seen_both)
    correlation = correlation_matrix(true_z, values.reshape(true_z.shape))
    return {
        "ceiling_mcc": mean_correlation(correlation, np.arange(len(correlation))),
        "ceiling_accuracy": float((named == true_targets).mean()),
    }


def _truth(data: PairData) -> tuple[Array, NDArray[np.int64]]:
    """z, and a number for each target set: its bits."""
    if data.z is None or data.targets is None:
        raise RuntimeError("the pairs of an instrument hold their truth")
    bits: NDArray[np.int64] = data.targets.astype(np.int64) @ (1 << np.arange(data.targets.shape[1]))
    return data.z.astype(np.float64), bits


def _inputs(data: PairData, scales: PairData) -> tuple[Array, Array]:
    """x (N, d), and x beside x̃ − x (N, 2d), in means and spreads of other pairs."""
    x, change = (
        (values - known.mean(0)) / known.std(0) for values, known in zip(_parts(data), _parts(scales), strict=True)
    )
    return x, np.concatenate([x, change], 1)


def _parts(data: PairData) -> tuple[Array, Array]:
    return data.x.astype(np.float64), data.x_tilde.astype(np.float64) - data.x
