"""Mutants of a package: every place where an operator of Cosmic Ray applies, of which a seeded sample is drawn."""

from __future__ import annotations

import ast
import difflib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("model", "readout", "isomorphism", "metric")


@final
@dataclass(frozen=True)
class Mutant:
    """One change of one file: the path within the checkout, the operator, and the text of the file with the change."""

    path: str
    operator: str
    text: str

    def difference(self) -> str:
        """The lines that are taken away and put in."""
        before = (ROOT / self.path).read_text().splitlines()
        lines = difflib.unified_diff(before, self.text.splitlines(), lineterm="", n=0)
        return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def sample(package: str, count: int, seed: int) -> list[Mutant]:
    """`count` mutants of a package, drawn without replacement from all that change what the code does.

    Raises:
        ValueError: Cosmic Ray is not installed.
    """
    places = [place for path in sorted((ROOT / "lcm" / package).rglob("*.py")) for place in _places(path)]
    random.Random(seed).shuffle(places)
    found: list[Mutant] = []
    for path, operator, name, occurrence in places:
        mutant = _mutant(path, operator, name, occurrence)
        if mutant is not None:
            found.append(mutant)
        if len(found) == count:
            break
    return found


def _places(path: Path) -> list[tuple[Path, Any, str, int]]:
    try:
        from cosmic_ray.ast import ast_nodes, get_ast_from_path
        from cosmic_ray.plugins import get_operator, operator_names
    except ImportError as error:
        raise ValueError("Expected Cosmic Ray; install it with: pip install -e '.[mutation]'") from error
    nodes = list(ast_nodes(get_ast_from_path(path)))
    places = []
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments():
            continue
        operator = operator_class()
        count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
        places += [(path, operator, name, occurrence) for occurrence in range(count)]
    return places


def _mutant(path: Path, operator: Any, name: str, occurrence: int) -> Mutant | None:
    """The mutant, or None where the change is to an annotation or to nothing."""
    from cosmic_ray.mutating import mutate_code

    before = path.read_text()
    after = mutate_code(before, operator, occurrence)
    if after is None or _behaviour(after) == _behaviour(before):
        return None
    return Mutant(str(path.relative_to(ROOT)), name, after)


def _behaviour(text: str) -> str:
    """The syntax tree without annotations, which are not evaluated."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)
