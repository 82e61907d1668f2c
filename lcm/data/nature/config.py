"""What a ground truth is drawn from: one frozen dataclass a section, checked when it is made, without torch.

A key that belongs to one kind only is None until the kind fills in its default, so that a saved config says
everything that was used; given to another kind, it is an error rather than silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, final

from lcm.model.graph import Graph

CIRCUIT_N = 4
_PROBABILITY_TOLERANCE = 1e-6
_MAX_VARIABLES_FOR_ALL_SUBSETS = 16

TargetFamily = Literal["atomic", "atomic-or-empty", "all"]


@final
@dataclass(frozen=True)
class GraphConfig:
    """The causal graph; every kind but `edges` and `empty` labels the variables in random order.

    Attributes:
        kind: erdos-renyi, scale-free, chain, full, empty, or edges.
        edge_probability: erdos-renyi; in [0, 1], 0.5 unless expected_degree is given.
        expected_degree: erdos-renyi, instead of edge_probability; expected edges at a variable, at least 0.
        edges_per_node: scale-free; parents of a variable, at least 1, by default 1.
        edges: edges; the pairs [i, j], i -> j, exactly as given.
    """

    kind: Literal["erdos-renyi", "scale-free", "chain", "full", "empty", "edges"] = "erdos-renyi"
    edge_probability: float | None = None
    expected_degree: float | None = None
    edges_per_node: int | None = None
    edges: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if self.kind == "erdos-renyi" and self.edge_probability is not None and self.expected_degree is not None:
            raise ValueError("Expected one of edge_probability and expected_degree; got both.")
        probability = 0.5 if self.expected_degree is None else None
        _settle(
            self,
            {
                "erdos-renyi": {"edge_probability": probability, "expected_degree": None},
                "scale-free": {"edges_per_node": 1},
                "edges": {"edges": ()},
            },
        )
        _check_at_least("edge_probability", self.edge_probability, 0.0)
        _check_at_most("edge_probability", self.edge_probability, 1.0)
        _check_at_least("expected_degree", self.expected_degree, 0.0)
        _check_at_least("edges_per_node", self.edges_per_node, 1)


@final
@dataclass(frozen=True)
class WeightConfig:
    """The weight of each edge of a linear mechanism, with a random sign.

    Attributes:
        kind: bimodal, ±1 plus a normal spread (the scaling experiment of Brehmer et al. 2022), or uniform
            on ±[low, high].
        spread: bimodal; standard deviation of the normal, at least 0, by default 0.3.
        low: uniform; least magnitude, at least 0, by default 0.5.
        high: uniform; greatest magnitude, at least low, by default 1.5.
    """

    kind: Literal["bimodal", "uniform"] = "bimodal"
    spread: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        _settle(self, {"bimodal": {"spread": 0.3}, "uniform": {"low": 0.5, "high": 1.5}})
        _check_at_least("spread", self.spread, 0.0)
        _check_at_least("low", self.low, 0.0)
        _check_at_least("high", self.high, self.low or 0.0)


_NETWORK = {"hidden": 16, "layers": 1, "strength": 1.0}


@final
@dataclass(frozen=True)
class MechanismConfig:
    """The causal mechanisms. The nonlinear ones are random tanh networks of the parents.

    Attributes:
        kind: linear, additive (nonlinear, additive noise), location-scale, spline, or circuit: the four variables and
            the graph of the robot arm and the three lights, values in (0, 1) (`lcm.model.mechanism.CircuitMechanism`).
        weights: linear; the distribution of the edge weights.
        normalise: linear; whether to divide the weights by the square root of the number of parents; by
            default not.
        hidden: nonlinear kinds; units of a hidden layer, at least 1, by default 16.
        layers: nonlinear kinds; hidden layers, at least 1, by default 1.
        strength: nonlinear kinds; standard deviation of the parents' part of a variable, where the noise has
            scale 1; positive, by default 1. It holds at every depth, so that no value explodes.
        noise_strength: location-scale and spline; how much the parents change the noise: the largest
            deviation of its log-scale (or of each spline parameter) from the mean; at least 0, by default
            0.8.
    """

    kind: Literal["linear", "additive", "location-scale", "spline", "circuit"] = "linear"
    weights: WeightConfig | None = None
    normalise: bool | None = None
    hidden: int | None = None
    layers: int | None = None
    strength: float | None = None
    noise_strength: float | None = None

    def __post_init__(self) -> None:
        _settle(
            self,
            {
                "linear": {"weights": WeightConfig(), "normalise": False},
                "additive": _NETWORK,
                "location-scale": {**_NETWORK, "noise_strength": 0.8},
                "spline": {**_NETWORK, "noise_strength": 0.8},
            },
        )
        _check_at_least("hidden", self.hidden, 1)
        _check_at_least("layers", self.layers, 1)
        _check_positive("strength", self.strength)
        _check_at_least("noise_strength", self.noise_strength, 0.0)


@final
@dataclass(frozen=True)
class NoiseConfig:
    """The law of the independent noise, equal for all variables.

    Attributes:
        kind: normal, laplace, logistic, skewed, or uniform (on an interval, mapped to ℝ).
        skew: skewed; positive leans to the right, 0 is normal, by default 0.5.
    """

    kind: Literal["normal", "laplace", "logistic", "skewed", "uniform"] = "normal"
    skew: float | None = None

    def __post_init__(self) -> None:
        _settle(self, {"skewed": {"skew": 0.5}})


@final
@dataclass(frozen=True)
class InterventionConfig:
    """Which target sets are intervened on, and what is imposed.

    Attributes:
        targets: atomic, atomic-or-empty, all (every subset), or a list of target sets, [] for the empty one.
        probabilities: one for each target set, in order (atomic-or-empty: the empty set first; all: smallest
            sets first); uniform when null.
        kind: perfect (parents ignored), soft (another mechanism of the same kind, parents kept), or shifted
            (the variable's own mechanism with fresh noise, moved, parents kept).
        noise: perfect: the law of the imposed value; soft: the law of the fresh noise. By default normal.
        shift: shifted; by how much the value is moved, by default 1.
    """

    targets: TargetFamily | tuple[tuple[int, ...], ...] = "atomic-or-empty"
    probabilities: tuple[float, ...] | None = None
    kind: Literal["perfect", "soft", "shifted"] = "perfect"
    noise: NoiseConfig | None = None
    shift: float | None = None

    def __post_init__(self) -> None:
        _settle(
            self,
            {
                "perfect": {"noise": NoiseConfig()},
                "soft": {"noise": NoiseConfig()},
                "shifted": {"shift": 1.0},
            },
        )
        if self.probabilities is not None:
            _check_probabilities(self.probabilities)
        if not isinstance(self.targets, str):
            _check_target_sets(self.targets)

    def target_set_count(self, n: int) -> int:
        """How many target sets over n variables have a probability."""
        if isinstance(self.targets, str):
            return {"atomic": n, "atomic-or-empty": n + 1, "all": 1 << n}[self.targets]
        return len(self.targets)


@final
@dataclass(frozen=True)
class DecoderConfig:
    """The map from causal variables to observations.

    Attributes:
        kind: rotation (SO(n)), linear (a random well-conditioned matrix), flow (a random rotation, which
            mixes all variables, then random coupling layers), mixing (random matrices and leaky tanh in
            turn), or embedding (nothing but the embedding below).
        dim_x: dimension of the observations, at least n; by default n. Where it is larger (or the kind is
            embedding, which needs it), a random orthonormal embedding comes last.
        condition: linear, mixing; the largest condition number of a matrix, at least 1, by default 3.
        coupling: flow; affine or spline, by default affine.
        layers: flow, mixing; at least 1, by default 6 coupling layers, or 3 matrices.
        hidden: flow; units of a hidden layer, at least 1, by default 32.
        strength: how nonlinear, 0 is linear. Flow: at least 0, by default 0.2, which is clearly curved.
            Mixing: in [0, 1), by default 0.5.
    """

    kind: Literal["rotation", "linear", "flow", "mixing", "embedding"] = "rotation"
    dim_x: int | None = None
    condition: float | None = None
    coupling: Literal["affine", "spline"] | None = None
    layers: int | None = None
    hidden: int | None = None
    strength: float | None = None

    def __post_init__(self) -> None:
        if self.kind == "embedding" and self.dim_x is None:
            raise ValueError("Expected dim_x for a decoder of kind embedding; got none.")
        _settle(
            self,
            {
                "linear": {"condition": 3.0},
                "flow": {"coupling": "affine", "layers": 6, "hidden": 32, "strength": 0.2},
                "mixing": {"condition": 3.0, "layers": 3, "strength": 0.5},
            },
        )
        _check_at_least("condition", self.condition, 1.0)
        _check_at_least("layers", self.layers, 1)
        _check_at_least("hidden", self.hidden, 1)
        _check_at_least("strength", self.strength, 0.0)
        if self.kind == "mixing" and self.strength is not None and not self.strength < 1.0:
            raise ValueError(f"Expected a mixing strength in [0, 1); got {self.strength}.")


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
    graph: GraphConfig = field(default_factory=GraphConfig)
    mechanism: MechanismConfig = field(default_factory=MechanismConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    intervention: InterventionConfig = field(default_factory=InterventionConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    thickness: float = 0.0

    def __post_init__(self) -> None:
        _check_at_least("n", self.n, 1)
        _check_at_least("thickness", self.thickness, 0.0)
        if self.decoder.dim_x is not None and self.decoder.dim_x < self.n:
            raise ValueError(f"decoder.dim_x: Expected at least n = {self.n}; got {self.decoder.dim_x}.")
        if self.graph.edges is not None:
            _check_edges(self.n, self.graph.edges)
        self._check_interventions()
        if self.mechanism.kind == "circuit":
            self._check_circuit()

    def _check_circuit(self) -> None:
        if self.n != CIRCUIT_N:
            raise ValueError(f"n: Expected {CIRCUIT_N} for mechanisms of kind circuit; got {self.n}.")
        if self.graph != GraphConfig():
            raise ValueError("graph: Expected none for mechanisms of kind circuit, which have their own; got one.")
        if self.noise != NoiseConfig():
            raise ValueError(f"noise.kind: Expected normal for mechanisms of kind circuit; got {self.noise.kind}.")
        if self.intervention.kind != "perfect" or self.intervention.noise != NoiseConfig():
            got = self.intervention.kind
            raise ValueError(
                f"intervention: Expected perfect, of normal noise, for mechanisms of kind circuit; got {got}."
            )

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


def kind_settings(config: Any) -> dict[str, Any]:
    """The keys of a section that its kind uses, without `kind` itself."""
    return {
        item.name: getattr(config, item.name)
        for item in fields(config)
        if item.name != "kind" and getattr(config, item.name) is not None
    }


def _settle(config: Any, defaults: Mapping[str, Mapping[str, Any]]) -> None:
    """Fill in the defaults of the config's kind; raise ValueError for a key that only other kinds have."""
    own = defaults.get(config.kind, {})
    for key in sorted({key for keys in defaults.values() for key in keys}):
        value = getattr(config, key)
        if key in own and value is None:
            object.__setattr__(config, key, own[key])
        elif key not in own and value is not None:
            raise ValueError(f"Expected no {key} for the kind {config.kind}; got {value}.")


def _check_at_least(name: str, value: float | None, least: float) -> None:
    if value is not None and not value >= least:
        raise ValueError(f"Expected {name} >= {least:g}; got {value}.")


def _check_at_most(name: str, value: float | None, most: float) -> None:
    if value is not None and not value <= most:
        raise ValueError(f"Expected {name} <= {most:g}; got {value}.")


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not value > 0.0:
        raise ValueError(f"Expected {name} > 0; got {value}.")


def _check_probabilities(probabilities: tuple[float, ...]) -> None:
    if any(probability < 0.0 for probability in probabilities):
        raise ValueError(f"Expected probabilities >= 0; got {min(probabilities)}.")
    if not abs(sum(probabilities) - 1.0) <= _PROBABILITY_TOLERANCE:
        raise ValueError(f"Expected probabilities that sum to 1; got a sum of {sum(probabilities):.6g}.")


def _check_target_sets(targets: tuple[tuple[int, ...], ...]) -> None:
    if not targets:
        raise ValueError("Expected one or more target sets; got none.")
    seen: set[frozenset[int]] = set()
    for row in targets:
        if frozenset(row) in seen:
            raise ValueError(f"Expected each target set once; got {list(row)} again.")
        seen.add(frozenset(row))


def _check_edges(n: int, edges: tuple[tuple[int, int], ...]) -> None:
    try:
        Graph.from_edges(n, edges)
    except ValueError as error:
        raise ValueError(f"graph.edges: {error}") from error
