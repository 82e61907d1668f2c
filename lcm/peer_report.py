"""What the fit of a peer found, in numbers for JSON, in a Markdown report and in a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.data.pairs import PairData
from lcm.fit_report import finite, stage_lines, stage_seconds, target_text
from lcm.graph import Graph
from lcm.learn.config import FitConfig
from lcm.learn.result import PeerResult
from lcm.model import LatentCausalModel

_MAX_LISTED = 20


def peer_graph_numbers(result: PeerResult) -> dict[str, Any]:
    """The content of graph.json."""
    return strength_numbers(result.model.graph, result.edge_strength, result.order)


def strength_numbers(graph: Graph, edge_strength: NDArray[np.float64], order: Sequence[int]) -> dict[str, Any]:
    """A graph without p-values for JSON: adjacency, edge_strength, order, in the learned variables' numbering."""
    return {
        "adjacency": graph.adjacency.astype(int).tolist(),
        "edge_strength": edge_strength.tolist(),
        "order": list(order),
    }


def peer_numbers(result: PeerResult, config: FitConfig, data: PairData) -> dict[str, Any]:
    """The content of fit.json.

    held_out_nll: mean nats a held-out pair, data's units; of a variational model the negative bound. The other keys are
    those of the default model, as far as a peer has them (`lcm.fit_report.fit_numbers`).
    """
    distribution = result.model.target_distribution
    return {
        "model": config.model,
        "n": result.model.n,
        "n_given": config.n is not None,
        "n_pairs": len(data),
        "fit_seconds": result.seconds,
        "graph_search_seconds": result.found.seconds,
        "held_out_nll": finite(result.held_out_nll),
        "implicit_nll": None,
        "explicit_nll": None,
        "restart": result.restart,
        "restart_nll": [finite(nll) for nll in result.restart_nll],
        "target_sets": distribution.as_lists(),
        "target_probabilities": distribution.probabilities.tolist(),
        "stage_seconds": stage_seconds(result.records),
    }


def strength_lines(graph: Graph, edge_strength: NDArray[np.float64]) -> list[str]:
    """Every edge with its strength, the strongest first."""
    ranked = sorted(graph.edges(), key=lambda edge: -edge_strength[edge])
    return [f"z{i} -> z{j}  {edge_strength[i, j]:.3f}" for i, j in ranked]


def peer_report(result: PeerResult, config: FitConfig, data: PairData) -> str:
    """The content of report.md."""
    listed = "\n".join(f"- {line}" for line in strength_lines(result.model.graph, result.edge_strength)) or "- none"
    n, seconds = result.model.n, result.seconds
    return f"""# Fit of the model {config.model}

{n} latent variables, fitted to {len(data):,} pairs of {data.n_dimensions} dimensions in {seconds:.1f} s.
Learned variables come in arbitrary order and sign; they are numbered from 0.

## Graph

Edges, each with its strength as the search measures it (docs/graph-search.md); a peer's edges come without p-values:

{listed}

Causes first: {", ".join(f"z{i}" for i in result.order)}.

![graph](figures/graph.png)

## Held-out log-likelihood, nats a pair

{-result.held_out_nll:.4f}; of a variational model, a lower bound.

![training](figures/training.png)

## Interventions

Target sets, {_targets(result)}.

![pairs](figures/pairs.png)

## Time

{stage_lines(result.records)}"""


def peer_summary(result: PeerResult, data: PairData, folder: str, model: str) -> str:
    """What `lcm fit` prints at its end."""
    edges = strength_lines(result.model.graph, result.edge_strength)
    shown = edges[:_MAX_LISTED] + ([f"... {len(edges) - _MAX_LISTED} more"] if len(edges) > _MAX_LISTED else [])
    lines = [
        f"Fitted {model}, {result.model.n} latent variables, to {len(data):,} pairs in {result.seconds:.1f} s.",
        "",
        f"Graph: {len(edges) or 'no'} edge{'' if len(edges) == 1 else 's'}{', with strength' if edges else ''}",
        *(f"  {line}" for line in shown),
        f"Held-out log-likelihood, nats a pair, or a lower bound of it: {-result.held_out_nll:.4f}",
        f"Interventions: {_targets(result)}",
        "",
        f"Written to {folder}: the model, graph.json, report.md; figures in {folder}/figures.",
        "Next:",
        f"  lcm evaluate {folder} DATA                   scores, where DATA holds the truth",
        f"  lcm compare {folder} OTHER DATA              against another fit, where nothing is known",
        f"  lcm graph {folder} --method M --data DATA    another search for the graph: lcm graph --help",
        f"  lcm encode {folder} DATA --out FILE          the variables of each pair",
    ]
    if isinstance(result.model, LatentCausalModel):
        lines += [f"  lcm sample {folder} --n N --out FILE         new pairs; --do I=VALUE intervenes"]
    return "\n".join(lines)


def _targets(result: PeerResult) -> str:
    """The probabilities of target sets in the model, which some of the peers do not learn."""
    return f"probabilities in the model, learned or assumed: {target_text(result.model.target_distribution)}"
