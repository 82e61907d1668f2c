"""Doubts that come from the data alone: rows apart, and columns that are clipped, coarse, mere noise or an index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lcm.data.measurement import column_signs, index_columns
from lcm.data.pairs import PairData

_MOST_LISTED = 6


def data_doubts(data: PairData) -> list[str]:
    """One text for each sign, in vectors, that a fit leaves something out or misses an assumption."""
    if data.is_images:
        return []
    return [*data_notes(data), *filter(None, (clipped_text(data), coarse_text(data)))]


def data_notes(data: PairData) -> list[str]:
    """One text for each part of the vectors that a fit leaves out, or should; no assumption hangs on them."""
    return [] if data.is_images else [text for text in (_outlying(data), _unrelated(data), _index(data)) if text]


def _outlying(data: PairData) -> str:
    if not data.outliers:
        return ""
    first, scales = data.outliers[0], data.scales
    listed = _listed([str(outlier.row) for outlier in data.outliers])
    rows = f"row {listed} lies" if len(data.outliers) == 1 else f"rows {listed} lie"
    return (
        f"All pairs: {rows} apart from all others and the fit learned nothing from there. In row {first.row},"
        f" {first.observation} has {first.value:.3g} in column {data.column_name(first.column)}, where nine in ten lie"
        f" from {scales.low[first.column]:.3g} to {scales.high[first.column]:.3g}."
    )


def _unrelated(data: PairData) -> str:
    found = [data.column_name(column) for column in data.unrelated.nonzero()[0].tolist()]
    if not found:
        return ""
    return (
        f"Columns: {_columns(found)} of x carry nothing of the variables: they change in every pair, and x_tilde has"
        " nothing of x there. The fit leaves them out."
    )


def _index(data: PairData) -> str:
    found = [data.column_name(column) for column in index_columns(data.x, data.x_tilde)]
    if not found:
        return ""
    look = "looks like an index" if len(found) == 1 else "look like indices"
    return (
        f"Columns: {_columns(found)} of x {look}: another whole number in each pair, which never changes within a pair."
        " The fit takes that for a causal variable. If it only counts the pairs, leave it out."
    )


def clipped_text(data: PairData) -> str:
    """What speaks against an inverse of the decoder in the columns of x alone, or an empty text."""
    clipped = column_signs(data.x).clipped
    if not clipped:
        return ""
    listed = _listed([f"{data.column_name(column)} ({share:.1%} at {value:.3g})" for column, value, share in clipped])
    return (
        f"A decoder with an inverse: these columns of x look clipped, with many rows at one extreme value: {listed}."
        " Where a sensor is clipped, only the other columns tell observations apart."
    )


def coarse_text(data: PairData) -> str:
    """Which columns of x take few values, or an empty text."""
    few_levels = column_signs(data.x).few_levels
    if not few_levels:
        return ""
    return (
        f"Real-valued observations: {_columns([data.column_name(column) for column in few_levels])} of x take at most"
        " 20 values. The theorem needs continuous variables, and rounding acts like noise."
    )


def rounded_text(data: PairData) -> str:
    """Which columns of x are rounded to steps, how coarsely, and what follows, or an empty text."""
    rounded = column_signs(data.x).rounded
    if not rounded:
        return ""
    listed = _listed([f"{data.column_name(column)} (to {step:.3g})" for column, step, _ in rounded])
    coarsest = max(share for _, _, share in rounded)
    return (
        f"{'This column' if len(rounded) == 1 else 'These columns'} of x look rounded: {listed}, at most"
        f" {coarsest:.2g} standard deviations. Rounding acts like noise of up to {coarsest / np.sqrt(12.0):.2g}"
        " standard deviations on each observation: no encoder is more exact than that, and smaller moves cannot be told"
        " from none."
    )


def _columns(names: Sequence[str]) -> str:
    return f"{'column' if len(names) == 1 else 'columns'} {_listed(names)}"


def _listed(entries: Sequence[str]) -> str:
    rest = len(entries) - _MOST_LISTED
    return ", ".join(entries[:_MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "")
