"""Scores of a learned model against a known truth: variables, targets, graphs, and answers to interventions."""
