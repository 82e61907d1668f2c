"""Configs, files, rows in chunks: nothing of causality."""

__version__ = "0.1.0"
