"""What in a fit speaks against trusting it: said in plain words, from the fit and its data alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lcm.data.pairs import PairData
    from lcm.learn.fit import FitResult

_INEXACT_THICKNESS = 0.1
_WIDE_GAP = 0.05
_RARE_TARGET = 1e-3


def doubts(result: FitResult, data: PairData) -> list[str]:
    """One sentence for each sign that an assumption is broken or that the fit fell short; none is no proof.

    Soft interventions and exchanged x and x̃ leave no sign (docs/theory.md section 4).
    """
    found = [_rank(result, data), _thickness(result), _gap(result), _conflicts(result), _rare_targets(result)]
    return [doubt for doubt in found if doubt]


def _rank(result: FitResult, data: PairData) -> str:
    from lcm.data.dimension import estimate_n

    spanned = estimate_n(data.x, data.x_tilde)
    if spanned is None or spanned <= result.model.n:
        return ""
    return f"x spans {spanned} dimensions, more than the {result.model.n} variables fitted: some may be missing."


def _thickness(result: FitResult) -> str:
    widest = float(result.model.thickness.max())
    if widest <= _INEXACT_THICKNESS:
        return ""
    return (
        f"Noise that was not intervened on changes by {widest:.2f} of its standard deviation: the encoder is not exact,"
        " the pairs are noisy or rounded, or they are not one-sparse. More steps, more pairs or --restarts may help."
    )


def _gap(result: FitResult) -> str:
    gap = result.explicit_nll - result.implicit_nll
    if gap <= _WIDE_GAP:
        return ""
    return f"The explicit model explains held-out pairs {gap:.2f} nats worse than the implicit one: are edges missing?."


def _conflicts(result: FitResult) -> str:
    if not result.ancestry.conflicts:
        return ""
    listed = ", ".join(f"z{j} -> z{i}" for j, i in result.ancestry.conflicts)
    return f"No order of the variables agrees with all tests, so an assumption may be broken: {listed}."


def _rare_targets(result: FitResult) -> str:
    distribution = result.model.target_distribution
    shares = distribution.probabilities @ distribution.target_sets.to(distribution.probabilities.dtype)
    rare = [f"z{i}" for i, share in enumerate(shares.tolist()) if share < _RARE_TARGET]
    if not rare:
        return ""
    return f"Almost never intervened on: {', '.join(rare)}. Two or more such variables are found only as a block."
