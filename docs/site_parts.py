"""What the documentation site takes from the package and checks of itself; needs no Sphinx."""

from __future__ import annotations

import re
from collections.abc import Iterator
from unittest.mock import patch

from lcm.app import cli

# what a browser loads by itself, unlike the target of a link
_ADDRESS = r"""((?:https?:)?//[^"'\s)]*)"""
_LOADED = re.compile(
    rf"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc\s*=\s*["']{_ADDRESS}"""
    rf"""|<link\b(?=[^>]*\brel\s*=\s*["'](?:stylesheet|preload|preconnect|icon))[^>]*?\bhref\s*=\s*["']{_ADDRESS}"""
    rf"""|(?:@import\s*|\burl\()\s*(?:url\()?["']?{_ADDRESS}"""
    rf"""|\b(?:import|fetch|importScripts)\(\s*["']{_ADDRESS}""",
    re.IGNORECASE,
)


def loaded_from_the_network(text: str) -> list[str]:
    """The addresses that a page, a style sheet or a script loads from another host."""
    return [next(filter(None, groups)) for groups in _LOADED.findall(text)]


def accessible(page: str) -> str:
    """A page of the theme with the levels of its captions, and with code that the keyboard reaches and scrolls."""
    page = page.replace('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">')
    return page.replace("<pre>", '<pre tabindex="0">')


def command_help() -> Iterator[tuple[str, str]]:
    """Each command with what `lcm COMMAND --help` prints, 100 columns wide."""
    with patch.dict("os.environ", COLUMNS="100"):
        for name, parser in cli._parsers()[1].items():
            yield name, parser.format_help()
