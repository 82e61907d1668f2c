"""A figure that a reader turns: its views differ, it loads nothing, and it leaves the figure as it was."""

from __future__ import annotations

import re

import pytest
from matplotlib.figure import Figure

from lcm.report.turned import turn_figure


def drawn() -> Figure:
    figure = Figure(figsize=(2, 2))
    ax = figure.add_subplot(projection="3d", azim=20)
    ax.plot([0, 1, 2], [0, 1, 0], [0, 2, 1])
    return figure


def test_every_view_is_another_picture_and_the_first_is_shown() -> None:
    figure = drawn()
    html = turn_figure(figure, 'a path "up" & down', views=4)._repr_html_()
    views = re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="([^"]+)"[^>]*?( hidden)?>', html)
    pictures, texts, hidden = zip(*views, strict=True)
    assert len(set(pictures)) == 4 and hidden == ("", " hidden", " hidden", " hidden")
    assert texts[1] == "a path &quot;up&quot; &amp; down (turned by 90 degrees)"
    assert 'type="range" min="0" max="3" value="0"' in html and "http" not in re.sub('base64,[^"]+', "", html)
    assert figure.axes[0].azim == 20  # type: ignore[attr-defined]


def test_a_flat_figure_is_refused() -> None:
    figure = Figure()
    figure.subplots()
    with pytest.raises(ValueError, match='figure: Expected axes of projection "3d"; got none'):
        turn_figure(figure, "flat")


def test_one_view_is_no_turn() -> None:
    with pytest.raises(ValueError, match="views: Expected at least 2; got 1"):
        turn_figure(drawn(), "a path", views=1)
