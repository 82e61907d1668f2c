"""A plan of what to measure next: how many further pairs of each target, and what they are expected to decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lcm.readout.allocation import shares_of, whole_numbers

_SELDOM = 0.5
_ABOUT_UNIFORM = 0.95
_DIGITS = 10**9
_MEASURED = "On 36 natures, such plans took 0.80 (0.71 to 0.91) of the pairs of equal shares; 0.52 was expected"
"""Of `lcm reproduce plan`, results/plan."""


@final
@dataclass(frozen=True)
class PlannedEdge:
    """What is known of the edge cause → effect, and the further pairs that target its effect until that suffices.

    state: as in `lcm.readout.undecided.EdgeStates`. strength, upper: the estimate ≥ 0 and the end of its 95 % interval,
    None without a test. p_value: of "there is no edge", 1 if it was not tested beside others. power: of its test with
    the pairs so far. width: of its 95 % interval, None without a test. pairs: ≥ 0, inf if no number would do.
    """

    cause: int
    effect: int
    state: str
    strength: float | None
    upper: float | None
    p_value: float
    power: float
    width: float | None
    pairs: float


@final
@dataclass(frozen=True)
class PlanCurve:
    """A power or the width of an interval at the further pairs of `PairPlan.steps`, by the plan and by equal shares."""

    label: str
    planned: tuple[float, ...]
    uniform: tuple[float, ...]


@final
@dataclass(frozen=True)
class PairPlan:
    """Which targets the next pairs should have. `print(plan)` gives a page, `plan.numbers()` the content of plan.json.

    Attributes:
        goal: "graph", "variables" or "effect I:J".
        budget: the further pairs that were given; None where the plan has as many as the goal needs.
        broken: keys of the certificate's rows that are broken, which all numbers assume to hold.
        past: (n,) ≥ 0, pairs of the fit in which each variable is a target.
        needed: (n,) ≥ 0, further pairs that target each variable until the goal is reached.
        pairs: (n,), the recommended further pairs with each single target; they sum to the budget.
        uniform_total: further pairs until the goal is reached with equal shares of all single targets.
        edges: every edge that is present or undecided, the neediest first.
        steps, curves: what to expect; `curve_kind` is "power" or "width", and `aim` is what it should reach.
        false_discovery_rate, power, width, least: what "decided" means.
        names: of the variables. related: the column of x that each is most related to; "" where columns have no names.
    """

    goal: str
    budget: int | None
    broken: tuple[str, ...]
    past: tuple[float, ...]
    needed: tuple[float, ...]
    pairs: tuple[int, ...]
    uniform_total: float
    edges: tuple[PlannedEdge, ...]
    steps: tuple[float, ...]
    curves: tuple[PlanCurve, ...]
    curve_kind: str
    aim: float
    false_discovery_rate: float
    power: float
    width: float
    least: float
    names: tuple[str, ...]
    related: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The name (n,) of each variable, with the most related column of x."""
        pairs = zip(self.names, self.related, strict=True)
        return tuple(f"{name} ({column})" if column else name for name, column in pairs)

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.past)

    @property
    def total(self) -> float:
        """Further pairs until the goal is reached, by the plan."""
        return sum(self.needed)

    @property
    def shares(self) -> tuple[float, ...]:
        """Recommended probability (n,) of each single target; equal ones if nothing is needed."""
        return tuple(shares_of(self.pairs).tolist())

    @property
    def past_shares(self) -> tuple[float, ...]:
        """Share (n,) of each variable among all targets of the fit's pairs."""
        return tuple(shares_of(self.past).tolist())

    @property
    def seldom(self) -> tuple[int, ...]:
        """The variables that were targets less than half as often as with equal shares."""
        return tuple(i for i, share in enumerate(self.past_shares) if share < _SELDOM / self.n)

    @property
    def ratio(self) -> float:
        """Further pairs by the plan over those with equal shares, in (0, 1]; 1 if nothing is needed."""
        return self.total / self.uniform_total if self.uniform_total > 0.0 else 1.0

    @property
    def met(self) -> int:
        """How many undecided edges (of the goal "graph"), else how many targets, get the pairs that they need."""
        if self.goal == "graph":
            return sum(edge.pairs <= self.pairs[edge.effect] for edge in self.undecided)
        return sum(given >= needed for given, needed in zip(self.pairs, self.needed, strict=True))

    @property
    def undecided(self) -> tuple[PlannedEdge, ...]:
        """The undecided edges."""
        return tuple(edge for edge in self.edges if edge.state == "undecided")

    @property
    def expected(self) -> tuple[float, ...]:
        """What each of `curves` is expected to reach with the recommended pairs."""
        return tuple(float(np.interp(sum(self.pairs), self.steps, curve.planned)) for curve in self.curves)

    @property
    def about_uniform(self) -> bool:
        """Whether equal shares need hardly more pairs than the plan (a ratio of 0.95 or more)."""
        return self.ratio >= _ABOUT_UNIFORM

    def numbers(self) -> dict[str, Any]:
        """The plan for JSON; a number that is not finite is null.

        goal, budget, false_discovery_rate, power, width, least: what was asked. broken: keys of the certificate's rows
        that are broken. names: of the variables. past_pairs: (n,), pairs so far in which each variable is a target.
        needed_pairs: (n,), further pairs of each target until the goal is reached. total_needed,
        uniform_needed, ratio: their sum, the number with equal shares, and the quotient. targets, probabilities: single
        targets and their recommended shares. pairs: (n,), the recommended numbers. seldom: variables that were seldom
        targets. edges: those that are present or undecided, with the keys of `PlannedEdge`. curves: what to expect
        after `further` pairs, by the plan and with equal shares.
        """
        curves = [{"label": each.label, "planned": each.planned, "uniform": each.uniform} for each in self.curves]
        return {
            "goal": self.goal,
            "budget": self.budget,
            "broken": list(self.broken),
            "false_discovery_rate": self.false_discovery_rate,
            "power": self.power,
            "width": self.width,
            "least": self.least,
            "names": list(self.labels),
            "past_pairs": list(self.past),
            "seldom": list(self.seldom),
            "needed_pairs": list(self.needed),
            "total_needed": self.total,
            "uniform_needed": self.uniform_total,
            "ratio": self.ratio,
            "targets": [[i] for i in range(self.n)],
            "probabilities": list(self.shares),
            "pairs": list(self.pairs),
            "edges": [_edge_numbers(edge) for edge in self.edges],
            "curves": {"kind": self.curve_kind, "aim": self.aim, "further": list(self.steps), "of": curves},
        }

    def targets_yaml(self) -> str:
        """The recommended targets as YAML: for `lcm protocol --targets`, or as keys of `nature.intervention`."""
        probabilities = ", ".join(f"{part / _DIGITS:.9f}" for part in whole_numbers(self.shares, _DIGITS))
        lines = "# recommended by lcm plan, in the numbering of its run", "targets: atomic"
        return "\n".join([*lines, f"probabilities: [{probabilities}]\n"])

    def __str__(self) -> str:
        return "\n".join([*_broken_lines(self), *_target_lines(self), *_edge_lines(self), *_summary_lines(self)])


