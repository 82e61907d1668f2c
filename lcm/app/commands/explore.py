"""`lcm explore`: a local page in the browser, to ask a model what an intervention does."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lcm.app.commands.common import add_mark_argument

if TYPE_CHECKING:
    from lcm.app.explore.beside import Beside
    from lcm.app.explore.subject import Subject

HELP = "explore a fit or a ground truth in the browser"
DESCRIPTION = """\
Open a page in the browser on a fitted model or a ground truth. Pick an observation, and see its variables, its noise
and where it lies in the data. Drag a variable, and see the effects travel down the graph and x change. Switch between
the counterfactual of the observation and the intervention on draws from the model. Draw pairs, name variables (the
names are kept in RUN/names.json), and save what is on the page as a figure, a table and the Python that makes them.

With --beside, another run of the same observations is asked the same question under the isomorphism that is found.

The page is served on this machine alone (127.0.0.1). It loads nothing from elsewhere and sends nothing anywhere.
Ctrl-C ends it. It needs the extra explore: pip install 'latent-causal-models[explore]'
"""
EPILOG = """\
examples:
  lcm explore run --data data/toy2d/test.safetensors
  lcm explore run --data before.csv after.csv --port 8080 --no-browser
  lcm explore data/toy2d/nature.safetensors
  lcm explore run --beside other-run
"""

_PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "run_folder", metavar="RUN", help="run folder of lcm fit, a model file, or a folder of lcm generate"
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        nargs="+",
        help="one or two files of pairs to pick observations from; default: 500 draws from the model itself",
    )
    add_mark_argument(parser)
    parser.add_argument("--beside", metavar="RUN_B", help="another run, to show side by side")
    parser.add_argument("--port", metavar="P", type=int, default=_PORT, help=f"default: {_PORT}; 0 takes a free one")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")


def _beside(subject: Subject, path: str) -> Beside:
    from lcm.app.explore.beside import Beside
    from lcm.app.explore.subject import subject_beside

    return Beside(subject, subject_beside(subject, path))


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.data and len(arguments.data) > 2:
        raise ValueError(f"--data: Expected one or two files; got {len(arguments.data)}")
    from lcm.app.explore.server import HOST, make_server, open_socket, require_browser, require_extra

    require_extra()
    browser = None if arguments.no_browser else require_browser()
    with open_socket(arguments.port) as listening:
        from lcm.app.explore.subject import open_subject

        subject = open_subject(arguments.run_folder, arguments.data or (), arguments.after_mark)
        beside = _beside(subject, arguments.beside) if arguments.beside else None
        server = make_server(subject, beside, listening)
        address = f"http://{HOST}:{listening.getsockname()[1]}/"
        if not arguments.quiet:
            print(f"{address}  (Ctrl-C ends it)", flush=True)
        if browser is not None:
            browser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            # the usual way to end it
            server.server_close()
