"""`lcm compare`: test whether two models are isomorphic, without a truth."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm.app.commands.common import add_pairs_arguments, check_output, check_writable, open_model, pairs_of

if TYPE_CHECKING:
    from lcm.app.commands.common import Opened
    from lcm.isomorphism import Comparison

HELP = "test whether two fits are isomorphic, without a truth"
DESCRIPTION = """\
Compare two models of the same observations up to isomorphism: a new numbering of the variables and a monotone map of
each variable.

Two fits that reach the same likelihood must be isomorphic (Brehmer et al. 2022, theorem 1). Two independent fits
therefore check each other, without a truth. The command matches the variables and fits a monotone map for each match.
It then measures on held-out pairs how well the maps hold (R2), how much other variables leak into a variable, and
whether graphs, solution maps, decoders, distributions, imposed values and likelihoods correspond, also on pairs that
the two models draw. It prints a verdict and its tolerances. The exit code is 0 for every verdict:
  isomorphic       everything that an isomorphism must carry along was compared and is equal within its tolerance
  NOT isomorphic   something differs by more than its tolerance
  NOT DECIDED      nothing that was compared differs, but something could not be compared well enough

The consistency is R2 of affine maps between all variables, and between the blocks of variables that mix. It is no part
of the verdict (docs/scores.md).

The figure shows the maps, both graphs and the leakage between variables.
"""
EPILOG = """\
examples:
  lcm fit data/toy2d/train.safetensors --out first --seed 0
  lcm fit data/toy2d/train.safetensors --out second --seed 1
  lcm compare first second data/toy2d/test.safetensors --json compared.json
  lcm compare first second before.csv after.csv --figure compared.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    for name in ("a", "b"):
        parser.add_argument(f"run_{name}", metavar=f"RUN_{name.upper()}", help="run folder of lcm fit, or a model file")
    add_pairs_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help=".json file to write the numbers to")
    parser.add_argument(
        "--figure",
        metavar="FILE",
        help=".png file to draw; default: the file of --json with .png, else RUN_A/figures/compared_with_RUN_B.png",
    )
    parser.add_argument("--html", metavar="FILE", help=".html file to write a page to, with the figure inside")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    inputs = arguments.data, arguments.after, arguments.run_a, arguments.run_b
    out = check_output(arguments.json, ".json", *inputs) if arguments.json else None
    page = check_output(arguments.html, ".html", *inputs) if arguments.html else None
    figure = _figure_file(arguments, out)
    data = pairs_of(arguments)

    from lcm.base.files import write_json
    from lcm.data.named_columns import in_order_of
    from lcm.isomorphism import find_isomorphism

    opened = [open_model(path) for path in (arguments.run_a, arguments.run_b)]
    a, b = (each.model for each in opened)
    data = in_order_of(data, *(each.run for each in opened))
    found = find_isomorphism(a, b, data)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, {"a": arguments.run_a, "b": arguments.run_b, "data": arguments.data, **found.numbers()})
    if figure:
        with _folder_of(figure, arguments.run_a):
            _draw(figure, found, opened, data)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        _write_page(page, arguments, found, opened, figure)
    if not arguments.quiet:
        print(f"A: {arguments.run_a}\nB: {arguments.run_b}\n{found.text(*(each.names for each in opened))}")
        for name, file in (("figure", figure), ("page", page)):
            if file:
                print(f"{name}: {file}")


def _figure_file(arguments: argparse.Namespace, out: Path | None) -> Path | None:
    """The path of the figure; None if A is a model file and no option gives a path."""
    given = arguments.figure or (out and str(out.with_suffix(".png")))
    if given:
        inputs = arguments.data, arguments.after, arguments.run_a, arguments.run_b
        return check_output(given, ".png", *inputs)
    folder = Path(arguments.run_a)
    if not folder.is_dir():
        return None
    check_writable(folder)
    other = Path(arguments.run_b).resolve()
    name = f"{other.parent.name}_{other.stem}" if other.is_file() else other.name
    return folder / "figures" / f"compared_with_{name}.png"


@contextmanager
def _folder_of(figure: Path, run: str) -> Iterator[None]:
    """Make the folder of the figure; that of a run is locked meanwhile."""
    from lcm.run.run_folder import FIGURE_FOLDER, claimed_figures

    if figure.parent == Path(run) / FIGURE_FOLDER:
        with claimed_figures(Path(run)):
            yield
        return
    figure.parent.mkdir(parents=True, exist_ok=True)
    yield


def _write_page(
    path: Path, arguments: argparse.Namespace, found: Comparison, opened: list[Opened], figure: Path | None
) -> None:
    """The verdict, the variables with their matches, the figure, and what the command printed."""
    from lcm.report.page import CodeBlock, Page, Picture, Section, TextTable, write_page

    a, b = (each.names for each in opened)
    rows = [
        [a[i], b[j], f"{r2:.4f}", f"{leak:.4f}"]
        for i, (j, r2, leak) in enumerate(zip(found.permutation, found.r2, found.leakage, strict=True))
    ]
    table = TextTable(["variable of A", "variable of B", "R² of the map", "leakage of others"], rows)
    text = (
        "Maps from variables of A to those of B, both graphs in the numbering of A, and the leakage between variables."
    )
    pictures = [Section("Maps and graphs", [Picture.read(figure, text)])] if figure else []
    compared = f"A: {arguments.run_a}. B: {arguments.run_b}. Compared on {arguments.data}."
    lead = [compared, f"Verdict: {found.verdict}. {found.meaning}"]
    sections = [
        Section("Variables", [table]),
        *pictures,
        Section("All that was compared", [CodeBlock(found.text(a, b))]),
    ]
    write_page(path, Page("Two models compared", lead, sections))


def _draw(path: Path, found: Any, opened: list[Opened], data: Any) -> None:
    from lcm.isomorphism.views import encoded_variables
    from lcm.model.latent_causal_model import LatentCausalModel
    from lcm.report import draw_comparison

    a, b = (each.model for each in opened)
    models = isinstance(a, LatentCausalModel) and isinstance(b, LatentCausalModel)
    graphs = (a.graph, b.graph) if models else None
    draw_comparison(
        path,
        found,
        (encoded_variables(a, data), encoded_variables(b, data)),
        graphs,
        variables=(opened[0].names, opened[1].names),
    )
