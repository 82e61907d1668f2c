"""What a fit found, in numbers for JSON, in a Markdown report and in a few lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from lcm.data.pairs import PairData
from lcm.discovery import GraphEvidence
from lcm.doubts import doubts
from lcm.graph import Graph
from lcm.intervention import TargetDistribution
from lcm.learn.config import FitConfig
from lcm.learn.reruns import Rerun
from lcm.learn.result import FitResult

_MAX_LISTED = 20


def graph_numbers(result: FitResult, config: FitConfig) -> dict[str, Any]:
    """The content of graph.json: `evidence_numbers` of the model's own graph."""
    return evidence_numbers(result.evidence, result.model.graph, config.readout.false_discovery_rate)


def evidence_numbers(evidence: GraphEvidence, graph: Graph, false_discovery_rate: float) -> dict[str, Any]:
    """A graph with its error bars for JSON, in the learned variables' numbering, [i][j] for i -> j.

    adjacency: at false_discovery_rate. edge_strength: (n, n) >= 0. order: causes first. edge_p_value,
    ancestor_p_value: (n, n), 1 where there was nothing to test. ancestors: accepted relations, at the same rate.
    edge_strength_error: (n, n), standard errors. edge_strength_interval: (n, n, 2), 95 %.
    """
    return {
        "adjacency": graph.adjacency.astype(int).tolist(),
        "edge_strength": evidence.edge_strength.tolist(),
        "order": list(evidence.order),
        "false_discovery_rate": false_discovery_rate,
        "edge_p_value": evidence.edge_p_value.tolist(),
        "ancestor_p_value": evidence.ancestor_p_value.tolist(),
        "ancestors": evidence.ancestors_at(false_discovery_rate).astype(int).tolist(),
        "edge_strength_error": evidence.edge_strength_error.tolist(),
        "edge_strength_interval": evidence.strength_interval().tolist(),
    }


def fit_numbers(result: FitResult, config: FitConfig, data: PairData) -> dict[str, Any]:
    """The content of fit.json.

    n, n_given: the number of variables and whether the config gave it. n_pairs: held-out ones included.
    fit_seconds: from data in memory to the written model, all restarts. stage_seconds: of every stage.
    implicit_nll, explicit_nll: mean nats a held-out pair, data's units. restart: the one that was kept, by the
    lowest of restart_nll. thickness: (n,), standard-normal gauge. target_sets, target_probabilities: p_I.
    order_conflicts: accepted ancestor relations [j, i], j -> i, that contradict the order. intransitive: chains
    [j, i, k] of ancestors without j -> k. reruns: every other restart against the kept one: restart, worse_by and
    standard_error in nats a pair at one thickness, as_likely, isomorphic, distance, reasons. doubts: sentences.
    """
    distribution = result.model.target_distribution
    return {
        "n": result.model.n,
        "n_given": config.n is not None,
        "n_pairs": len(data),
        "fit_seconds": result.seconds,
        "implicit_nll": finite(result.implicit_nll),
        "explicit_nll": finite(result.explicit_nll),
        "restart": result.restart,
        "restart_nll": [finite(nll) for nll in result.restart_nll],
        "thickness": result.model.thickness.tolist(),
        "target_sets": distribution.as_lists(),
        "target_probabilities": distribution.probabilities.tolist(),
        "order_conflicts": [list(pair) for pair in result.ancestry.conflicts],
        "intransitive": [list(chain) for chain in result.ancestry.intransitive],
        "reruns": [_rerun_numbers(rerun) for rerun in result.reruns],
        "doubts": doubts(result, data),
        "stage_seconds": stage_seconds(result.records),
    }


def _rerun_numbers(rerun: Rerun) -> dict[str, Any]:
    numbers = {**asdict(rerun), "as_likely": rerun.as_likely}
    return numbers | {"worse_by": finite(rerun.worse_by)}


def agreement_text(result: FitResult) -> str:
    """Whether the restarts that reach the best likelihood are isomorphic to it, in one sentence; "" for one restart."""
    if not result.reruns:
        return ""
    alike = [rerun for rerun in result.reruns if rerun.as_likely]
    if not alike:
        missing = "No other restart clearly reaches the likelihood of the best: nothing confirms it."
        return f"{missing} Try more restarts or steps."
    agreeing = [rerun for rerun in alike if rerun.agrees]
    reached = f"{len(alike) + 1} of {len(result.reruns) + 1} restarts reach the same likelihood"
    if len(agreeing) < len(alike):
        return f"{reached}; {len(agreeing)} of the {len(alike)} others have its variables and graph. See the doubts."
    farthest = max(rerun.distance for rerun in agreeing)
    return f"{reached} and have the same variables and graph: distance from the best at most {farthest:.4f}."


