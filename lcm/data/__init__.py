"""Pairs (x, x_tilde): the container, its files, where pairs come from, and what can be said of them before fitting."""
