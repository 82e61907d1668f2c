"""Every object of every kind, as {"name": factory}, and the tools of the laws that the tests run over them.

A new class is one more line here. Factories build with fixed seeds and random parameters, in the default
dtype; those of mechanisms, interventional mechanisms and SCMs take the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TypeVar

import hypothesis.strategies as st
import numpy as np
import torch
from torch import Tensor, nn

from lcm.data.nature.graphs import erdos_renyi
from lcm.isomorphism import Isomorphism
from lcm.model.circle import CircleNoise, MixedNoise, wrap, wrap_circles
from lcm.model.decoder import (
    AffineDecoder,
    AutomorphismDecoder,
    ChainDecoder,
    ColumnsDecoder,
    Decoder,
    EmbeddingDecoder,
    FlowDecoder,
    LightTunnelDecoder,
    LinearDecoder,
    MixingDecoder,
    ReparametrisedDecoder,
    ResidualDecoder,
    RotationDecoder,
    SheetDecoder,
    SolutionDecoder,
    TorusDecoder,
    TriangularDecoder,
)
from lcm.model.elementwise import AffineMap, ComposedMap, ElementwiseMap, InverseMap, KnotMap, SplineMap
from lcm.model.graph import Graph
from lcm.model.intervention import (
    InterventionalMechanism,
    PerfectIntervention,
    ReparametrisedIntervention,
    ShiftedIntervention,
    SoftIntervention,
    TargetDistribution,
)
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import (
    AdditiveMechanism,
    LinearMechanism,
    LocationScaleMechanism,
    Mechanism,
    ProductMechanism,
    ReparametrisedMechanism,
    SplineMechanism,
)
from lcm.model.noise import (
    LaplaceNoise,
    LogisticNoise,
    Noise,
    NormalNoise,
    PushforwardNoise,
    RelabelledNoise,
    SkewedNoise,
    UniformNoise,
)
from lcm.model.scm import SCM

Module = TypeVar("Module", bound=nn.Module)

N = 4
GRAPH = Graph.from_edges(N, [(2, 0), (0, 3), (2, 3), (1, 3)])
"""Causes do not come first in the numbering; 1 is a parent of 3 only, 2 an ancestor along two paths."""

PERMUTATION = (2, 0, 3, 1)
"""No variable keeps its label, and the permutation is not its own inverse."""

graphs = st.builds(
    lambda n, p, seed: erdos_renyi(n, np.random.default_rng(seed), edge_probability=p),
    st.integers(1, 6),
    st.floats(0.0, 1.0),
    st.integers(0, 2**32 - 1),
)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set torch's default dtype for a block, and restore it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def generator(seed: int = 0) -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    """Seeded normal values of the given shape."""
    return scale * torch.randn(*shape, generator=generator(seed))


def points(circular: Tensor, rows: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    """Seeded values (rows, n) on a product of lines and circles: normal, and wrapped where `circular` (n,)."""
    return wrap_circles(normal(rows, len(circular), seed=seed, scale=scale), circular)


def circle_distance(one: Tensor, other: Tensor) -> Tensor:
    """Arc length between two angles, elementwise."""
    return wrap(one - other).abs()


@torch.no_grad()
def randomised(module: Module, scale: float = 0.5, seed: int = 2) -> Module:
    """Add seeded normal values of standard deviation `scale` to every parameter."""
    source = generator(seed)
    for parameter in module.parameters():
        parameter.add_(scale * torch.randn(parameter.shape, generator=source))
    return module


def batch_jacobian(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Jacobians (N, outputs, inputs) of a map of rows, by automatic differentiation."""
    # summed over the batch, since each row of the result depends on its own row alone
    jacobian = torch.autograd.functional.jacobian(lambda rows: function(rows).sum(0), inputs)
    return jacobian.permute(1, 0, 2)


def finite_gradients(result: Tensor, inputs: Tensor, module: nn.Module) -> bool:
    """Whether the gradients of the sum of `result` at the inputs and all parameters used are finite."""
    leaves = [inputs, *(p for p in module.parameters() if p.requires_grad)]
    gradients = torch.autograd.grad(result.sum(), leaves, allow_unused=True)
    return all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)


def negative_affine(n: int = N) -> AffineMap:
    """An affine map that reverses the orientation of variables 0, 2, …"""
    signs = torch.ones(n)
    signs[::2] = -1.0
    return AffineMap(n, normal(n, seed=3), signs * (0.5 + torch.rand(n, generator=generator(4))))


