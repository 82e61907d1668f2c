"""What the rows of a certificate are judged from: a fit, its data, and encodings of up to 20,000 pairs."""

from __future__ import annotations

from functools import cached_property
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.base.rows import take_rows
from lcm.data.encode import encode_pairs
from lcm.data.pairs import PairData
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import EncodedPairs
from lcm.readout.ancestors import Ancestry, find_ancestry
from lcm.readout.dependence import trace_share
from lcm.run.outcome import Outcome

Array = NDArray[np.float64]

ROWS = 20_000
LOST = "x and x_tilde are independent, so nothing stays the same within a pair"
"""Why a row on noise cannot be tested."""
_WIDTHS = 8.0
_LEAST_MOVE = 0.3
_TO_DEVIATION = 1.4826


@final
class Material:
    """A fit with the noise of its pairs, in standard-normal gauge.

    Attributes:
        result: the fit.
        whole: its vectors with outliers. data: without them.
        model: the latent causal model of the vectors.
    """

    def __init__(self, result: Outcome, whole: PairData, model: LatentCausalModel) -> None:
        self.result, self.whole, self.model = result, whole, model
        self.data = whole.without_outliers

    @property
    def n(self) -> int:
        """Number of variables."""
        return self.model.n

    @cached_property
    def several_targets(self) -> bool:
        """Whether the fit was told of target sets of several variables."""
        return any(len(targets) > 1 for targets in self.model.target_distribution.as_lists())

    @cached_property
    def _pairs(self) -> tuple[PairData, EncodedPairs]:
        """Up to 20,000 pairs, and their encodings."""
        rows = np.arange(0, len(self.data), -(-len(self.data) // ROWS))
        few = PairData(x=take_rows(self.data.x, rows), x_tilde=take_rows(self.data.x_tilde, rows))
        return few, encode_pairs(self.model, few)

    @property
    def z(self) -> Array:
        """Variables z (M, n) of the encoded observations x."""
        found: Array = self._pairs[1].z.double().cpu().numpy()
        return found

    @cached_property
    def _encoded(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normal noise before and after (M, n), target weights (M, n), and whether a pair differs (M,)."""
        few, found = self._pairs
        device = found.noise.device
        with torch.no_grad():
            normal, normal_tilde = (
                self.model.scm.noise.to_normal(part)[0].double().cpu() for part in (found.noise, found.noise_tilde)
            )
            sets = self.model.target_distribution.target_sets.to(device, found.posterior.dtype)
            weights = (found.posterior @ sets).double().cpu()
        return normal, normal_tilde, weights, torch.from_numpy((few.x != few.x_tilde).reshape(len(few), -1).any(1))

    @cached_property
    def normal(self) -> Array:
        """Noise u (M, n) of observations x, each once."""
        first: Array = np.unique(self._encoded[0].numpy(), axis=0)
        return first

    @cached_property
    def before(self) -> Array:
        """Noise u (K, n) of the pairs that differ."""
        found: Array = self._encoded[0][self._encoded[3]].numpy()
        return found

    @cached_property
    def after(self) -> Array:
        """Noise ũ (K, n) of the pairs that differ."""
        found: Array = self._encoded[1][self._encoded[3]].numpy()
        return found

    @cached_property
    def weights(self) -> Array:
        """Probability (K, n) of being a target, of the pairs that differ."""
        found: Array = self._encoded[2][self._encoded[3]].numpy()
        return found

    @cached_property
    def change(self) -> Array:
        """ũ − u (K, n) of the pairs that differ."""
        return self.after - self.before

    @cached_property
    def common_change(self) -> Array:
        """Median change (n,) of noise that is no target: 0 if only interventions tell x̃ from x."""
        return self._median(self.change)

    @cached_property
    def width(self) -> float:
        """Usual change of noise that is no target, about its median, largest over variables: a standard deviation.

        Unlike the thickness, it does not grow with a few pairs in which everything changes.
        """
        return float(_TO_DEVIATION * self._median(np.abs(self.change - self.common_change)).max())

    def _median(self, change: Array) -> Array:
        """Medians (n,) of changes (K, n) over the pairs in which a variable is no target; 0 without such pairs."""
        medians = np.zeros(self.n)
        for j in range(self.n):
            stays = change[self.weights[:, j] < 0.5, j]
            medians[j] = np.median(stays) if len(stays) else 0.0
        return medians

    @property
    def least_move(self) -> float:
        """The size of a change from which on noise counts as moved."""
        return max(_LEAST_MOVE, _WIDTHS * self.width)

    @cached_property
    def moved(self) -> NDArray[np.bool_]:
        """Whether noise moved (K, n), beyond what all pairs have in common, of the pairs that differ."""
        return np.asarray(np.abs(self.change - self.common_change) > self.least_move)

    @property
    def encoded_rows(self) -> int:
        """Number of pairs that were encoded."""
        return len(self._encoded[0])

    @cached_property
    def target_rows(self) -> NDArray[np.int64]:
        """Number of pairs (n,), of those encoded, in which each variable is a target."""
        return np.asarray((self._encoded[2] > 0.5).sum(0).numpy())

    @cached_property
    def traces(self) -> Array:
        """Share (n, n), [j, i], of the variance of noise i that an inexact encoder may take from noise j."""
        shares: Array = trace_share(*self._encoded[:3]).numpy()
        return shares

    @cached_property
    def ancestry(self) -> Ancestry:
        """The ancestor tests of the fit; for a stored fit, the same tests on these data."""
        if self.result.ancestry is not None:
            return self.result.ancestry
        return find_ancestry(*self._encoded[:3], self.result.config.readout.ancestor_level)
