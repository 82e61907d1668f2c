"""`lcm reproduce`: an experiment of the checkout."""

from __future__ import annotations

import argparse
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from lcm.app.commands.common import checkout

HELP = "run an experiment, its table and figures"
DESCRIPTION = """\
Run an experiment of experiments/, with its table and figures. What follows NAME is passed on to it; after NAME -- even
--help. Without a known NAME, the error lists those there are.
"""
EPILOG = """\
examples:
  lcm reproduce toy2d --quick
  lcm reproduce scaling --n 4
  lcm reproduce scaling -- --help

experiments/ are part of a checkout of the source, not of an installed package.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="a script of experiments/, without .py")
    parser.add_argument("--quick", action="store_true", help="a small version, to see that it works")
    parser.set_defaults(takes_rest=True, resumes=lambda _: "what was finished stays")


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
        # The script has said on stderr what is wrong with its arguments.
        sys.stderr.write(errors.getvalue())
        raise


def find_experiment(folder: Path, name: str) -> Path:
    """The script of an experiment; ValueError, which lists all there are, for an unknown name."""
    scripts = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    if name not in scripts:
        raise ValueError(f"NAME: Expected an experiment of {folder} ({', '.join(scripts) or 'none'}); got {name!r}")
    return scripts[name]


def run_experiment(root: Path, script: Path, argv: list[str]) -> None:
    """Import a script as experiments.NAME and call its main(argv); it can import its neighbours by such names."""
    spec = spec_from_file_location(f"{script.parent.name}.{script.stem}", script)
    if spec is None or spec.loader is None:
        raise ValueError(f"{script}: Expected a Python script; got another file")
    module = module_from_spec(spec)
    path_before = list(sys.path)
    sys.path.insert(0, str(root))
    try:
        # Processes that the script starts, and dataclasses, look their module up by name.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        module.main(argv)
    finally:
        sys.path[:] = path_before
        sys.modules.pop(spec.name, None)
