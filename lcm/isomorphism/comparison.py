"""The result of a search for an isomorphism: its parts, the remaining errors, and a verdict at given tolerances."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.isomorphism.apply import Isomorphism
from lcm.model.elementwise import KnotMap

Array = NDArray[np.float64]
Edges = tuple[tuple[int, int], ...]

_MAX_LISTED = 10
_EQUAL_LIKELIHOOD = 0.05
_MAPS = ("variable_map", "noise_map")


@final
@dataclass(frozen=True)
class Tolerances:
    """The largest deviations from an exact isomorphism at which two models still count as isomorphic.

    Attributes:
        r2: smallest held-out R² of h_i, for causal variables and noise.
        leakage: greatest share of a variable's variance that other variables explain beyond h_i.
        monotone: greatest gain in held-out R² of a curve that need not be monotone.
        commuting: greatest unexplained share of variance of g′∘h against g, and of s′∘k against h∘s.
        targets: greatest total variation between the distributions of target sets.
        distributions: greatest Kolmogorov distance between the distributions of noise, and of imposed values.
    """

    r2: float = 0.98
    leakage: float = 0.01
    monotone: float = 0.005
    commuting: float = 0.02
    targets: float = 0.05
    distributions: float = 0.05

    def __post_init__(self) -> None:
        """Raises ValueError for a tolerance outside [0, 1]."""
        for name, value in asdict(self).items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}: Expected a tolerance in [0, 1]; got {value}.")


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """What `find_isomorphism` finds between models A and B: numbers on held-out pairs, indices of A.

    Attributes:
        permutation: variable i of A is variable permutation[i] of B.
        orientation: (n,) 1 or −1, whether h_i rises or falls.
        r2: (n,) R² of z′_π(i) on h_i(z_i), at most 1.
        leakage: (n,) share of the variance of z′_π(i) that other z_j explain beyond h_i, at least 0.
        leakage_matrix: (n, n), [i, j]: the share that z_j alone explains.
        monotone_gain: (n,) gain in R² of a curve that need not be monotone.
        tolerances: of the verdict.
        variable_map: h, a monotone spline for each variable, in A's numbering.
        noise_map: k, likewise, of raw noise.
        noise_r2: (n,) R² of the noise, in standard-normal gauge.
        edges_only_in_a, edges_only_in_b: in A's numbering; a reversed edge is in both lists.
        n_edges: of A.
        solution_error: greatest unexplained share of a variable's variance, comparing s′∘k with h∘s.
        decoder_error: unexplained share of the variance of x, comparing g′∘h with g.
        target_distance: total variation between p_𝓘, carried along, and p_𝓘′; in [0, 1].
        noise_distance, imposed_distance: (n,) Kolmogorov distance between p_ε (p̃), carried along, and B's.
        log_likelihood: mean log p(x, x̃) of A and of B, nats a pair, at one thickness for both.
        log_likelihood_difference: A's minus B's, with its standard error.

    Attributes that need two latent causal models are None if either model is of another type, such as a VAE.
    """

    permutation: tuple[int, ...]
    orientation: tuple[int, ...]
    r2: Array
    leakage: Array
    leakage_matrix: Array
    monotone_gain: Array
    variable_map: KnotMap
    tolerances: Tolerances
    noise_map: KnotMap | None = None
    noise_r2: Array | None = None
    edges_only_in_a: Edges | None = None
    edges_only_in_b: Edges | None = None
    n_edges: int | None = None
    solution_error: float | None = None
    decoder_error: float | None = None
    target_distance: float | None = None
    noise_distance: Array | None = None
    imposed_distance: Array | None = None
    log_likelihood: tuple[float, float] | None = None
    log_likelihood_difference: tuple[float, float] | None = None
    reasons: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "reasons", tuple(_reasons(self)))

    @property
    def isomorphism(self) -> Isomorphism | None:
        """π, k and h as one object, which can be applied to A; None without noise in both models."""
        if self.noise_map is None:
            return None
        return Isomorphism(self.permutation, self.noise_map, self.variable_map)

    @property
    def isomorphic(self) -> bool:
        """Whether everything that could be checked is within its tolerance."""
        return not self.reasons

    @property
    def distance(self) -> float:
        """Distance from isomorphism in [0, 1]: the largest share of variance, over variables and noise, that the
        match does not explain. A missing edge shows in the noise, in proportion to the edge's squared strength."""
        shares = 1.0 - (self.r2 if self.noise_r2 is None else np.concatenate([self.r2, self.noise_r2]))
        return float(np.clip(shares.max(), 0.0, 1.0))

    @property
    def graphs_equal(self) -> bool | None:
        """Whether π carries A's graph to B's; None without two graphs."""
        return None if self.edges_only_in_a is None else not (self.edges_only_in_a or self.edges_only_in_b)

    def __str__(self) -> str:
        return comparison_text(self)

    def numbers(self) -> dict[str, Any]:
        """Everything as JSON values, under the names of the attributes; the maps h and k are left out."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _MAPS}
        plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}
        verdict = {"isomorphic": self.isomorphic, "distance": self.distance, "graphs_equal": self.graphs_equal}
        return {**verdict, **plain, "tolerances": asdict(self.tolerances)}


def _reasons(found: Comparison) -> list[str]:
    """One sentence for each check that fails."""
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
            found.imposed_distance,
            allowed.distributions,
            False,
        ),
    )
    listed = [_outside(text, values, bound, low) for text, values, bound, low in shares if values is not None]
    for name, error in (("Solution maps", found.solution_error), ("Decoders", found.decoder_error)):
        if error is not None and not error <= allowed.commuting:
            listed.append(
                f"{name} do not commute with h and k: {error:.2g} of the variance, above {allowed.commuting}."
            )
    if found.graphs_equal is False:
        listed.append(f"The graphs differ: {_edges_text(found)}.")
    if found.target_distance is not None and found.target_distance > allowed.targets:
        listed.append(
            f"Target sets are drawn differently: total variation {found.target_distance:.3f}, above {allowed.targets}."
        )
    return [sentence for sentence in listed if sentence]


def _outside(text: str, values: Array, bound: float, low: bool) -> str:
    """A sentence on the variables whose value is below (`low`) or above a bound, or NaN; "" if there are none."""
    bad = np.flatnonzero(~(values >= bound) if low else ~(values <= bound))
    if len(bad) == 0:
        return ""
    shown = ", ".join(f"z{i} {values[i]:.4f}" for i in bad[:_MAX_LISTED])
    return f"{text} {bound}: {shown}{', ...' if len(bad) > _MAX_LISTED else ''}."


def _edges_text(found: Comparison) -> str:
    sides = (("A", found.edges_only_in_a), ("B", found.edges_only_in_b))
    return "; ".join(f"only in {name} {', '.join(f'z{i} -> z{j}' for i, j in edges)}" for name, edges in sides if edges)


def comparison_text(found: Comparison) -> str:
    """The comparison as plain text for a reader."""
    n = len(found.permutation)
    verdict = "isomorphic" if found.isomorphic else "NOT isomorphic"
    lines = [f"Verdict: {verdict}, at the tolerances below. Distance from isomorphism: {found.distance:.4f}", ""]
    lines += [f"  {reason}" for reason in found.reasons]
    lines += [""] if found.reasons else []
    lines.append("A -> B      R2 of h   leaks from others   h                   R2 of noise")
    for i in range(n):
        shape = ("rises" if found.orientation[i] > 0 else "falls") + (
            "" if found.monotone_gain[i] <= found.tolerances.monotone else ", not monotone"
        )
        noise = "-" if found.noise_r2 is None else f"{found.noise_r2[i]:.4f}"
        pair = f"z{i} -> z{found.permutation[i]}"
        lines.append(f"{pair:<10}  {found.r2[i]:.4f}    {found.leakage[i]:.4f}              {shape:<19} {noise}")
    lines += ["", *_model_lines(found), *_meaning(found), "", _tolerance_text(found.tolerances)]
    return "\n".join(lines)


def _model_lines(found: Comparison) -> list[str]:
    if found.graphs_equal is None or found.noise_distance is None:
        return ["Only the variables are compared, because at least one model is not a latent causal model."]
    graphs = (
        f"equal, {found.n_edges} edge{'' if found.n_edges == 1 else 's'}"
        if found.graphs_equal
        else f"different: {_edges_text(found)}"
    )
    lines = [f"Graphs: {graphs} (in A's numbering)"]
    lines.append(
        f"Share of variance at which maps do not commute with h and k: solution maps {found.solution_error:.2g}, "
        f"decoders {found.decoder_error:.2g}"
    )
    imposed = "-" if found.imposed_distance is None else f"{found.imposed_distance.max():.3f}"
    lines.append(
        f"Distributions: target sets {found.target_distance:.3f} (total variation), noise "
        f"{found.noise_distance.max():.3f}, imposed values {imposed} (Kolmogorov, the largest)"
    )
    if found.log_likelihood_difference is None or found.log_likelihood is None:
        lines.append("Log-likelihood at one thickness: not finite for some pairs")
    else:
        difference, error = found.log_likelihood_difference
        lines.append(
            f"Log-likelihood at one thickness: A {found.log_likelihood[0]:.4f}, B {found.log_likelihood[1]:.4f}, "
            f"difference {difference:.4f} ± {error:.4f} nats a pair"
        )
    return lines


def _meaning(found: Comparison) -> list[str]:
    """What the verdict means, given both likelihoods; an empty list without them."""
    if found.log_likelihood_difference is None:
        return []
    difference, error = found.log_likelihood_difference
    if found.isomorphic:
        return ["The two models agree up to the numbering of the variables and a monotone map of each."]
    if abs(difference) > _EQUAL_LIKELIHOOD + 2.0 * error:
        better, other = ("A", "B") if difference > 0 else ("B", "A")
        return [f"{better} explains these pairs better: keep {better}, and fit {other} longer or with another seed."]
    return ["Neither explains these pairs better: the data may not identify the model, or both fits are unfinished."]


def _tolerance_text(allowed: Tolerances) -> str:
    return (
        f"Tolerances: R2 >= {allowed.r2}, leaks <= {allowed.leakage}, gain without monotonicity <= {allowed.monotone}, "
        f"commuting <= {allowed.commuting},\n  target sets <= {allowed.targets}, "
        f"distributions <= {allowed.distributions}, graphs equal"
    )
