"""Colours of all figures and pages, for colour-blind readers."""

from __future__ import annotations

# The palette of Okabe and Ito (2008).
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#333333", "#8C8C8C", "#E6E6E6"
