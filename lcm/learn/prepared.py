"""Prepare data for a fit: standardise, reduce to n coordinates, split, and find a linear start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.base.rows import release, take_rows, writable
from lcm.data.pairs import PairData
from lcm.learn.principal import principal_directions, with_signs
from lcm.learn.training.objective import Rows, StreamedRows
from lcm.learn.warm_start import separate_unmoved, sharpen_components, unmix_differences
from lcm.model.decoder import ChainDecoder

_HEAVY, _QUARTILES_APART = 3.0, 1.349
_LEAST_START_ROWS = 2_000
_MOST_START_ROWS = 100_000
_MOST_HELD_OUT = 20_000
_LEAST_HELD_OUT, _LEAST_TRAINED = 5, 25
_HELD_BYTES = {"cpu": 1 << 25, "cuda": 1 << 32}


@final
@dataclass(frozen=True)
class Prepared:
    """Pairs in r standardised coordinates, split into training and validation pairs, with the maps to them.

    r is the number n of causal variables, or larger for a fit to a curved sheet of n dimensions.

    train: training pairs, either in memory or read from the data at each index (docs/method.md, Memory).
    standardisation: the decoder from the r coordinates, which have mean 0 and variance 1, back to x.
    unmixing: (r, r) linear start of the noise encoder. Its outputs have unit variance over x.
    targets: bool (N, n) of the training and of the validation pairs, if the targets are known.
    atomic: whether every target set has at most one target.
    """

    train: tuple[Rows, Rows]
    validation: tuple[Tensor, Tensor]
    standardisation: ChainDecoder
    unmixing: Tensor
    targets: tuple[Tensor, Tensor] | None = None
    atomic: bool = True

    @property
    def n(self) -> int:
        """Number of coordinates, r."""
        return self.standardisation.n

    @property
    def log_volume(self) -> float:
        """Mean log-determinant of the standardisation at both observations of a held-out pair, in nats a pair."""
        found = in_chunks(lambda a, b: (sum(self.standardisation(part)[1] for part in (a, b)),), *self.validation)[0]
        return float(found.mean())

    def held_out(self) -> PairData:
        """The validation pairs in the units of the data."""
        x, x_tilde = (self.standardisation.decode(part).cpu().numpy() for part in self.validation)
        return PairData(x, x_tilde)

    def restarted(self, generator: np.random.Generator) -> Prepared:
        """The same pairs with a linear start from other rows. The start differs where the data do not determine it."""
        return replace(self, unmixing=_linear_start(*self.train, generator, self.atomic))


def held_out_pairs(validation_share: float, count: int, n: int) -> int:
    """How many of `count` pairs are held out by a fit of n variables, at most 20,000.

    Raises:
        ValueError: a share that leaves too few pairs to hold out or to train on.
    """
    least, most = _LEAST_HELD_OUT / count, 1.0 - _LEAST_TRAINED * (n + 1) / count
    if not least <= validation_share <= most:
        raise ValueError(
            f"validation_share: Expected {least:.4g} to {most:.4g} for {count} pairs of {n} variables; "
            f"got {validation_share:g}"
        )
    return min(round(validation_share * count), _MOST_HELD_OUT)


def prepare(
    x: np.ndarray,
    x_tilde: np.ndarray,
    n: int,
    validation_share: float,
    seed: int,
    device: torch.device,
    targets: np.ndarray | None = None,
    atomic: bool = True,
    standardisation: ChainDecoder | None = None,
) -> Prepared:
    """Take x to the coordinates of the fit, split the pairs, and unmix the differences.

    Args:
        x, x_tilde: (N, d).
        n: number of variables.
        targets: bool (N, n), where they are known; such pairs are always held in memory.
        atomic: whether every target set has at most one target.
        standardisation: from the coordinates to x, as `lcm.learn.code` finds it; by default the n leading principal
            directions.
    """
    generator = np.random.default_rng(seed)
    standardisation = principal_directions(x, n) if standardisation is None else standardisation
    held_out = held_out_pairs(validation_share, len(x), n)
    standardisation = standardisation.to(device)
    if targets is None and 8 * len(x) * standardisation.n > _HELD_BYTES[device.type]:
        train, validation = _streamed((x, x_tilde), standardisation, held_out, generator, device)
        unmixing = _linear_start(*train, generator, atomic)
        return Prepared(train, validation, standardisation, unmixing, atomic=atomic)
    order = torch.from_numpy(generator.permutation(len(x))).to(device)
    first, second = (_coordinates(part, standardisation, device)[order] for part in (x, x_tilde))
    train, validation = (first[held_out:], second[held_out:]), (first[:held_out], second[:held_out])
    labels = None
    if targets is not None:
        masks = torch.from_numpy(targets).to(device)[order]
        labels = masks[held_out:], masks[:held_out]
    return Prepared(train, validation, standardisation, _linear_start(*train, generator, atomic), labels, atomic)


def _coordinates(part: np.ndarray, standardisation: ChainDecoder, device: torch.device) -> Tensor:
    """Observations in the coordinates of the fit (N, r), all in memory."""
    found = standardisation.encode(torch.from_numpy(writable(part)).to(device))
    release(part)
    return found


def _streamed(
    observations: tuple[np.ndarray, np.ndarray],
    standardisation: ChainDecoder,
    held_out: int,
    generator: np.random.Generator,
    device: torch.device,
) -> tuple[tuple[Rows, Rows], tuple[Tensor, Tensor]]:
    """Training pairs that stay in their file, and validation pairs in the coordinates of the fit."""
    count = len(observations[0])
    rows = np.sort(generator.choice(count, held_out, replace=False, shuffle=False))
    start = int(generator.integers(count))
    first, second = (StreamedRows(part, rows, standardisation, start) for part in observations)
    held = (torch.from_numpy(take_rows(part, rows)).to(device) for part in observations)
    validation = [standardisation.encode(part) for part in held]
    return (first, second), (validation[0], validation[1])


def _linear_start(train: Rows, train_tilde: Rows, generator: np.random.Generator, atomic: bool) -> Tensor:
    """An unmixing (r, r) of unit variance over x, from the differences of a random half of the first 100,000 pairs.

    With only half of the pairs, fits with other seeds get another start wherever the data do not determine it.
    """
    x, x_tilde = (part[:_MOST_START_ROWS] for part in (train, train_tilde))
    rows = generator.permutation(len(x))[: max(len(x) // 2, min(len(x), _LEAST_START_ROWS))]
    differences = (x_tilde[rows].double() - x[rows].double()).cpu().numpy()
    unmixing = unmix_differences(differences, generator)
    unmixing = unmixing if atomic else sharpen_components(unmixing, differences)
    before, after = x.double().cpu().numpy(), x_tilde.double().cpu().numpy()
    components = with_signs(separate_unmoved(unmixing, before, after, generator))
    spread = _bounded_spread(before @ components.T)
    return torch.from_numpy(components / spread[:, None]).to(x.device)


def _bounded_spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation (n,) of columns; of heavy tails, whose is decided by few rows, three times that of the middle.

    The middle is that of the quartiles, as if it were normal.
    """
    low, high = np.quantile(values, (0.25, 0.75), axis=0)
    deviation, middle = values.std(0, ddof=1), (high - low) / _QUARTILES_APART
    return np.where((middle > 0.0) & (deviation > _HEAVY * middle), _HEAVY * middle, deviation)
