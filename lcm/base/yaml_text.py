"""The one opener of YAML: whatever is wrong with the text is one ValueError that names the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import yaml

from lcm.base.files import existing_file
from lcm.base.json_text import read_text
from lcm.base.text import printable, shortened

MOST_BYTES = 1 << 20
DEEPEST, MOST_VALUES = 60, 200_000
_BITS = 63

# YAML 1.1, which PyYAML reads, takes 1e-3 for a string: it wants a dot and a signed exponent.
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")


@final
class _Loader(yaml.SafeLoader):
    """A loader that refuses deep nesting while it composes."""

    deep = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.deep += 1
        if self.deep > DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} levels of nesting")
        try:
            return super().compose_node(parent, index)
        finally:
            self.deep -= 1


@final
class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


_Dumper.add_representer(
    tuple, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def read_yaml(path: str | Path) -> str:
    """The text of a YAML file; ValueError if it is missing, larger than 1 MiB, or not UTF-8."""
    return read_text(existing_file(path), "YAML", MOST_BYTES)


def parse_yaml(text: str, source: str) -> Any:
    """Read one YAML document into dicts, lists and scalars; an empty document is an empty dict.

    Raises ValueError, one line that opens with `source`, for text that is not YAML (with the line), for
    several documents, for tags that would construct objects, for a key given twice (with its path), for more than 60
    levels or 200,000 values with aliases written out, and for integers beyond 64 bits.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return {}
        _require_few(node)
        _refuse_duplicate_keys(node, "", source, set())
        return _construct(loader, node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise ValueError(f"{source}: {line}Expected YAML; got: {shortened(printable(problem), 200)}") from error
    finally:
        if loader is not None:
            loader.dispose()


def dump_yaml(value: Any) -> str:
    """Write dicts, lists and tuples as YAML that `parse_yaml` reads back; a tuple is a list on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _construct(loader: _Loader, node: yaml.Node) -> Any:
    try:
        value = loader.construct_document(node)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        # A scalar that its tag or its looks call a date or a number, and that is none, such as 2024-13-01 or !!int _.
        why = str(error) if isinstance(error, ValueError) else "a value that does not fit its tag"
        raise yaml.YAMLError(why) from error
    _require_small(value)
    return value


def _require_few(root: yaml.Node) -> None:
    """Raise YAMLError for an alias inside what it names, or too many values when aliases are written out."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 0
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
        elif sizes[id(node)] == 0:
            raise yaml.YAMLError("an alias inside what it names")
        return sizes[id(node)]

    if size(root) > MOST_VALUES:
        raise yaml.YAMLError(f"more than {MOST_VALUES:,} values, aliases written out")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value


def _require_small(value: Any) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            _require_small(key)
            _require_small(each)
    elif isinstance(value, list | tuple | set):
        for each in value:
            _require_small(each)
    elif isinstance(value, int) and value.bit_length() > _BITS:
        raise yaml.YAMLError(f"an integer of {value.bit_length()} bits, which is beyond 64")


def _refuse_duplicate_keys(node: yaml.Node, path: str, source: str, visited: set[int]) -> None:
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _refuse_duplicate_keys(item, f"{path}[{index}]", source, visited)
    if isinstance(node, yaml.MappingNode):
        seen: set[tuple[str, str]] = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            key_path = f"{path}.{name}" if path else str(name)
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    line = key.start_mark.line + 1
                    raise ValueError(f"{source}: {key_path}: Expected each key once; got it again in line {line}")
                seen.add((key.tag, str(key.value)))
            _refuse_duplicate_keys(value, key_path, source, visited)
