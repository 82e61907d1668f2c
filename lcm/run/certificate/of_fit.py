"""Rows on the data and the fit: real variables, a decoder with an inverse, n, the encoder, and enough pairs."""

from __future__ import annotations

from lcm.run.assumption import CertificateRow
from lcm.run.certificate.material import Material
from lcm.run.certificate.of_noise import smallest_effect
from lcm.run.doubts_of_data import clipped_text, coarse_text, rounded_text
from lcm.run.injective import folded_share

_INEXACT_THICKNESS = 0.1
_WIDE_GAP = 0.05
_FOLDED = 0.1
_STRONG = 0.5


def real_valued(material: Material) -> CertificateRow:
    """The row on real-valued variables: few levels show, circles do not."""
    whole = material.whole
    text, rounded = ("", "") if whole.is_images else (coarse_text(whole), rounded_text(whole))
    return CertificateRow.judged(
        "real",
        "variables are real numbers",
        "number of different values in each column of x, and steps between them",
        "Steps act like noise on each observation. Angles allow several graphs with the same pairs (docs/theory.md"
        " section 4).",
        findings=(text,) if text else (),
        unknown=f"{rounded or 'No column has as few as 20 values, nor steps.'} But variables on a circle, such as"
        " angles that wrap around, can have the same pairs as other models, and no data show it.",
        power="A column of at most 20 values, or of steps, would be named.",
    )


def diffeomorphic(material: Material) -> CertificateRow:
    """The row on a decoder with an inverse."""
    share = folded_share(material.result, material.data)
    findings = [text for text in (clipped_text(material.whole),) if text] if not material.whole.is_images else []
    if share > _FOLDED:
        findings.append(
            f"A code that tells points apart: {share:.0%} of observations have a nearest neighbour in the learned"
            " variables that is far away in x. The columns bend into more directions than the fit has coordinates. The"
            " default model flow can use them all."
        )
    square = material.model.d <= material.model.n
    inexact = float(material.model.thickness.max()) > _INEXACT_THICKNESS
    reason = ""
    if square and inexact:
        reason = (
            "With as many columns as variables, the encoder has an inverse by construction. It is inexact here, which a"
            " decoder that folds could cause as well as a short fit."
        )
    return CertificateRow.judged(
        "diffeomorphic",
        "the decoder has a smooth inverse",
        "an exact encoder exists, as it has an inverse by construction; clipped columns"
        if square
        else "share of observations whose neighbour in the variables is far away in x; clipped columns",
        "Observations that look the same stand for different states, and answers about them are averages.",
        findings=tuple(findings),
        unknown=reason,
        statistic=None if square else share,
        smallest=None if square else _FOLDED,
        power="The encoder has an inverse by construction. States that look exactly the same in x are one state for any"
        " method."
        if square
        else f"A code that folds {_FOLDED:.0%} of the observations onto others would be named. States that look exactly"
        " the same in x are one state for any method.",
    )


def number_of_variables(material: Material) -> CertificateRow:
    """The row on n."""
    n, data = material.n, material.data
    spanned, findings = data.estimated_n, []
    plausible: tuple[int, ...] = () if material.result.codes is not None else data.dimension_evidence.plausible
    if spanned > n:
        findings.append(
            f"The number of variables: x has {spanned} dimensions, more than the {n} fitted variables. Some variables"
            " may be missing."
        )
    elif plausible and n > max(plausible):
        findings.append(
            f"The number of variables: x looks like a sheet of {spanned} dimensions (at most {max(plausible)}), fewer"
            f" than the {n} fitted variables. Some variables may be made of noise."
        )
    others = [str(each) for each in plausible if each != n]
    open_text = f"These data leave {' or '.join(others)} open as well; n: auto compares their likelihoods."
    return CertificateRow.judged(
        "n",
        "the number of variables is right",
        f"dimension of x by its spectrum and by nearest neighbours: {spanned}",
        "Too few variables mix several causes; too many add one that is made of noise.",
        findings=tuple(findings),
        unknown=open_text if others and not findings else "",
        statistic=float(spanned),
        smallest=1.0,
        power="No other number is plausible. How often the plausible numbers include the right one is in"
        " docs/method.md, section 1.",
    )


