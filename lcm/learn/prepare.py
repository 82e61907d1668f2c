"""Data made ready for a fit: standardised, reduced to n coordinates, split, and given a linear starting point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from lcm.data.pairs import PairData
from lcm.decoder import AffineDecoder, ChainDecoder, EmbeddingDecoder
from lcm.learn.warm_start import separate_unmoved, unmix_differences

_LEAST_START_ROWS = 2_000


@final
@dataclass(frozen=True)
class Prepared:
    """Pairs in n standardised coordinates, split into training and validation, with the maps that led there.

    standardisation: the decoder from the n coordinates, of mean 0 and variance 1, back to x.
    unmixing: (n, n) linear starting point of the noise encoder; its outputs have unit variance over x.
    """

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    standardisation: ChainDecoder
    unmixing: Tensor

    @property
    def n(self) -> int:
        """Number of causal variables."""
        return self.standardisation.n

    @property
    def log_volume(self) -> float:
        """Log-determinant of the standardisation: nats a row between the density of coordinates and that of x."""
        return float(self.standardisation(self.train[0][:1])[1])

    def held_out(self) -> PairData:
        """The validation pairs in the units of the data."""
        x, x_tilde = (self.standardisation(part)[0].cpu().numpy() for part in self.validation)
        return PairData(x, x_tilde)

    def restarted(self, generator: np.random.Generator) -> Prepared:
        """The same pairs with another linear start, from other rows: where it is not determined, it will differ."""
        return replace(self, unmixing=_linear_start(*self.train, generator))


def prepare(
    x: np.ndarray, x_tilde: np.ndarray, n: int, validation_share: float, seed: int, device: torch.device
) -> Prepared:
    """Standardise, on the n leading principal directions where d > n, split, and unmix the differences."""
    standardisation = _standardisation(x, n)
    coordinates = [standardisation.inverse(torch.from_numpy(part))[0] for part in (x, x_tilde)]
    generator = np.random.default_rng(seed)
    order = torch.from_numpy(generator.permutation(len(x)))
    held_out = max(1, round(validation_share * len(x)))
    first, second = coordinates
    train = first[order[held_out:]].to(device), second[order[held_out:]].to(device)
    return Prepared(
        train,
        (first[order[:held_out]].to(device), second[order[:held_out]].to(device)),
        standardisation.to(device),
        _linear_start(*train, generator),
    )


def _linear_start(x: Tensor, x_tilde: Tensor, generator: np.random.Generator) -> Tensor:
    """An unmixing (n, n) of unit variance over x, from the differences of a random half of the pairs (N, n).

    A half, so that fits with other seeds start elsewhere wherever the data leave the start open.
    """
    before, after = x.double().cpu().numpy(), x_tilde.double().cpu().numpy()
    rows = generator.permutation(len(before))[: max(len(before) // 2, min(len(before), _LEAST_START_ROWS))]
    unmixing = unmix_differences(after[rows] - before[rows], generator)
    components = separate_unmoved(unmixing, before, after, generator)
    spread = (before @ components.T).std(0, ddof=1)
    return torch.from_numpy(components / spread[:, None]).to(x.device)


def _standardisation(x: np.ndarray, n: int) -> ChainDecoder:
    """x = mean + Q diag(scale) y with orthonormal columns Q: the axes where n = d, else principal directions."""
    embedding, scaling = EmbeddingDecoder(n, x.shape[1]), AffineDecoder(n)
    mean = x.mean(0, dtype=np.float64)
    embedding.shift.copy_(torch.from_numpy(mean))
    if n < x.shape[1]:
        centred = x - mean
        directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :n]
        embedding.basis.copy_(torch.from_numpy(directions.copy()))
    coordinates = (x - mean) @ embedding.basis.double().numpy()
    scaling.scale.copy_(torch.from_numpy(coordinates.std(0)).clamp_min(torch.finfo(torch.float32).tiny))
    return ChainDecoder([scaling, embedding])
