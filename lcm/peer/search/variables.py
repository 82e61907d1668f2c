"""The variables of a graph search: the encodings of a model, before and after an intervention."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor

from lcm.model.intervention import TargetDistribution
from lcm.model.pair_model import EncodedPairs

if TYPE_CHECKING:
    from lcm.data.pairs import PairData


_LEAST_ROWS = 20


@final
@dataclass(frozen=True, eq=False)
class FittedVariables:
    """Encodings of N pairs by any model, or their truth, all (N, n) and of one dtype.

    Attributes:
        z, z_tilde: causal variables before and after the intervention.
        noise, noise_tilde: noise encodings s⁻¹(z), s⁻¹(z̃); equal to z and z̃ for a model without mechanisms.
        target_weights: P(i ∈ I | x, x̃) in [0, 1].
    """

    z: Tensor
    z_tilde: Tensor
    noise: Tensor
    noise_tilde: Tensor
    target_weights: Tensor

    def __post_init__(self) -> None:
        shape = self.z.shape
        if len(shape) != 2 or shape[0] < _LEAST_ROWS or shape[1] < 1:
            raise ValueError(f"z: Expected shape (N, n) with N >= {_LEAST_ROWS}; got {tuple(shape)}.")
        for name in (part.name for part in fields(self)):
            values = getattr(self, name)
            if values.shape != shape:
                raise ValueError(f"{name}: Expected shape {tuple(shape)}, that of z; got {tuple(values.shape)}.")
            if not bool(torch.isfinite(values).all()):
                raise ValueError(f"{name}: Expected finite entries; got {int((~torch.isfinite(values)).sum())} others.")
        if not bool(((self.target_weights >= 0) & (self.target_weights <= 1 + 1e-4)).all()):
            raise ValueError("target_weights: Expected probabilities in [0, 1]; got others.")

    @property
    def n(self) -> int:
        """Number of variables."""
        return self.z.shape[1]

    @property
    def has_mechanisms(self) -> bool:
        """Whether z is more than the noise encoding itself."""
        return not torch.equal(self.z, self.noise)

    @staticmethod
    def from_encoded(encoded: EncodedPairs, targets: TargetDistribution) -> FittedVariables:
        """The encodings of a model with this intervention family."""
        sets = targets.target_sets.to(encoded.posterior)
        weights = (encoded.posterior @ sets).clamp(0.0, 1.0)
        return FittedVariables(encoded.z, encoded.z_tilde, encoded.noise, encoded.noise_tilde, weights)

    @staticmethod
    def from_truth(data: PairData) -> FittedVariables:
        """The true variables and targets of a data set.

        Raises:
            ValueError: a data set without one of them.
        """
        parts = []
        for name in ("z", "z_tilde", "noise", "noise_tilde", "targets"):
            values = getattr(data, name)
            if values is None:
                raise ValueError(f"{name}: Expected the truth in the data; got none.")
            parts.append(torch.from_numpy(np.asarray(values, dtype=np.float32).copy()))
        return FittedVariables(*parts)

    def permuted(self, permutation: list[int]) -> FittedVariables:
        """The same variables in another numbering: new variable a is the old permutation[a]."""
        return FittedVariables(*(getattr(self, part.name)[:, permutation] for part in fields(self)))