def converged(material: Material, unpaired: bool) -> CertificateRow:
    """The row on the fit: an encoder as exact as the pairs, by a fit that was not cut short, found by all restarts."""
    result, n = material.result, material.n
    widest = float(material.model.thickness.max())
    findings = []
    if widest > _INEXACT_THICKNESS and not unpaired:
        findings.append(
            f"The fit, or exact pairs: noise of variables that are not targets changes by {widest:.2f} of its standard"
            " deviation. Either the encoder is inexact, or the pairs are noisy or rounded. More steps, more pairs or"
            " --restarts may help."
        )
    if (change := result.cut_short_at) is not None:
        limit = result.config.noise_encoder.time_limit(n, change)
        findings.append(
            f"The fit: the limit of {limit:g} seconds ended the noise encoder while its likelihood still rose; noise of"
            f" variables that are not targets changes by {change:.3f} of its standard deviation. More time may help:"
            " noise_encoder.most_seconds in a config."
        )
    gap = 0.0 if result.implicit_nll is None else result.held_out_nll - result.implicit_nll
    if gap > _WIDE_GAP:
        findings.append(
            f"The graph: the explicit model explains held-out pairs {gap:.2f} nats worse than the implicit model. Edges"
            " may be missing."
        )
    findings += _disagreeing(material)
    return CertificateRow.judged(
        "converged",
        "the fit has converged",
        f"thickness, at most {_INEXACT_THICKNESS}; limit of time; likelihoods of both models; restarts",
        "Variables, targets and edges are less exact than the data allow, or belong to a worse optimum.",
        findings=tuple(findings),
        statistic=widest,
        smallest=_INEXACT_THICKNESS,
        power="Without restarts (--restarts) another optimum of the same likelihood would not be seen."
        if not result.other_restarts
        else f"{len(result.other_restarts)} other restarts were compared.",
    )


def _disagreeing(material: Material) -> list[str]:
    apart = [restart for restart in material.result.other_restarts if restart.as_likely and not restart.agrees]
    if not apart:
        return []
    first, several = apart[0], len(apart) > 1
    listed = ", ".join(str(restart.restart) for restart in apart)
    s, reach, are = ("s", "reach", "are") if several else ("", "reaches", "is")
    return [
        f"Identifiability: restart{s} {listed} {reach} the likelihood of the best restart but {are} not isomorphic to"
        f" it ({first.reasons[0].rstrip('.')}). Either the data do not identify the model, or the fits have not"
        " converged (see the training curves). Trust only what the restarts share."
    ]


def _untargeted(fewest: int) -> str:
    return "" if fewest else "Cannot be tested: a variable is the target in none of these pairs."


def enough_pairs(material: Material, lost: bool) -> CertificateRow:
    """The row on the number of pairs: effects between variables can be seen at all."""
    smallest = smallest_effect(material)
    fewest = round(float(material.target_rows.min()) / max(1, material.encoded_rows) * len(material.data))
    findings = []
    # a variable that is never a target is named in the row of the support
    if smallest > _STRONG and fewest > 0 and not lost:
        findings.append(
            f"Enough pairs: one variable is the target in only {fewest} pairs, so that even an effect that"
            f" explains {_STRONG**2:.0%} of its variance may be missed. Measure more pairs of it."
        )
    return CertificateRow.judged(
        "pairs",
        "there are enough pairs",
        "pairs of the variable that is the target least often, and the smallest effect that they show",
        "Edges are missing from the graph, and variables with few pairs are less exact.",
        findings=tuple(findings),
        unknown="Cannot be tested: x and x_tilde are independent." if lost else _untargeted(fewest),
        statistic=float(fewest),
        smallest=smallest,
        power=f"The rarest target has {fewest:,} pairs. "
        + (
            f"An effect on it is found in nine of ten cases if it explains {smallest**2:.1%} or more of its variance."
            if smallest < 1.0
            else "Even an effect that explains all of its variance might be missed."
        ),
    )