def knot_tables(knots: int = 5) -> Tensor:
    """Random increasing positions and values, and positive slopes (N, 3, knots)."""
    steps = 0.2 + torch.rand(N, 3, knots, generator=generator(7))
    return torch.cat([steps[:, :2].cumsum(-1) - 2.0, steps[:, 2:]], 1)


def adjacency(graph: Graph) -> list[list[int]]:
    """The adjacency as mechanisms take it."""
    return graph.adjacency.astype(int).tolist()


def every_other(n: int = N) -> list[bool]:
    """Circles and lines in turn."""
    return [i % 2 == 0 for i in range(n)]


def circle_noise(n: int = N) -> CircleNoise:
    """Cardioid noise of every kind of concentration, around means on both sides of the cut."""
    return CircleNoise(n, torch.tensor([0.9, -0.5, 0.3, 0.0, 0.6, -0.9])[:n], torch.linspace(-2.0, 3.0, n))


def mixed_noise(n: int = N) -> MixedNoise:
    """Circles and lines in turn."""
    return MixedNoise(LogisticNoise(n), circle_noise(n), every_other(n))


def product_mechanism(graph: Graph, circular: list[bool]) -> ProductMechanism:
    """Each edge between circles has a degree of 1, -1, 2 or -2."""
    edges = torch.tensor(graph.adjacency) & torch.tensor(circular).unsqueeze(1) & torch.tensor(circular)
    label = torch.arange(graph.n)
    degree = torch.tensor([1, -2, 2, -1])[(label.unsqueeze(1) + 2 * label) % 4]
    return ProductMechanism(adjacency(graph), circular, degree * edges)


ELEMENTWISE_MAPS: dict[str, Callable[[], ElementwiseMap]] = {
    "affine": lambda: AffineMap(N, normal(N), torch.rand(N, generator=generator(1)) + 0.5),
    "affine-negative": negative_affine,
    "spline": lambda: randomised(SplineMap(N)),
    "spline-two-bins": lambda: randomised(SplineMap(N, bins=2, bound=1.5)),
    "knots": lambda: KnotMap(N, 5, torch.ones(N), knot_tables()),
    "composed-negative": lambda: ComposedMap(negative_affine(), randomised(SplineMap(N)), PERMUTATION),
    "inverse": lambda: InverseMap(randomised(SplineMap(N)), PERMUTATION),
    "knots-negative": lambda: KnotMap(N, 5, (-1.0) ** (torch.arange(N) + 1), knot_tables()),
}

NOISES: dict[str, Callable[[], Noise]] = {
    "normal": lambda: NormalNoise(N),
    "laplace": lambda: LaplaceNoise(N),
    "logistic": lambda: LogisticNoise(N),
    "skewed": lambda: SkewedNoise(N),
    "skewed-left": lambda: SkewedNoise(N, skew=-1.0),
    "uniform": lambda: UniformNoise(N),
    "uniform-soft-edge": lambda: UniformNoise(N, edge=0.5),
    "pushforward-affine": lambda: PushforwardNoise(LogisticNoise(N), negative_affine()),
    "pushforward-spline": lambda: PushforwardNoise(LaplaceNoise(N), randomised(SplineMap(N))),
    "relabelled": lambda: RelabelledNoise(PushforwardNoise(SkewedNoise(N), negative_affine()), PERMUTATION),
    "circle": circle_noise,
    "circle-uniform": lambda: CircleNoise(N),
    "mixed": mixed_noise,
    "mixed-relabelled": lambda: RelabelledNoise(mixed_noise(), PERMUTATION),
}

REAL_NOISES = [name for name in NOISES if not name.startswith(("circle", "mixed"))]
"""Noises of real variables alone: a circle has no tails beyond its cut."""

IDENTITY_MECHANISMS: dict[str, Callable[[Graph], Mechanism]] = {
    "linear": lambda graph: LinearMechanism(adjacency(graph)),
    "additive": lambda graph: AdditiveMechanism(adjacency(graph), hidden=5),
    "additive-deep": lambda graph: AdditiveMechanism(adjacency(graph), hidden=5, layers=3),
    "location-scale": lambda graph: LocationScaleMechanism(adjacency(graph), hidden=5),
    "location-scale-deep": lambda graph: LocationScaleMechanism(adjacency(graph), hidden=5, layers=2),
    "spline": lambda graph: SplineMechanism(adjacency(graph), hidden=5),
    "product": lambda graph: ProductMechanism(adjacency(graph), every_other(graph.n)),
    "torus": lambda graph: ProductMechanism(adjacency(graph), [True] * graph.n),
}
"""Mechanisms as constructed: z_i = ε_i, whatever the parents."""


