"""Causal chambers (Gamella, Peters and Bühlmann 2025): what can be set, protocols of pairs, and what was measured."""
