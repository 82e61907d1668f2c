"""Sweeps: many fits over configs, seeds and data, on the cores of one machine or on a Ray cluster (docs/sweeps.md)."""