def _random_mechanism(name: str) -> Callable[[Graph], Mechanism]:
    return lambda graph: randomised(IDENTITY_MECHANISMS[name](graph))


def _reparametrised_mechanism(graph: Graph) -> Mechanism:
    inner = graph.permuted(_labels(graph.n))
    maps = negative_affine(graph.n), randomised(SplineMap(graph.n))
    return ReparametrisedMechanism(MECHANISMS["location-scale"](inner), *maps, _labels(graph.n))


def _labels(n: int) -> list[int]:
    return [(i + 1) % n for i in range(n)]


MECHANISMS: dict[str, Callable[[Graph], Mechanism]] = {
    **{name: _random_mechanism(name) for name in IDENTITY_MECHANISMS},
    "reparametrised": _reparametrised_mechanism,
    "product": lambda graph: randomised(product_mechanism(graph, every_other(graph.n))),
    "torus": lambda graph: randomised(product_mechanism(graph, [True] * graph.n)),
}

REAL_MECHANISMS = [name for name in MECHANISMS if name not in ("product", "torus")]
"""Mechanisms of real variables alone: on a circle nothing is monotone."""

INTERVENTIONS: dict[str, Callable[[Graph], InterventionalMechanism]] = {
    "perfect": lambda graph: PerfectIntervention(PushforwardNoise(LogisticNoise(graph.n), negative_affine(graph.n))),
    "soft": lambda graph: SoftIntervention(
        randomised(LocationScaleMechanism(adjacency(graph), hidden=5), seed=5), SkewedNoise(graph.n)
    ),
    "shifted": lambda graph: ShiftedIntervention(graph.n, normal(graph.n, seed=6)),
    "reparametrised-shifted": lambda graph: ReparametrisedIntervention(
        ShiftedIntervention(graph.n, normal(graph.n, seed=6)),
        SCMS["additive-laplace"](graph.permuted(_labels(graph.n))),
        negative_affine(graph.n),
        _labels(graph.n),
    ),
    "perfect-product": lambda graph: PerfectIntervention(mixed_noise(graph.n)),
    "soft-product": lambda graph: SoftIntervention(
        randomised(product_mechanism(graph, every_other(graph.n)), seed=5), mixed_noise(graph.n)
    ),
    "shifted-product": lambda graph: ShiftedIntervention(graph.n, normal(graph.n, seed=6)),
    "perfect-torus": lambda graph: PerfectIntervention(circle_noise(graph.n)),
}

SCMS: dict[str, Callable[[Graph], SCM]] = {
    "linear-normal": lambda graph: SCM(graph, MECHANISMS["linear"](graph), NormalNoise(graph.n)),
    "additive-laplace": lambda graph: SCM(graph, MECHANISMS["additive"](graph), LaplaceNoise(graph.n)),
    "location-scale-skewed": lambda graph: SCM(graph, MECHANISMS["location-scale"](graph), SkewedNoise(graph.n)),
    "spline-uniform": lambda graph: SCM(graph, MECHANISMS["spline"](graph), UniformNoise(graph.n)),
    "reparametrised-logistic": lambda graph: SCM(graph, MECHANISMS["reparametrised"](graph), LogisticNoise(graph.n)),
    "product": lambda graph: SCM(graph, MECHANISMS["product"](graph), mixed_noise(graph.n)),
    "torus": lambda graph: SCM(graph, MECHANISMS["torus"](graph), circle_noise(graph.n)),
}


def scm_of_intervention(name: str) -> SCM:
    """An SCM over GRAPH on which the intervention of that name can act."""
    kind = name.rpartition("-")[2]
    return SCMS[kind if kind in ("product", "torus") else "additive-laplace"](GRAPH)


