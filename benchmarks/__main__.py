"""Times the package on fixed seeds, and compares such runs.

    python -m benchmarks [SUITE ...] [--quick] [--threads T] [--repeats K] [--seed S] [--out FILE] [--resume]
    python -m benchmarks compare A B [--any-machine]
    python -m benchmarks table FILE
    python -m benchmarks plot FILE [--out DIR]
    python -m benchmarks list

Every figure is the median of K repeats in one process, after one that is not counted, beside its minimum and maximum.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, final

from benchmarks.machine import cores
from benchmarks.suites import MODULES

_OTHERS = ("compare", "table", "plot", "list")


@final
class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say; returns 0, or 1 where a case failed. Bad usage exits with 2."""
    chosen = argv[0] if argv and argv[0] in _OTHERS else "run"
    parser = _PARSERS[chosen]()
    options = parser.parse_args(argv if chosen == "run" else argv[1:])
    try:
        return _ACTIONS[chosen](options)
    except ValueError as error:
        parser.error(str(error))


def _parser(name: str = "") -> _Parser:
    return _Parser(prog=f"python -m benchmarks {name}".rstrip(), description=(__doc__ or "").splitlines()[0])


def _run_parser() -> _Parser:
    parser = _parser()
    parser.epilog = f"Instead of suites: {', '.join(_OTHERS)}; each has its own --help."
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"default: all of {', '.join(MODULES)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat: two minutes at most")
    parser.add_argument("--threads", type=int, default=1, metavar="T", help=f"default: 1; this machine has {cores()}")
    parser.add_argument("--repeats", type=int, metavar="K", help="counted repeats of each figure; default: 3")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of natures, pairs and fits; default: 0")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: runs/benchmarks/DATE-TIME.json")
    parser.add_argument("--resume", action="store_true", help="continue the run in FILE")
    return parser


def _run(options: argparse.Namespace) -> int:
    from benchmarks.run import default_file, plan_of, run_suites

    plan = plan_of(options.quick, options.threads, options.repeats, options.seed)
    if options.resume and options.out is None:
        raise ValueError("--resume: Expected --out FILE, the run to continue; got none.")
    out = options.out or default_file()
    return 1 if run_suites(options.suites or list(MODULES), plan, out, options.resume) else 0


def _compare_parser() -> _Parser:
    parser = _parser("compare")
    parser.add_argument("a", type=Path, metavar="A", help="the run to compare with")
    parser.add_argument("b", type=Path, metavar="B", help="the other run")
    parser.add_argument("--any-machine", action="store_true", help="also where machine or threads differ")
    return parser


def _compare(options: argparse.Namespace) -> int:
    from benchmarks.compare import compare_files

    print(compare_files(options.a, options.b, options.any_machine), end="")
    return 0


def _table_parser() -> _Parser:
    parser = _parser("table")
    parser.add_argument("file", type=Path, metavar="FILE", help="a run")
    return parser


def _table(options: argparse.Namespace) -> int:
    from benchmarks.record import read_record
    from benchmarks.table import markdown

    print(markdown(read_record(options.file)), end="")
    return 0


def _plot_parser() -> _Parser:
    parser = _parser("plot")
    parser.add_argument("file", type=Path, metavar="FILE", help="a run")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: beside the file")
    return parser


def _plot(options: argparse.Namespace) -> int:
    from benchmarks.figure import draw_scalings
    from benchmarks.record import read_record

    record, folder = read_record(options.file), options.out or options.file.parent
    folder.mkdir(parents=True, exist_ok=True)
    for path in draw_scalings(record, folder, options.file.stem):
        print(path)
    return 0


def _list(options: argparse.Namespace) -> int:
    print("\n".join(MODULES))
    return 0


_PARSERS = {
    "run": _run_parser,
    "compare": _compare_parser,
    "table": _table_parser,
    "plot": _plot_parser,
    "list": lambda: _parser("list"),
}
_ACTIONS = {"run": _run, "compare": _compare, "table": _table, "plot": _plot, "list": _list}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
