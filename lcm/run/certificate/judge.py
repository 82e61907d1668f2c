"""The certificate of a fit, from the fit and its data (docs/certificate.md)."""

from __future__ import annotations

from lcm.model.latent_causal_model import LatentCausalModel
from lcm.run.assumption import BROKEN, Certificate
from lcm.run.certificate.material import Material
from lcm.run.certificate.of_fit import (
    converged,
    diffeomorphic,
    enough_pairs,
    number_of_variables,
    real_valued,
)
from lcm.run.certificate.of_noise import (
    acyclic,
    common_cause,
    direction,
    faithful,
    perfect,
    support,
)
from lcm.run.certificate.of_pairs import (
    atomic,
    count_moves,
    counterfactual,
    drift,
    independence_p_value,
)
from lcm.run.certificate.power import INDEPENDENCE_LEVEL
from lcm.run.doubts_of_data import clipped_text, coarse_text, data_notes
from lcm.run.outcome import Outcome
from lcm.run.support import observed_beyond


def certify(result: Outcome, others: bool = False) -> Certificate:
    """Judge every assumption of the theorem and of the method from a fit and its data.

    A model without tests of ancestors, which is a peer, gets notes on its data and no rows. A verdict `holds` proves
    nothing beyond the power that its row states.

    Args:
        result: a fit, and the pairs that it is judged on.
        others: whether these may be other pairs than those of the fit, so that some may lie beyond its range.

    Source: docs/theory.md section 4, docs/certificate.md.
    """
    whole = result.vectors
    if whole is None:
        return Certificate(())
    notes = tuple(data_notes(whole))
    if not result.is_tested or not isinstance(result.latent, LatentCausalModel):
        of_columns = () if whole.is_images else (clipped_text(whole), coarse_text(whole))
        return Certificate((), (*notes, *filter(None, of_columns)))
    material = Material(result, whole, result.latent)
    independence = independence_p_value(material.data)
    lost = independence >= INDEPENDENCE_LEVEL
    moves = count_moves(material)
    first = counterfactual(material, independence, moves)
    pairs = first, atomic(material, independence, moves, first.verdict == BROKEN)
    unpaired = any(row.verdict == BROKEN for row in pairs)
    rows = (
        real_valued(material),
        diffeomorphic(material),
        *pairs,
        drift(material, lost),
        perfect(material, lost),
        support(material),
        acyclic(material, lost),
        common_cause(material, lost),
        faithful(material, lost),
        number_of_variables(material),
        converged(material, unpaired),
        enough_pairs(material, lost),
        direction(),
    )
    beyond = observed_beyond(result, material.z) if others else []
    return Certificate(rows, (*notes, *(f"{text}; all rows and answers extrapolate there." for text in beyond)))