def _edge_numbers(edge: PlannedEdge) -> dict[str, Any]:
    numbers = vars(edge) | {"pairs": edge.pairs if math.isfinite(edge.pairs) else None}
    return dict(numbers)


def _broken_lines(plan: PairPlan) -> list[str]:
    if not plan.broken:
        return []
    return [f"Warning: the certificate says broken ({', '.join(plan.broken)}); all numbers assume that these hold.", ""]


def _target_lines(plan: PairPlan) -> list[str]:
    width = max(len("target"), *map(len, plan.labels))
    lines = [f"{'target':{width}}  pairs so far   share  needed  recommended   share"]
    rows = zip(plan.labels, plan.past, plan.past_shares, plan.needed, plan.pairs, plan.shares, strict=True)
    for i, (name, past, share, needed, pairs, next_share) in enumerate(rows):
        seldom = "  seldom a target" if i in plan.seldom else ""
        lines.append(
            f"{name:{width}}  {past:12,.0f}  {share:6.1%}  {needed:6,.0f}  {pairs:11,}  {next_share:6.1%}{seldom}"
        )
    return lines


def _edge_lines(plan: PairPlan) -> list[str]:
    if not plan.edges or plan.goal != "graph":
        return []
    names = [f"{plan.names[edge.cause]} -> {plan.names[edge.effect]}" for edge in plan.edges]
    wide = max(11, *map(len, names))
    head = "state       strength  up to  power  width  further pairs that target its effect"
    lines = ["", f"{'edge':{wide}}  {head}"]
    for name, edge in zip(names, plan.edges, strict=True):
        numbers = (_text(value) for value in (edge.strength, edge.upper, edge.power, edge.width))
        strength, upper, power, width = numbers
        pairs = f"{edge.pairs:,.0f}" if math.isfinite(edge.pairs) else "no number is enough"
        lines.append(f"{name:{wide}}  {edge.state:10}  {strength:>8}  {upper:>5}  {power:>5}  {width:>5}  {pairs}")
    return lines


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _summary_lines(plan: PairPlan) -> list[str]:
    undecided = len(plan.undecided)
    meaning = (
        f"strengths of {plan.least:g} and more at a false discovery rate of {plan.false_discovery_rate:g}, with a "
        f"power of {plan.power:.0%}; 95 % intervals {plan.width:g} wide"
    )
    of_graph = plan.goal == "graph"
    aim = "of its own standard deviation" if plan.goal == "variables" else "standard deviations"
    lines = ["", f"Goal {plan.goal}. " + (f"Decided: {meaning}." if of_graph else f"Width: {plan.width:g} {aim}.")]
    if undecided and of_graph:
        lines.append(f"{undecided} edge{' is' if undecided == 1 else 's are'} undecided.")
    if plan.budget is not None:
        lines.append(_budget_line(plan))
    if plan.total == 0.0:
        return [*lines, "Nothing more is needed for this goal."]
    uniform = f"{plan.uniform_total:,.0f}" if math.isfinite(plan.uniform_total) else "no number of"
    lines.append(f"The goal needs {plan.total:,.0f} further pairs by this plan, {uniform} with equal shares.")
    if plan.about_uniform:
        return [*lines, "Equal shares of all targets are about as good as this plan."]
    return [*lines, f"{_MEASURED} (results/plan)."] if of_graph else lines


def _budget_line(plan: PairPlan) -> str:
    """The budget, and what it is expected to reach."""
    budget = f"Budget: {sum(plan.pairs):,} further pairs"
    if plan.goal == "graph" and not plan.undecided:
        return f"{budget}; every edge is decided already."
    if plan.goal == "graph":
        return f"{budget}, enough to decide {plan.met} of {len(plan.undecided)} undecided edges."
    if plan.goal == "variables":
        return f"{budget}, enough for {plan.met} of {plan.n} variables."
    return f"{budget}, after which the interval is expected to be {plan.expected[0]:.2g} wide."