def stage_seconds(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Seconds of every stage of every restart, in order, from metrics.jsonl; restarts that ran together share them."""
    found: list[dict[str, Any]] = []
    before = 0.0
    for stage, block in groupby(records, key=lambda record: record["stage"]):
        lines = list(block)
        restarts, end = list(dict.fromkeys(line["restart"] for line in lines)), float(lines[-1]["seconds"])
        share = round((end - before) / len(restarts), 3)
        found += [{"restart": restart, "stage": stage, "seconds": share} for restart in restarts]
        before = end
    return found


def stage_lines(records: Sequence[Mapping[str, Any]]) -> str:
    """The same as lines of Markdown."""
    return "".join(
        f"- restart {stage['restart']}, {stage['stage']}: {stage['seconds']:.1f} s\n"
        for stage in stage_seconds(records)
    )


def edge_lines(evidence: GraphEvidence, graph: Graph) -> list[str]:
    """Every edge with its strength, the interval of that and its p-value, the strongest first."""
    interval = evidence.strength_interval()
    ranked = sorted(graph.edges(), key=lambda edge: -evidence.edge_strength[edge])
    return [
        f"z{i} -> z{j}  {evidence.edge_strength[i, j]:.3f}  [{interval[i, j, 0]:.3f}, {interval[i, j, 1]:.3f}]"
        f"  {p_value_text(evidence.edge_p_value[i, j])}"
        for i, j in ranked
    ]


def p_value_text(p_value: float) -> str:
    """A p-value for a reader."""
    return "p < 1e-15" if p_value < 1e-15 else f"p = {p_value:.2g}"


def fit_report(result: FitResult, config: FitConfig, data: PairData) -> str:
    """The content of report.md."""
    n, edges = result.model.n, edge_lines(result.evidence, result.model.graph)
    listed = "\n".join(f"- {line}" for line in edges) or "- none"
    restarts = "".join(
        f"- restart {index}: {-nll:.4f}{' (kept)' if index == result.restart else ''}\n"
        for index, nll in enumerate(result.restart_nll)
    )
    doubtful = "".join(f"\n**Doubt.** {doubt}\n" for doubt in doubts(result, data))
    return f"""# Fit of a latent causal model

{n} causal variables, fitted to {len(data):,} pairs of {data.n_dimensions} dimensions in {result.seconds:.1f} s.
Learned variables come in arbitrary order and sign; they are numbered from 0.

## Graph

Edges at a false discovery rate of {config.readout.false_discovery_rate:g}, each with its strength, in standard
deviations of the effect for one of the cause, the 95 % interval of that over pairs, and the p-value of its absence:

{listed}

`lcm graph RUN --fdr Q` gives the graph at another rate.

Causes first: {", ".join(f"z{i}" for i in result.order)}.
{doubtful}
![graph](figures/graph.png)

## Held-out log-likelihood, nats a pair

- implicit model: {-result.implicit_nll:.4f}
- explicit model: {-result.explicit_nll:.4f}

Of the explicit model, by restart:

{restarts}{_rerun_lines(result)}
![training](figures/training.png)

## Interventions

Share of pairs: {target_text(result.model.target_distribution)}.
Thickness, the standard deviation of what is not intervened on: {_numbers(result.model.thickness.tolist())}.

![pairs](figures/pairs.png)

## Time

{stage_lines(result.records)}"""


def _rerun_lines(result: FitResult) -> str:
    """What report.md says of restarts beside the best."""
    if not result.reruns:
        return ""
    lines = [
        f"- restart {rerun.restart}: {rerun.worse_by:.4f} ± {rerun.standard_error:.4f} nats a pair below the best, at"
        f" one thickness; {'isomorphic' if rerun.isomorphic else 'not isomorphic'}, distance {rerun.distance:.4f}"
        for rerun in result.reruns
    ]
    return "\n" + agreement_text(result) + "\n\n" + "\n".join(lines) + "\n"


def fit_summary(result: FitResult, data: PairData, folder: str) -> str:
    """What `lcm fit` prints at its end."""
    edges = edge_lines(result.evidence, result.model.graph)
    shown = edges[:_MAX_LISTED] + ([f"... {len(edges) - _MAX_LISTED} more"] if len(edges) > _MAX_LISTED else [])
    described = ", with strength, 95 % interval, p-value" if edges else ""
    lines = [
        f"Fitted {result.model.n} causal variables to {len(data):,} pairs in {result.seconds:.1f} s.",
        "",
        f"Graph: {len(edges) or 'no'} edge{'' if len(edges) == 1 else 's'}{described}",
        *(f"  {line}" for line in shown),
        "Held-out log-likelihood, nats a pair",
        f"  implicit {-result.implicit_nll:.4f}   explicit {-result.explicit_nll:.4f}",
        f"Interventions: {target_text(result.model.target_distribution)}",
    ]
    lines += [f"Restarts: {agreement_text(result)}"] if result.reruns else []
    lines += [f"Doubt: {doubt}" for doubt in doubts(result, data)]
    lines += [
        "",
        f"Written to {folder}: the model, graph.json, report.md; figures in {folder}/figures.",
        "Next:",
        f"  lcm evaluate {folder} DATA                   scores, where DATA holds the truth",
        f"  lcm compare {folder} OTHER DATA              against another fit, where nothing is known",
        f"  lcm graph {folder} --fdr Q                   the graph at another false discovery rate",
        f"  lcm encode {folder} DATA --out FILE          the variables of each pair",
        f"  lcm sample {folder} --n N --out FILE         new pairs; --do I=VALUE intervenes",
        f"  tensorboard --logdir {folder}                the training curves",
    ]
    return "\n".join(lines)


def target_text(distribution: TargetDistribution) -> str:
    """The share of every target set."""
    ranked = zip(distribution.as_lists(), distribution.probabilities.tolist(), strict=True)
    shares = [f"{'+'.join(f'z{i}' for i in targets) or 'none'} {share:.1%}" for targets, share in ranked]
    return ", ".join(shares[:_MAX_LISTED]) + (f", ... ({len(shares)} sets)" if len(shares) > _MAX_LISTED else "")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def finite(value: float) -> float | None:
    """The value for JSON, None where it is not finite."""
    return value if math.isfinite(value) else None
