"""`lcm compare`: are two models isomorphic? No truth is needed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm.app.commands.common import add_pairs_arguments, check_output, check_writable, pairs_of

if TYPE_CHECKING:
    from lcm.model.pair_model import PairModel

HELP = "find the isomorphism between two fits, or say where it fails"
DESCRIPTION = """\
Compare two models of the same observations up to isomorphism: relabelling and monotone maps of each variable.

Two fits that reach the same likelihood must be isomorphic (Brehmer et al. 2022, theorem 1), so that two independent
fits check each other without any truth. Found are the match of the variables and the monotone maps between them; what
is left is measured on held-out pairs: how far a variable is from a function of its match alone (R2), what other
variables explain of it (leaks), whether graphs, solution maps, decoders and distributions correspond. The verdict is
given at tolerances that are stated; a verdict of any kind exits with 0.

The figure shows the maps, both graphs and what leaks where.
"""
EPILOG = """\
examples:
  lcm fit data/toy2d/train.safetensors --out first --seed 0
  lcm fit data/toy2d/train.safetensors --out second --seed 1
  lcm compare first second data/toy2d/test.safetensors --json compared.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    for name in ("a", "b"):
        parser.add_argument(f"run_{name}", metavar=f"RUN_{name.upper()}", help="run folder, or a model file")
    add_pairs_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help="write the numbers there")
    parser.add_argument(
        "--figure",
        metavar="FILE",
        help=".png file to draw; default: beside FILE of --json, else in RUN_A/figures, by RUN_B's name",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    out = check_output(arguments.json, ".json", arguments.data, arguments.after) if arguments.json else None
    figure = _figure_file(arguments, out)
    data = pairs_of(arguments)

    from lcm.base.files import write_json
    from lcm.isomorphism import find_isomorphism
    from lcm.isomorphism.comparison import comparison_text

    a, b = (_open(path) for path in (arguments.run_a, arguments.run_b))
    found = find_isomorphism(a, b, data)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, {"a": arguments.run_a, "b": arguments.run_b, "data": arguments.data, **found.numbers()})
    if figure:
        figure.parent.mkdir(parents=True, exist_ok=True)
        _draw(figure, found, a, b, data)
    if not arguments.quiet:
        print(f"A: {arguments.run_a}\nB: {arguments.run_b}\n{comparison_text(found)}")
        if figure:
            print(f"figure: {figure}")


def _figure_file(arguments: argparse.Namespace, out: Path | None) -> Path | None:
    """Where the figure goes; None where A is a model file and nothing was said."""
    if arguments.figure:
        return check_output(arguments.figure, ".png")
    if out:
        return out.with_suffix(".png")
    folder = Path(arguments.run_a)
    if not folder.is_dir():
        return None
    check_writable(folder)
    other = Path(arguments.run_b).resolve()
    name = f"{other.parent.name}_{other.stem}" if other.is_file() else other.name
    return folder / "figures" / f"compared_with_{name}.png"


def _open(path: str) -> PairModel:
    from lcm.model.storage import load_model
    from lcm.run.runs import load_run

    return load_model(path) if Path(path).is_file() else load_run(path).model


def _draw(path: Path, found: Any, a: Any, b: Any, data: Any) -> None:
    from lcm.isomorphism.find import encoded_variables
    from lcm.model.latent_causal_model import LatentCausalModel
    from lcm.report import draw_comparison

    models = isinstance(a, LatentCausalModel) and isinstance(b, LatentCausalModel)
    graphs = (a.graph, b.graph) if models else None
    draw_comparison(path, found, (encoded_variables(a, data), encoded_variables(b, data)), graphs)
