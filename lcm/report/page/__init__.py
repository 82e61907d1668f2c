"""Pages: one HTML file with its charts, pictures, style and scripts inside, which opens without a network.

Charts are Vega-Lite specifications. Its JavaScript stands beside this file (`vega.min.js.xz`, the bundle of
vl-convert-python, which `tests/test_page_bundle.py` compares), because it draws SVG: text that is read aloud, printed
sharp and coloured by the page, in 0.9 MB. Plotly needs 4.8 MB, and Bokeh draws on a canvas.
"""

from __future__ import annotations

from lcm.report.page.causal_graph import drawn_graph
from lcm.report.page.charts import (
    certainty_chart,
    course_chart,
    distribution_chart,
    match_chart,
    share_chart,
)
from lcm.report.page.document import (
    Card,
    Cards,
    CodeBlock,
    MarkdownText,
    Page,
    Paragraph,
    Picture,
    Section,
    TextTable,
    page_html,
    write_page,
)
from lcm.report.page.results_folder import results_page

__all__ = [
    "Card",
    "Cards",
    "CodeBlock",
    "MarkdownText",
    "Page",
    "Paragraph",
    "Picture",
    "Section",
    "TextTable",
    "certainty_chart",
    "course_chart",
    "distribution_chart",
    "drawn_graph",
    "match_chart",
    "page_html",
    "results_page",
    "share_chart",
    "write_page",
]
