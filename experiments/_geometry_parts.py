"""Parts of the experiment `geometry` that need no fit: product manifolds, groups that act, variables on a circle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from lcm.geometry import (
    Circle,
    Euclidean,
    Factor,
    GroupAction,
    Hyperbolic,
    ProductManifold,
    RotationGroup,
    Sphere,
    Torus,
    Violation,
    blockwise,
    check_axioms,
    circle_rotations,
    cyclic_shifts,
    equivariance_violation,
    find_geodesics,
    invariance_violation,
    noise_action,
    permutations,
    plane_rotations,
    product_action,
    trivial_action,
    variable_action,
)
from lcm.model.circle import CircleNoise, MixedNoise, wrap
from lcm.model.decoder import FlowDecoder, TorusDecoder
from lcm.model.do import Do
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import ProductMechanism
from lcm.model.noise import NormalNoise
from lcm.model.scm import SCM

POINTS, PULLED_BACK, ELEMENTS = 500, 40, 32
SPREAD = 0.8
TIDE, WEIGHT = math.pi / 2, 0.9


@final
@dataclass(frozen=True)
class PartColumn:
    """A column of a part's table: the key of its records, the heading, and the format of a number."""

    key: str
    heading: str
    form: str = ""

    def text(self, value: Any) -> str:
        """A value as it is shown; "–" for None, yes and no for booleans."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        return "–" if value is None else format(value, self.form)


@final
@dataclass(frozen=True)
class Part:
    """One part: what it computes, and the table of its records.

    Attributes:
        title, note: above the table, in Markdown.
        compute: the records, from a generator; the values are those of JSON.
        columns: of the table.
    """

    title: str
    note: str
    compute: Callable[[torch.Generator], list[dict[str, Any]]]
    columns: Sequence[PartColumn]

    def table(self, records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        """The text of the table, headings first."""
        return [
            [column.heading for column in self.columns],
            *([column.text(record[column.key]) for column in self.columns] for record in records),
        ]


def origin(factors: Sequence[Factor]) -> Tensor:
    """A point (1, D) of a product: 0, and for each sphere its first axis; float64."""
    parts = [
        torch.eye(1, factor.width) if isinstance(factor, Sphere) else torch.zeros(1, factor.width) for factor in factors
    ]
    return torch.cat(parts, 1).double()


def manifold_records(generator: torch.Generator) -> list[dict[str, Any]]:
    """Exponential map, geodesics and both distances between random points, one record for each manifold."""
    manifolds: Mapping[str, tuple[Factor, ...]] = {
        "torus, one factor": (Torus(2),),
        "torus, two circles": (Circle(), Circle()),
        "sphere": (Sphere(2),),
        "hyperbolic plane": (Hyperbolic(2),),
        "all of them": (Circle(), Sphere(2), Hyperbolic(2), Euclidean(1)),
    }
    return [_manifold_record(name, factors, generator) for name, factors in manifolds.items()]


def _manifold_record(name: str, factors: tuple[Factor, ...], generator: torch.Generator) -> dict[str, Any]:
    manifold = ProductManifold(factors)
    mean = origin(factors).expand(POINTS, -1)
    x, y = (manifold.sample_wrapped_normal(mean, SPREAD, generator) for _ in range(2))
    riemannian, total = manifold.distance_riemannian(x, y), manifold.distance_sum(x, y)
    reached = manifold.exp(x, manifold.log(x, y))
    halfway = manifold.distance_riemannian(x, manifold.geodesic(x, y, 0.5))
    chord = torch.linalg.vector_norm(y - x, dim=1)
    return {
        "manifold": name,
        "factors": str(manifold),
        "dimension": manifold.n,
        "coordinates": manifold.width,
        "exp_log_error": float(manifold.distance_riemannian(reached, y).max()),
        "midpoint_error": float((halfway - 0.5 * riemannian).abs().max()),
        "distance_riemannian": float(riemannian.mean()),
        "distance_sum": float(total.mean()),
        "largest_ratio": float((total / riemannian).max()),
        "bound": math.sqrt(len(factors)),
        "chord_ratio": float((riemannian / chord).mean()),
        "pulled_back_error": _pulled_back_error(manifold, x, y),
    }


def _pulled_back_error(manifold: ProductManifold, x: Tensor, y: Tensor) -> float | None:
    """How far geodesics of the pulled-back metric are from the manifold's distance, relatively; None without a decoder.

    The decoder takes two coordinates to the Euclidean space in which the manifold lies.
    """
    x, y = x[:PULLED_BACK], y[:PULLED_BACK]
    if isinstance(manifold.factors[0], Sphere):
        decode, (start, end) = _from_plane, (_to_plane(x), _to_plane(y))
    elif manifold.n == manifold.width == 2 and not isinstance(manifold.factors[0], Hyperbolic):
        torus = TorusDecoder([True, True])
        decode, start, end = (lambda z: torus(z)[0]), x, x + manifold.log(x, y)
    else:
        return None
    exact = manifold.distance_riemannian(x, y)
    return float(((find_geodesics(decode, start, end).length - exact).abs() / exact).max())


def _from_plane(u: Tensor) -> Tensor:
    """The plane (N, 2) to the unit sphere (N, 3), by stereographic projection from (−1, 0, 0)."""
    square = u.square().sum(1, keepdim=True)
    return torch.cat([1.0 - square, 2.0 * u], 1) / (1.0 + square)


def _to_plane(x: Tensor) -> Tensor:
    return x[:, 1:] / (1.0 + x[:, :1])


def action_records(generator: torch.Generator) -> list[dict[str, Any]]:
    """By how much each action of a group misses the axioms of an action, on random points."""
    plane = torch.randn(POINTS, 5, generator=generator, dtype=torch.float64)
    actions: dict[str, tuple[GroupAction[Any], int]] = {
        "SO(2), plane": (plane_rotations(), 2),
        "SO(2), angles": (circle_rotations(), 2),
        "ℤ_5, shifts": (cyclic_shifts(5), 5),
        "S_4, permutations": (permutations(4), 4),
        "SO(2) × ℤ_3, product": (product_action([plane_rotations(), cyclic_shifts(3)], [2, 3]), 5),
        "LCM isomorphisms, z": (variable_action(3), 3),
        "LCM isomorphisms, noise": (noise_action(3), 3),
    }
    records = []
    for name, (action, width) in actions.items():
        points = wrap(plane[:, :width]) if "angles" in name else plane[:, :width]
        # elements are drawn in the default precision
        points = points.to(torch.get_default_dtype()) if "isomorphisms" in name else points
        found = check_axioms(action, points, generator)
        records.append(
            {"action": name, "identity": found.identity, "composition": found.composition, "inverse": found.inverse}
        )
    return records


def equivariance_records(generator: torch.Generator) -> list[dict[str, Any]]:
    """How far maps are from being equivariant or invariant; `holds` says what theory expects."""
    plane = torch.randn(POINTS, 5, generator=generator, dtype=torch.float64)
    angles = wrap(3.0 * plane[:, :2])
    flow = FlowDecoder(4, "affine", layers=2).double()
    flow.draw_weights(generator, strength=0.5)
    turn, shift, mixed = (
        plane_rotations(),
        cyclic_shifts(5),
        product_action([plane_rotations(), cyclic_shifts(3)], [2, 3]),
    )
    second = product_action([trivial_action(RotationGroup()), circle_rotations()], [1, 1])
    rows: list[tuple[str, str, bool, Violation]] = []

    def equivariant(
        name: str, f: Callable[[Tensor], Tensor], action: GroupAction[Any], points: Tensor, holds: bool, by: str
    ) -> None:
        rows.append((name, by, holds, equivariance_violation(f, action, action, points, generator, ELEMENTS)))

    equivariant("p ↦ p ‖p‖", scaled, turn, plane[:, :2], True, "SO(2)")
    equivariant("tanh of each entry", torch.tanh, turn, plane[:, :2], False, "SO(2)")
    equivariant("tanh of each entry", torch.tanh, shift, plane, True, "ℤ_5")
    equivariant("both, block by block", blockwise([scaled, torch.tanh], [2, 3]), mixed, plane, True, "SO(2) × ℤ_3")
    equivariant("a random flow", lambda z: flow(z)[0].detach(), permutations(4), plane[:, :4], False, "S_4")
    equivariant("shear (z_0, z_1 + z_0)", sheared, second, angles, True, "SO(2) on z_1")
    equivariant("shear (z_0, z_1 + z_0)", sheared, circle_rotations(), angles, False, "SO(2) on both")
    density = ProductManifold([Circle()]).wrapped_normal_log_density
    for scale, holds in ((0.5, False), (30.0, True)):
        violation = invariance_violation(
            lambda a, s=scale: density(a, torch.zeros_like(a), s).exp(),
            circle_rotations(),
            angles[:, :1],
            generator,
            ELEMENTS,
        )
        rows.append((f"wrapped normal density, σ = {scale:g}", "SO(2), invariance", holds, violation))
    rows.append(("log p(x, x̃) of an LCM", "LCM isomorphisms, invariance", True, _likelihood_violation(generator)))
    return [
        {"map": name, "group": by, "holds": holds, "largest": found.largest, "rms": found.rms}
        for name, by, holds, found in rows
    ]


def scaled(p: Tensor) -> Tensor:
    """p ‖p‖, which turns with p."""
    return p * torch.linalg.vector_norm(p, dim=1, keepdim=True)


def sheared(z: Tensor) -> Tensor:
    """(z_0, z_1) ↦ (z_0, z_1 + z_0) on angles (N, 2)."""
    return wrap(torch.stack([z[:, 0], z[:, 0] + z[:, 1]], 1))


def _likelihood_violation(generator: torch.Generator) -> Violation:
    """log p(x, x̃) of isomorphic models against that of one model with two real variables."""
    from lcm.isomorphism.apply import random_isomorphism
    from lcm.model.mechanism import LinearMechanism

    weights = torch.tensor([[0.0, 0.8], [0.0, 0.0]])
    scm = SCM(Graph([[0, 1], [0, 0]]), LinearMechanism([[0, 1], [0, 0]], weights), NormalNoise(2))
    flow = FlowDecoder(2, "affine", layers=4)
    flow.draw_weights(generator, strength=0.5)
    targets = TargetDistribution.family(2, "atomic-or-empty")
    model = (
        LatentCausalModel(scm, flow, PerfectIntervention(NormalNoise(2)), targets, 0.1).double().requires_grad_(False)
    )
    pairs = model.sample_pairs(POINTS, generator)
    value = model.pair_log_density(pairs.x, pairs.x_tilde)
    others = [random_isomorphism(2, generator).apply(model).pair_log_density(pairs.x, pairs.x_tilde) for _ in range(8)]
    difference, scale = (torch.stack(others) - value).abs(), value.square().mean().sqrt()
    return Violation(float(difference.max() / scale), float(difference.square().mean().sqrt() / scale))


def circle_model(torus: bool) -> LatentCausalModel:
    """z_0 on a circle is a cause of z_1: of a real z_1 = 0.9 sin z_0 + 0.3 ε_1 or, on a torus, of z_1 = z_0 + ε_1.

    x is (cos z_0, sin z_0, z_1), a cylinder in ℝ³, or (cos z_0, sin z_0, cos z_1, sin z_1), a torus in ℝ⁴.
    """
    adjacency, circular = [[0, 1], [0, 0]], [True, torus]
    circle = CircleNoise(2, torch.tensor([0.6, 0.9]), torch.tensor([-1.0, 0.0]))
    imposed_circle = CircleNoise(2, torch.tensor([0.9, 0.5]), torch.tensor([2.0, 2.0]))
    if torus:
        mechanism, noise, imposed = ProductMechanism(adjacency, circular, degree=adjacency), circle, imposed_circle
    else:
        mechanism = ProductMechanism(adjacency, circular, weight=WEIGHT * torch.tensor(adjacency).float())
        with torch.no_grad():
            mechanism.log_scale[1] = math.log(0.3)
        noise, imposed = (MixedNoise(NormalNoise(2), part, circular) for part in (circle, imposed_circle))
    targets = TargetDistribution.family(2, "atomic")
    model = LatentCausalModel(
        SCM(Graph(adjacency), mechanism, noise), TorusDecoder(circular), PerfectIntervention(imposed), targets
    )
    return model.double().requires_grad_(False)


def circle_records(generator: torch.Generator) -> list[dict[str, Any]]:
    """The two models with a variable on a circle, sampled, decoded, encoded and intervened on."""
    records = []
    for torus in (False, True):
        model = circle_model(torus)
        pairs = model.sample_pairs(4 * POINTS, generator)
        apart = wrap_difference(model, model.encode(pairs.x).z, pairs.z)
        acted = model.counterfactual(pairs.x, Do({0: TIDE}))
        z, noise = model.encode(acted).z, model.encode(acted).noise
        location = torch.atan2(z[:, 1].sin().mean(), z[:, 1].cos().mean()) if torus else z[:, 1].mean()
        before = torch.atan2(pairs.z[:, 1].sin().mean(), pairs.z[:, 1].cos().mean()) if torus else pairs.z[:, 1].mean()
        kept = wrap_difference(model, noise, pairs.noise)[:, 1]
        records.append(
            {
                "model": "torus S¹ × S¹" if torus else "cylinder S¹ × ℝ",
                "n": model.n,
                "d": model.d,
                "encoding_error": float(apart.abs().max()),
                "noise_error": float(kept.abs().max()),
                "mean_before": float(before),
                "mean_after": float(location),
                "mean_expected": TIDE if torus else WEIGHT * math.sin(TIDE),
            }
        )
    return records


def wrap_difference(model: LatentCausalModel, one: Tensor, other: Tensor) -> Tensor:
    """one − other (N, n), the short way round for variables on a circle."""
    difference = one - other
    return torch.where(model.scm.circular, wrap(difference), difference)


PARTS: Mapping[str, Part] = {
    "manifolds": Part(
        "Product manifolds",
        f"{POINTS} random pairs of points of each manifold, from wrapped normals of scale {SPREAD:g}. exp(log): how far"
        " exp_x(log_x y) is from y. midpoint: how far the middle of a geodesic is from half of the distance. d: the"
        " Riemannian distance; Σ d_i: the sum over the factors, at most √k times d. d / chord: the distance over the"
        " straight line in coordinates. pulled back: how far geodesics that `find_geodesics` finds through a decoder"
        " of two coordinates are from d, relative to d; their lengths are those of polygons.",
        manifold_records,
        (
            PartColumn("manifold", "manifold"),
            PartColumn("factors", "factors"),
            PartColumn("dimension", "n", "d"),
            PartColumn("coordinates", "coordinates", "d"),
            PartColumn("exp_log_error", "exp(log), error", ".1e"),
            PartColumn("midpoint_error", "midpoint, error", ".1e"),
            PartColumn("distance_riemannian", "mean d", ".3f"),
            PartColumn("distance_sum", "mean Σ d_i", ".3f"),
            PartColumn("largest_ratio", "largest Σ d_i / d", ".3f"),
            PartColumn("bound", "√k", ".3f"),
            PartColumn("chord_ratio", "d / chord", ".3f"),
            PartColumn("pulled_back_error", "pulled back, error", ".1e"),
        ),
    ),
    "actions": Part(
        "Groups that act",
        f"The axioms of an action on {POINTS} random points and 16 random pairs of elements: the largest difference of"
        " a row, relative to the RMS norm of the rows; isomorphisms are in float32, the others in float64.",
        action_records,
        (
            PartColumn("action", "action"),
            PartColumn("identity", "e·x = x", ".1e"),
            PartColumn("composition", "a·(b·x) = (ab)·x", ".1e"),
            PartColumn("inverse", "a⁻¹·(a·x) = x", ".1e"),
        ),
    ),
    "equivariance": Part(
        "Equivariance, measured",
        f"The size of g·f(x) − f(g·x) over {POINTS} points and {ELEMENTS} random elements (8 isomorphisms in the last"
        " row), relative to the RMS norm of f(x). `expected` says whether the map is equivariant in theory.",
        equivariance_records,
        (
            PartColumn("map", "map f"),
            PartColumn("group", "group"),
            PartColumn("holds", "expected"),
            PartColumn("largest", "largest violation", ".1e"),
            PartColumn("rms", "RMS violation", ".1e"),
        ),
    ),
    "circle": Part(
        "A causal variable on a circle",
        f"z_0 is an angle and a cause of z_1. {4 * POINTS} pairs each; the counterfactual is do(z_0 = π/2). encoding:"
        " how far the encoding of g(z) is from z. noise: how far the counterfactual's noise of z_1 is from that before."
        " The mean of an angle is that of its direction.",
        circle_records,
        (
            PartColumn("model", "model"),
            PartColumn("n", "n", "d"),
            PartColumn("d", "d", "d"),
            PartColumn("encoding_error", "encoding, error", ".1e"),
            PartColumn("noise_error", "noise, error", ".1e"),
            PartColumn("mean_before", "mean z_1", ".3f"),
            PartColumn("mean_after", "mean z_1 under do(z_0 = π/2)", ".3f"),
            PartColumn("mean_expected", "expected", ".3f"),
        ),
    ),
}
