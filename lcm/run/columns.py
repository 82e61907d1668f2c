"""How the columns of x became coordinates of a fit, in words: what `lcm.learn.code` chose, and why."""

from __future__ import annotations

from lcm.data.intrinsic_dimension import sheet_text
from lcm.model.decoder import ChainDecoder, Decoder, SheetDecoder, SolutionDecoder, TriangularDecoder
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.run.outcome import Outcome


def coordinates_text(result: Outcome) -> str:
    """One sentence or more for a model of vectors with more columns than variables; "" for others."""
    model = result.latent
    if not isinstance(model, LatentCausalModel) or model.d <= model.n:
        return ""
    found, n = _sheet(model.decoder), model.n
    if found is None:
        return (
            f"Coordinates: x has {model.d} columns and is projected to its {n} leading principal directions. Points"
            " that differ in other directions alone are not told apart."
        )
    r = found.decoder.n
    if _is_graph(found):
        return (
            f"Coordinates: {sheet_text(model.d, n, r)}. In {n} of these, the sheet is unfolded: the others are"
            " functions of them, so that they tell all points apart."
        )
    return (
        f"Coordinates: {sheet_text(model.d, n, r)}, and no {n} of these were found of which the others are functions."
        f" So a flow in all {r} directions takes x to {n} noise variables and {r - n} coordinates of noise off the"
        " sheet on which x lies. The likelihood is that of all of them."
    )


def _is_graph(sheet: SheetDecoder) -> bool:
    return isinstance(sheet.decoder, ChainDecoder) and isinstance(sheet.decoder.parts[0], TriangularDecoder)


def _sheet(decoder: Decoder) -> SheetDecoder | None:
    """The sheet that is the last part of a decoder."""
    if isinstance(decoder, SolutionDecoder):
        return _sheet(decoder.noise_decoder)
    if isinstance(decoder, ChainDecoder):
        return _sheet(decoder.parts[-1])  # type: ignore[arg-type]
    return decoder if isinstance(decoder, SheetDecoder) else None
