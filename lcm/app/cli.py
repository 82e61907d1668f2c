"""The command line `lcm`: parse the arguments, run one command, turn an error into one line and an exit code.

Each command imports torch only when it runs, so that help is fast.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, NoReturn, cast, final

from lcm.app.commands import COMMANDS
from lcm.base import __version__
from lcm.base.text import message_line, printable

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_DESCRIPTION = """\
Recover causal variables and their graph from pairs of observations before and after unknown interventions.

first steps:
  lcm generate paper_configs/toy2d.yaml --out data/toy2d    draw pairs from a known ground truth
  lcm fit data/toy2d/train.safetensors --out run            fit a model to x and x_tilde alone
  lcm evaluate run data/toy2d/test.safetensors              score the model against the truth
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 means success, 2 bad usage or bad input, 130 an interruption, and 1 a likelihood that is not finite or another
    failure that the command reports. An error is one line on stderr, after its traceback if --debug is given.
    """
    parser, commands = _parsers()
    try:
        arguments, rest = parser.parse_known_args(argv)
        command = commands[arguments.command]
        if rest and not command.get_default("takes_rest"):
            command.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.rest = rest
    except SystemExit as end:
        return int(end.code or OK)
    with _threads(arguments.threads):
        return _run(arguments, command.prog)


def _run(arguments: argparse.Namespace, name: str) -> int:
    try:
        # names from files never reach a terminal raw
        with redirect_stdout(cast(Any, _Printable(sys.stdout))):
            code: int | None = arguments.run(arguments)
        sys.stdout.flush()
        return code or OK
    except BrokenPipeError:
        # The reader has closed the pipe, so the rest of the buffer has nowhere to go.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return OK
    except KeyboardInterrupt:
        resumes = arguments.resumes(arguments) if hasattr(arguments, "resumes") else "nothing was written"
        return _report(arguments, f"{name}: interrupted; {resumes}", INTERRUPTED)
    except FloatingPointError as error:
        return _report(arguments, f"{name}: error: {error}", FAILED)
    except OSError as error:
        return _report(arguments, f"{name}: error: {_described(error)}", BAD_INPUT)
    except (ValueError, ImportError, NotImplementedError) as error:
        return _report(arguments, f"{name}: error: {error}", BAD_INPUT)


def _described(error: OSError) -> str:
    """The file and the reason, without the number of the error."""
    if error.strerror is None:
        return str(error)
    files = " and ".join(str(file) for file in (error.filename, error.filename2) if file is not None)
    return f"{files}: {error.strerror}" if files else error.strerror


def _report(arguments: argparse.Namespace, message: str, code: int) -> int:
    if arguments.debug:
        traceback.print_exc()
    print(message_line(message), file=sys.stderr)
    return code


@final
class _Printable:
    """A stream that writes control characters as escapes to another one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text in printable form; return its own length."""
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@final
class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{message_line(f'{self.prog}: error: {message}')} (see {self.prog} --help)\n")


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="lcm",
        description=_DESCRIPTION,
        epilog="lcm COMMAND --help documents a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lcm {__version__}")
    group = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    commands = {}
    for name, module in COMMANDS.items():
        command = group.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        _add_common(command)
        command.set_defaults(run=module.run)
        commands[name] = command
    return parser, commands


def _add_common(parser: argparse.ArgumentParser) -> None:
    common = parser.add_argument_group("options of every command")
    common.add_argument(
        "--threads",
        type=_threads_number,
        metavar="N",
        help="number of threads; default: OMP_NUM_THREADS, else 1; import and evaluate use all cores",
    )
    common.add_argument("--quiet", action="store_true", help="print nothing but errors")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _threads_number(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"Expected a number of at least 1; got {text!r}")
    return number


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Compute with `number` threads inside the block. The default is OMP_NUM_THREADS, else one.

    A fit consists of many small operations. More threads gain little, and cost much if other jobs need the cores.

    Libraries that are loaded later read the number from the environment. If torch is loaded, it is set directly.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    number = number or (int(given) if given.isdigit() and int(given) else 1)
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(number)))
    torch = sys.modules.get("torch")
    torch_before = torch.get_num_threads() if torch else None
    try:
        if torch:
            torch.set_num_threads(number)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if torch:
            torch.set_num_threads(torch_before)