def drawn_flow(n: int, coupling: str, strength: float = 0.3, seed: int = 7) -> FlowDecoder:
    """A flow with random weights in every layer."""
    flow = FlowDecoder(n, coupling, layers=3, hidden=8, bins=4)  # type: ignore[arg-type]
    flow.draw_weights(generator(seed), strength)
    with torch.no_grad():
        flow.marginal.raw.copy_(normal(*flow.marginal.raw.shape, seed=seed, scale=0.5))
    return flow


def drawn_residual(n: int, strength: float = 0.5, seed: int = 7, gain: float | None = None) -> ResidualDecoder:
    """A residual flow with random weights in every block and in its spline; with `gain`, a monotone one."""
    flow = ResidualDecoder(n, blocks=3, hidden=8, bins=4, monotone=gain is not None)
    flow.draw_weights(generator(seed), strength)
    with torch.no_grad():
        if flow.root_gain is not None and gain is not None:
            flow.root_gain.copy_(normal(*flow.root_gain.shape, seed=seed, scale=gain))
        flow.marginal.raw.copy_(normal(*flow.marginal.raw.shape, seed=seed, scale=0.5))
    return flow


def drawn_sheet(n: int, r: int, d: int) -> SheetDecoder:
    """A curved sheet of n dimensions in d columns of different units."""
    columns = ColumnsDecoder(r, d)
    matrix = torch.linalg.qr(normal(d, r))[0] * torch.logspace(-0.3, 0.3, d).unsqueeze(1)
    columns.matrix, columns.shift = matrix.contiguous(), normal(d, seed=2)
    columns.left_inverse = torch.linalg.pinv(matrix).contiguous()
    return SheetDecoder(n, ChainDecoder([drawn_residual(r, gain=0.7), RotationDecoder(r, generator())]), columns)


def drawn_triangular(n: int, r: int) -> TriangularDecoder:
    """The last of r coordinates are curved functions of the first n."""
    decoder = TriangularDecoder(drawn_flow(n, "spline"), r, features=20)
    first = normal(400, n, seed=3)
    decoder.regress(first, torch.sin(first.sum(1, keepdim=True) + torch.arange(r - n)), generator())
    return decoder


UNIMODULAR = ((1, 2, 0, -1), (0, 1, 1, 0), (1, 2, 1, -1), (0, 0, 3, -1))
"""An integer matrix of determinant -1."""

DECODERS: dict[str, Callable[[], Decoder]] = {
    "rotation": lambda: randomised(RotationDecoder(N, generator())),
    "linear": lambda: randomised(LinearDecoder(N)),
    "linear-given": lambda: LinearDecoder(N, normal(N, N)),
    "affine": lambda: AffineDecoder(N, normal(N), torch.tensor([0.5, -2.0, 1.0, 3.0])),
    "embedding": lambda: EmbeddingDecoder(N, N + 3, generator()),
    "flow-affine": lambda: drawn_flow(N, "affine"),
    "flow-spline": lambda: drawn_flow(N, "spline"),
    "flow-strong": lambda: drawn_flow(N, "spline", strength=0.6),
    "flow-one-variable": lambda: drawn_flow(1, "spline"),
    "residual": lambda: drawn_residual(N),
    "residual-strong": lambda: drawn_residual(N, strength=20.0),
    "residual-one-variable": lambda: drawn_residual(1),
    "residual-monotone": lambda: drawn_residual(N, gain=0.7),
    "residual-monotone-strong": lambda: drawn_residual(N, strength=20.0, gain=2.0),
    "mixing": lambda: MixingDecoder(N, generator=generator()),
    "mixing-linear": lambda: MixingDecoder(N, strength=0.0, generator=generator()),
    "mixing-strong": lambda: MixingDecoder(N, layers=2, strength=0.9, generator=generator()),
    "chain": lambda: ChainDecoder([drawn_flow(N, "affine"), randomised(LinearDecoder(N))]),
    "chain-embedding": lambda: ChainDecoder([drawn_flow(N, "spline"), EmbeddingDecoder(N, N + 2, generator())]),
    "solution": lambda: SolutionDecoder(drawn_flow(N, "spline"), SCMS["location-scale-skewed"](GRAPH)),
    "reparametrised": lambda: ReparametrisedDecoder(drawn_flow(N, "affine"), negative_affine(), PERMUTATION),
    "columns": lambda: drawn_sheet(N, N + 1, N + 3).columns,
    "triangular": lambda: drawn_triangular(N - 1, N + 1),
    "sheet-triangular": lambda: SheetDecoder(3, drawn_triangular(3, N + 1), drawn_sheet(3, N + 1, N + 3).columns),
    "sheet": lambda: drawn_sheet(N, N + 2, N + 3),
    "sheet-flat": lambda: drawn_sheet(N, N, N + 3),
    "sheet-one-variable": lambda: drawn_sheet(1, 3, 3),
    "automorphism": lambda: AutomorphismDecoder(UNIMODULAR),
    "torus": lambda: TorusDecoder(every_other()),
    "torus-chain": lambda: ChainDecoder([AutomorphismDecoder(UNIMODULAR), TorusDecoder([True] * N)]),
}
if find_spec("causalchamber") is not None:
    DECODERS |= {f"light-tunnel-{n}": lambda n=n: LightTunnelDecoder(n) for n in (5, 6, 7)}  # type: ignore[misc]

