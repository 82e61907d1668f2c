"""What a ground truth is drawn from: the number of variables, and a section for each part, told apart by `kind`.

The settings of a kind, and how it is drawn, are in the file of the part itself: `lcm.model.mechanism`,
`lcm.model.decoder`, `lcm.model.noise`, `lcm.model.intervention` and `lcm.data.nature.graphs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import final

from lcm.base.requirement import require_at_least
from lcm.data.nature.graphs import ErdosRenyiConfig, GraphConfig
from lcm.model.decoder import DecoderConfig, RotationDecoderConfig
from lcm.model.intervention import InterventionConfig, PerfectInterventionConfig
from lcm.model.mechanism import LinearMechanismConfig, MechanismConfig
from lcm.model.noise import NoiseConfig, NormalNoiseConfig

_MAX_VARIABLES_FOR_ALL_SUBSETS = 16


@final
@dataclass(frozen=True)
class NatureConfig:
    """A ground truth to draw; with `n` alone, the family of the scaling experiment of Brehmer et al. 2022.

    Attributes:
        n: number of causal variables, at least 1.
        graph, mechanism, noise, intervention, decoder: the parts.
        thickness: standard deviation, in the standard-normal gauge, by which the noise of variables that are
            no targets still changes (docs/theory.md section 2); at least 0, by default 0: exact
            counterfactual pairs.
    """

    n: int
    graph: GraphConfig = field(default_factory=ErdosRenyiConfig)
    mechanism: MechanismConfig = field(default_factory=LinearMechanismConfig)
    noise: NoiseConfig = field(default_factory=NormalNoiseConfig)
    intervention: InterventionConfig = field(default_factory=PerfectInterventionConfig)
    decoder: DecoderConfig = field(default_factory=RotationDecoderConfig)
    thickness: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(self, 1, "n")
        require_at_least(self, 0.0, "thickness")
        self.decoder.require_fitting(self.n)
        self.graph.require_fitting(self.n)
        self._check_interventions()
        self._check_prescribed()

    def _check_prescribed(self) -> None:
        """Mechanisms that come with a graph and an imposed law leave no choice of these."""
        given = self.mechanism.prescribed()
        if given is None:
            return
        of_kind = f"for mechanisms of kind {self.mechanism.kind}"
        if self.n != given.graph.n:
            raise ValueError(f"n: Expected {given.graph.n} {of_kind}; got {self.n}.")
        if self.graph != ErdosRenyiConfig():
            raise ValueError(f"graph: Expected none {of_kind}, which have their own; got one.")
        if self.noise != NormalNoiseConfig():
            raise ValueError(f"noise.kind: Expected normal {of_kind}; got {self.noise.kind}.")
        chosen = replace(self.intervention, targets="atomic", probabilities=None)
        if chosen != PerfectInterventionConfig(targets="atomic"):
            raise ValueError(f"intervention: Expected perfect, of normal noise, {of_kind}; got {chosen.kind}.")

    def _check_interventions(self) -> None:
        targets = self.intervention.targets
        if targets == "all" and self.n > _MAX_VARIABLES_FOR_ALL_SUBSETS:
            raise ValueError(
                f"intervention.targets: Expected n <= {_MAX_VARIABLES_FOR_ALL_SUBSETS} for all subsets; "
                f"got n = {self.n}."
            )
        outside = [] if isinstance(targets, str) else [i for row in targets for i in row if not 0 <= i < self.n]
        if outside:
            raise ValueError(f"intervention.targets: Expected targets in 0..{self.n - 1}; got {outside[0]}.")
        given, count = self.intervention.probabilities, self.intervention.target_set_count(self.n)
        if given is not None and len(given) != count:
            raise ValueError(
                f"intervention.probabilities: Expected {count}, one for each target set; got {len(given)}."
            )
