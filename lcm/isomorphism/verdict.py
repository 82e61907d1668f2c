"""The verdict on two models, and one sentence for each reason why they are not isomorphic or that is not decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from lcm.isomorphism.findings import Array, Findings

Verdict = Literal["isomorphic", "not isomorphic", "not decided"]

_MAX_LISTED = 10
_STANDARD_ERRORS = 3.0


@final
@dataclass(frozen=True)
class Judgement:
    """The verdict on two models.

    Attributes:
        part_reasons: one sentence for each part that differs by more than its tolerance.
        likelihood_reasons: likewise for likelihoods.
        undecided: one sentence for each condition that could not be checked.
        compared: what was compared, in words.
        not_compared: what was not, and why.
    """

    part_reasons: tuple[str, ...]
    likelihood_reasons: tuple[str, ...]
    undecided: tuple[str, ...]
    compared: tuple[str, ...]
    not_compared: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each condition of an isomorphism that fails."""
        return self.part_reasons + self.likelihood_reasons

    @property
    def verdict(self) -> Verdict:
        """Not isomorphic if a condition fails, not decided if one could not be checked, else isomorphic."""
        if self.reasons:
            return "not isomorphic"
        return "not decided" if self.undecided else "isomorphic"


def judge(found: Findings) -> Judgement:
    """The verdict on what was measured between two models."""
    return Judgement(
        tuple(_part_reasons(found)),
        tuple(_likelihood_reasons(found)),
        tuple(_undecided_reasons(found)),
        _compared_parts(found),
        _parts_not_compared(found),
    )


def _part_reasons(found: Findings) -> list[str]:
    """One sentence for each part of the models that differs by more than its tolerance."""
    allowed = found.tolerances
    shares = (
        ("Variables that their match does not determine, R2 below", found.r2, allowed.r2, True),
        ("Variables that mix with others, which explain more than", found.leakage, allowed.leakage, False),
        ("Maps that are not monotone, a free curve gains more than", found.monotone_gain, allowed.monotone, False),
        ("Noise that its match does not determine, R2 below", found.noise_r2, allowed.r2, True),
        (
            "Different distributions of noise, Kolmogorov distance above",
            found.noise_distance,
            allowed.distributions,
            False,
        ),
        (
            "Different distributions of imposed values, Kolmogorov distance above",
            _where_imposed(found, found.imposed_distance, 0.0),
            allowed.distributions,
            False,
        ),
        (
            "Imposed values that depend on other things, R2 of their scores below",
            _where_imposed(found, found.imposed_r2, 1.0),
            allowed.imposed,
            True,
        ),
    )
    listed = [_outside(text, values, bound, low) for text, values, bound, low in shares if values is not None]
    for name, error in (("Solution maps", found.solution_error), ("Decoders", found.decoder_error)):
        if error is not None and not error <= allowed.commuting:
            listed.append(
                f"{name} do not commute with h and k: {error:.2g} of the variance, above {allowed.commuting}."
            )
    if found.graphs_equal is False:
        listed.append(f"The graphs differ: {edges_text(found)}.")
    if found.target_distance is not None and found.target_distance > allowed.targets:
        listed.append(
            f"Target sets are drawn differently: total variation {found.target_distance:.3f}, above {allowed.targets}."
        )
    return [sentence for sentence in listed if sentence]


def _likelihood_reasons(found: Findings) -> list[str]:
    """One sentence for each likelihood that differs by more than its tolerance, beyond three standard errors."""
    return [
        f"{name} {difference:.3g} ± {error:.2g} nats a pair, above {bound}."
        for name, difference, error, bound in _differences(found)
        if difference - _STANDARD_ERRORS * error > bound
    ]


