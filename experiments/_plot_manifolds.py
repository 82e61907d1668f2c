"""Figures of product manifolds, of groups that act, and of causal variables on a circle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle as Disc
from numpy.typing import NDArray
from torch import Tensor

from experiments._geometry_parts import circle_model, origin, scaled, wrap_difference
from lcm.geometry import Circle, Hyperbolic, ProductManifold, Sphere, Torus, plane_rotations
from lcm.model.latent_causal_model import LatentCausalModel, Pairs
from lcm.report.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED, clean, new_figure, save_figure

_CLOUD, _ARROWS = 600, 25
_RADIUS, _TUBE = 2.0, 0.8
_DIRECTIONS = 12
_VIEW = {"elev": 35, "azim": -60}

Array = NDArray[np.float64]


def draw_manifolds(path: Path, generator: torch.Generator) -> None:
    """Write a figure of geodesics on a torus, a sphere and the hyperbolic plane, and of both distances on a torus."""
    figure = new_figure(15.5, 3.6)
    torus = ProductManifold([Torus(2)])
    start = torch.tensor([[2.2, 1.4]], dtype=torch.float64).expand(8, -1)
    curves = _curves(torus, start, torus.sample_uniform(8, generator, torch.float64))
    _draw_flat_torus(figure.add_subplot(1, 5, 1), curves)
    _draw_donut(figure.add_subplot(1, 5, 2, projection="3d", **_VIEW), curves)
    _draw_sphere(figure.add_subplot(1, 5, 3, projection="3d", elev=20, azim=15), generator)
    _draw_hyperbolic(figure.add_subplot(1, 5, 4), generator)
    _draw_distances(figure.add_subplot(1, 5, 5))
    save_figure(figure, path)


def _curves(manifold: ProductManifold, x: Tensor, y: Tensor) -> Array:
    """Shortest geodesics (P, T, D) from x to y, both (P, D)."""
    points = torch.stack([manifold.geodesic(x, y, float(t)) for t in torch.linspace(0.0, 1.0, 120)], 1)
    return points.numpy()


def _draw_flat_torus(ax: Axes, curves: Array) -> None:
    for curve in curves:
        # a geodesic that leaves the square comes back on the other side
        jumps = np.abs(np.diff(curve, axis=0)).max(1) > math.pi
        ax.plot(*np.insert(curve, np.flatnonzero(jumps) + 1, np.nan, axis=0).T, color=BLUE, linewidth=1.3)
        if jumps.any():
            ax.plot(*curve[[0, -1]].T, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
        ax.plot(*curve[-1], "o", color=BLUE, markersize=4)
    ax.plot(*curves[0, 0], "o", color=INK, markersize=5)
    _angle_axes(ax, "angle 0", "angle 1")
    ax.set_title("torus: geodesics leave and re-enter\n(dashed: the longer way inside)", fontsize=9)


def _angle_axes(ax: Axes, first: str, second: str, only_first: bool = False) -> None:
    ticks, labels = [-math.pi, 0.0, math.pi], ["−π", "0", "π"]
    ax.set_xticks(ticks, labels)
    ax.set(xlim=(-math.pi, math.pi), xlabel=first, ylabel=second)
    if not only_first:
        ax.set_yticks(ticks, labels)
        ax.set(ylim=(-math.pi, math.pi), aspect="equal")
    clean(ax)


def donut(angles: Array) -> Array:
    """The torus (…, 2) as a surface of ℝ³ (…, 3), for drawing only: unlike the flat torus it is bent."""
    ring = _RADIUS + _TUBE * np.cos(angles[..., 1])
    return np.stack([ring * np.cos(angles[..., 0]), ring * np.sin(angles[..., 0]), _TUBE * np.sin(angles[..., 1])], -1)


def _draw_donut(ax: Any, curves: Array) -> None:
    _draw_donut_surface(ax)
    for curve in curves:
        ax.plot(*donut(curve).T, color=BLUE, linewidth=1.5)
        ax.scatter(*donut(curve[-1]), color=BLUE, s=14)
    ax.scatter(*donut(curves[0, 0]), color=INK, s=20)
    ax.set_title("the same geodesics,\ntorus drawn in space", fontsize=9)


def _draw_donut_surface(ax: Any) -> None:
    axis = np.linspace(-math.pi, math.pi, 61)
    surface = donut(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1))
    ax.plot_wireframe(*np.moveaxis(surface, -1, 0), rcount=24, ccount=12, color=GREY, linewidth=0.35, alpha=0.5)
    ax.set(xlim=(-2.3, 2.3), ylim=(-2.3, 2.3), zlim=(-2.3, 2.3))
    ax.set_box_aspect((1, 1, 1), zoom=1.3)
    ax.set_axis_off()


def _fan(factor: Sphere | Hyperbolic, lengths: Sequence[float]) -> tuple[Array, list[Array]]:
    """Geodesics (12, T, D) from the origin of a factor in all directions, and circles (T, D) at distances from it."""
    manifold = ProductManifold([factor])
    middle = origin([factor])

    def reach(angle: Tensor, length: Tensor) -> Tensor:
        """The end of the geodesics in directions (K,) after lengths (K,)."""
        plane = torch.stack([angle.cos(), angle.sin()], 1)
        tangent = torch.cat([torch.zeros_like(plane[:, :1]), plane], 1) if isinstance(factor, Sphere) else plane
        unit = tangent / manifold.norm(middle.expand(len(tangent), -1), tangent).unsqueeze(1)
        return manifold.exp(middle.expand(len(tangent), -1), length.unsqueeze(1) * unit)

    time = torch.linspace(0.0, max(lengths), 80, dtype=torch.float64)
    turn = torch.linspace(0.0, 2.0 * math.pi, 120, dtype=torch.float64)
    spokes = [reach(turn.new_full((80,), 2.0 * math.pi * k / _DIRECTIONS), time) for k in range(_DIRECTIONS)]
    circles = [reach(turn, torch.full_like(turn, length)).numpy() for length in lengths]
    return torch.stack(spokes).numpy(), circles


def _cloud(factor: Sphere | Hyperbolic, generator: torch.Generator) -> Array:
    mean = origin([factor]).expand(300, -1)
    return ProductManifold([factor]).sample_wrapped_normal(mean, 0.5, generator).numpy()


def _draw_sphere(ax: Any, generator: torch.Generator) -> None:
    longitude, latitude = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(-np.pi / 2, np.pi / 2, 13))
    shell = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)
    ax.plot_wireframe(*shell, color=GREY, linewidth=0.3, alpha=0.4)
    spokes, circles = _fan(Sphere(2), (0.5, 1.0, 1.5))
    for spoke in spokes:
        ax.plot(*spoke.T, color=BLUE, linewidth=1.2)
    for circle in circles:
        ax.plot(*circle.T, color=ORANGE, linewidth=1.2)
    ax.scatter(*_cloud(Sphere(2), generator).T, color=INK, s=2, alpha=0.5)
    ax.set_box_aspect((1, 1, 1), zoom=1.4)
    ax.set_axis_off()
    ax.set_title("sphere: exp in 12 directions, distances\n0.5, 1, 1.5; wrapped normal, σ = 0.5", fontsize=9)


def _draw_hyperbolic(ax: Axes, generator: torch.Generator) -> None:
    ax.add_patch(Disc((0, 0), 1.0, fill=False, edgecolor=INK, linewidth=0.8))
    # seen from a point beside the centre, geodesics bend
    manifold = ProductManifold([Hyperbolic(2)])
    beside = torch.tensor([[0.45, 0.2]], dtype=torch.float64)
    for k in range(_DIRECTIONS):
        angle = 2.0 * math.pi * k / _DIRECTIONS
        tangent = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
        velocity = tangent / manifold.norm(beside, tangent).unsqueeze(1)
        time = torch.linspace(0.0, 4.0, 80, dtype=torch.float64).unsqueeze(1)
        ax.plot(*manifold.exp(beside.expand(80, -1), time * velocity).numpy().T, color=BLUE, linewidth=1.0)
    for circle in _fan(Hyperbolic(2), (1.0, 2.0, 3.0))[1]:
        ax.plot(*circle.T, color=ORANGE, linewidth=1.2)
    ax.scatter(*_cloud(Hyperbolic(2), generator).T, color=INK, s=2, alpha=0.5, zorder=3)
    ax.set(aspect="equal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    ax.set_axis_off()
    ax.set_title("hyperbolic plane: exp beside the centre,\ndistances 1, 2, 3 from the centre", fontsize=9)


def _draw_distances(ax: Axes) -> None:
    """Both distances from the middle of a product of two circles."""
    manifold = ProductManifold([Circle(), Circle()])
    axis = torch.linspace(-math.pi, math.pi, 201, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    middle = torch.zeros_like(points)
    for values, color, style in (
        (manifold.distance_riemannian(points, middle), BLUE, "-"),
        (manifold.distance_sum(points, middle), ORANGE, "--"),
    ):
        table = values.reshape(201, 201).T.numpy()
        ax.contour(axis, axis, table, levels=[1.0, 2.0, 3.0], colors=color, linestyles=style, linewidths=1.3)
    ax.plot([], [], color=BLUE, label="Riemannian")
    ax.plot([], [], color=ORANGE, linestyle="--", label="sum")
    _angle_axes(ax, "angle 0", "angle 1")
    ax.legend(loc="lower left", fontsize=7, framealpha=1.0, edgecolor="none", handlelength=1.4)
    ax.set_title("two circles: points at distance\n1, 2, 3 by both distances", fontsize=9)


def draw_groups(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write a figure of rotations acting on points and, measured, of how equivariant maps are."""
    figure = new_figure(13.0, 3.9)
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.35))
    _draw_square(axes[0], scaled, "equivariant: p ‖p‖")
    _draw_square(axes[1], lambda p: torch.tanh(2.0 * p), "not equivariant: tanh(2p), entry by entry")
    names = [f"{record['map']}  [{record['group']}]" for record in records]
    sizes = np.array([max(record["rms"], 1e-17) for record in records])
    colors = [GREEN if record["holds"] else RED for record in records]
    axes[2].barh(range(len(sizes)), sizes, left=1e-17, color=colors, height=0.6)
    axes[2].set_yticks(range(len(names)), names, fontsize=7)
    axes[2].invert_yaxis()
    axes[2].set(xscale="log", xlim=(1e-17, 10))
    axes[2].set_xlabel("RMS of g·f(x) − f(g·x), relative to f(x)", fontsize=9)
    axes[2].set_title("measured (green: equivariant in theory)", fontsize=10)
    clean(axes[2]).tick_params(axis="y", labelsize=7)
    save_figure(figure, path)


