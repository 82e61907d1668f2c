"""Pairs whose two halves are independent, unlike the counterfactual pairs of this package."""

from __future__ import annotations

from dataclasses import replace

from lcm.data.pairs import PairData


def independent_pairs(before: PairData, after: PairData) -> PairData:
    """x of one data set beside x̃ of another, row by row: interventions on independent units, no counterfactuals.

    z and noise come from `before`; x_tilde, z_tilde, noise_tilde and targets come from `after`. If both were drawn from
    one nature, each half has the law that it has in the nature's pairs, and the halves are independent.

    Raises:
        ValueError: data sets of different shapes.
    """
    if before.x.shape != after.x.shape:
        raise ValueError(f"Expected two data sets of one shape; got x {before.x.shape} and {after.x.shape}.")
    return replace(
        before,
        x_tilde=after.x_tilde,
        z_tilde=after.z_tilde,
        noise_tilde=after.noise_tilde,
        targets=after.targets,
        source="",
    )
