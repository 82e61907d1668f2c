"""YAML as configs need it: no key twice, 1e-3 a number, and every error with its line."""

from __future__ import annotations

import re
from typing import Any, final

import yaml

# YAML 1.1, which PyYAML reads, takes 1e-3 for a string: it wants a dot and a signed exponent.
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")


@final
class _Loader(yaml.SafeLoader):
    pass


@final
class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
_Dumper.add_representer(
    tuple, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def parse_yaml(text: str, source: str) -> Any:
    """Read one YAML document into dicts, lists and scalars; an empty document is an empty dict.

    Raises ValueError, one line that opens with `source`, for text that is not YAML (with the line), for
    several documents, for tags that would construct objects, and for a key given twice (with its path).
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return {}
        _refuse_duplicate_keys(node, "", source, set())
        return _construct(loader, node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise ValueError(f"{source}: {line}Expected YAML; got: {problem}") from error
    finally:
        if loader is not None:
            loader.dispose()


def dump_yaml(value: Any) -> str:
    """Write dicts, lists and tuples as YAML that `parse_yaml` reads back; a tuple is a list on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _construct(loader: _Loader, node: yaml.Node) -> Any:
    try:
        return loader.construct_document(node)
    except ValueError as error:
        # A scalar that looks like a date or a number and is none, such as 2024-13-01.
        raise yaml.YAMLError(str(error)) from error


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
            key_path = f"{path}.{key.value}" if path else str(key.value)
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"{source}: {key_path}: Expected each key once; got it again in line {line}")
            seen.add((key.tag, str(key.value)))
            _refuse_duplicate_keys(value, key_path, source, visited)
