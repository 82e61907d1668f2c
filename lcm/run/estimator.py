"""A scikit-learn estimator: latent causal variables as features."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from lcm.base.arrays import as_tensor
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.run.config import FitConfig
from lcm.run.public import fit


@final
class LatentCausalRepresentation(TransformerMixin, BaseEstimator):
    """A scikit-learn transformer to causal variables, learned from pairs before and after unknown interventions.

    Args:
        n: number of variables; default: its estimate from x and x_tilde.
        model: `flow` or another model of docs/models.md; `linear` takes seconds.
        config: further settings (`lcm.FitConfig`); the other arguments override its entries.
        seed: seed of the fit.
        restarts: number of fits; the likeliest is kept.
        device: "auto", "cpu" or "cuda".

    Attributes:
        result_: the `lcm.FitResult`, with graph, p-values and doubts.
        n_features_in_: number of columns of x.
        feature_names_in_: names of the columns, if x was a DataFrame.

    Example:
        >>> import lcm
        >>> pairs = lcm.load_pairs("data/sample.safetensors")
        >>> learner = lcm.LatentCausalRepresentation(model="linear").fit(pairs.x, pairs.x_tilde)
        >>> learner.transform(pairs.x[:3]).shape
        (3, 3)
    """

    def __init__(
        self,
        n: int | None = None,
        model: str | None = None,
        *,
        config: FitConfig | None = None,
        seed: int | None = None,
        restarts: int | None = None,
        device: str = "auto",
    ) -> None:
        self.n, self.model, self.config = n, model, config
        self.seed, self.restarts, self.device = seed, restarts, device

    def fit(self, X: Any, X_tilde: Any = None) -> LatentCausalRepresentation:
        """Fit to pairs.

        Args:
            X: (N, d), observations before the interventions. Without `X_tilde`, X stacks the pairs as (2N, d): x in the
                first N rows, x̃ in the last N rows, in the same order. A file or a `PairData` is taken as by
                `lcm.load_pairs`.
            X_tilde: (N, d), observations after the interventions. A one-dimensional y, as a pipeline passes it, is
                ignored.

        Raises:
            ValueError: as `lcm.fit`, or an odd number of stacked rows.
        """
        data = self._pairs(X, X_tilde, reset=True)
        self.result_ = fit(
            data,
            n=self.n,
            config=self.config,
            model=self.model,
            seed=self.seed,
            restarts=self.restarts,
            device=self.device,
            quiet=True,
        )
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """The variables z (N, n) of observations X (N, d)."""
        check_is_fitted(self)
        z: NDArray[np.float32] = self.result_.model.encode(validate_data(self, X, dtype=np.float64, reset=False)).z
        return z

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """The observations (N, d) of variables X (N, n). Raises NotImplementedError for a model without mechanisms."""
        check_is_fitted(self)
        model = self.result_.model
        z = as_tensor(np.asarray(X), next(part for part in model.buffers() if part.is_floating_point()))
        decoded: NDArray[np.float32] = model.decode(z).detach().cpu().numpy()
        return decoded

    def score(self, X: Any, X_tilde: Any = None) -> float:
        """The mean log-likelihood in nats per pair; a variational model gives a lower bound.

        X and X_tilde are as in `fit`. Pairs that the fit has not seen give the held-out log-likelihood.
        """
        check_is_fitted(self)
        return float(np.mean(self.result_.log_prob(self._pairs(X, X_tilde, reset=False))))

    def _pairs(self, X: Any, X_tilde: Any, reset: bool) -> PairData:
        if isinstance(X, PairData | str | Path):
            return self._loaded(load_pairs(X, X_tilde), reset)
        x = validate_data(self, X, dtype=np.float64, reset=reset, ensure_min_samples=2)
        names = tuple(getattr(self, "feature_names_in_", ()))
        if X_tilde is not None and np.asarray(X_tilde).ndim != 1:
            return PairData.from_arrays(x, validate_data(self, X_tilde, dtype=np.float64, reset=False), columns=names)
        if len(x) % 2:
            raise ValueError(f"X: Expected x and x_tilde stacked, an even number of rows; got {len(x)}.")
        return PairData.from_arrays(x[: len(x) // 2], x[len(x) // 2 :], columns=names)

    def _loaded(self, data: PairData, reset: bool) -> PairData:
        if reset:
            self.n_features_in_ = data.n_dimensions
            self.__dict__.pop("feature_names_in_", None)
            if data.columns:
                self.feature_names_in_ = np.array(data.columns, dtype=object)
        return data

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """The names of the variables: z0, z1, …"""
        check_is_fitted(self)
        return np.array([f"z{i}" for i in range(self.result_.model.n)], dtype=object)
