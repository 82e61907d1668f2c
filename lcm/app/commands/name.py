"""`lcm name`: name the learned variables of a run."""

from __future__ import annotations

import argparse

from lcm.app.commands.common import check_writable

HELP = "name the learned variables of a fit"
DESCRIPTION = """\
Name learned variables of a run. The names are kept in RUN/names.json. graph.json, report.md and the figures of graph
and refits are written again with them, and later figures, graphs, tables and reports have them too. The page
report.html shows pairs of the data, so it gets the names when lcm report RUN DATA writes it. Without names, the command
prints those that there are. lcm sample --do NAME=VALUE and lcm plan --goal effect NAME:NAME take the names.

A name has up to 40 printable characters, a letter or digit first, and none of " # $ & ' * + , ; < = > @ [ \\ ] ` { | }.
I= without a name gives back the default name zI. The numbers of the variables stay as they are.
"""
EPILOG = """\
examples:
  lcm name run 0=red 2="angle of the polariser"
  lcm name run 0=
  lcm name run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit")
    parser.add_argument("names", metavar="I=NAME", nargs="*", help="the name of learned variable I (0-based)")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    given = _parsed(arguments.names)

    from pathlib import Path

    from lcm.run.naming import name_variables
    from lcm.run.run_folder import PAGE_FILE
    from lcm.run.runs import load_run

    run = load_run(arguments.run_folder)
    names = run.names
    if given:
        check_writable(Path(arguments.run_folder))
        names = name_variables(run.folder, given).names
    if arguments.quiet:
        return
    print("\n".join(f"{i}  {name}" for i, name in enumerate(names)))
    if given and (run.folder / PAGE_FILE).is_file():
        # the page shows pairs, and only their data make them again
        print(f"lcm report {arguments.run_folder} DATA writes the page with the new names")


def _parsed(texts: list[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for text in texts:
        number, mark, name = text.partition("=")
        if not mark or not (number.isascii() and number.isdigit()):
            raise ValueError(f"I=NAME: Expected the 0-based number of a variable and its name; got {text!r}")
        if int(number) in names:
            raise ValueError(f"I=NAME: Expected each variable once; got {int(number)} again")
        names[int(number)] = name
    return names
