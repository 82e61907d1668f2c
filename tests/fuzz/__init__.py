"""Spoiled files: for each kind of file the package reads, a mutator, cheap commands, and one law."""
