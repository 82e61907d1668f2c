"""Rows on noise and graph: perfect, acyclic, no hidden common cause, faithful, full support."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from lcm.base.ranks import column_ranks
from lcm.readout.ancestors import critical_value
from lcm.readout.dependence import NEGLIGIBLE
from lcm.run.assumption import CertificateRow
from lcm.run.certificate.material import LOST, Material
from lcm.run.certificate.power import (
    LEVEL,
    POWER,
    correlation_p_value,
    smallest_correlation,
)

Array = NDArray[np.float64]

_RARE_TARGET = 1e-3
_SUPPORTED = 0.01
_MAX_LISTED = 6
_ALLOWED = 0.05
_LOST = f"Cannot be tested: {LOST}."
_TOO_FEW = "Cannot be tested: a variable is the target in too few of these pairs."
_SOFT = (
    "An intervention that draws fresh noise and keeps the parents is perfect in another model with the same pairs, the"
    " one without these edges. No data can tell."
)


def perfect(material: Material, lost: bool) -> CertificateRow:
    """The row on perfect interventions: refutable if the new value follows the old one, never confirmed."""
    values, rows = _followed(material)
    # targets are taken from pairs that moved clearly, more so where the thickness is wide
    allowed = _ALLOWED + max(material.width, float(material.model.thickness.max()))
    i = int(np.abs(values).argmax())
    p_value = correlation_p_value(float(values[i]), int(rows[i]), allowed, material.n)
    smallest = smallest_correlation(int(rows.min()), allowed, material.n)
    findings = []
    if p_value < LEVEL and not lost and not material.several_targets:
        findings.append(
            f"Perfect interventions: where z{i} is the target, its noise afterwards is correlated with that before"
            f" ({values[i]:+.2f}). Interventions seem to move its value, not to replace it."
        )
    return CertificateRow.judged(
        "perfect",
        "interventions are perfect",
        "correlation of a target's noise before and after",
        "Variables are found up to a map that depends on their parents, and edges into a target are missed.",
        findings=tuple(findings),
        unknown=_SOFT,
        statistic=float(np.abs(values[i])),
        p_value=None if lost else p_value,
        smallest=smallest,
        power=f"A new value that follows the old one with a correlation of {smallest:.2f} would have been seen in nine"
        " of ten cases. Soft interventions leave no trace.",
    )


def _followed(material: Material) -> tuple[Array, NDArray[np.int64]]:
    """Correlation (n,) of a target's noise before and after, and the number of pairs (n,)."""
    chosen = (material.weights > 0.5) & (material.moved.sum(1) <= 1)[:, None]
    values = np.zeros(material.n)
    for i in range(material.n):
        if chosen[:, i].sum() > 3:
            pair = material.before[chosen[:, i], i].clip(-4.0, 4.0), material.after[chosen[:, i], i].clip(-4.0, 4.0)
            values[i] = np.corrcoef(*pair)[0, 1] if min(part.std() for part in pair) > 0.0 else 0.0
    return values, chosen.sum(0)


def direction() -> CertificateRow:
    """The row on which observation came first: it cannot be known."""
    return CertificateRow.judged(
        "direction",
        "x is before the intervention",
        "none",
        "Exchanged pairs have dependent noise before the intervention, and give another graph.",
        unknown="Exchanged x and x_tilde have the same moves. Where there are edges, an exchange leaves the noise of x"
        " dependent, as a hidden common cause does; no data tell these apart.",
    )


def common_cause(material: Material, lost: bool) -> CertificateRow:
    """The row on hidden common causes: noises of one observation are independent."""
    correlation, allowed, tests = _strongest(material)
    rows = len(material.normal)
    i, j = _farthest_beyond(correlation, allowed)
    at, limit = float(np.abs(correlation[:, i, j]).max()), float(allowed[i, j])
    p_value = correlation_p_value(at, rows, limit, tests)
    smallest = smallest_correlation(rows, float(allowed.max()), tests)
    reason = _LOST if lost else "" if smallest < 0.5 else "Cannot be tested: the encoder is too inexact."
    findings = []
    if p_value < LEVEL and not lost:
        findings.append(
            f"No hidden common cause: the noise of z{i} and of z{j} is dependent (correlation {at:.2f}, of noise or of"
            " its square). A cause of both may be missing, x may be selected, or x and x_tilde may be exchanged."
        )
    return CertificateRow.judged(
        "common_cause",
        "no hidden common cause",
        "rank correlation of the noises of x, and of their squares, between any two variables;"
        f" {limit:.2g} allowed here, the traces of an inexact encoder included",
        "Effects between the two variables are found, but samples and interventional averages of the model are wrong.",
        findings=tuple(findings),
        unknown=reason,
        statistic=at,
        p_value=None if lost else p_value,
        smallest=smallest,
        power=f"A cause that gives two noises a correlation of {smallest:.2f} would have been seen in nine of ten"
        " cases.",
    )


