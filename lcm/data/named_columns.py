"""Observations whose columns have names, brought into the order that a model was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lcm.data.pairs import PairData
from lcm.data.table import are_free


def in_fitted_order(data: PairData, columns: Sequence[str]) -> PairData:
    """Pairs with their columns in the order of those of a fit, matched by name; further columns are left out.

    Args:
        data: pairs of vectors. They stay as they are if their columns have no names, as in arrays and in files without
            a heading (x0, x1, …), or if `columns` has none.
        columns: names of the columns of the fit.

    Raises:
        ValueError: a column of the fit that the data lack.
    """
    order = _order(data.columns, columns, f"{data.source}: x" if data.source else "x")
    if order is None:
        return data
    x, x_tilde = (np.asarray(part)[:, order] for part in (data.x, data.x_tilde))
    return replace(data, x=x, x_tilde=x_tilde, columns=tuple(columns))


def in_order_of(data: PairData, *fits: Any) -> PairData:
    """Pairs in the order of the columns of one or more fits, which hold their names as `columns`; others have no say.

    Raises:
        ValueError: a column of a fit that the data lack, or fits of other columns or another order.
    """
    named = [tuple(fit.columns) for fit in fits if getattr(fit, "columns", ())]
    # a fit to an array has columns of any order
    named = [columns for columns in named if _are_names(columns)] or named[:1]
    if len(set(named)) > 1:
        got = " and ".join(", ".join(columns) for columns in named)
        raise ValueError(f"Expected fits of the same columns in the same order; got {got}")
    return in_fitted_order(data, named[0]) if named else data


def require_columns_of(given: Sequence[str], fitted: Sequence[str], where: str) -> None:
    """Raise ValueError, which begins with `where`, if columns with names lack one of a fit."""
    _order(given, fitted, where)


def with_columns_of(data: PairData, columns: Sequence[str]) -> PairData:
    """Pairs that a model drew, with the names of the columns of its fit; without, if a file would mix up the names.

    Args:
        data: pairs with their truth.
        columns: names of the columns of the fit; () where it has none.
    """
    # a column that is called as a variable of the truth would take its place in a table
    return replace(data, columns=tuple(columns) if are_free(columns, data.tensors()) else ())


def frame_in_fitted_order(x: Any, columns: Sequence[str]) -> Any:
    """A DataFrame of observations with the columns of a fit in their order; anything else stays as it is.

    Raises:
        ValueError: a column of the fit that the DataFrame lacks.
    """
    if not (hasattr(x, "columns") and hasattr(x, "iloc")):
        return x
    order = _order([str(name) for name in x.columns], columns, "x")
    return x if order is None else x.iloc[:, order]


def _order(given: Sequence[str], fitted: Sequence[str], where: str) -> list[int] | None:
    """The places of the fitted columns among the given ones; None where nothing has to move."""
    # x0, x1, … in another order are names too
    same = set(given) == set(fitted)
    if not _are_names(given) or not (same or _are_names(fitted)) or list(given) == list(fitted):
        return None
    places = {name: place for place, name in enumerate(given)}
    missing = [name for name in fitted if name not in places]
    if missing:
        raise ValueError(
            f"{where}: Expected the columns of the fit ({', '.join(fitted)}); got none named {missing[0]!r}, but"
            f" {', '.join(given)}"
        )
    return [places[name] for name in fitted]


def _are_names(columns: Sequence[str]) -> bool:
    """Whether columns have names of their own, and not those that a file without a heading, or an array, gets."""
    own = [name for place, name in enumerate(columns) if name not in (f"x{place}", str(place))]
    return len(own) > 0
