"""YAML files to frozen dataclasses and back: every key known, given once, and of the declared type."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from lcm.base.kinds import KindConfig
from lcm.base.requirement import SECTIONS, Mismatch, one_of, suggestion, to_dict
from lcm.base.text import message_line, printable, shortened
from lcm.base.yaml_text import dump_yaml, parse_yaml, read_yaml

Config = TypeVar("Config")
_MOST_PROBLEMS = 8


def load_config(path: str | Path, cls: type[Config]) -> Config:
    """Read the YAML file `path` into the frozen dataclass `cls`; errors as in `parse_config`."""
    return parse_config(read_yaml(path), cls, str(path))


def parse_config(text: str, cls: type[Config], source: str) -> Config:
    """Read YAML text into the frozen dataclass `cls`; an empty document is all defaults.

    Raises ValueError, one line that opens with `source` and the path of the key, for text that is not YAML, a
    key that is unknown, missing or given twice, a value of another type (no type is coerced, but integers are
    numbers too), and whatever a dataclass refuses itself.
    """
    return structure_config(parse_yaml(text, source), cls, source)


def structure_config(values: Any, cls: type[Config], source: str) -> Config:
    """Turn nested mappings and lists, as from YAML or JSON, into `cls`; errors as in `parse_config`."""
    try:
        return _CONVERTER.structure(values, cls)
    except (BaseValidationError, ValueError) as error:
        problems = [_located(path, message) for path, message in _problems(error, "")]
        more = f"; and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        raise ValueError(f"{source}: {'; '.join(problems[:_MOST_PROBLEMS])}{more}") from error


def to_yaml(config: Any) -> str:
    """Write a dataclass as YAML, keys in the order of its fields; `parse_config` reads an equal one back."""
    return dump_yaml(to_dict(config))


def config_hash(config: Any) -> str:
    """The SHA-256 (64 hex digits) of a dataclass; equal configs have equal hashes.

    Keys that the config itself names as `unread`, such as the settings of other models, have no influence.
    """
    # Structured once more, 1 in a float field becomes 1.0, as it would from a file.
    canonical = to_dict(structure_config(to_dict(config), type(config), type(config).__name__))
    for key in getattr(config, "unread", ()):
        del canonical[key]
    return hashlib.sha256(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _structure_bool(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise Mismatch("true or false", value)
    return value


def _structure_int(value: Any, _: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Mismatch("an integer", value)
    return value


def _structure_float(value: Any, _: Any) -> float:
    # NaN differs from itself, so no config that holds it could be recognised again, and no setting may be infinite.
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise Mismatch("a finite number" if value in (math.inf, -math.inf) else "a number", value)
    return float(value)


def _structure_str(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise Mismatch("a string", value)
    return value


def _structure_none(value: Any, _: Any) -> None:
    if value is not None:
        raise Mismatch("null", value)


def _structure_literal(value: Any, cls: Any) -> Any:
    return one_of(value, get_args(cls))


def _structure_union(value: Any, cls: Any) -> Any:
    members = get_args(cls)
    if value is None and NoneType in members:
        return None
    others = [member for member in members if member is not NoneType]
    if len(others) == 1:
        return _CONVERTER.structure(value, others[0])
    expected = []
    for member in others:
        try:
            return _CONVERTER.structure(value, member)
        except (BaseValidationError, ValueError) as error:
            expected.append(error.expected if isinstance(error, Mismatch) else f"a valid {member}")
    raise Mismatch(", or ".join(expected), value)


def _structure_tuple(value: Any, cls: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise Mismatch("a list", value)
    types = get_args(cls)
    if types[-1] is Ellipsis:
        types = types[:1] * len(value)
    if len(types) != len(value):
        raise ValueError(f"Expected a list of {len(types)} entries; got {len(value)}")
    entries, errors = [], []
    for index, (entry, entry_type) in enumerate(zip(value, types, strict=True)):
        try:
            entries.append(_CONVERTER.structure(entry, entry_type))
        except (BaseValidationError, ValueError) as error:
            error.add_note(IterableValidationNote("entry", index, entry_type))
            errors.append(error)
    if errors:
        raise IterableValidationError("entries", errors, tuple)
    return tuple(entries)


def _dataclass_hook(cls: Any) -> Any:
    if any(SECTIONS in each.metadata for each in fields(cls)):
        return _structure_with_sections
    structure = make_dict_structure_fn(
        cls, _CONVERTER, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
    )

    def structure_mapping(value: Any, target: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Mismatch("a mapping", value)
        return structure(value, target)

    return structure_mapping


def _is_family(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, KindConfig) and "kinds" in vars(cls)


def _structure_kind(value: Any, family: type[KindConfig]) -> Any:
    """The member of a family whose kind the mapping names."""
    if not isinstance(value, Mapping):
        raise Mismatch("a mapping", value)
    try:
        kind = one_of(value.get("kind", family.default), family.names())
    except Mismatch as error:
        error.add_note(AttributeValidationNote("kind", "kind", str))
        raise ClassValidationError("kind", [error], family) from error
    return _CONVERTER.structure(value, family.kinds[kind])


def _structure_with_sections(value: Any, cls: Any) -> Any:
    tables = {each.name: each.metadata[SECTIONS]() for each in fields(cls) if SECTIONS in each.metadata}
    flat = _CONVERTER.structure(value, _with_keys(cls, tuple((name, *table.items()) for name, table in tables.items())))
    given = {each.name: getattr(flat, each.name) for each in fields(cls) if each.name not in tables}
    return cls(**given, **{name: {key: getattr(flat, key) for key in table} for name, table in tables.items()})


@lru_cache(maxsize=8)
def _with_keys(cls: Any, tables: tuple[tuple[Any, ...], ...]) -> Any:
    """The dataclass whose fields are the keys in YAML: those of `cls`, with the sections of a field instead of it."""
    types, parts = get_type_hints(cls), {name: items for name, *items in tables}
    keys: list[Any] = []
    for each in fields(cls):
        own = field(default=each.default, default_factory=each.default_factory)
        instead = [(key, settings, field(default_factory=settings)) for key, settings in parts.get(each.name, ())]
        keys += instead if each.name in parts else [(each.name, types[each.name], own)]
    return make_dataclass(cls.__name__, keys, frozen=True)


def _converter() -> Converter:
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook(bool, _structure_bool)
    converter.register_structure_hook(int, _structure_int)
    converter.register_structure_hook(float, _structure_float)
    converter.register_structure_hook(str, _structure_str)
    converter.register_structure_hook(NoneType, _structure_none)
    converter.register_structure_hook_func(lambda cls: get_origin(cls) is Literal, _structure_literal)
    converter.register_structure_hook_func(lambda cls: get_origin(cls) in (Union, UnionType), _structure_union)
    converter.register_structure_hook_func(lambda cls: get_origin(cls) is tuple, _structure_tuple)
    converter.register_structure_hook_factory(is_dataclass, _dataclass_hook)
    converter.register_structure_hook_func(_is_family, _structure_kind)
    return converter


_CONVERTER = _converter()


def _problems(error: BaseException, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the message of each leaf of the tree of errors that cattrs builds."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, plain = error.group_exceptions()
        for inner, note in noted:
            inner_path = f"{path}[{note.index}]" if isinstance(note, IterableValidationNote) else _join(path, note.name)
            if isinstance(inner, KeyError):
                yield inner_path, "Expected a value for this required key; got none"
            else:
                yield from _problems(inner, inner_path)
        for inner in plain:
            yield from _problems(inner, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in fields(cast(Any, error.cl))]
        for key in sorted(map(str, error.extra_fields)):
            hint = suggestion(key, known)
            expected = f"a known key{hint}" if hint else f"one of the keys {', '.join(known)}"
            if issubclass(error.cl, KindConfig):
                expected += f" of the kind {error.cl.kind}"
            yield _join(path, key), f"Expected {expected}; got an unknown one"
    elif isinstance(error, ValueError):
        yield path, message_line(str(error))
    else:
        raise error


def _join(path: str, key: Any) -> str:
    name = shortened(printable(str(key)))
    return f"{path}.{name}" if path else name


def _located(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message
