"""Scores of a learned model against a known truth: matching, graphs, disentanglement, interventions."""
