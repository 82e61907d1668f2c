"""Parts of the documentation site: the reference of commands, and a check that no page loads from the network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from lcm.app import cli

# what a browser loads by itself, unlike the target of a link
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc\s*=\s*["']((?:https?:)?//[^"']*)"""
    r"""|<link\b(?=[^>]*\brel\s*=\s*["'](?:stylesheet|preload|preconnect|icon))[^>]*?\bhref\s*=\s*["']((?:https?:)?//[^"']*)"""
    r"""|(?:@import|url\()\s*(?:url\()?["']?((?:https?:)?//[^"')]*)"""
    r"""|\b(?:import|fetch|importScripts)\(\s*["']((?:https?:)?//[^"']*)""",
    re.IGNORECASE,
)
_WIDTH = "100"


def loaded_from_the_network(text: str) -> list[str]:
    """The addresses that a page, a style sheet or a script loads from another host."""
    return [next(filter(None, groups)) for groups in _LOADED.findall(text)]


class CommandReference(SphinxDirective):
    """What `lcm COMMAND --help` prints, one section a command."""

    def run(self) -> list[nodes.Node]:
        return list(_command_sections())


def _command_sections() -> Iterator[nodes.section]:
    os.environ["COLUMNS"] = _WIDTH
    for name, parser in cli._parsers()[1].items():
        section = nodes.section(ids=[f"lcm-{name}"], names=[f"lcm {name}"])
        section += nodes.title("", f"lcm {name}")
        section += nodes.literal_block("", parser.format_help(), language="text")
        yield section


def refuse_the_network(app: Sphinx, error: Exception | None) -> None:
    """Raises ExtensionError with every address that a page of the site would load."""
    if error is not None or app.builder.format != "html":
        return
    files = [file for kind in ("html", "css", "js") for file in Path(app.outdir).rglob(f"*.{kind}")]
    found = [f"{file}: {url}" for file in files for url in loaded_from_the_network(file.read_text(encoding="utf-8"))]
    if found:
        raise ExtensionError("Expected pages that load nothing from the network; got\n" + "\n".join(found))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the parts."""
    app.add_directive("command-reference", CommandReference)
    app.connect("build-finished", refuse_the_network)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
