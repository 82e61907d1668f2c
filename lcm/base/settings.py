"""Settings from a file, checked against the constructor that takes them, before anything is built."""

from __future__ import annotations

import inspect
import math
import re
from ast import literal_eval
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from lcm.base.text import printable, shortened, shown

LARGEST_SIZE = 1_000_000
_LARGEST_ENTRY = 1 << 31
_LITERAL = re.compile(r"Literal(\[.*\])")


def require_mapping(value: Any, what: str, keys: Collection[str], optional: Collection[str] = ()) -> Mapping[str, Any]:
    """The value; ValueError unless it is a mapping with all of `keys` and no others but `optional`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"Expected {what} as a mapping; got {shown(value)}.")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(f"Expected {what} with the key {missing[0]}; got none.")
    unknown = [key for key in value if key not in keys and key not in optional]
    if unknown:
        raise ValueError(f"Expected {what} without the key {shortened(printable(str(unknown[0])))}; got one.")
    return value


def require_settings(settings: Any, cls: Any, kind: str) -> Mapping[str, Any]:
    """The settings; ValueError where one is missing, unknown, or of another type than the constructor of `cls` says.

    A size is at most 1,000,000; numbers are finite; lists of lists are rectangular.
    """
    known = _parameters(cls)
    required = [name for name, parameter in known.items() if parameter.default is parameter.empty]
    given = require_mapping(settings, f"settings of {kind}", required, known)
    for name, value in given.items():
        require_type(value, str(known[name].annotation), f"{kind}.{name}")
    return given


def require_type(value: Any, annotation: str, what: str) -> None:
    """Raise ValueError unless the JSON value is of a type that the annotation names; an unknown one takes any."""
    options = annotation.split(" | ") if "[Decoder" not in annotation else [annotation]
    checks = [found for option in options if (found := _check(option.strip())) is not None]
    if checks and not any(holds(value) for _, holds in checks):
        expected = " or ".join(dict.fromkeys(words for words, _ in checks if words))
        raise ValueError(f"{what}: Expected {expected}; got {shown(value)}.")


def is_size(value: Any) -> bool:
    """Whether a value is an integer from 0 to 1,000,000."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_SIZE


def is_matrix(value: Any) -> bool:
    """Whether a value is a list of lists of integers, all of one length."""
    return isinstance(value, list) and all(map(is_entries, value)) and len({len(row) for row in value}) <= 1


def is_entries(value: Any) -> bool:
    """Whether a value is a list of integers of 32 bits."""
    return isinstance(value, list) and all(isinstance(each, int) and abs(each) < _LARGEST_ENTRY for each in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


_Check = tuple[str, Callable[[Any], bool]]
_CHECKS: dict[str, _Check] = {
    "int": (f"an integer from 0 to {LARGEST_SIZE:,}", is_size),
    "float": ("a finite number", _is_number),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "str": ("a string", lambda value: isinstance(value, str)),
    "None": ("null", lambda value: value is None),
    "Sequence[int]": ("a list of integers", is_entries),
    "Sequence[bool]": ("a list of 0 and 1", lambda value: is_entries(value) and all(each in (0, 1) for each in value)),
    "list[list[int]]": ("a matrix of integers", is_matrix),
    "Sequence[Sequence[int]]": ("a matrix of integers", is_matrix),
    "dict[str, Any]": ("a mapping", lambda value: isinstance(value, dict)),
    "Sequence[Decoder | dict[str, Any]]": ("a list of mappings", _is_mappings),
    # of these, JSON has none
    "Tensor": ("", lambda value: False),
    "torch.Generator": ("", lambda value: False),
}


def _check(option: str) -> _Check | None:
    found = _LITERAL.fullmatch(option)
    if found:
        choices = literal_eval(found[1])
        return f"one of {', '.join(choices)}", lambda value: value in choices
    return _CHECKS.get(option)


@lru_cache(maxsize=256)
def _parameters(cls: Any) -> dict[str, inspect.Parameter]:
    return {
        name: parameter
        for name, parameter in inspect.signature(cls).parameters.items()
        if str(parameter.annotation) != "SCM"
    }
