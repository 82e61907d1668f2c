"""Data made ready for a fit: standardised, reduced to n coordinates, split, and given a linear starting point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from lcm.decoder import AffineDecoder, ChainDecoder, EmbeddingDecoder
from lcm.learn.warm_start import unmix_differences


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


def prepare(
    x: np.ndarray, x_tilde: np.ndarray, n: int, validation_share: float, seed: int, device: torch.device
) -> Prepared:
    """Standardise, on the n leading principal directions where d > n, split, and unmix the differences."""
    standardisation = _standardisation(x, n)
    coordinates = [standardisation.inverse(torch.from_numpy(part))[0] for part in (x, x_tilde)]
    generator = np.random.default_rng(seed)
    order = torch.from_numpy(generator.permutation(len(x)))
    held_out = max(1, round(validation_share * len(x)))
    train = order[held_out:]
    differences = (coordinates[1] - coordinates[0])[train].double().numpy()
    unmixing = torch.from_numpy(unmix_differences(differences, generator))
    spread = (coordinates[0][train].double() @ unmixing.T).std(0)
    return Prepared(
        (coordinates[0][train].to(device), coordinates[1][train].to(device)),
        (coordinates[0][order[:held_out]].to(device), coordinates[1][order[:held_out]].to(device)),
        standardisation.to(device),
        (unmixing / spread.unsqueeze(1)).to(device),
    )


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
