"""Existing sets of images and readings as files of pairs: published sets, listed folders, grids, causal chambers."""
