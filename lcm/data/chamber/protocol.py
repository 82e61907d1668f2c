"""Protocols of pairs: which values of its actuators a chamber is measured at, drawn from a latent causal model.

A pair of the model is (z, z̃): z̃ has the noise of z, and an intervention sets its targets anew. So the targets change,
and their descendants with them. Each variable sets one actuator by a rising map, which changes no graph: the actuators
follow an isomorphic model. The chamber is the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from lcm.data.chamber.actuator import Actuator
from lcm.data.nature.build import torch_generator
from lcm.data.sample import sample_data
from lcm.model.decoder import LinearDecoder
from lcm.model.latent_causal_model import LatentCausalModel

MOST_VALUES = 5_000_000
"""The most pairs times actuators of a protocol; its JSON file then stays below 256 MiB."""

_DRAWN_FOR_RANGE = 20_000
_QUARTILES_OF_NORMAL = 1.3489795003921634


@final
@dataclass(frozen=True, eq=False)
class PairProtocol:
    """The measurements of N pairs, two for each, at values of n actuators.

    Attributes:
        actuators: n of them, one for each variable.
        before, after: float64 (N, n), the values at the two measurements of each pair.
        targets: bool (N, n), what was intervened on.
        adjacency: uint8 (n, n), the graph of the variables; it says which others may change with a target.
        centre, scale: float64 (n,). The value z of a variable sets its actuator at the share Φ((z - centre) / scale) of
            its range, Φ the normal distribution function.
    """

    actuators: tuple[Actuator, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    targets: NDArray[np.bool_]
    adjacency: NDArray[np.uint8]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.before)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the actuators."""
        return tuple(actuator.name for actuator in self.actuators)

    def lines(self, setup: Mapping[str, str] | None = None, wait: int = 0) -> Iterator[str]:
        """The instructions: SET for what changes, then MSR,1,0, for the 2N measurements in order.

        Args:
            setup: other settings, which are set once at the start.
            wait: milliseconds from the last SET to the measurement.
        """
        for name, text in (setup or {}).items():
            yield f"SET,{name},{text}"
        current: list[str | None] = [None] * len(self.actuators)
        for pair in zip(self.before.tolist(), self.after.tolist(), strict=True):
            for values in pair:
                texts = [actuator.text(value) for actuator, value in zip(self.actuators, values, strict=True)]
                changes = [(a, text) for a, text in enumerate(texts) if text != current[a]]
                for a, text in changes:
                    yield f"SET,{self.actuators[a].name},{text}"
                if wait and changes:
                    yield f"WAIT,{wait}"
                yield "MSR,1,0"
                current = list(texts)


def may_change(targets: NDArray[np.bool_], ancestors: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which variables (N, n) may differ in a pair: its targets (N, n) and all of which one is an ancestor (n, n)."""
    moved = targets.astype(np.float32) @ ancestors.astype(np.float32)
    return np.asarray(targets | (moved > 0))


def draw_protocol(
    model: LatentCausalModel, n_pairs: int, actuators: tuple[Actuator, ...], seed: int = 0
) -> PairProtocol:
    """A protocol of pairs from the model's own p(z, z̃), without its thickness: what no target reaches keeps its value.

    Args:
        n_pairs: N, at least 1; N times n at most 5 million.
        actuators: one for each variable of the model.
        seed: of the pairs, at least 0.

    Raises:
        ValueError: another number of actuators, too few or too many pairs, a variable on a circle, which no rising map
            takes to a range, or values that are not finite.
    """
    n = model.n
    if len(actuators) != n:
        raise ValueError(f"actuators: Expected {n}, one for each variable; got {len(actuators)}")
    if not 1 <= n_pairs <= MOST_VALUES // n:
        raise ValueError(f"pairs: Expected from 1 to {MOST_VALUES // n:,} pairs of {n} variables; got {n_pairs:,}")
    circles = torch.nonzero(model.scm.circular).flatten().tolist()
    if circles:
        raise ValueError(
            f"model: Expected variables on lines, which actuators with ends can follow; got circle z{circles[0]}"
        )
    variables = _variables_of(model)
    centre, scale = _range_of(variables, seed)
    data = sample_data(variables, n_pairs, torch_generator(seed, "protocol"))
    before, after = (_set(actuators, part, centre, scale) for part in (data.x, data.x_tilde))
    targets = np.asarray(data.targets, np.bool_)
    # the last digits of a fitted flow must not move what stays
    after = np.where(may_change(targets, model.graph.ancestors()), after, before)
    return PairProtocol(actuators, before, after, targets, model.graph.adjacency.astype(np.uint8), centre, scale)


def _variables_of(model: LatentCausalModel) -> LatentCausalModel:
    """The model with x = z and without thickness."""
    parts = model.scm, LinearDecoder(model.n, torch.eye(model.n)), model.intervention, model.target_distribution
    return LatentCausalModel(*parts).requires_grad_(False)


def _range_of(variables: LatentCausalModel, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The centre and the scale (n,) of each variable, from its quartiles in pairs before and after together."""
    data = sample_data(variables, _DRAWN_FOR_RANGE, torch_generator(seed, "protocol range"))
    low, middle, high = np.quantile(
        np.concatenate([data.x, data.x_tilde]).astype(np.float64), (0.25, 0.5, 0.75), axis=0
    )
    flat = np.flatnonzero(high <= low)
    if flat.size:
        raise ValueError(f"model: Expected variables that vary; got one value for most of z{flat[0]}")
    return middle, (high - low) / _QUARTILES_OF_NORMAL


def _set(
    actuators: tuple[Actuator, ...], z: NDArray[np.float32], centre: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    shares = ndtr((z.astype(np.float64) - centre) / scale)
    return np.stack([actuator.values(shares[:, a]) for a, actuator in enumerate(actuators)], axis=1)
