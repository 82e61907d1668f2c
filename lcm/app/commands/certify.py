"""`lcm certify`: what pairs say of every assumption that a fit rests on, without a truth."""

from __future__ import annotations

import argparse

from lcm.app.commands.common import add_pairs_arguments, check_output, pairs_of

HELP = "judge every assumption that a fit rests on, without a truth"
DESCRIPTION = """\
Certify a fit: one row for each assumption of the theorem and of the method, judged from the fit and the pairs of DATA.
DATA may be the pairs of the fit, or others of the same kind; their truth is not used.

  holds            the test found nothing; the row says how small a violation it would have found nine times in ten
  broken           the test objects, mostly at a level of 0.01 %, or a limit is passed; the row says to what
  cannot be known  no test of these data can tell; the row says why
The exit code is 0 for every verdict. `lcm fit` writes the certificate of its own pairs to report.md and fit.json.
"""
EPILOG = """\
examples:
  lcm fit data/toy2d/train.safetensors --out run
  lcm certify run data/toy2d/test.safetensors --json certificate.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit")
    add_pairs_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help=".json file to write the rows to")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    inputs = arguments.data, arguments.after, arguments.run_folder
    out = check_output(arguments.json, ".json", *inputs) if arguments.json else None
    data = pairs_of(arguments)

    from lcm.base.files import write_json
    from lcm.run.certificate_text import in_names
    from lcm.run.runs import load_run

    result = load_run(arguments.run_folder).result()
    certificate = result.certify(data)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, {"run": arguments.run_folder, "data": arguments.data, **certificate.to_json()})
    if not arguments.quiet:
        print(in_names(result, str(certificate)))
