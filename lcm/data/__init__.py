"""Pairs (x, x_tilde): the container, its files, and what can be said of them before fitting."""
