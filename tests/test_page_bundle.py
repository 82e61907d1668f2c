"""The JavaScript of charts is that of a known version of Vega-Lite, and nothing else."""

from __future__ import annotations

import vl_convert

from lcm.report.page.document import code_of_charts


def test_the_javascript_of_charts_is_that_of_the_pinned_library() -> None:
    """After a new version: pack what `vl_convert.javascript_bundle()` gives into the file, as xz."""
    assert code_of_charts() == vl_convert.javascript_bundle()


def test_the_javascript_can_stand_inside_a_script_element() -> None:
    text = code_of_charts().lower()
    assert "</script" not in text and "<!--" not in text