def _strongest(material: Material) -> tuple[Array, Array, int]:
    """Correlations (2, n, n), of noise and of its square, above the diagonal; the allowed ones (n, n); their number."""
    n = material.n
    scores = norm.ppf((column_ranks(material.normal) - 0.5) / len(material.normal))
    upper = np.triu(np.ones((n, n)), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        both = [np.atleast_2d(np.corrcoef(part, rowvar=False)) for part in (scores, np.square(scores))]
    correlations = np.nan_to_num(np.stack(both)) * upper
    traces = np.sqrt(material.traces)
    allowed = np.minimum(0.9, _ALLOWED + traces + traces.T)
    return correlations, allowed * upper, max(1, n * (n - 1))


def _farthest_beyond(correlation: Array, allowed: Array) -> tuple[int, int]:
    """The two variables whose correlation exceeds the allowed one by most; (0, 0) for a single variable."""
    beyond = np.where(np.triu(np.ones_like(allowed), 1) > 0.0, np.abs(correlation).max(0) - allowed, -1.0)
    i, j = np.unravel_index(int(beyond.argmax()), beyond.shape)
    return int(i), int(j)


def acyclic(material: Material, lost: bool) -> CertificateRow:
    """The row on cycles: ancestor relations follow one order."""
    ancestry, n = material.ancestry, material.n
    position = np.argsort(ancestry.order)
    against = ancestry.p_value[position[:, None] > position[None, :]]
    p_value = min(1.0, float(against.min()) * n * (n - 1)) if n > 1 else 1.0
    smallest = smallest_effect(material)
    findings = []
    if ancestry.conflicts:
        listed = ", ".join(f"z{j} -> z{i}" for j, i in ancestry.conflicts[:_MAX_LISTED])
        findings.append(
            "Acyclic mechanisms, perfect interventions: the ancestor relations form a cycle. These relations contradict"
            f" the causal order: {listed}. Imperfect interventions or an inexact encoder can cause this."
        )
    return CertificateRow.judged(
        "acyclic",
        "causes form no cycle",
        "whether a target's new noise depends on the noise of a variable that comes later in the causal order",
        "There is no causal order, and the graph leaves out at least one effect.",
        findings=() if lost else tuple(findings),
        unknown=_LOST if lost else _TOO_FEW if smallest >= 1.0 and not findings else "",
        p_value=p_value,
        smallest=smallest,
        power=f"A loop would have been seen in nine of ten cases if its weaker effect explained {smallest**2:.1%} or"
        " more of the variance of the new noise.",
    )


def smallest_effect(material: Material) -> float:
    """The smallest correlation of a target's new noise with another variable's that the ancestor tests find, (0, 1]."""
    n, rows = material.n, _scaled_rows(material)
    level = material.result.config.readout.ancestor_level
    needed = critical_value(level, n * (n - 1)) + float(norm.ppf(POWER))
    return float(min(1.0, NEGLIGIBLE + needed / np.sqrt(max(1.0, float(rows.min())))))


def _scaled_rows(material: Material) -> Array:
    """Number of pairs (n,) of all data in which each variable is the target."""
    share = material.target_rows / max(1, material.encoded_rows)
    rows: Array = share * len(material.data)
    return rows


def faithful(material: Material, lost: bool) -> CertificateRow:
    """The row on faithfulness: chains of effects that vanish are seen, other cancellations cannot be."""
    findings = []
    if material.ancestry.intransitive and not lost:
        listed = ", ".join(f"z{j} -> z{i} -> z{k}" for j, i, k in material.ancestry.intransitive[:_MAX_LISTED])
        findings.append(
            "Perfect interventions, faithfulness: an ancestor of an ancestor should be an ancestor, but in these chains"
            f" the first variable clearly has no effect on the last: {listed}. Interventions that keep some parents can"
            " cause this, and so can effects that cancel along two paths."
        )
    return CertificateRow.judged(
        "faithful",
        "no effects cancel (faithfulness)",
        "whether an ancestor of an ancestor is an ancestor",
        "An edge whose effect is undone along another path is missed.",
        findings=tuple(findings),
        unknown=_LOST if lost else "Effects that cancel exactly leave a model without them as likely.",
        power="A chain of strong effects whose end does not depend on its start would have been seen.",
    )


def support(material: Material) -> CertificateRow:
    """The row on interventions on every variable, each also without the others."""
    rows = len(material.data)
    shares = (material.target_rows / max(1, material.encoded_rows)).tolist()
    rare = [f"z{i}" for i, share in enumerate(shares) if share < _RARE_TARGET]
    least = min(shares)
    findings = []
    if rare:
        findings.append(
            f"Interventions on every variable: almost no intervention targets {', '.join(rare)}. If two or more"
            " variables are never targets, the fit finds them only as a block, and finds no parents of any of them."
        )
    if same := _always_together(material):
        findings.append(
            f"Atomic interventions: these variables are always targets together: {', '.join(same[:_MAX_LISTED])}. The"
            " fit finds them only as a block."
        )
    return CertificateRow.judged(
        "support",
        "every variable is a target",
        f"estimated share of pairs with each target; below {_RARE_TARGET:.1%} counts as never",
        "Two variables that are never targets, or only together, are found only as a block.",
        findings=tuple(findings),
        statistic=least,
        p_value=float(binom.cdf(round(least * rows), rows, _SUPPORTED)),
        smallest=_RARE_TARGET,
        power=f"A variable that is the target in fewer than {_RARE_TARGET:.1%} of the pairs would be named. The p-value"
        f" is that of so few if it were the target in {_SUPPORTED:.0%}.",
    )


def _always_together(material: Material) -> list[str]:
    distribution = material.model.target_distribution
    hit = distribution.target_sets[distribution.probabilities >= _RARE_TARGET].cpu().numpy()
    return [
        f"z{i} and z{j}"
        for i in range(distribution.n)
        for j in range(i + 1, distribution.n)
        if hit[:, i].any() and np.array_equal(hit[:, i], hit[:, j])
    ]
