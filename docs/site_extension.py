"""A Sphinx extension: the reference of commands, and an error if a page loads from the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from site_parts import accessible, command_help, loaded_from_the_network
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

_ARRAY = re.compile(
    r"~?(?:numpy\.)?ndarray\[tuple\[(?:~?typing\.)?Any, \.\.\.\], ~?(?:numpy\.)?dtype\[[^\]]*(?:\[[^\]]*\])?\]\]"
)
_NAMES = re.compile(r"^:(?:ivar|param) [\w, ]+:")


class CommandReference(SphinxDirective):
    """What `lcm COMMAND --help` prints, one section a command."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        sections: list[nodes.Node] = []
        for name, text in command_help():
            section = nodes.section(ids=[f"lcm-{name}"], names=[f"lcm {name}"])
            section += [nodes.title("", f"lcm {name}"), nodes.literal_block("", text, language="text")]
            sections.append(section)
        return sections


def short_signature(
    app: Sphinx, kind: str, name: str, value: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A signature in which arrays have their short name; shapes are in the text below it."""
    return tuple(text and _ARRAY.sub("ndarray", text).replace("<factory>", "...") for text in (signature, returns))  # type: ignore[return-value]


def keep_names_together(app: Sphinx, kind: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Keep the names of a field together, such as `x, x_tilde`; the first would be taken for a type."""
    lines[:] = [_NAMES.sub(lambda found: found.group().replace(", ", ",\u200b"), line) for line in lines]


def finish_pages(app: Sphinx, error: Exception | None) -> None:
    """Make the pages accessible. Raises ExtensionError with every address that a page of the site would load."""
    if error is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        page.write_text(accessible(page.read_text(encoding="utf-8")), encoding="utf-8")
    files = [file for kind in ("html", "css", "js") for file in Path(app.outdir).rglob(f"*.{kind}")]
    found = [f"{file}: {url}" for file in files for url in loaded_from_the_network(file.read_text(encoding="utf-8"))]
    if found:
        raise ExtensionError("Expected pages that load nothing from the network; got\n" + "\n".join(found))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the parts."""
    app.add_directive("command-reference", CommandReference)
    app.connect("autodoc-process-signature", short_signature)
    # after the docstring has become fields
    app.connect("autodoc-process-docstring", keep_names_together, priority=900)
    app.connect("build-finished", finish_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
