"""What a config declares: checks of its values, settings by section; imports nothing heavy, so that help is fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field, fields
from difflib import get_close_matches
from typing import Any, final

from lcm.base.text import shortened, shown


def require(config: object, keys: tuple[str, ...], holds: Callable[[Any], bool], expected: str) -> None:
    """Raise a ValueError that names the first of `keys` whose value is given and does not hold."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and not holds(value):
            raise ValueError(f"{key}: Expected {expected}; got {shortened(str(value))}.")


def require_positive(config: object, *keys: str) -> None:
    """`require` for numbers above 0."""
    require(config, keys, lambda value: value > 0, "a positive number")


def require_at_least(config: object, least: float, *keys: str) -> None:
    """`require` for numbers of at least `least`; a size has a largest value too, beyond which nothing would end."""
    require(config, keys, lambda value: value >= least, f"at least {least:g}")
    for key in keys:
        most = _MOST.get(key, _MOST_OTHERS)
        require(config, (key,), lambda value, most=most: value <= most, f"at most {most:,}")  # type: ignore[misc]


_MOST_OTHERS = 10**9
_MOST = {
    "n": 1_000,
    "layers": 1_000,
    "hidden": 4_096,
    "solution_hidden": 4_096,
    "mechanism_hidden": 4_096,
    "bins": 1_000,
    "restarts": 1_000,
    "steps": 10**8,
    "marginal_steps": 10**8,
    "batch_size": 10**6,
    "code": 10_000,
}
"""The largest value of each size in a config."""


SECTIONS = "sections"
Sections = Mapping[str, type[Any]]


@final
class Mismatch(ValueError):
    """A value of a config that is not what was expected; `expected` says what was."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(f"Expected {expected}; got {described(value)}")
        self.expected = expected


def sections(table: Callable[[], Sections]) -> Any:
    """A field with settings by section; in YAML, each section is a key beside the other fields of the dataclass.

    Args:
        table: gives the sections and the dataclasses of their settings; it is called again for every config.
    """
    return field(default_factory=dict, metadata={SECTIONS: table})


def fill_sections(config: Any) -> None:
    """Add the defaults of all sections that a new config does not set; ValueError for an unknown section."""
    for each in fields(config):
        if SECTIONS in each.metadata:
            given, table = getattr(config, each.name), each.metadata[SECTIONS]()
            for key in given:
                if key not in table:
                    raise ValueError(f"{each.name}: Expected sections of {', '.join(table)}; got {key!r}.")
            filled = {key: given[key] if key in given else settings() for key, settings in table.items()}
            object.__setattr__(config, each.name, filled)


def require_one_of(config: object, key: str, choices: Sequence[str]) -> None:
    """Raise a ValueError that lists the choices and suggests a close one, unless the value of `key` is among them."""
    try:
        one_of(getattr(config, key), choices)
    except Mismatch as error:
        raise ValueError(f"{key}: {error}") from error


def one_of(value: Any, choices: Sequence[Any]) -> Any:
    """The choice that equals a value in type and value. Raises Mismatch, with the choices and a close one, for none."""
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    listed = ", ".join(map(repr, choices))
    hint = suggestion(value, [choice for choice in choices if isinstance(choice, str)])
    raise Mismatch(f"one of {listed}{hint}", value)


def suggestion(value: Any, choices: list[str]) -> str:
    """A hint at the choice that is closest to a value; "" for none."""
    close = get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""


def described(value: Any) -> str:
    """A value as messages name it: in the words of YAML, short and printable."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    names = {int: "the integer", float: "the number", str: "the string"}
    return f"{names.get(type(value), type(value).__name__)} {shown(value)}"


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as nested dicts, as in YAML: sections are keys beside the other fields."""
    whole = asdict(config)
    flat: dict[str, Any] = {}
    for each in fields(config):
        flat |= whole[each.name] if SECTIONS in each.metadata else {each.name: whole[each.name]}
    return flat
