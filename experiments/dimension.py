"""dimension: is the number of variables found from the data alone, and is it never missing from what is left open?

Random natures on flat and curved sheets, with as many or more columns than variables, with and without noise on each
column, few and many pairs. `estimate` is what a fit takes for n, `plausible` the set that `lcm check` states.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments._experiment import at_least_one, base_parser

if TYPE_CHECKING:
    from lcm.data.pairs import PairData

Array = NDArray[np.float64]
VARIABLES = range(2, 9)
COLUMNS: Mapping[str, Callable[[int], int]] = {
    "n": lambda n: n,
    "n + 1": lambda n: n + 1,
    "2n": lambda n: 2 * n,
    "5n": lambda n: 5 * n,
}
SHEETS, NOISE, PAIRS = ("flat", "curved"), (0.0, 0.01), (5_000, 50_000)
_GROUPS = ("sheet", "columns", "noise", "pairs", "n")


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = base_parser("dimension", __doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S", help="of the natures; default: 0")
    parser.add_argument("--n", type=at_least_one, nargs="+", metavar="N", help="numbers of variables; default: 2 to 8")
    options = parser.parse_args(argv)
    variables = options.n or ((2, 3) if options.quick else VARIABLES)
    pairs = (options.pairs,) if options.pairs else PAIRS[:1] if options.quick else PAIRS
    cells = list(itertools.product(SHEETS, COLUMNS, NOISE, pairs, variables, options.seeds))
    records = []
    for index, cell in enumerate(cells):
        records.append(examine(*cell))
        print(f"[{index + 1}/{len(cells)}] {_line(records[-1])}", flush=True)
    _write(options.out, records)


def examine(sheet: str, columns: str, noise: float, pairs: int, n: int, seed: int) -> dict[str, Any]:
    """One nature: what is found of n, and in how many seconds."""
    data = draw(sheet, COLUMNS[columns](n), noise, pairs, n, seed)
    started = time.perf_counter()
    found = data.dimension_evidence
    seconds = time.perf_counter() - started
    cell = {"sheet": sheet, "columns": columns, "noise": noise, "pairs": pairs, "n": n, "seed": seed}
    evidence = {"estimate": found.estimate, "neighbours": found.neighbours, "plausible": list(found.plausible)}
    return {**cell, **evidence, "right": found.estimate == n, "held": n in found.plausible, "seconds": seconds}


def draw(sheet: str, d: int, noise: float, pairs: int, n: int, seed: int) -> PairData:
    """Pairs of a random location-scale SCM of n variables in d columns, on a flat or a curved sheet.

    Curved: with d = n a random mixing; else a random linear map plus as many bounded curved functions as columns.
    """
    from lcm.base.config import structure_config
    from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
    from lcm.data.nature.config import NatureConfig
    from lcm.data.pairs import PairData
    from lcm.data.sample import sample_data

    square = {"kind": "mixing", "layers": 2} if sheet == "curved" and d == n else {"kind": "rotation"}
    settings = {"n": n, "graph": {"expected_degree": min(2.0, n - 1.0)}, "mechanism": {"kind": "location-scale"}}
    nature = build_nature(structure_config({**settings, "decoder": square}, NatureConfig, "dimension"), seed)
    drawn = sample_data(nature, pairs, torch_generator(seed, "dimension pairs"))
    generator = numpy_generator(seed, f"dimension sheet {sheet} {d}")
    x, x_tilde = drawn.x.astype(np.float64), drawn.x_tilde.astype(np.float64)
    if d > n:
        embed = _embedding(x, d, sheet == "curved", generator)
        x, x_tilde = embed(x), embed(x_tilde)
    width = noise * x.std(0)
    x, x_tilde = (part + width * generator.standard_normal(part.shape) for part in (x, x_tilde))
    return PairData.from_arrays(x, x_tilde)


def _embedding(x: Array, d: int, curved: bool, generator: np.random.Generator) -> Callable[[Array], Array]:
    """A map to d columns, linear or curved, in units of the spread of x."""
    n, spread = x.shape[1], x.std(0)
    linear, inner, outer = (generator.standard_normal(shape) for shape in ((n, d), (n, d), (d, d)))

    def embed(part: Array) -> Array:
        values = part / spread
        bent = np.tanh(values @ inner / np.sqrt(n)) @ outer / np.sqrt(d) if curved else 0.0
        return np.asarray(values @ linear / np.sqrt(n) + bent)

    return embed


def _line(record: Mapping[str, Any]) -> str:
    cell = ", ".join(f"{key} {record[key]}" for key in _GROUPS)
    verdict = "right" if record["right"] else "wrong" if record["held"] else "WRONG, not plausible"
    return f"{cell}: {record['estimate']} of {record['plausible']}, {verdict}; {record['seconds']:.1f} s"


def _write(out: Path, records: Sequence[Mapping[str, Any]]) -> None:
    from lcm.base.files import write_json, write_text
    from lcm.report.tables import to_markdown

    table = [["kind", "natures", "estimate right", "n plausible", "plausible numbers, mean", "seconds, median"]]
    kinds = [("all", list(records))]
    for key in _GROUPS:
        for value in dict.fromkeys(record[key] for record in records):
            kinds.append((f"{key} {value}", [record for record in records if record[key] == value]))
    for name, group in kinds:
        sizes = np.mean([len(record["plausible"]) for record in group])
        seconds = np.median([record["seconds"] for record in group])
        counts = [str(sum(record[key] for record in group)) for key in ("right", "held")]
        table.append([name, str(len(group)), *counts, f"{sizes:.2f}", f"{seconds:.1f}"])
    write_json(out / "results.json", list(records))
    write_text(out / "results.md", f"# dimension: the number of variables, from data alone\n\n{to_markdown(table)}\n")
    print(f"\n{to_markdown(table[:2])}\nResults: {out}")


if __name__ == "__main__":
    main(sys.argv[1:])
