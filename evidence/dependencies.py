"""What the numbers of an experiment depend on: the modules it imports, directly or not, the configs, the libraries."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "nflows", "numpy", "scipy", "scikit-learn")
"""Libraries whose other version may give other numbers."""

DRAWN = ("lcm.report", "lcm.run.page", "lcm.run.pages", "lcm.run.card", "lcm.run.report", "experiments._plot")
"""Beginnings of the names of modules that show numbers and make none: a change there leaves results as they are."""


def digest(root: Path, experiment: str, options: tuple[str, ...]) -> str:
    """A SHA-256 of all that the numbers of an experiment depend on.

    Comments, docstrings and layout do not count, nor does the order of the files.

    Args:
        root: the folder of the project.
        experiment: a script of experiments/, without .py.
        options: its options, with all seeds.
    """
    found = hashlib.sha256(repr(options).encode())
    for name, path in sorted(dependencies(root, f"experiments.{experiment}").items()):
        found.update(f"{name}\n{_without_texts(path)}\n".encode())
    for path in sorted((root / "paper_configs").glob("*.yaml")):
        found.update(path.name.encode() + path.read_bytes())
    for library in LIBRARIES:
        found.update(f"{library} {metadata.version(library)}\n".encode())
    return found.hexdigest()


def dependencies(root: Path, entry: str) -> dict[str, Path]:
    """The modules of the project that `entry` imports, and those that these import, with their files; itself as well.

    Imports inside functions count, imports for types alone do not. A text that is the name of a module counts as an
    import of it, since packages import by name where that is late.
    """
    found: dict[str, Path] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        path = _file(root, name)
        if path is None or name in found or name.startswith(DRAWN):
            continue
        found[name] = path
        waiting += _imported(name, path)
        # a package is run before its modules
        waiting += [name.rpartition(".")[0]] if "." in name else []
    return found


def _file(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    candidates = (path / "__init__.py", path.parent / f"{path.name}.py")
    return next((each for each in candidates if each.is_file()), None)


@cache
def _imported(name: str, path: Path) -> tuple[str, ...]:
    return tuple(_names(name, path))


def _names(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: -node.level + 1 or None]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("lcm."):
            yield node.value.partition(":")[0]


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from _nodes(child)


@cache
def _without_texts(path: Path) -> str:
    """The code of a file without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
