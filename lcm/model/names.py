"""Names of variables: z0, z1, …, or what somebody called them, in a form that figures and tables show as it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from lcm.base.text import shown

LONGEST_NAME = 40

# what has a meaning in a command, a table, a formula, a web page or a graph file
_RESERVED = frozenset("\"'`\\$<>&|=,;+#*@[]{}")
_PREFIXES, _SUFFIXES = ("noise", "probability_", "target_"), ("_tilde", "_low", "_high", "_error")
_OF_NO_VARIABLE = frozenset({"none", "nothing"})
_NUMBERED = re.compile(r"z(\d+)", re.IGNORECASE)
_IN_TEXT = re.compile(r"\bz(\d+)\b")


def default_names(n: int) -> tuple[str, ...]:
    """z0, z1, … of n variables."""
    return tuple(f"z{i}" for i in range(n))


def checked_names(names: Any, n: int, where: str = "names") -> tuple[str, ...]:
    """The names of n variables, composed characters throughout (Unicode NFC).

    Raises:
        ValueError: another number of names, two alike, or one that is no text, empty, longer than 40 characters, not
            printable, with a reserved character, the default name of another variable, or like a column of an
            encoding. The message opens with `where`.
    """
    if not isinstance(names, Sequence) or isinstance(names, str) or len(names) != n:
        raise ValueError(f"{where}: Expected a list of {n} names, one for each variable; got {shown(names)}")
    found = tuple(_checked(name, i, where) for i, name in enumerate(names))
    for i, name in enumerate(found):
        if name.casefold() in {other.casefold() for other in found[:i]}:
            raise ValueError(f"{where}: Expected names that differ; got {shown(name)} twice")
    return found


def renamed(names: Sequence[str], given: Mapping[int, str]) -> tuple[str, ...]:
    """The names with some replaced, by the numbers of their variables; "" gives back the default.

    Raises:
        ValueError: a number out of range, or a name that `checked_names` refuses.
    """
    n = len(names)
    for i in given:
        if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < n:
            raise ValueError(f"names: Expected variables in 0..{n - 1}; got {shown(i)}")
    return checked_names([given.get(i, name) or f"z{i}" for i, name in enumerate(names)], n)


def variable_of(text: str, names: Sequence[str]) -> int | None:
    """The variable that a text means, by its 0-based number or its name; None for neither. No number is too large."""
    if text.isascii() and text.isdigit():
        return int(text)
    name = unicodedata.normalize("NFC", text.strip())
    return list(names).index(name) if name in names else None


def _checked(name: Any, index: int, where: str) -> str:
    here = f"{where}: variable {index}"
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME:
        raise ValueError(f"{here}: Expected a name of 1 to {LONGEST_NAME} characters; got {shown(name)}")
    if not name.isprintable() or name != name.strip():
        raise ValueError(f"{here}: Expected printable characters, without spaces at the ends; got {shown(name)}")
    reserved = sorted(_RESERVED & set(name))
    if reserved or not name[0].isalnum():
        got = f"{shown(name)} with {reserved[0]}" if reserved else shown(name)
        raise ValueError(f"{here}: Expected a letter or digit first, and none of {_listed()}; got {got}")
    if name.casefold() in _OF_NO_VARIABLE:
        raise ValueError(f"{here}: Expected a name of its own; got {shown(name)}, which means no variable")
    if name.isdecimal() or ((numbered := _NUMBERED.fullmatch(name)) and name != f"z{index}"):
        got = f"that of variable {numbered[1]}" if not name.isdecimal() and numbered else "a number"
        raise ValueError(f"{here}: Expected a name of its own; got {shown(name)}, {got}")
    if name.startswith(_PREFIXES) or name.endswith(_SUFFIXES):
        raise ValueError(
            f"{here}: Expected no name that begins with {', '.join(_PREFIXES)} or ends with {', '.join(_SUFFIXES)},"
            f" as columns of encodings do; got {shown(name)}"
        )
    return unicodedata.normalize("NFC", name)


def _listed() -> str:
    return " ".join(sorted(_RESERVED))


def named_columns(tensor: str, names: Sequence[str]) -> list[str]:
    """The columns of a table for z, noise, z_tilde or noise_tilde of named variables: z0, noise0, red, noise_red, …."""
    base, mark = (tensor.removesuffix("_tilde"), "_tilde") if tensor.endswith("_tilde") else (tensor, "")
    if base == "z":
        return [f"{name}{mark}" for name in names]
    return [f"{base}{i if name == f'z{i}' else f'_{name}'}{mark}" for i, name in enumerate(names)]


def put_names(text: str, names: Sequence[str]) -> str:
    """The text with the names of variables in the place of z0, z1, …."""

    def named(match: re.Match[str]) -> str:
        return names[int(match[1])] if int(match[1]) < len(names) else match[0]

    return _IN_TEXT.sub(named, text)
