"""True variables in learned units, and back: what makes an answer of one model comparable with that of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from lcm.isomorphism.matching import FloatArray, IntArray
from lcm.isomorphism.monotone import fit_monotone, mapped, normal_scores, quantile_map
from lcm.metric.case import Case
from lcm.model.elementwise import KnotMap
from lcm.model.graph import BoolArray
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import PairModel

_MIN_ROWS = 50
_MOST_ROWS = 10_000


@final
@dataclass(frozen=True, eq=False)
class Translation:
    """Monotone maps h_i from each true variable to the learned one that is matched with it.

    Outside the data they are lines whose slope is the ratio of the standard deviations.

    permutation: (n,), true variable i is learned variable permutation[i]. maps: h inside, in the true numbering.
    edges: (2, n), least and greatest true values. slope: (n,), outside. m: number of learned variables, at least n.
    """

    permutation: IntArray
    maps: KnotMap
    edges: FloatArray
    slope: FloatArray
    m: int

    @staticmethod
    def fit(true: FloatArray, learned: FloatArray, permutation: IntArray) -> Translation:
        """The maps that ranks of true (N, n) and learned (N, m) variables give, fitted as `lcm compare` fits them."""
        matched = learned[:, permutation]
        between = fit_monotone(normal_scores(true), normal_scores(matched))
        # the slope of the curve at its ends is that of two rows, and may be almost 0
        spreads = [np.where(table.max(0) > table.min(0), table.std(0), 1.0) for table in (true, matched)]
        slope = between.orientation.numpy() * spreads[1] / spreads[0]
        edges = np.stack([true.min(0), true.max(0)])
        return Translation(permutation, quantile_map(true, matched, between), edges, slope, learned.shape[1])

    def to_learned(self, targets: BoolArray, values: FloatArray) -> tuple[BoolArray, FloatArray]:
        """Bool targets and values (N, n) of true variables, as those (N, m) of learned ones; 0 where not a target."""
        placed, where = np.zeros((len(values), self.m)), np.zeros((len(values), self.m), dtype=np.bool_)
        inside = values.clip(*self.edges)
        placed[:, self.permutation] = mapped(self.maps, inside) + (values - inside) * self.slope
        where[:, self.permutation] = targets
        return where, placed * where

    def to_true(self, learned: FloatArray) -> FloatArray:
        """Learned variables (N, m) in true units and the true numbering, (N, n)."""
        matched = learned[:, self.permutation]
        inside = matched.clip(*np.sort(mapped(self.maps, self.edges), axis=0))
        values: FloatArray = self.maps.inverse(torch.from_numpy(inside))[0].numpy()
        return values + (matched - inside) / self.slope


def translation_of(case: Case) -> Translation | None:
    """The translation that the encodings of a case give, of x and of x̃ where their truth is known.

    The first 10,000 pairs are used. None where a true variable is unmatched, with fewer than 50 pairs, or where either
    model has variables on a circle or no mechanisms.
    """
    model = mechanisms_of(case)
    models = [each for each in (model, case.nature) if each is not None]
    if model is None or any(bool(each.scm.circular.any()) for each in models):
        return None
    if len(case.z) < _MIN_ROWS or (case.permutation < 0).any():
        return None
    true, learned = [case.z[:_MOST_ROWS]], [case.learned[:_MOST_ROWS]]
    if case.data.z_tilde is not None:
        true.append(case.data.z_tilde[:_MOST_ROWS])
        learned.append(case.encoded.z_tilde[:_MOST_ROWS].double().cpu().numpy())
    return Translation.fit(np.concatenate(true).astype(np.float64), np.concatenate(learned), case.permutation)


def mechanisms_of(case: Case) -> LatentCausalModel | None:
    """The learned model with its mechanisms, for images that of their codes; None if it has none."""
    try:
        model: LatentCausalModel = case.model.causal_model()
    except NotImplementedError:
        return None
    return model


@torch.no_grad()
def solved(model: LatentCausalModel, noise: Tensor, targets: BoolArray, values: FloatArray) -> FloatArray:
    """z (N, n) of a model for its noise (N, n), where targets (N, n) take values (N, n)."""
    imposed = torch.from_numpy(values).to(noise)
    where = torch.from_numpy(targets).to(noise.device)
    z = model.scm.solve_intervened(noise, where, lambda _, variables: imposed[:, variables])
    found: FloatArray = z.double().cpu().numpy()
    return found


@torch.no_grad()
def decoded(model: PairModel, z: FloatArray, like: Tensor) -> FloatArray:
    """x (N, ...) of variables z (N, n), decoded in the precision and on the device of `like`.

    Raises:
        NotImplementedError: a model without mechanisms.
    """
    x: FloatArray = model.decode(torch.from_numpy(z).to(like)).double().cpu().numpy()
    return x
