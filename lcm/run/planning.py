"""What to measure next: a plan of further pairs from a fit's own evidence and model (docs/plan.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.data.nature.build import torch_generator
from lcm.learn.prepared import held_out_pairs
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.names import variable_of
from lcm.model.scm import SCM
from lcm.readout.allocation import decide_most, least_total, raise_by, shares_of, whole_numbers
from lcm.readout.needs import (
    FULL_WIDTH,
    best_division,
    effect_costs,
    effect_total,
    graph_rows,
    planned_power,
    spread_of,
    variable_rows,
)
from lcm.readout.pair_plan import PairPlan, PlanCurve, PlannedEdge
from lcm.readout.undecided import EdgeStates, edge_states
from lcm.run.outcome import Outcome
from lcm.run.runs import load_run

FloatArray = NDArray[np.float64]

LEAST, POWER, WIDTH = 0.1, 0.9, 0.2
"""The defaults: the least strength that matters, the power, and the width of a 95 % interval."""

_MOST_ROWS = 100_000
_DRAWN = 4_096
_POINTS = 60
_MOST_CURVES = 6
_FARTHEST = 4.0
_MOST_BUDGET = 10**9


@final
@dataclass(frozen=True, eq=False)
class _Known:
    """What a fit knows, and what is asked of it."""

    states: EdgeStates
    p_value: FloatArray
    model: LatentCausalModel
    past: FloatArray
    rows: FloatArray
    kept: float
    power: float
    width: float
    least: float
    rate: float
    names: tuple[str, ...]

    @property
    def n(self) -> int:
        return len(self.past)

    def rows_after(self, further: FloatArray) -> FloatArray:
        """Rows (n,) of every target after further pairs (n,)."""
        return self.rows + self.kept * further


@final
@dataclass(frozen=True, eq=False)
class _Needs:
    """Further pairs (n,) of each target for a goal; how a budget is divided; the total with equal shares; curves."""

    needed: FloatArray
    divide: Callable[[float], FloatArray]
    uniform_total: float
    kind: str
    aim: float
    labels: tuple[str, ...]
    values: Callable[[FloatArray], FloatArray]


def plan_pairs(
    fit: Outcome | str | Path,
    goal: str = "graph",
    budget: int | None = None,
    *,
    width: float = WIDTH,
    power: float = POWER,
    least: float = LEAST,
    false_discovery_rate: float | None = None,
) -> PairPlan:
    """Plan which targets further pairs should have, as `lcm plan` does; the fit is not repeated.

    Args:
        fit: the result of a fit, or its run folder.
        goal: "graph": every edge is decided and every interval narrow. "variables": every variable was a target often
            enough. "effect I:J": the total effect of variable I on J is known.
        budget: further pairs, at least 1; by default, as many as the goal needs.
        width: > 0, of the 95 % interval of a strength or of an effect, in standard deviations of the effect for one of
            the cause; for "variables", of a standard deviation as a share of itself.
        power: in (0, 1), with which an edge is to be found.
        least: > 0.02, the least strength that matters. An edge with a lower upper limit counts as absent.
        false_discovery_rate: in (0, 1), of the graph; by default, that of the fit.

    Raises:
        ValueError: a fit without p-values or without a causal model, another goal, a variable that is not there or
            that is no possible cause of the other, or a number out of range.

    Example:
        >>> import lcm
        >>> result = lcm.fit("data/sample.safetensors", model="linear", quiet=True)
        >>> plan = lcm.plan_pairs(result, budget=500)
        >>> sum(plan.pairs), len(plan.shares)
        (500, 3)
    """
    result = load_run(fit).result() if isinstance(fit, str | Path) else fit
    _check(budget, width, power, least)
    known = _known(result, width, power, least, false_discovery_rate)
    needs = _needs(known, goal)
    total = math.ceil(float(needs.needed.sum()) - 1e-6) if budget is None else budget
    planned = needs.divide(float(total)) if total else np.zeros(known.n)
    if planned.sum() == 0.0 and total:
        planned = np.ones(known.n)
    pairs = whole_numbers(planned, total)
    steps, curves = _curves(needs, known, np.array(pairs))
    return PairPlan(
        goal=goal,
        budget=budget,
        broken=_broken(result),
        past=tuple(known.past.tolist()),
        needed=tuple(needs.needed.tolist()),
        pairs=pairs,
        uniform_total=needs.uniform_total,
        edges=_edges(known),
        steps=steps,
        curves=curves,
        curve_kind=needs.kind,
        aim=needs.aim,
        false_discovery_rate=known.rate,
        power=power,
        width=width,
        least=least,
        names=known.names,
        related=tuple(each[0][0] for each in result.related) or ("",) * known.n,
    )


def _broken(result: Outcome) -> tuple[str, ...]:
    """Keys of the rows of the certificate that are broken; none for a fit of a version that wrote no certificate."""
    known = result.stored_certificate is not None or result.data is not None
    return result.certificate.broken if known else ()


def _check(budget: int | None, width: float, power: float, least: float) -> None:
    if budget is not None and not 1 <= budget <= _MOST_BUDGET:
        raise ValueError(f"budget: Expected 1 to {_MOST_BUDGET:,} further pairs; got {budget:,}")
    if not (0.0 < width < math.inf):
        raise ValueError(f"width: Expected a finite width above 0; got {width:g}")
    if not 0.0 < power < 1.0:
        raise ValueError(f"power: Expected a probability strictly between 0 and 1; got {power:g}")
    if not 0.02 < least < math.inf:
        raise ValueError(f"least: Expected a strength above 0.02, which the tests count as none; got {least:g}")


def _known(result: Outcome, width: float, power: float, least: float, rate: float | None) -> _Known:
    evidence, model = result.evidence, result.latent
    if not isinstance(model, LatentCausalModel):
        raise ValueError(f"Expected a fit of a causal model; got one of {result.config.model}")
    n, n_pairs, rate = model.n, result.size[0], result.config.readout.false_discovery_rate if rate is None else rate
    train = n_pairs - held_out_pairs(result.config.validation_share, n_pairs, n)
    kept = min(train, _MOST_ROWS) / n_pairs
    distribution = model.target_distribution
    past = n_pairs * (distribution.probabilities.double() @ distribution.target_sets.double()).cpu().numpy()
    states = edge_states(evidence, kept * past, information(model), rate, least)
    return _Known(
        states, evidence.edge_p_value, model, past, kept * past, kept, power, width, least, rate, result.names
    )


@torch.no_grad()
def information(model: LatentCausalModel) -> FloatArray:
    """Noncentrality (n, n) that one pair with target i adds to the test of an edge j → i of strength 1, [j, i].

    With z_j independent of the other regressors, it is the share of its variance that its parents leave, times the
    variance of z_i over that of its imposed value. Both are measured on pairs drawn from the model.
    """
    generator, scm = torch_generator(0, "information"), model.scm
    noise = [scm.sample_noise(_DRAWN, generator) for _ in range(2)]
    z = scm.solve(noise[0])[0]
    every = torch.arange(model.n, device=z.device)
    own = _half_square(scm.mechanism(noise[0], z)[0], scm.mechanism(noise[1], z)[0])
    normal = [torch.randn(z.shape, generator=generator, dtype=z.dtype) for _ in range(2)]
    imposed = _half_square(*(model.intervention.value(part, z, every, scm) for part in normal))
    variance = z.double().var(0).cpu().numpy()
    found: FloatArray = np.outer(own / np.maximum(variance, 1e-300), variance / np.maximum(imposed, 1e-300))
    return found


def _half_square(first: torch.Tensor, second: torch.Tensor) -> FloatArray:
    """The mean conditional variance (n,) of two independent draws (N, n) under equal conditions."""
    half: FloatArray = (0.5 * (first - second).double().square().mean(0)).cpu().numpy()
    return half


def mean_slopes(model: LatentCausalModel) -> FloatArray:
    """The mean derivative (n, n), [i, j], of f_j by z_i at fixed noise, in standard deviations; signed."""
    scm: SCM = model.scm
    with torch.no_grad():
        z = scm.sample(_DRAWN, torch_generator(0, "slopes"))
        noise = scm.abduct(z)[0]
    with torch.enable_grad():
        points = z.detach().requires_grad_()
        values = scm.mechanism(noise, points)[0]
        rows = [torch.autograd.grad(values[:, j].sum(), points, retain_graph=True)[0] for j in range(scm.n)]
    slopes = torch.stack([row.double().mean(0) for row in rows], 1) * torch.tensor(scm.graph.adjacency)
    spread = z.double().std(0)
    found: FloatArray = (slopes * spread.unsqueeze(1) / spread).detach().cpu().numpy()
    return found


def _needs(known: _Known, goal: str) -> _Needs:
    kind, _, variables = goal.partition(" ")
    if goal == "graph":
        return _graph_needs(known)
    if goal == "variables":
        return _variable_needs(known)
    if kind == "effect":
        return _effect_needs(known, *_cause_and_effect(variables.strip(), known))
    raise ValueError(f"goal: Expected graph, variables or effect I:J; got {goal!r}")


def _graph_needs(known: _Known) -> _Needs:
    each = _edge_pairs(known)
    finite = np.where(np.isfinite(each), each, 0.0)
    needed = finite.max(0, initial=0.0)
    undecided = known.states.undecided
    shown = undecided if undecided.any() else known.states.present
    ranked = sorted(map(tuple, np.argwhere(shown).tolist()), key=lambda edge: -each[edge])[:_MOST_CURVES]
    index = tuple(np.array(ranked, dtype=np.int64).reshape(-1, 2).T)

    def power(further: FloatArray) -> FloatArray:
        return planned_power(known.states, known.rows_after(further), known.least)[index]

    def width(further: FloatArray) -> FloatArray:
        shrunk = np.sqrt(known.rows / np.maximum(known.rows_after(further), 1e-12))
        return (FULL_WIDTH * known.states.error * shrunk)[index]

    labels = tuple(f"{known.names[j]} → {known.names[i]}" for j, i in ranked)
    kind, aim = ("power", known.power) if undecided.any() else ("width", known.width)
    values = power if undecided.any() else width
    uniform = least_total(needed, np.full(known.n, 1.0 / known.n))
    return _Needs(needed, lambda budget: decide_most(each, budget), uniform, kind, aim, labels, values)


def _edge_pairs(known: _Known) -> FloatArray:
    """Further pairs (n, n) that target the effect of every edge until it is decided, and its interval narrow."""
    return graph_rows(known.states, known.rows, known.power, known.width, known.least) / known.kept


def _variable_needs(known: _Known) -> _Needs:
    needed = np.maximum(0.0, variable_rows(known.n, known.width) - known.rows) / known.kept

    def width(further: FloatArray) -> FloatArray:
        found: FloatArray = FULL_WIDTH / np.sqrt(2.0 * np.maximum(known.rows_after(further), 1e-12))
        return found

    def divide(budget: float) -> FloatArray:
        return raise_by(known.past, np.ones(known.n), budget)

    uniform = least_total(needed, np.full(known.n, 1.0 / known.n))
    return _Needs(needed, divide, uniform, "width", known.width, known.names, width)


def _effect_needs(known: _Known, cause: int, effect: int) -> _Needs:
    costs = effect_costs(known.states, mean_slopes(known.model), cause, effect)
    names = known.names[cause], known.names[effect]
    if not costs.any():
        raise ValueError(
            f"goal: Expected a cause and its possible effect; got {names[0]} and {names[1]}, between "
            "which the fit has no path"
        )
    best = best_division(costs, known.rows)

    def divide(budget: float) -> FloatArray:
        return best(budget * known.kept) / known.kept

    def equally(budget: float) -> FloatArray:
        return np.full(known.n, budget / known.n)

    total, uniform = (
        effect_total(costs, known.rows, known.width, lambda rows, way=way: way(rows))  # type: ignore[misc]
        for way in (best, equally)
    )
    return _Needs(
        best(total) / known.kept if total else np.zeros(known.n),
        divide,
        uniform / known.kept,
        "width",
        known.width,
        (f"total effect of {names[0]} on {names[1]}",),
        lambda further: np.array([FULL_WIDTH * spread_of(costs, known.rows_after(further))]),
    )


def _cause_and_effect(text: str, known: _Known) -> tuple[int, int]:
    parts = [part.strip() for part in text.split(":")]
    # z3 stands for variable 3 whatever its name
    numbered = [part.removeprefix("z") if part.removeprefix("z").isdecimal() else part for part in parts]
    found = [variable_of(part, known.names) for part in numbered]
    if len(found) != 2 or found[0] is None or found[1] is None:
        raise ValueError(f"goal: Expected effect I:J with two variables; got effect {text!r}")
    cause, effect = found[0], found[1]
    if max(cause, effect) >= known.n or cause == effect:
        raise ValueError(f"goal: Expected two different variables in 0..{known.n - 1}; got {cause} and {effect}")
    return cause, effect


def _edges(known: _Known) -> tuple[PlannedEdge, ...]:
    states, pairs = known.states, _edge_pairs(known)
    power = planned_power(states, known.rows, known.least)
    shown = [(int(j), int(i)) for j, i in np.argwhere(states.present | states.undecided)]

    def planned(j: int, i: int) -> PlannedEdge:
        tested = bool(np.isfinite(states.error[j, i]))
        numbers: list[Any] = [states.strength[j, i], states.upper[j, i], FULL_WIDTH * states.error[j, i]]
        strength, upper, width = (float(value) if tested and np.isfinite(value) else None for value in numbers)
        p_value, own_power = float(known.p_value[j, i]), float(power[j, i])
        return PlannedEdge(
            j, i, str(states.state[j, i]), strength, upper, p_value, own_power, width, float(pairs[j, i])
        )

    found = [planned(j, i) for j, i in shown]
    return tuple(sorted(found, key=lambda edge: (edge.state != "undecided", -edge.pairs, edge.cause, edge.effect)))


def _curves(needs: _Needs, known: _Known, pairs: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[PlanCurve, ...]]:
    """What to expect with the shares of the plan and with equal ones, to somewhat beyond what the goal needs."""
    reach = max(float(pairs.sum()), float(needs.needed.sum()), 1.0)
    steps = np.linspace(0.0, 1.1 * max(reach, min(needs.uniform_total, _FARTHEST * reach)), _POINTS)
    ways = shares_of(pairs), np.full(known.n, 1.0 / known.n)
    planned, equal = (np.array([needs.values(step * shares) for step in steps]) for shares in ways)
    curves = [
        PlanCurve(label, tuple(planned[:, k].tolist()), tuple(equal[:, k].tolist()))
        for k, label in enumerate(needs.labels)
    ]
    return tuple(steps.tolist()), tuple(curves)
