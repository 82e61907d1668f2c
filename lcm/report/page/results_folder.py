"""The page of an experiment: the tables and figures in its folder."""

from __future__ import annotations

from pathlib import Path

from lcm.report.page.document import MarkdownText, Page, Picture, Section
from lcm.report.tables import RESULTS_MARKDOWN

_NOT_RESULTS = ("data", "cells", "models")
_MOST_PICTURES = 24


def results_page(folder: Path, title: str, command: str) -> Page | None:
    """The page of a folder that experiments write to; None where there is no table.

    Args:
        folder: with results.md and figures, or with folders that have them.
        title: of the page.
        command: that made the results.
    """
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in _NOT_RESULTS)
    sections = [section for each in (folder, *inner) if (section := _section(each, folder)) is not None]
    return Page(title, [f"Made by `{command}`."], sections) if sections else None


def _section(folder: Path, root: Path) -> Section | None:
    table = folder / RESULTS_MARKDOWN
    if not table.is_file():
        return None
    files = sorted([*folder.glob("*.png"), *(folder / "figures").glob("*.png")])
    pictures = [Picture.read(file, file.stem.replace("-", " ").replace("_", " ")) for file in files[:_MOST_PICTURES]]
    left_out = len(files) - len(pictures)
    more = [MarkdownText(f"{left_out} more figures are in `{folder}`.")] if left_out else []
    title = "Results" if folder == root else folder.name
    return Section(title, [MarkdownText(_without_doubles(table.read_text(encoding="utf-8"))), *pictures, *more])


def _without_doubles(text: str) -> str:
    """Markdown without its heading and its pictures, which the page has already."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(("# ", "![")))
