"""Rows on pairs: are they counterfactual, does one variable change at a time, does the rest stay where it was?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc
from scipy.stats import binom, norm

from lcm.data.pairs import PairData
from lcm.run.assumption import CertificateRow
from lcm.run.certificate.material import LOST, Material
from lcm.run.certificate.power import (
    INDEPENDENCE_LEVEL,
    LEVEL,
    POWER,
    share_p_value,
    smallest_share,
)

_ALLOWED = 0.01
_SPREAD_CHANGES = 0.1
_MOVES_WITH = 0.3
_ROWS = 5_000
_MAX_LISTED = 6
_SHIFT = 0.02
_INEXACT = 0.2
_LEAST_PAIRS = 50
_UNTESTED = f"no variable has {_LEAST_PAIRS} pairs in which it is no target and another variable is"
_INEXACT_TEXT = "the encoder is too inexact to tell a change from its own error; see the row of the encoder"
_TOLD = "the config lists target sets of several variables"
_COUNTERFACTUAL = "pairs are counterfactual"
_UNPAIRED = "Nothing is learned from such pairs: variables, targets and graph are those of other models as well."
_SPREAD = "Variables that change together are found only as a block, and edges between them mean nothing."


class Moves(NamedTuple):
    """Counts of pairs that differ: in which at least `most` variables moved, and in which several but fewer did.

    rows: number of pairs that differ. all_moved, several: the two counts. seen_all, seen_two: the probability that
    independent fresh draws move at least `most` variables, and that they move two given ones.
    """

    rows: int
    most: int
    all_moved: int
    several: int
    seen_all: float
    seen_two: float


def count_moves(material: Material) -> Moves:
    """How many variables moved in the pairs, and how probably a violation shows as such, if changes are fresh draws."""
    n, number = material.n, material.moved.sum(1)
    most = max(3, int(np.ceil(0.75 * n)))
    each = 2.0 * float(norm.sf(material.least_move / np.sqrt(2.0)))
    seen_all = float(binom.sf(most - 1, n, each)) if n >= most else 0.0
    several = int(((number >= 2) & (number < most)).sum())
    return Moves(len(number), most, int((number >= most).sum()), several, seen_all, each * each)


def counterfactual(material: Material, independence: float, moves: Moves) -> CertificateRow:
    """The row on counterfactual pairs; `independence` is the p-value of Bartlett's test."""
    if independence >= INDEPENDENCE_LEVEL:
        return _independent(independence)
    p_value = share_p_value(moves.all_moved, moves.rows, _ALLOWED)
    smallest = smallest_share(moves.rows, _ALLOWED, moves.seen_all)
    share = moves.all_moved / max(moves.rows, 1)
    findings = []
    if p_value < LEVEL and not material.several_targets:
        findings.append(
            f"Counterfactual pairs: in {share:.1%} of the pairs the noise of {moves.most} or more variables changes as"
            " much as that of a target. Some x_tilde may not belong to their x."
        )
    reason = _TOLD if material.several_targets else _INEXACT_TEXT if material.width > _INEXACT else ""
    only_all = "With two variables, an independent pair looks like one with two targets: see the next row."
    return CertificateRow.judged(
        "counterfactual",
        _COUNTERFACTUAL,
        f"correlation of x with x_tilde; share of pairs in which the noise of {moves.most} or more of {material.n}"
        f" variables changes by over {material.least_move:.2g} standard deviations, at most {_ALLOWED:.0%} allowed",
        _UNPAIRED,
        findings=tuple(findings),
        unknown=f"Cannot be tested: {reason}." if reason else "",
        statistic=share,
        p_value=p_value,
        smallest=smallest if moves.seen_all else None,
        power=_share_power(smallest, "of strangers, whose x_tilde belongs to another x")
        if moves.seen_all
        else only_all,
    )


def _independent(p_value: float) -> CertificateRow:
    finding = (
        "Counterfactual pairs: x and x_tilde are uncorrelated, as if they were drawn independently. Nothing stays the"
        " same within a pair, so no fit can learn from the pairs. Pair each x with its own counterfactual."
    )
    test = f"Bartlett's test of the canonical correlations of x and x_tilde, at level {INDEPENDENCE_LEVEL:g}"
    return CertificateRow.judged(
        "counterfactual", _COUNTERFACTUAL, test, _UNPAIRED, findings=(finding,), p_value=p_value
    )