THICKNESS = 0.02


def model(
    scm: str,
    decoder: Callable[[], Decoder],
    intervention: str = "perfect",
    family: str = "atomic-or-empty",
    thickness: float | Tensor = THICKNESS,
    growth: float = 0.0,
) -> LatentCausalModel:
    """A model over GRAPH with probabilities that differ from set to set."""
    count = len(TargetDistribution.family(N, family).target_sets)
    weights = torch.arange(1.0, count + 1.0)
    distribution = TargetDistribution.family(N, family, (weights / weights.sum()).tolist())
    intervened = INTERVENTIONS[intervention](GRAPH)
    return LatentCausalModel(SCMS[scm](GRAPH), decoder(), intervened, distribution, thickness, growth)


def fitted_like() -> LatentCausalModel:
    """A model whose decoder goes through its own SCM, as those that are fitted do."""
    scm = SCMS["location-scale-skewed"](GRAPH)
    decoder = SolutionDecoder(drawn_flow(N, "spline"), scm)
    distribution = TargetDistribution.family(N, "atomic-or-empty")
    return LatentCausalModel(scm, decoder, INTERVENTIONS["perfect"](GRAPH), distribution, THICKNESS)


BASE_MODELS: dict[str, Callable[[], LatentCausalModel]] = {
    "linear": lambda: model("linear-normal", DECODERS["rotation"]),
    "additive": lambda: model("additive-laplace", DECODERS["flow-spline"], family="atomic"),
    "location-scale-all-sets": lambda: model("location-scale-skewed", DECODERS["mixing"], family="all"),
    "spline-soft": lambda: model(
        "spline-uniform", DECODERS["linear"], "soft", "all", torch.tensor([0.02, 0.03, 0.01, 0.05])
    ),
    "additive-shifted": lambda: model("additive-laplace", DECODERS["flow-affine"], "shifted"),
    "embedded": lambda: model("additive-laplace", DECODERS["chain-embedding"]),
    "fitted": fitted_like,
    "growing": lambda: model("additive-laplace", DECODERS["rotation"], growth=0.8),
}

ISOMORPHISMS: dict[str, Callable[[], Isomorphism]] = {
    "relabelling": lambda: Isomorphism(PERMUTATION, AffineMap(N), AffineMap(N)),
    "negative-affine": lambda: Isomorphism(PERMUTATION, negative_affine(), negative_affine()),
    "spline": lambda: Isomorphism((1, 2, 3, 0), randomised(SplineMap(N)), randomised(SplineMap(N), seed=8)),
    "mixed": lambda: Isomorphism((3, 1, 0, 2), randomised(SplineMap(N), seed=9), negative_affine()),
}

CIRCLE_MODELS: dict[str, Callable[[], LatentCausalModel]] = {
    "product": lambda: model("product", DECODERS["torus"], "perfect-product"),
    "product-soft": lambda: model("product", DECODERS["torus"], "soft-product", "all"),
    "product-shifted": lambda: model("product", DECODERS["torus"], "shifted-product"),
    "torus": lambda: model("torus", DECODERS["torus-chain"], "perfect-torus"),
}
"""Models with circle variables, which elementwise maps of the line cannot reparametrise."""

MODELS: dict[str, Callable[[], LatentCausalModel]] = {
    **BASE_MODELS,
    **CIRCLE_MODELS,
    "isomorphic": lambda: ISOMORPHISMS["mixed"]().apply(BASE_MODELS["additive-shifted"]()),
    "isomorphic-to-fitted": lambda: ISOMORPHISMS["spline"]().apply(fitted_like()),
}
