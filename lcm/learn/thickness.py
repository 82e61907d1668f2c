"""The thickness σ of an implicit model in closed form, from several starts: the alternation has more ends than one."""

from __future__ import annotations

import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.noise_encoder import ImplicitModel, NoisePairs
from lcm.learn.training.objective import Rows
from lcm.model.likelihood import THICKNESS_FLOOR, PairTerms, stay_log_density

_STARTS = (0.5, 0.02, 2.0 * THICKNESS_FLOOR)
_UPDATES = 30
_ROWS = 20_000


@torch.no_grad()
def set_likeliest_thickness(model: ImplicitModel, x: Rows, x_tilde: Rows, labels: Tensor | None = None) -> None:
    """Alternate the posterior and the closed form of σ on some of the pairs (N, r), and keep the likeliest end.

    A variable that is the target in most pairs can pass for one that stays, with a thickness near 1, unless a start is
    so narrow that its small moves are fewer than the pairs in which it stays. p_𝓘 stays as it is, and so do pairs'
    target sets (N,) that are known. The widths off the sheet are set too.

    Source: docs/theory.md section 2.
    """
    x, x_tilde = x[:_ROWS], x_tilde[:_ROWS]
    known = [] if labels is None else [labels[:_ROWS]]
    changed = (x != x_tilde).any(1)
    pairs = NoisePairs(*in_chunks(model.encode_pairs, x, x_tilde))
    # all that does not depend on the thickness, which is most of the work, is computed once
    base, _, move = in_chunks(lambda *part: model.terms(NoisePairs(*part))[:3], *pairs)
    parts = base, move, pairs.normal_tilde - pairs.normal

    def terms(base: Tensor, move: Tensor, difference: Tensor) -> PairTerms:
        return PairTerms(base, stay_log_density(difference, model.thickness), move)

    def posterior(*part: Tensor) -> tuple[Tensor]:
        return (model.posterior(terms(*part[:3]), *part[3:]),)

    ends = []
    for start in _STARTS:
        model.thickness.fill_(start)
        for _ in range(_UPDATES):
            (found,) = in_chunks(posterior, *parts, *known)
            variance = model.staying_variance(pairs, found, changed)
            model.thickness.copy_(variance.clamp_min(THICKNESS_FLOOR**2).sqrt())
        value = float(in_chunks(lambda *part: (model.log_density(terms(*part)),), *parts)[0].mean())
        ends.append((value, model.thickness.clone()))
    model.width.copy_(pairs.across.square().mean((0, 1)).clamp_min(THICKNESS_FLOOR**2).sqrt())
    model.thickness.copy_(max(ends, key=lambda end: end[0])[1])