def atomic(material: Material, independence: float, moves: Moves, strangers_found: bool) -> CertificateRow:
    """The row on one target at a time, which pairs of strangers alone do not break."""
    # pairs of strangers that by chance moved less than `most` variables are no sign of several targets
    strangers = moves.all_moved / max(moves.rows, 1) * max(0.0, 1.0 / max(moves.seen_all, 0.05) - 1.0)
    allowed = min(1.0, _ALLOWED + 1.5 * strangers)
    p_value = share_p_value(moves.several, moves.rows, allowed)
    smallest = smallest_share(moves.rows, allowed, moves.seen_two)
    share = moves.several / max(moves.rows, 1)
    lost = independence >= INDEPENDENCE_LEVEL
    explained = lost or material.several_targets or (strangers_found and p_value >= LEVEL)
    spread = "" if explained else spread_text(material)
    findings = [spread] if spread else []
    if not findings and not lost and not material.several_targets and material.width <= _INEXACT and p_value < LEVEL:
        findings.append(
            f"Atomic interventions: in {share:.1%} of the pairs the noise of two or more variables changes as much as"
            f" that of a target{_together_text(material)}. Either interventions have several targets, or the noise of"
            " other variables is drawn again. If you know the target sets, list them under the key `targets`."
        )
    reason = LOST if lost else _TOLD if material.several_targets else ""
    reason = reason or (_INEXACT_TEXT if material.width > _INEXACT else "")
    return CertificateRow.judged(
        "atomic",
        "an intervention has one target",
        f"share of pairs in which the noise of several variables changes by over {material.least_move:.2g} standard"
        f" deviations, at most {allowed:.0%} allowed",
        _SPREAD,
        findings=tuple(findings),
        unknown=f"Cannot be tested: {reason}." if reason else "",
        statistic=share,
        p_value=None if reason else p_value,
        smallest=None if reason else smallest,
        power="" if reason else _share_power(smallest, "with a second target"),
    )


def _share_power(smallest: float, what: str) -> str:
    if smallest >= 1.0:
        return f"Even if all were pairs {what}, this test might not see it."
    return f"It would have been seen in nine of ten cases if {smallest:.1%} or more were pairs {what}."


def independence_p_value(data: PairData) -> float:
    """Bartlett's p-value that x and x̃ of some thousand pairs are uncorrelated, in [0, 1]; 0 with too little to ask.

    An observation and its counterfactual are correlated.
    """
    x, x_tilde = (part[:_ROWS] - part[:_ROWS].mean(0, dtype=np.float64) for part in (data.x, data.x_tilde))
    bases = [np.linalg.svd(part, full_matrices=False) for part in (x, x_tilde)]
    spans = [left[:, values > 1e-6 * values[0]] for left, values, _ in bases]
    if min(span.shape[1] for span in spans) < 2:
        return 0.0
    correlations = np.linalg.svd(spans[0].T @ spans[1], compute_uv=False).clip(max=1.0 - 1e-12)
    degrees = spans[0].shape[1] * spans[1].shape[1]
    weight = len(x) - 1.5 - 0.5 * (spans[0].shape[1] + spans[1].shape[1])
    if weight <= 0:
        return 0.0
    return float(chdtrc(degrees, -weight * np.log1p(-np.square(correlations)).sum()))


def spread_text(material: Material) -> str:
    """What is wrong if much of the change of noise lies outside the coordinate that changes most; else empty."""
    change = material.change
    squared = np.square(change)
    outside = 1.0 - squared.max(1).sum() / max(squared.sum(), 1e-300) if len(change) and material.n > 1 else 0.0
    if outside <= _SPREAD_CHANGES:
        return ""
    named = _moving_together(change)
    return (
        f"Atomic interventions on counterfactual pairs: {outside:.0%} of the change of a pair's noise lies outside the"
        f" coordinate that changes most{f' (moving together: {named})' if named else ''}. Either interventions change"
        " several variables at once, or the noise of other variables is drawn again, or the fit has not converged. If"
        " you know that interventions have several targets, list their target sets under the key `targets`."
    )