def _draw_square(ax: Axes, function: Any, title: str) -> None:
    """Points turned and mapped, in both orders; lines join what should be equal."""
    action = plane_rotations()
    side = torch.linspace(-0.7, 0.7, 9, dtype=torch.float64)
    points = torch.cat([torch.stack([side + 0.2, 0.5 + slope * side], 1) for slope in (0.0, 0.3)])
    turn = 2.0
    mapped_then_turned = action(turn, function(points)).numpy()
    turned_then_mapped = function(action(turn, points)).numpy()
    ax.scatter(*points.numpy().T, color=GREY, s=14, label="x")
    ax.scatter(*function(points).numpy().T, color=INK, s=14, marker="s", label="f(x)")
    ax.scatter(*mapped_then_turned.T, facecolors="none", edgecolors=BLUE, s=50, label="g·f(x)")
    ax.scatter(*turned_then_mapped.T, color=ORANGE, s=12, label="f(g·x)")
    for one, other in zip(mapped_then_turned, turned_then_mapped, strict=True):
        ax.plot(*np.stack([one, other]).T, color=RED, linewidth=0.8)
    turns = torch.linspace(0.0, turn, 60).tolist()
    orbit = np.concatenate([action(angle, points[-1:]).numpy() for angle in turns])
    ax.plot(*orbit.T, color=PALE, linewidth=1.2, zorder=0, label="orbit of one x")
    ax.set(aspect="equal", xlim=(-1.35, 1.35), ylim=(-1.15, 1.25))
    clean(ax).legend(fontsize=7, loc="lower right", frameon=False)
    ax.set_title(title, fontsize=10)


