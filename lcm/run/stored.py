"""What the JSON files of a run must hold to be read; anything else is one line that names the file and the key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.base.files import read_json
from lcm.base.text import shown
from lcm.model.names import checked_names, default_names
from lcm.readout.evidence import GraphEvidence
from lcm.run.assumption import VERDICTS

_EVIDENCE = ("edge_p_value", "ancestor_p_value", "edge_strength", "edge_strength_error")
_Check = tuple[str, Callable[[Any], bool]]


def read_fit(path: Path, n: int) -> dict[str, Any]:
    """The content of fit.json of a model of n variables.

    Raises:
        ValueError: a missing or broken file, or a key that is missing or of another type than `fit_numbers` writes.
    """
    content = _json_object(path)
    needed = ("implicit_nll", "fit_seconds", "n_pairs", "restart", "restart_nll")
    _require_keys(content, needed if "held_out_nll" in content else (*needed, "explicit_nll"), str(path))
    _require_types(content, _FIT, str(path))
    for index, each in enumerate(content.get("other_restarts", ())):
        where = f"{path}: other_restarts[{index}]"
        _require_keys(each, tuple(_RESTART), where)
        _require_types(each, _RESTART, where)
    if content.get("support") is not None and len(content["support"]) != n:
        raise ValueError(f"{path}: support: Expected {n} rows, one for each variable; got {len(content['support'])}")
    if content.get("n", n) != n:
        raise ValueError(f"{path}: n: Expected {n}, as in the model; got {shown(content['n'])}")
    return content


def read_graph(path: Path, n: int) -> tuple[NDArray[np.float64], tuple[int, ...], GraphEvidence | None]:
    """Edge strengths (n, n), order and, if there are p-values, evidence, from graph.json of a model of n variables.

    Raises:
        ValueError: a missing or broken file, or a key that is missing or holds no numbers of that meaning.
    """
    content = _json_object(path)
    tested = any(key in content for key in _EVIDENCE if key != "edge_strength")
    keys = _EVIDENCE if tested else ("edge_strength",)
    _require_keys(content, (*keys, "order"), str(path))
    order = content["order"]
    if not isinstance(order, list) or not all(map(_is_int, order)) or sorted(order) != list(range(n)):
        raise ValueError(f"{path}: order: Expected the variables 0 to {n - 1}, each once; got {shown(order)}")
    found = {key: _matrix(content[key], n, f"{path}: {key}", 1.0 if "p_value" in key else math.inf) for key in keys}
    evidence = GraphEvidence(**found, order=tuple(order)) if tested else None
    return found["edge_strength"], tuple(order), evidence


def read_names(path: Path, n: int) -> tuple[str, ...]:
    """The names of n variables, from names.json; z0, z1, … where there is no such file.

    Raises:
        ValueError: a broken file, or names that `lcm.model.names.checked_names` refuses.
    """
    if not path.exists():
        return default_names(n)
    content = _json_object(path)
    _require_keys(content, ("names",), str(path))
    return checked_names(content["names"], n, f"{path}: names")


def _matrix(value: Any, n: int, where: str, most: float) -> NDArray[np.float64]:
    rows = value if isinstance(value, list) else []
    flat = [each for row in rows if isinstance(row, list) for each in row]
    square = len(rows) == n and all(isinstance(row, list) and len(row) == n for row in rows)
    if not square or not all(_is_number(each) and 0.0 <= each <= most for each in flat):
        limit = f"from 0 to {most:g}" if math.isfinite(most) else "of at least 0"
        raise ValueError(f"{where}: Expected {n} rows of {n} numbers {limit}; got {shown(value)}")
    return np.asarray(value, dtype=np.float64)


def _json_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: Expected a JSON object; got {type(content).__name__}")
    return content


def _require_keys(content: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise ValueError(f"{where}: Expected the key {missing[0]}; got none")


def _require_types(content: Mapping[str, Any], checks: Mapping[str, _Check], where: str) -> None:
    for key, (words, holds) in checks.items():
        if key in content and not holds(content[key]):
            raise ValueError(f"{where}: {key}: Expected {words}; got {shown(content[key])}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number_or_null(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_related(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values())) and len(value) > 0


def _is_support(value: Any) -> bool:
    pairs = _list_of(lambda row: isinstance(row, list) and len(row) == 2 and all(map(_is_number, row)))
    return value is None or pairs(value)


def _is_certificate(value: Any) -> bool:
    return isinstance(value, dict) and _list_of(_is_row)(value.get("rows")) and _list_of(_is_text)(value.get("notes"))


def _is_row(value: Any) -> bool:
    texts = ("key", "assumption", "test", "consequence", "power", "reason")
    return (
        isinstance(value, dict)
        and all(_is_text(value.get(key)) for key in texts)
        and value.get("verdict") in VERDICTS
        and all(_is_number_or_null(value.get(key)) for key in ("statistic", "p_value", "smallest"))
        and _list_of(_is_text)(value.get("findings"))
    )


_COUNT: _Check = ("an integer of at least 0", lambda value: _is_int(value) and value >= 0)
_NUMBER: _Check = ("a number", _is_number)
_SECONDS: _Check = ("a number of at least 0", lambda value: _is_number(value) and value >= 0)
_NLL: _Check = ("a number or null", _is_number_or_null)
_TEXTS: _Check = ("a list of texts", _list_of(_is_text))
_FLAG: _Check = ("true, false or null", lambda value: value is None or isinstance(value, bool))
_FIT: dict[str, _Check] = {
    "n_pairs": _COUNT,
    "n_dimensions": _COUNT,
    "fit_seconds": _SECONDS,
    "held_out_nll": _NLL,
    "implicit_nll": _NLL,
    "explicit_nll": _NLL,
    "restart": _COUNT,
    "restart_nll": ("a list of numbers", _list_of(_is_number_or_null)),
    "other_restarts": ("a list of mappings", _list_of(lambda value: isinstance(value, dict))),
    "doubts": _TEXTS,
    "certificate": ("rows and notes of a certificate", _is_certificate),
    "cut_short_at": _NLL,
    "support": ("rows of two numbers, or null", _is_support),
    "columns": _TEXTS,
    "related_columns": ("a list of mappings from columns to numbers", _list_of(_is_related)),
}
_RESTART: dict[str, _Check] = {
    "restart": _COUNT,
    "worse_by": _NLL,
    "standard_error": _NUMBER,
    "isomorphic": _FLAG,
    "agrees": _FLAG,
    "distance": _NUMBER,
    "reasons": _TEXTS,
}
