"""A figure with three dimensions that a reader turns: drawn from all sides beforehand, as HTML that loads nothing."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from PIL import Image

_LEAST_VIEWS = 2
_QUALITY = 80
_SHOW = (
    "for (const [k, view] of [...this.closest('figure').querySelectorAll('img')].entries()) "
    "view.hidden = k != this.value"
)


@final
@dataclass(frozen=True, repr=False)
class TurnedFigure:
    """HTML with the views and a slider; a notebook shows it, and a page can hold it.

    Attributes:
        html: one element `figure`, which loads nothing.
    """

    html: str

    def _repr_html_(self) -> str:
        return self.html


def turn_figure(figure: Figure, description: str, views: int = 24, dpi: int = 80) -> TurnedFigure:
    """Draw a figure from `views` sides, a full turn about the vertical axis.

    The views are ordinary pictures, so that they need no library in the browser, look like the other figures and print.
    A slider shows one of them; it takes the keyboard too.

    Args:
        figure: with at least one axes of projection "3d"; these turn, others stay.
        description: what it shows, for readers who do not see it.
        views: number of views, at least 2.
        dpi: dots per inch.

    Raises:
        ValueError: no axes of projection "3d", or fewer than 2 views.
    """
    turning = [ax for ax in figure.axes if isinstance(ax, Axes3D)]
    if not turning:
        raise ValueError('figure: Expected axes of projection "3d"; got none.')
    if views < _LEAST_VIEWS:
        raise ValueError(f"views: Expected at least {_LEAST_VIEWS}; got {views}.")
    start, pictures = [ax.azim for ax in turning], []
    for angle in np.arange(views) * 360.0 / views:
        for ax, first in zip(turning, start, strict=True):
            ax.view_init(azim=first + angle, elev=ax.elev)
        pictures.append(_view(figure, f"{description} (turned by {angle:.0f} degrees)", hidden=angle > 0, dpi=dpi))
    for ax, first in zip(turning, start, strict=True):
        ax.view_init(azim=first, elev=ax.elev)
    slider = f'<input type="range" min="0" max="{views - 1}" value="0" aria-label="Turn the picture" oninput="{_SHOW}">'
    caption = f"<figcaption><label>Turn {slider}</label></figcaption>"
    return TurnedFigure(f'<figure style="max-width: 100%; margin: 0">{"".join(pictures)}{caption}</figure>')


def _view(figure: Figure, text: str, hidden: bool, dpi: int) -> str:
    """One view as an element that holds its own picture."""
    canvas = FigureCanvasAgg(figure)
    before = figure.dpi
    figure.set_dpi(dpi)
    canvas.draw()
    figure.set_dpi(before)
    file = BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(file, "WEBP", quality=_QUALITY)
    data = base64.b64encode(file.getvalue()).decode()
    state = " hidden" if hidden else ""
    return f'<img src="data:image/webp;base64,{data}" alt="{escape(text)}" style="max-width: 100%"{state}>'
