"""What a page consists of, and the HTML file that it becomes."""

from __future__ import annotations

import base64
import json
import lzma
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lcm.base import __version__
from lcm.base.files import write_text

_WIDEST = 1400
_QUALITY = 85


@final
@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text. With a tone, it is a message: "warning" or "note"."""

    text: str
    tone: str = ""
    kind: ClassVar[str] = "paragraph"


@final
@dataclass(frozen=True)
class CodeBlock:
    """Text that is shown as it is, such as a command or a config."""

    text: str
    title: str = ""
    kind: ClassVar[str] = "listing"


@final
@dataclass(frozen=True)
class MarkdownText:
    """Text in Markdown with tables. HTML and pictures in it are shown as text, so that nothing is loaded."""

    text: str
    kind: ClassVar[str] = "markdown"

    @property
    def html(self) -> Markup:
        """The text as HTML, in which tables may scroll."""
        from markdown_it import MarkdownIt

        html = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(self.text)
        first, *others = html.replace("</table>", "</table></div>").split("<table>")
        wide = '<div class="wide" tabindex="0" role="region" aria-label="table {}"><table>'
        return Markup(first + "".join(wide.format(number) + rest for number, rest in enumerate(others, 1)))


@final
@dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes:
        head: the headings.
        rows: one text for each heading.
        caption: above the table.
        marks: a word for each row, such as "broken", by which the row is coloured; empty for none.
        folded: whether the table opens on demand.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    marks: Sequence[str] = ()
    folded: bool = False
    kind: ClassVar[str] = "table"

    @property
    def numeric(self) -> list[bool]:
        """Whether a column holds numbers, or nothing, below its heading."""
        return [all(row[i][:1] in "0123456789-–−.<" for row in self.rows) for i in range(len(self.head))]


@final
@dataclass(frozen=True)
class Picture:
    """A picture inside the page. `source` is a data URI; `text` says what it shows, for those who cannot see it."""

    source: str
    text: str
    kind: ClassVar[str] = "picture"

    @staticmethod
    def read(path: Path, text: str) -> Picture:
        """The picture in a file, at most 1,400 pixels wide, as WebP, which is smaller than PNG."""
        # pillow is heavy, and most pages of vectors have no pictures
        from PIL import Image

        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((_WIDEST, 8 * _WIDEST))
        written = BytesIO()
        image.save(written, "WEBP", quality=_QUALITY)
        return Picture(f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}", text)


@final
@dataclass(frozen=True)
class Chart:
    """A chart inside the page.

    Attributes:
        specification: Vega-Lite, with its data.
        text: what it shows, for those who cannot see it.
        table: the numbers of the chart, which open on demand; None where they are too many to read.
    """

    specification: Mapping[str, Any]
    text: str
    table: TextTable | None = None
    kind: ClassVar[str] = "chart"

    @property
    def json(self) -> Markup:
        """The specification inside a script element."""
        return script_json(self.specification)


@final
@dataclass(frozen=True)
class Card:
    """A small part of a page with a heading of its own."""

    title: str
    elements: Sequence[Any]


@final
@dataclass(frozen=True)
class Cards:
    """Cards side by side, as many as the window is wide."""

    cards: Sequence[Card]
    kind: ClassVar[str] = "cards"


@final
@dataclass(frozen=True)
class Section:
    """A heading with what stands below it: elements with a `kind`, of which the template has a macro each."""

    title: str
    elements: Sequence[Any]

    @property
    def anchor(self) -> str:
        """The name by which links find the section."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@final
@dataclass(frozen=True)
class Page:
    """A title, one or more sentences below it, and sections."""

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]


def script_json(value: Any) -> Markup:
    """JSON that no text in it can end the script element around it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    escaped = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(escaped)


def with_code(text: str) -> Markup:
    """The text for HTML, where what stands between two backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("lcm.report.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["version"] = __version__
    found.filters["with_code"] = with_code
    return found


def _asset(name: str) -> Markup:
    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))


def code_of_charts() -> Markup:
    """The JavaScript of Vega-Lite, which is packed because a package has to be small."""
    return Markup(lzma.decompress((Path(__file__).parent / "vega.min.js.xz").read_bytes()).decode())


def page_html(page: Page) -> str:
    """The page as one HTML file, which loads nothing."""
    kinds = set(_kinds([element for section in page.sections for element in section.elements]))
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            style=_asset("page.css"),
            script=_asset("page.js"),
            charts=code_of_charts() if "chart" in kinds else "",
        )
    )


def _kinds(elements: Sequence[Any]) -> Iterator[str]:
    for element in elements:
        yield element.kind
        if isinstance(element, Cards):
            yield from _kinds([inner for card in element.cards for inner in card.elements])


def write_page(path: str | Path, page: Page) -> None:
    """Write a page, whole or not at all."""
    write_text(path, page_html(page))
