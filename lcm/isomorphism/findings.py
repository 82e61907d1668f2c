"""What a comparison of two models measures, and the tolerances of its verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lcm.isomorphism.consistency import Consistency
from lcm.model.elementwise import KnotMap

Array = NDArray[np.float64]
Edges = tuple[tuple[int, int], ...]


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
        imposed: smallest R² between the scores that both give to imposed values; finer differences show in likelihoods.
        likelihood: greatest divergence between the pair distributions, in either direction, in nats a pair.
        data_likelihood: greatest difference between the mean log-likelihoods of the data, in nats a pair. It is wider:
            exact pairs come from neither of two fits, which have a thickness.
    """

    r2: float = 0.98
    leakage: float = 0.01
    monotone: float = 0.005
    commuting: float = 0.02
    targets: float = 0.05
    distributions: float = 0.05
    imposed: float = 0.9
    likelihood: float = 0.01
    data_likelihood: float = 0.05

    def __post_init__(self) -> None:
        """Raises ValueError for a tolerance outside [0, 1]."""
        for name, value in asdict(self).items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}: Expected a tolerance in [0, 1]; got {value}.")


@dataclass(frozen=True, eq=False)
class Findings:
    """Abstract: what was measured between models A and B: numbers on held-out pairs, indices of A.

    Shares of variance are of normal scores, which no monotone map of a variable changes.

    Attributes:
        permutation: variable i of A is variable permutation[i] of B.
        orientation: (n,) 1 or −1, whether h_i rises or falls.
        r2: (n,) R² of z′_π(i) on h_i(z_i), at most 1.
        leakage: (n,) share of the variance of z′_π(i) that other z_j explain beyond h_i, at least 0.
        leakage_matrix: (n, n), [i, j]: the share that z_j alone explains.
        monotone_gain: (n,) gain in R² of a curve that need not be monotone.
        consistency: of x of the data, between the two models, beside the verdict.
        tolerances: of the verdict.
        variable_map: h, a monotone spline for each variable, in A's numbering.
        noise_map: k, likewise, of raw noise.
        noise_r2: (n,) R² of the noise, in standard-normal gauge.
        edges_only_in_a, edges_only_in_b: in A's numbering; a reversed edge is in both lists.
        n_edges: of A.
        solution_error: greatest unexplained share of a variable's variance, comparing s′∘k with h∘s.
        decoder_error: unexplained share of the variance of x, comparing g′∘h with g.
        target_distance: total variation between p_𝓘, carried along, and p_𝓘′; in [0, 1].
        noise_distance: (n,) Kolmogorov distance between p_ε, carried along, and B's.
        imposed_distance, imposed_r2: (n,) Kolmogorov distance and R² between the scores of imposed values by A's f̃ and
            by B's, where the models impose; NaN of a variable that is a target of fewer than 20 pairs of a model.
        log_likelihood: mean log p(x, x̃) of A and of B, nats a pair, at one thickness for both.
        log_likelihood_difference: A's minus B's, with its standard error.
        divergence: mean log p_A − log p_B of pairs that A draws, and log p_B − log p_A of pairs that B draws, at their
            own thickness, at least 0.001; nats a pair. Infinite where a model rules out what the other draws.
        divergence_error: the two standard errors.
        one_sided_thickness: variables that have a thickness in one model only.
        lost_probes: pairs that a model drew and that are left out, since an encoding is not finite.

    Attributes that need two latent causal models are None if either model is of another type, such as a VAE.
    """

    permutation: tuple[int, ...]
    orientation: tuple[int, ...]
    r2: Array
    leakage: Array
    leakage_matrix: Array
    monotone_gain: Array
    consistency: Consistency
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
    imposed_r2: Array | None = None
    log_likelihood: tuple[float, float] | None = None
    log_likelihood_difference: tuple[float, float] | None = None
    divergence: tuple[float, float] | None = None
    divergence_error: tuple[float, float] | None = None
    one_sided_thickness: tuple[int, ...] = ()
    lost_probes: int = 0

    @property
    def graphs_equal(self) -> bool | None:
        """Whether π carries A's graph to B's; None without two graphs."""
        return None if self.edges_only_in_a is None else not (self.edges_only_in_a or self.edges_only_in_b)

    @property
    def distance(self) -> float:
        """Distance from isomorphism in [0, 1]: the largest share of variance, over variables and noise, that the
        match does not explain. A missing edge shows in the noise, in proportion to the edge's squared strength."""
        shares = 1.0 - (self.r2 if self.noise_r2 is None else np.concatenate([self.r2, self.noise_r2]))
        return float(np.clip(shares.max(), 0.0, 1.0))