def _moving_together(change: NDArray[np.float64]) -> str:
    moments = np.abs(change).T @ np.abs(change)
    together = moments / np.maximum(np.sqrt(np.outer(np.diag(moments), np.diag(moments))), 1e-300)
    pairs = [(i, j) for i, j in np.argwhere(np.triu(together, 1) > _MOVES_WITH)]
    return ", ".join(f"z{i} with z{j}" for i, j in pairs[:_MAX_LISTED])


def _together_text(material: Material) -> str:
    """The two variables that move together most often."""
    moved = material.moved.astype(np.float64)
    counts = np.triu(moved.T @ moved, 1)
    i, j = np.unravel_index(int(counts.argmax()), counts.shape)
    return f" (most often z{i} with z{j})"


def drift(material: Material, lost: bool) -> CertificateRow:
    """The row on what is not intervened on: its noise is the same after as before, neither shifted nor scaled."""
    worst = _worst_shift(material)
    p_value, smallest = worst.p_value, worst.smallest
    findings = []
    reason = LOST if lost else _INEXACT_TEXT if material.width > _INEXACT else _UNTESTED if worst.how == "" else ""
    if p_value < LEVEL and not reason:
        findings.append(
            f"One distribution before and after: noise of z{worst.variable} that is no target {worst.how} from x to"
            " x_tilde. Something else than the intervention changed between the two, such as a drift or another"
            " setting of the instrument."
        )
    return CertificateRow.judged(
        "drift",
        "only interventions tell x̃ from x",
        f"median change of noise that is no target, in standard deviations, and its slope on the noise before; {_SHIFT}"
        " allowed",
        "A change that all x_tilde share is taken for part of the interventions, and bends variables and mechanisms.",
        findings=tuple(findings),
        unknown=f"Cannot be tested: {reason}." if reason else "",
        statistic=worst.statistic,
        p_value=None if reason else p_value,
        smallest=None if reason else smallest,
        power=""
        if reason
        else f"It would have been seen in nine of ten cases if all x_tilde were shifted so that noise changed by"
        f" {smallest:.2g} standard deviations.",
    )


class Shift(NamedTuple):
    """The largest common change of noise that is no target: of which variable, how, and how sure it is."""

    variable: int
    how: str
    statistic: float
    p_value: float
    smallest: float


def _worst_shift(material: Material) -> Shift:
    n, few = material.n, material.moved.sum(1) <= 1
    found = [Shift(0, "", 0.0, 1.0, 0.0)]
    smallest = 0.0
    for j in range(n):
        stays = material.weights[:, j] < 0.5
        change, kept = material.change[stays, j], stays & few & ~material.moved[:, j]
        if min(len(change), kept.sum()) < _LEAST_PAIRS:
            continue
        median = float(np.median(change))
        beyond = int((np.sign(median) * change > _SHIFT).sum())
        p_median = min(1.0, 2 * n * float(binom.sf(beyond - 1, len(change), 0.5)))
        found.append(Shift(j, f"shifts by {median:+.2g} standard deviations", abs(median), p_median, 0.0))
        slope, error = _slope(material.before[kept, j], material.change[kept, j])
        p_slope = min(1.0, 2 * n * float(norm.sf((abs(slope) - _SHIFT) / max(error, 1e-12))))
        found.append(Shift(j, f"is scaled by {1.0 + slope:.2f}", abs(slope), p_slope, 0.0))
        needed = (norm.isf(LEVEL / (2 * n)) + norm.ppf(POWER)) * 0.5 / np.sqrt(len(change))
        smallest = max(smallest, _SHIFT - float(np.quantile(change - median, max(0.0, 0.5 - needed))))
    worst = min(found, key=lambda shift: (shift.p_value, -shift.statistic))
    return worst._replace(smallest=smallest)


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope of a line through points, with its standard error, valid for unequal variances."""
    centred = x - x.mean()
    total = max(float(centred @ centred), 1e-300)
    slope = float(centred @ y) / total
    residual = y - y.mean() - slope * centred
    return slope, float(np.sqrt(np.square(centred * residual).sum())) / total
