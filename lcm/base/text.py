"""Text from files in messages: one line, no control characters, and no longer than can be read."""

from __future__ import annotations

import re
from datetime import date, datetime
from reprlib import Repr

_LONGEST_VALUE, _LONGEST_MESSAGE = 58, 1500
# C0 and C1 controls, line separators, marks that reverse the direction of text, and halves of surrogate pairs
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 2 * _LONGEST_VALUE


def printable(text: str) -> str:
    """The text with control characters but tabs and line ends as escapes, so that a terminal shows and obeys none."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shortened(text: str, most: int = _LONGEST_VALUE) -> str:
    """The text, cut to at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shown(value: object) -> str:
    """A value for a message: its repr, printable and short, whatever its size."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, datetime | date):
        return str(value)
    # reprlib looks at a few entries only: the whole repr of aliases can be exponentially longer than their file
    return shortened(printable(_SHORT.repr(value)))


def message_line(text: str) -> str:
    """A message as one line of bounded length."""
    return shortened(printable(" ".join(text.split())), _LONGEST_MESSAGE)
