"""`lcm reproduce`: run an experiment of experiments/."""

from __future__ import annotations

import argparse
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from lcm.app.commands.common import source_root

INDEX_FILE = "index.html"
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

The folder of the results, runs/NAME or that of --out DIR, has a page, index.html, with all tables and figures. An
installed package has the experiments demo, scaling and toy2d; a checkout of the source has all.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="a script of experiments/, without .py")
    parser.add_argument("--quick", action="store_true", help="a small version of the experiment, to check that it runs")
    parser.set_defaults(takes_rest=True, resumes=lambda _: "finished parts are kept")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    root = source_root()
    script = find_experiment(root / "experiments", arguments.name)
    argv = [*(["--quick"] if arguments.quick else []), *(text for text in arguments.rest if text != "--")]
    if not arguments.quiet:
        run_experiment(root, script, argv)
        if page := _write_index(arguments.name, argv):
            print(f"Page: {page}")
        return
    errors = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(errors):
            run_experiment(root, script, argv)
        _write_index(arguments.name, argv)
    except SystemExit:
        # The script has already written to stderr what is wrong with its arguments.
        sys.stderr.write(errors.getvalue())
        raise


def _write_index(name: str, argv: list[str]) -> Path | None:
    """Write index.html, all tables and figures on one page, to the folder of the results; None if there are none."""
    from lcm.report.page import results_page, write_page

    option = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    option.add_argument("--out", type=Path, default=Path("runs") / name)
    folder: Path = option.parse_known_args(argv)[0].out
    if not folder.is_dir():
        return None
    page = results_page(folder, name, " ".join(["lcm reproduce", name, *(["--", *argv] if argv else [])]))
    if page is None:
        return None
    write_page(folder / INDEX_FILE, page)
    return folder / INDEX_FILE


def find_experiment(folder: Path, name: str) -> Path:
    """The script of an experiment. For an unknown name, a ValueError lists all names."""
    scripts = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    if name not in scripts:
        others = "" if (folder.parent / "pyproject.toml").is_file() else "; all others are in a checkout of the source"
        listed = f"{', '.join(scripts) or 'none'}{others}"
        raise ValueError(f"NAME: Expected an experiment of {folder} ({listed}); got {name!r}")
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
