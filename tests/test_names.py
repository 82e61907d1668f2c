"""One name for one thing: laws over the names, the words and the sizes of all modules of lcm."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "lcm").rglob("*.py"))
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60

# every command has these two, which the command line calls
EACH_COMMAND = {"add_arguments", "run"}
# a peer, never a baseline; a restart, never a rerun
OTHER_WORDS = re.compile(r"\w*(?:baseline|rerun)\w*", re.IGNORECASE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_module = pytest.mark.parametrize("path", MODULES, ids=name)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public(path: Path) -> list[str]:
    """The public functions and classes that a module defines."""
    return [
        node.name
        for node in tree(path).body
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
    ]


@every_module
def test_no_function_or_class_has_the_name_of_its_module(path: Path) -> None:
    module = path.parent.name if path.name == "__init__.py" else path.stem
    # the one that a package exports would take the place of the module of that name
    assert module not in public(path) or (module in EACH_COMMAND and path.parent.name == "commands")


def test_no_public_name_is_defined_twice() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for each in public(path):
            if not (each in EACH_COMMAND and path.parent.name == "commands"):
                homes[each].append(name(path))
    assert {each: found for each, found in homes.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", PACKAGES, ids=name)
def test_every_package_says_what_it_is_in_one_sentence(path: Path) -> None:
    first = (ast.get_docstring(tree(path)) or "").split("\n\n")[0]
    assert re.fullmatch(r"[A-Z].*[.!]", first, flags=re.DOTALL)
    assert not re.search(r"[.!?] [A-Z]", first)


@every_module
def test_no_module_and_no_function_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, Function)]
    long = {each.name: lines(each) for each in functions if lines(each) > MOST_LINES_OF_A_FUNCTION}
    assert long == {}


def lines(function: Function) -> int:
    """The lines of a function without its decorators and docstring."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    documented = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - documented


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "experiments").rglob("*.py")), *PAGES], ids=name)
def test_one_word_for_one_thing(path: Path) -> None:
    assert OTHER_WORDS.findall(path.read_text(encoding="utf-8")) == []
