"""Draw data sets from a model: pairs of its own distribution, interventions, and counterfactuals of given x."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcm.base import __version__
from lcm.base.chunks import in_chunks
from lcm.base.memory import require_memory
from lcm.data.encode import require_same_dimensions
from lcm.data.nature.build import torch_generator
from lcm.data.pairs import Array, PairData
from lcm.model.do import Do
from lcm.model.noise import Noise
from lcm.model.pair_model import PairModel
from lcm.model.scm import SCM

_DRAWN_AT_ONCE = 65_536
_COPIES = 3


def pair_width(n: int, d: int) -> int:
    """Bytes of one pair and its truth, n variables and d dimensions, in float32."""
    return 4 * (2 * d + 5 * n)


@torch.no_grad()
def sample_data(
    model: PairModel,
    n_pairs: int,
    generator: torch.Generator,
    metadata: Mapping[str, str] | None = None,
    chunk: int = _DRAWN_AT_ONCE,
) -> PairData:
    """Draw `n_pairs` pairs and their truth, in chunks of `chunk` pairs to limit memory.

    The draw depends on `generator` and `chunk`. Raises ValueError for no pairs, if they do not fit into the memory at
    hand, or if the model gives values that are not finite.
    """
    if n_pairs < 1:
        raise ValueError(f"n: Expected at least one pair; got {n_pairs}")
    require_memory(_COPIES * pair_width(model.n, model.d) * n_pairs, f"{n_pairs:,} pairs")
    parts = []
    for start in range(0, n_pairs, chunk):
        pairs = model.sample_pairs(min(chunk, n_pairs - start), generator)
        parts.append({name: value.cpu().numpy() for name, value in pairs._asdict().items()})
    tensors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    adjacency = model.graph.adjacency.astype(np.uint8)
    return PairData.from_arrays(**tensors, adjacency=adjacency, metadata=metadata, drawn=True)


def sample_pairs(model: PairModel, n_pairs: int, *, seed: int = 0) -> PairData:
    """Draw `n_pairs` pairs and their truth from the model's own p(x, x̃).

    Raises:
        ValueError: a negative seed, pairs that do not fit into the memory at hand, or values that are not finite.
        NotImplementedError: a model without mechanisms.
    """
    return sample_data(model, n_pairs, torch_generator(seed, "sample"), _metadata(seed, {}))


def sample_counterfactuals(
    model: PairModel,
    values: Mapping[int, float | Noise],
    source: PairData | None = None,
    *,
    n: int | None = None,
    seed: int = 0,
) -> PairData:
    """Pairs whose x̃ is the counterfactual of x under perfect interventions: abduct, act, predict.

    Args:
        values: the value of each learned variable (0-based) that is set, in the units of z. All are set at once.
        source: pairs whose x is used; None to draw x from the model.
        n: number of pairs; with a source, its first n, by default all.
        seed: seed for x drawn from the model.

    Returns:
        Pairs with z, z_tilde, noise, noise_tilde (N, n), targets and adjacency of the model.

    Raises:
        ValueError: a variable out of range, a law instead of a value, neither `n` nor `source`, more pairs than the
            source has, observations of another shape than the model's, or results that are not finite.
        NotImplementedError: a model without mechanisms.
    """
    outside = [variable for variable in values if not 0 <= variable < model.n]
    if outside:
        raise ValueError(f"do: Expected learned variables in 0..{model.n - 1}; got {outside[0]}")
    if any(isinstance(value, Noise) for value in values.values()):
        raise ValueError("do: Expected numbers, the same for all pairs; got a law")
    scm, do = model.causal_model().scm, Do(dict(values))

    def act(z: Tensor) -> tuple[Tensor, ...]:
        z_tilde = scm.counterfactual(z, do)
        return model.decode(z_tilde), z, z_tilde, scm.abduct(z)[0], scm.abduct(z_tilde)[0]

    x, z = _fresh(model, scm, n, seed) if source is None else _given(model, source, n)
    columns = [part.cpu().numpy() for part in in_chunks(act, z)]
    tensors = dict(zip(("x_tilde", "z", "z_tilde", "noise", "noise_tilde"), columns, strict=True))
    targets = np.zeros((len(z), model.n), dtype=np.bool_)
    targets[:, list(values)] = True
    adjacency = model.graph.adjacency.astype(np.uint8)
    found = PairData.from_arrays(
        x, **tensors, targets=targets, adjacency=adjacency, metadata=_metadata(seed, values), drawn=True
    )
    return found if source is None else replace(found, columns=source.columns)


@torch.no_grad()
def _fresh(model: Any, scm: SCM, n: int | None, seed: int) -> tuple[Tensor, Tensor]:
    if n is None:
        raise ValueError("n: Expected a number of pairs, or x to start from; got neither")
    require_memory(_COPIES * pair_width(model.n, model.d) * n, f"{n:,} pairs")
    z = scm.sample(n, torch_generator(seed, "sample"))
    return in_chunks(lambda part: (model.decode(part),), z)[0].cpu(), z


@torch.no_grad()
def _given(model: PairModel, source: PairData, n: int | None) -> tuple[Array, Tensor]:
    require_same_dimensions(model, source)
    if n is not None and n > len(source):
        raise ValueError(f"n: Expected at most {len(source)} pairs, as the data have; got {n}")
    x = np.array(source.x[:n])
    return x, in_chunks(lambda part: (model.encode(part).z,), torch.from_numpy(x))[0]


def _metadata(seed: int, values: Mapping[int, Any]) -> dict[str, str]:
    made = {"made_by": "lcm sample", "version": __version__, "seed": str(seed)}
    return made | ({"do": json.dumps({str(key): value for key, value in values.items()})} if values else {})
