"""The program `lcm`, also `python -m lcm`: a process with its streams and signals around `lcm.app.cli.main`."""

import os
import signal
import sys

_BAD_INPUT, _INTERRUPTED = 2, 130


def program() -> int:
    """Run the command line and return its exit code; an interruption at any moment is one line and 130."""
    try:
        _open_standard_streams()
        _kept = _end_in_a_line_where_a_file_shrinks()
        code = _run()
    except KeyboardInterrupt:
        sys.stderr.write("lcm: interrupted before anything was done\n")
        code = _INTERRUPTED
    # the rest is the end of the process, which an interruption can only make noisy
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _flush()
    sys.stderr.flush()
    if code == _INTERRUPTED or "ray" not in sys.modules:
        # An interpreter that ends by itself takes a tenth of a second, in which a kill would look like a failure, and
        # kills itself by the signal if it came while a library ran code of its own. Ray has work to do at the end.
        os._exit(code)
    return code


def _run() -> int:
    from lcm.base.clash import overwritten_message

    message = overwritten_message(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if message:
        sys.stderr.write(f"lcm: error: {message}\n")
        return _BAD_INPUT
    from lcm.app.cli import main

    return main()


def _open_standard_streams() -> None:
    """Open the null device for each standard stream that is closed, whose number the next file would get."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _end_in_a_line_where_a_file_shrinks() -> object:
    """End the process in one line where a mapped file has become shorter after it was checked.

    Reading beyond its end raises SIGBUS, which a handler of Python would see only after the reading that never ends.
    The handler lives as long as what is returned.
    """
    import ctypes

    def end(_: int) -> None:
        os.write(2, b"lcm: error: Expected files that stay as they are while they are used; got one that is shorter\n")
        os._exit(_BAD_INPUT)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)
    install = ctypes.CDLL(None).signal
    install.argtypes, install.restype = (ctypes.c_int, type(handler)), ctypes.c_void_p
    install(signal.SIGBUS, handler)
    return handler


def _flush() -> None:
    """Give up what standard output does not take, about which the command has said what there is to say."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(program())