def _undecided_reasons(found: Findings) -> list[str]:
    """One sentence for each condition of an isomorphism that could not be checked."""
    if found.graphs_equal is None:
        return ["Only the variables are compared, because at least one model is not a latent causal model."]
    listed = [
        f"{name} {difference:.3g} ± {error:.2g} nats a pair: too few pairs to tell from {bound}."
        for name, difference, error, bound in _differences(found)
        if difference - _STANDARD_ERRORS * error <= bound < difference + _STANDARD_ERRORS * error
    ]
    if found.divergence is None or found.log_likelihood is None:
        listed.append("The likelihoods of some pairs are not finite.")
    if found.one_sided_thickness:
        names = ", ".join(f"z{i}" for i in found.one_sided_thickness[:_MAX_LISTED])
        listed.append(f"Pairs are exact in one model and have a thickness in the other: {names}.")
    if found.lost_probes:
        listed.append(f"Of the pairs that the models draw, {found.lost_probes} cannot be encoded by both.")
    return listed


def _differences(found: Findings) -> list[tuple[str, float, float, float]]:
    """What likelihood differs, by how much, the standard error, and the tolerance."""
    listed, allowed = [], found.tolerances
    if found.divergence is not None and found.divergence_error is not None:
        names = "Pairs that A draws are less likely under B by", "Pairs that B draws are less likely under A by"
        differences = zip(names, found.divergence, found.divergence_error, strict=True)
        listed += [(*difference, allowed.likelihood) for difference in differences]
    if found.log_likelihood_difference is not None:
        difference, error = found.log_likelihood_difference
        listed.append(("The likelihoods of the data differ by", abs(difference), error, allowed.data_likelihood))
    return listed


def _compared_parts(found: Findings) -> tuple[str, ...]:
    """What was compared, in words."""
    if found.graphs_equal is None:
        return ("variables",)
    everything = (
        "variables",
        "noise",
        "graphs",
        "solution maps",
        "decoders",
        "target sets",
        "imposed values",
        "likelihoods of the data",
        "likelihoods of pairs that the models draw",
    )
    missing = {
        "imposed values": not np.isfinite(_imposed(found)).any(),
        "likelihoods of the data": found.log_likelihood is None,
        "likelihoods of pairs that the models draw": found.divergence is None,
    }
    return tuple(name for name in everything if not missing.get(name, False))


def _parts_not_compared(found: Findings) -> tuple[str, ...]:
    """What was not compared, and why, in words."""
    if found.graphs_equal is None:
        return ("noise, graphs, maps, distributions and likelihoods: not in both models",)
    listed = []
    never = np.flatnonzero(~np.isfinite(_imposed(found)))
    if len(never):
        listed.append(f"imposed values of {', '.join(f'z{i}' for i in never)}: never a target, or too rarely")
    if found.one_sided_thickness:
        names = ", ".join(f"z{i}" for i in found.one_sided_thickness)
        listed.append(f"thickness of {names}: exact pairs in one model")
    if found.log_likelihood is None:
        listed.append("likelihoods of the data: not finite for some pairs")
    if found.divergence is None:
        listed.append("likelihoods of pairs that the models draw: not finite for some pairs")
    return tuple(listed)


def _imposed(found: Findings) -> Array:
    return np.full(len(found.permutation), np.nan) if found.imposed_distance is None else found.imposed_distance


def _where_imposed(found: Findings, values: Array | None, otherwise: float) -> Array | None:
    """Values (n,) with those of variables that are never a target replaced."""
    return None if values is None else np.where(np.isfinite(_imposed(found)), values, otherwise)


def _outside(text: str, values: Array, bound: float, low: bool) -> str:
    """A sentence on the variables whose value is below (`low`) or above a bound, or NaN; "" if there are none."""
    bad = np.flatnonzero(~(values >= bound) if low else ~(values <= bound))
    if len(bad) == 0:
        return ""
    shown = ", ".join(f"z{i} {values[i]:.4f}" for i in bad[:_MAX_LISTED])
    return f"{text} {bound}: {shown}{', ...' if len(bad) > _MAX_LISTED else ''}."


def edges_text(found: Findings) -> str:
    """The edges that one graph has and the other has not."""
    sides = (("A", found.edges_only_in_a), ("B", found.edges_only_in_b))
    return "; ".join(f"only in {name} {', '.join(f'z{i} -> z{j}' for i, j in edges)}" for name, edges in sides if edges)
