"""A fit that lives in a folder: its settings, its results, resumed, read back, reported."""
