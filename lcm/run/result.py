"""The result of a fit: one type for every model, for vectors and for images."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.base.arrays import in_kind_of
from lcm.data.encode import encode_codes, encode_pairs, require_same_dimensions
from lcm.data.named_columns import frame_in_fitted_order, in_fitted_order
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.data.sample import sample_counterfactuals, sample_pairs
from lcm.model.do import Do, as_do
from lcm.model.image import ImageModel
from lcm.model.names import renamed
from lcm.model.pair_model import EncodedPairs
from lcm.run.assumption import Certificate
from lcm.run.outcome import Outcome
from lcm.run.refits import Interval, Refits, refit_interval
from lcm.run.report import fit_report, fit_text
from lcm.run.support import beyond_data, not_in_intervals


@final
class FitResult(Outcome):
    """A fitted model, its graph with p-values, and the doubts about it. `print(result)` gives one page.

    Attributes:
        model: the fitted model, in the units of the data (`lcm.LatentCausalModel`, or a peer).
        graph: the graph over the learned variables, which are numbered from 0.
        p_values: (n, n) in [0, 1]; [i, j] is the p-value of "there is no edge i → j". None if the model has no test.
        certificate: what these data say of every assumption of the theorem and of the method.
        doubts: one text for each sign that an assumption is broken or that the fit fell short.
        edge_strength: (n, n) ≥ 0, [i, j] for i → j, before thresholding (docs/theory.md section 3).
        order: the variables, causes first.
        names: of the variables; z0, z1, … until `named` or `lcm.name_variables` gives others.

    Example:
        >>> import lcm
        >>> result = lcm.fit(lcm.load_pairs("data/sample.safetensors"), model="linear", quiet=True)
        >>> result.model.n, result.edge_strength.shape
        (3, (3, 3))
    """

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """One text for each sign that an assumption is broken or that the fit fell short."""
        return self.certificate.sentences if self.stored_doubts is None else self.stored_doubts

    @cached_property
    def certificate(self) -> Certificate:
        """What these data say of every assumption of the theorem and of the method.

        Raises:
            ValueError: a fit that an earlier version wrote without a certificate; `certify` makes one from its data.
        """
        if self.stored_certificate is not None:
            return self.stored_certificate
        if self.data is None:
            raise ValueError(
                "Expected a fit with a certificate; got one of a version that wrote none. result.certify(pairs) and"
                " lcm certify RUN DATA make one."
            )
        return _certify(self, others=False)

    def certify(self, pairs: Any, x_tilde: Any = None) -> Certificate:
        """The certificate on given pairs, those of the fit or others of the same kind.

        Args:
            pairs, x_tilde: anything that `lcm.load_pairs` takes.

        Raises:
            ValueError: observations of another shape than the model's.
        """
        data = in_fitted_order(load_pairs(pairs, x_tilde), self.columns)
        require_same_dimensions(self.model, data)
        codes = encode_codes(self.model, data) if isinstance(self.model, ImageModel) else None
        judged = replace(self, data=data, codes=codes, stored_doubts=None, stored_certificate=None)
        return _certify(judged, others=True)

    @property
    def p_values(self) -> NDArray[np.float64] | None:
        """(n, n) in [0, 1]; [i, j] is the p-value of "there is no edge i → j". None if the model has no test."""
        return None if self.found.evidence is None else self.found.evidence.edge_p_value

    def encode(self, x: Any) -> Any:
        """The learned variables z (N, n) of observations, as the kind of array that x is.

        Here and in all other methods, columns with names are matched with those of the fit by their names.

        Args:
            x: observations (N, d) as an array, a tensor or a DataFrame; or a `PairData`, whose x is encoded.

        Raises:
            ValueError: observations of another shape than the model's.
        """
        if not isinstance(x, PairData):
            found = self.model.encode(frame_in_fitted_order(x, self.columns)).z
            return found.set_axis(list(self.names), axis=1) if hasattr(found, "columns") else found
        z = encode_pairs(self.model, in_fitted_order(x, self.columns)).z
        return z.cpu().numpy() if x.frame is None else in_kind_of(x.frame, z, list(self.names))

    def encode_pairs(self, pairs: Any, x_tilde: Any = None) -> EncodedPairs:
        """Variables, noise, posterior over target sets and log-density of pairs, as tensors.

        Args:
            pairs, x_tilde: anything that `lcm.load_pairs` takes.

        Raises:
            ValueError: observations of another shape than the model's.
        """
        return encode_pairs(self.model, in_fitted_order(load_pairs(pairs, x_tilde), self.columns))

    def sample(self, n_pairs: int, seed: int = 0, do: Do | Mapping[Any, float] | None = None) -> PairData:
        """Draw pairs and their truth from the fitted model.

        Warns (UserWarning) of variables that `do` or a drawn x puts beyond the data of the fit, as `counterfactual`.

        Args:
            n_pairs: how many.
            seed: of the draws.
            do: x̃ is x under this intervention, instead of one that the model draws: as in `counterfactual`.

        Raises:
            ValueError: an intervention that is none of these variables.
            NotImplementedError: a model without mechanisms.
        """
        if do is None:
            return replace(sample_pairs(self.model, n_pairs, seed=seed), columns=self.columns)
        do = as_do(do, self.names)
        pairs = sample_counterfactuals(self.model, do.values, n=n_pairs, seed=seed)
        for text in beyond_data(self, pairs.x, do):
            warnings.warn(text, stacklevel=2)
        return replace(pairs, columns=self.columns)

    def counterfactual(self, x: Any, do: Do | Mapping[Any, float], interval: float | None = None) -> Any:
        """What each observation x (N, d) would have been after `do`.

        Warns (UserWarning) of variables that `do` or x puts beyond the data of the fit, where the answer extrapolates,
        and of sensor noise, which an interval does not count.

        Args:
            x: observations, as an array, a tensor or a DataFrame.
            do: the values of learned variables, such as `lcm.Do({0: 1.5})`, {0: 1.5} or {"light": 1.5}.
            interval: level of an interval for each column, strictly between 0 and 1, such as 0.9; needs `lcm.refit`.

        Returns:
            x̃ (N, d), or with an interval `Interval(estimate, low, high, error)` of such values; of the same kind as x,
            all of one dtype; for images, the ends and the error are float32.

        Raises:
            ValueError: a target out of range, another level, or an interval without refits.
            NotImplementedError: a model without mechanisms.
        """
        do = as_do(do, self.names)
        x = frame_in_fitted_order(x, self.columns)
        for text in beyond_data(self, x, do):
            warnings.warn(text, stacklevel=2)
        estimate = self.model.counterfactual(x, do)
        if interval is None:
            return estimate
        refits = self._refitted()
        for text in not_in_intervals(self):
            warnings.warn(text, stacklevel=2)
        answers = refits.counterfactuals(x, do)
        ends = refit_interval(np.asarray(estimate, dtype=np.float64), answers, interval)
        kind = self.model.like_observations.dtype
        return Interval(estimate, *(in_kind_of(x, torch.from_numpy(part).to(kind)) for part in ends))

    def standard_error(self, x: Any) -> Any:
        """Standard errors (N, n) of the variables of observations x (N, d), from refits, of the same kind as x.

        Raises:
            ValueError: a result without refits.
        """
        x = frame_in_fitted_order(x, self.columns)
        errors = torch.from_numpy(self._refitted().standard_errors(x))
        errors = errors.to(self.model.like_observations.dtype)
        return in_kind_of(x, errors, list(self.names))

    def log_prob(self, pairs: Any, x_tilde: Any = None) -> NDArray[np.float64]:
        """log p(x, x̃) (N,) in nats; a variational model gives a lower bound.

        Args:
            pairs, x_tilde: anything that `lcm.load_pairs` takes.

        Raises:
            ValueError: observations of another shape than the model's.
        """
        found: NDArray[np.float64] = self.encode_pairs(pairs, x_tilde).log_density.double().cpu().numpy()
        return found

    def edge_interval(self, level: float = 0.95) -> NDArray[np.float64]:
        """Interval (n, n, 2) of every edge strength [i, j], i → j, that counts the error of the encoder, from refits.

        Raises:
            ValueError: a result without refits, or a level that is not strictly between 0 and 1.
        """
        refits = self._refitted()
        low, high, _ = refit_interval(self.edge_strength, refits.strengths, level)
        return np.stack([np.maximum(0.0, low), high], axis=-1)

    def _refitted(self) -> Refits:
        """The refits. Raises ValueError without them."""
        if self.refits is None:
            raise ValueError("Expected a result with refits; got one without. lcm.refit(result, pairs) makes them.")
        return self.refits

    def named(self, names: Mapping[int, str]) -> FitResult:
        """The same result with names for some of its variables, by their numbers; `lcm.name_variables` keeps them.

        Raises:
            ValueError: a number out of range, or a name that figures, tables and commands could not show as it is.

        Example:
            >>> import lcm
            >>> result = lcm.fit("data/sample.safetensors", model="linear", quiet=True)
            >>> result.named({0: "light"}).names
            ('light', 'z1', 'z2')
        """
        return replace(self, names=renamed(self.names, names))

    def report(self) -> str:
        """The fit in Markdown, as `lcm fit` writes it to report.md."""
        return fit_report(self)

    def __str__(self) -> str:
        return fit_text(self)


def _certify(result: FitResult, others: bool) -> Certificate:
    # scipy's statistics take longer to import than most commands need
    from lcm.run.certificate import certify

    return certify(result, others)
