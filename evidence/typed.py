"""Figures that somebody typed into a document: numbers with decimals and percentages that no marker fills."""

from __future__ import annotations

import re

from evidence.fill import NUMBER, TABLE

_NOT_TEXT = re.compile(r"```.*?```|~~~.*?~~~|`[^`\n]*`|\]\([^)\n]*\)|<!--.*?-->|https?://\S+|\$[^$\n]*\$", re.DOTALL)
# not part of a version, a section, a date or a name
_FIGURE = re.compile(r"(?<!§ )(?<![\w.§/-])[-−]?\d[\d,]*(?:\.\d+(?: ?%)?(?!\w|\.\d)| ?%)(?![\w/])")


def typed_figures(text: str) -> list[str]:
    """The figures of a Markdown text outside markers, code, links and formulas, in their order."""
    return _FIGURE.findall(_NOT_TEXT.sub(" ", NUMBER.sub(" ", TABLE.sub(" ", text))))
