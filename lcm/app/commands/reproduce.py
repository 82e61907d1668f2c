"""`lcm reproduce`: run an experiment of the checkout."""

from __future__ import annotations

import argparse
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from lcm.app.commands.common import checkout

HELP = "run an experiment: its table and figures"
DESCRIPTION = """\
Run an experiment of experiments/, which writes its table and figures. Everything after NAME goes to the experiment;
write NAME -- --help for the help of the experiment. If NAME is unknown, the error lists all experiments.
"""
EPILOG = """\
examples:
  lcm reproduce toy2d --quick
  lcm reproduce scaling --n 4
  lcm reproduce scaling -- --help

The folder experiments/ is part of a checkout of the source, not of an installed package.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="a script of experiments/, without .py")
    parser.add_argument("--quick", action="store_true", help="a small version of the experiment, to check that it runs")
    parser.set_defaults(takes_rest=True, resumes=lambda _: "finished parts are kept")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    root = checkout()
    script = find_experiment(root / "experiments", arguments.name)
    argv = [*(["--quick"] if arguments.quick else []), *(text for text in arguments.rest if text != "--")]
    if not arguments.quiet:
        run_experiment(root, script, argv)
        return
    errors = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(errors):
            run_experiment(root, script, argv)
    except SystemExit:
        # The script has already written to stderr what is wrong with its arguments.
        sys.stderr.write(errors.getvalue())
        raise


def find_experiment(folder: Path, name: str) -> Path:
    """The script of an experiment. For an unknown name, a ValueError lists all names."""
    scripts = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    if name not in scripts:
        raise ValueError(f"NAME: Expected an experiment of {folder} ({', '.join(scripts) or 'none'}); got {name!r}")
    return scripts[name]


def run_experiment(root: Path, script: Path, argv: list[str]) -> None:
    """Import a script as experiments.NAME and call its main(argv). It can import other scripts as experiments.OTHER."""
    spec = spec_from_file_location(f"{script.parent.name}.{script.stem}", script)
    if spec is None or spec.loader is None:
        raise ValueError(f"{script}: Expected a Python script; got another file")
    module = module_from_spec(spec)
    path_before = list(sys.path)
    sys.path.insert(0, str(root))
    try:
        # Dataclasses, and processes that the script starts, look up the module by name.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        module.main(argv)
    finally:
        sys.path[:] = path_before
        sys.modules.pop(spec.name, None)