def draw_circle(path: Path, generator: torch.Generator) -> None:
    """Write a figure of pairs of two models with a causal variable on a circle: latent, and decoded."""
    figure = new_figure(11.5, 7.4)
    for row, torus in enumerate((False, True)):
        model = circle_model(torus)
        pairs = model.sample_pairs(_CLOUD, generator)
        _draw_latent(figure.add_subplot(2, 3, 3 * row + 1), model, pairs, torus)
        _draw_on_circle(figure.add_subplot(2, 3, 3 * row + 2), pairs, variable=int(torus))
        _draw_observations(figure.add_subplot(2, 3, 3 * row + 3, projection="3d", **_VIEW), pairs, torus)
    figure.legend(
        handles=figure.axes[0].get_legend_handles_labels()[0],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    save_figure(figure, path)


def _draw_latent(ax: Axes, model: LatentCausalModel, pairs: Pairs, torus: bool) -> None:
    """Pairs z → z̃ over the angle of z_0, the short way round."""
    z = pairs.z.numpy()
    ax.scatter(z[:, 0], z[:, 1], s=4, color=GREY, alpha=0.5, linewidths=0, label="before")
    change = wrap_difference(model, pairs.z_tilde, pairs.z).numpy()
    for target, color in ((0, BLUE), (1, ORANGE)):
        rows = np.flatnonzero(pairs.targets[:, target].numpy())[:_ARROWS]
        steps = np.linspace(0.0, 1.0, 50)[:, None]
        for row in rows:
            track = z[row] + steps * change[row]
            wrapped = np.stack([_wrapped(track[:, 0]), _wrapped(track[:, 1]) if torus else track[:, 1]], 1)
            jumps = np.abs(np.diff(wrapped, axis=0)).max(1) > math.pi
            broken = np.insert(wrapped, np.flatnonzero(jumps) + 1, np.nan, axis=0)
            ax.plot(*broken.T, color=color, linewidth=0.7, alpha=0.7)
        label = f"after an intervention on $z_{target}$"
        ax.scatter(*pairs.z_tilde[rows].numpy().T, s=12, color=color, zorder=3, label=label)
    _angle_axes(ax, "$z_0$, an angle", "$z_1$, an angle" if torus else "$z_1$, real", only_first=not torus)
    ax.set_title(f"latent pairs on {'S¹ × S¹' if torus else 'S¹ × ℝ'}", fontsize=10)


def _wrapped(angle: Array) -> Array:
    return math.pi - np.mod(math.pi - angle, 2.0 * math.pi)


def _draw_on_circle(ax: Axes, pairs: Pairs, variable: int) -> None:
    """The density of one variable around its circle, before and, where it is the target, after."""
    chosen = pairs.targets[:, variable]
    ring = np.linspace(-math.pi, math.pi, 200)
    ax.plot(np.cos(ring), np.sin(ring), color=INK, linewidth=0.8)
    style = {"linewidth": 3.2, "alpha": 0.55, "solid_capstyle": "butt"}
    for values, color in (
        (pairs.z[:, variable], GREY),
        (pairs.z_tilde[chosen, variable], (BLUE, ORANGE)[variable]),
    ):
        counts, edges = np.histogram(values.numpy(), bins=36, range=(-math.pi, math.pi), density=True)
        middle = 0.5 * (edges[1:] + edges[:-1])
        for angle, height in zip(middle, counts, strict=True):
            ends = np.array([1.0, 1.0 + 1.3 * height])
            ax.plot(ends * np.cos(angle), ends * np.sin(angle), color=color, **style)
    ax.set(aspect="equal", xlim=(-1.75, 1.75), ylim=(-1.75, 1.75))
    ax.set_axis_off()
    ax.set_title(f"density of $z_{variable}$ around its circle,\nbefore and when it is the target", fontsize=10)


def _draw_observations(ax: Any, pairs: Pairs, torus: bool) -> None:
    """x and x̃: the cylinder as it is; the torus of ℝ⁴ by its two angles on a donut."""
    chosen = pairs.targets[:, 0]
    if torus:
        _draw_donut_surface(ax)
        show = donut
        values = pairs.z.numpy(), pairs.z_tilde[chosen].numpy(), pairs.z_tilde[~chosen].numpy()
    else:
        show = np.asarray
        values = pairs.x.numpy(), pairs.x_tilde[chosen].numpy(), pairs.x_tilde[~chosen].numpy()
        ax.set_xlabel("$x_0$", fontsize=8)
        ax.set_ylabel("$x_1$", fontsize=8)
        ax.set_zlabel("$x_2$", fontsize=8)
        ax.tick_params(labelsize=6)
        ax.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], zticks=[-2, 0, 2])
        ax.set_box_aspect((1, 1, 1), zoom=0.85)
    for part, color, size in zip(values, (GREY, BLUE, ORANGE), (4, 6, 6), strict=True):
        ax.scatter(*show(part).T, s=size, color=color, alpha=0.6, linewidths=0)
    decoded = "(cos, sin) of both angles,\non a torus drawn as a donut" if torus else "(cos $z_0$, sin $z_0$, $z_1$)"
    ax.set_title(f"decoded: {decoded}", fontsize=10)
