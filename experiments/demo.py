"""demo: recover two small causal models from pairs, and describe what was recovered."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments._experiment import base_parser
from lcm.app.commands.reproduce import run_experiment
from lcm.base.files import read_json
from lcm.report.tables import RESULTS_JSON

HERE = Path(__file__).resolve().parent
WORLDS = {
    "toy2d": ("2 variables, a nonlinear mechanism, seen through a random curved map", []),
    "scaling": ("4 variables, linear mechanisms, seen through a random rotation", ["--n", "4", "--data-seeds", "1"]),
}
SCORES = (
    ("mcc", "MCC", ".4f", "rank correlation of each learned variable with the true one; 1 is perfect"),
    (
        "dci_disentanglement",
        "disentanglement",
        ".4f",
        "does each depend on one true variable only? 1 is perfect",
    ),
    (
        "intervention_accuracy",
        "intervention accuracy",
        ".4f",
        "share of pairs whose intervention is found; 1 is perfect",
    ),
    ("shd", "SHD", "d", "edges missing, added or reversed; 0 is perfect"),
)
FIGURES = (
    ("variables.png", "learned against true variables: thin curves in the framed panels"),
    ("graphs.png", "the true and the learned graph, and the strength of every edge"),
    ("training.png", "likelihood and thickness (how exact the fit is) against time"),
    ("pairs.png", "some of the observed pairs"),
)
ACTIVATE = "  source .venv/bin/activate        puts the command lcm on the path\n"
INTRODUCTION = """
lcm: causal variables and their graph, from pairs before and after unknown interventions

Two small worlds were simulated. In each, hidden variables cause one another. A pair (x, x\u0303) shows a world
before and after an intervention, which set at most one variable to a new value. The fit saw only the
pairs. It did not see the variables, their graph, or which variable was set.

Learned variables have arbitrary numbers and units, so each is shown here under the number of the true
variable that it matches. All scores are computed on pairs that the fit has not seen.
"""
NEXT = """
What next
{activate}  README.md                        fit your own pairs, in two commands or ten lines of Python
  lcm check DATA                   check a data set before a fit
  lcm fit DATA --out RUN           fit a data set: CSV, Parquet, .npz or .safetensors
  lcm reproduce toy2d              the first world with five seeds; `lcm reproduce scaling`: up to ten variables
  docs/theory.md, docs/method.md   why this works, and how it is done
"""


def main(argv: Sequence[str]) -> None:
    """Run the demo; `--help` lists the options."""
    options = base_parser("demo", __doc__).parse_args(argv)
    given = {"--pairs": options.pairs, "--steps": options.steps, "--threads": options.threads}
    passed = [text for key, value in given.items() if value is not None for text in (key, str(value))]
    passed += ["--quick"] if options.quick else []
    for name, (_, own) in WORLDS.items():
        print(f"Simulating and fitting {name} ...", flush=True)
        folder = ["--out", str(options.out / name)]
        run_experiment(HERE.parent, HERE / f"{name}.py", ["--model-seeds", "1", "--quiet", *folder, *own, *passed])
    print(INTRODUCTION)
    for number, name in enumerate(WORLDS, 1):
        print(_page(number, name, options.out / name))
    in_checkout = (HERE.parent / "pyproject.toml").is_file()
    print(NEXT.strip().format(activate=ACTIVATE if in_checkout else ""))


def _page(number: int, name: str, folder: Path) -> str:
    """A description of what was recovered in one world."""
    record = read_json(folder / RESULTS_JSON)["cells"][0]
    verdict = "the same" if record["shd"] == 0 else "not the same"
    fitted = f"{record['n_pairs']:,} pairs, fitted in {record['fit_seconds']:.0f} s"
    lines = [
        f"{number}. {name}: {WORLDS[name][0]}; {fitted}",
        "",
        f"  true graph             {_in_words(record['true_edges'])}",
        f"  learned graph          {_in_words(record['learned_edges'])}   ({verdict})",
        *(f"  {label:<22} {record[key]:<8{form}} {meaning}" for key, label, form, meaning in SCORES),
        "",
        f"  figures in {folder / 'figures'}",
        *(f"    {_figure_name(record, name, file):<20} {meaning}" for file, meaning in FIGURES),
        "",
    ]
    return "\n".join(lines)


def _in_words(edges: Sequence[Sequence[int]]) -> str:
    return ", ".join(f"z{i} → z{j}" for i, j in edges) or "no edges"


def _figure_name(record: Mapping[str, Any], name: str, file: str) -> str:
    return f"n{record['n']}-{file}" if name == "scaling" else file


if __name__ == "__main__":
    main(sys.argv[1:])
