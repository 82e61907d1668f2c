"""The result of a fit of any model: numbers for JSON, a Markdown report, and a page of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.learn.restarts import Restart
from lcm.model.graph import Graph
from lcm.model.image import ImageModel
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.readout.evidence import GraphEvidence, p_value_text
from lcm.run.certificate_text import certificate_lines, certificate_section
from lcm.run.columns import coordinates_text
from lcm.run.outcome import Outcome

_MAX_LISTED = 20


def graph_numbers(result: Outcome) -> dict[str, Any]:
    """The content of graph.json: the graph of the model, with error bars if tests found it."""
    graph, evidence = result.model.graph, result.found.evidence
    related = {"related_columns": [dict(each) for each in result.related]} if result.related else {}
    named = {"names": list(result.names), **related}
    if evidence is None:
        return strength_numbers(graph, result.edge_strength, result.order) | named
    return evidence_numbers(evidence, graph, result.config.readout.false_discovery_rate) | named


def evidence_numbers(evidence: GraphEvidence, graph: Graph, false_discovery_rate: float) -> dict[str, Any]:
    """A graph with its error bars for JSON. Entry [i][j] belongs to i -> j; indices are learned variables.

    adjacency: at false_discovery_rate. edge_strength: (n, n) >= 0. order: causes first. edge_p_value,
    ancestor_p_value: (n, n), 1 for relations that were not tested. ancestors: accepted relations, at the same rate.
    edge_strength_error: (n, n), standard errors. edge_strength_interval: (n, n, 2), 95 % intervals.
    """
    return {
        **strength_numbers(graph, evidence.edge_strength, evidence.order),
        "false_discovery_rate": false_discovery_rate,
        "edge_p_value": evidence.edge_p_value.tolist(),
        "ancestor_p_value": evidence.ancestor_p_value.tolist(),
        "ancestors": evidence.ancestors_at(false_discovery_rate).astype(int).tolist(),
        "edge_strength_error": evidence.edge_strength_error.tolist(),
        "edge_strength_interval": evidence.strength_interval().tolist(),
    }


def strength_numbers(graph: Graph, edge_strength: NDArray[np.float64], order: Sequence[int]) -> dict[str, Any]:
    """A graph without p-values for JSON: adjacency, edge_strength, order. Indices are learned variables."""
    return {
        "adjacency": graph.adjacency.astype(int).tolist(),
        "edge_strength": edge_strength.tolist(),
        "order": list(order),
    }


def fit_numbers(result: Outcome) -> dict[str, Any]:
    """The content of fit.json. A key that a model does not have is null or left out.

    model: name of the model. n, n_given: number of variables, and whether the config gave it. tried: with n: auto, each
    number that was fitted and its held_out_nll. n_pairs: number of pairs, held-out pairs included. n_dimensions:
    dimensions of x; for images, of their codes. fit_seconds: from data in memory to the written model, over all
    restarts. stage_seconds: seconds of every stage. graph_search_seconds: seconds of the graph search of a peer.
    held_out_nll: mean negative log-likelihood in nats per held-out pair, in the units of the data (for images, of their
    codes); a variational model gives an upper bound. implicit_nll, explicit_nll: the same for the two models of `flow`
    and `linear`. restart_nll: held_out_nll of every restart; restart: the one that was kept, with the lowest.
    thickness: (n,), in standard-normal gauge. sensor_noise: (d,), the standard deviation of the noise of each column of
    x (for images, of their codes), if the posterior counts any, else null. target_sets, target_probabilities: p_𝓘.
    support: (n, 2), the range of each variable in the data, without the outer thousandth. order_conflicts: clear
    ancestor relations [j, i], j -> i, that contradict the order. intransitive: chains [j, i, k] with j -> i and i -> k
    but not j -> k. other_restarts: each other restart compared with the kept one: restart, worse_by and
    standard_error in nats per pair at equal thickness, as_likely, isomorphic, agrees, distance, reasons. doubts:
    texts. certificate: rows and notes (`lcm.Certificate.to_json`). cut_short_at: the usual thickness at which a
    limit of time ended the noise encoder, else null. columns: names of the columns of x, if they have names;
    related_columns: for each variable, its most related columns with |Spearman|. image: shape, code and
    reconstruction_error, for images.
    """
    latent, distribution = result.latent, result.model.target_distribution
    tested = result.ancestry is not None
    numbers: dict[str, Any] = {
        "model": result.config.model,
        "n": result.model.n,
        "n_given": isinstance(result.config.n, int),
        "tried": [[n, finite(nll)] for n, nll in result.tried],
        "n_pairs": result.size[0],
        "n_dimensions": result.size[1],
        "fit_seconds": result.seconds,
        "graph_search_seconds": result.found.seconds,
        "held_out_nll": finite(result.held_out_nll),
        "implicit_nll": None if result.implicit_nll is None else finite(result.implicit_nll),
        "explicit_nll": finite(result.held_out_nll) if tested else None,
        "restart": result.restart,
        "support": None if result.support is None else result.support.tolist(),
        "restart_nll": [finite(nll) for nll in result.restart_nll],
        "target_sets": distribution.as_lists(),
        "target_probabilities": distribution.probabilities.tolist(),
        "stage_seconds": stage_seconds(result.records),
    }
    if result.columns:
        numbers |= {"columns": list(result.columns), "related_columns": [dict(each) for each in result.related]}
    if isinstance(latent, LatentCausalModel):
        numbers["thickness"] = latent.thickness.tolist()
        numbers["sensor_noise"] = None if latent.sensor_noise is None else latent.sensor_noise.deviation.tolist()
    if result.ancestry is not None:
        numbers |= {
            "order_conflicts": [list(pair) for pair in result.ancestry.conflicts],
            "intransitive": [list(chain) for chain in result.ancestry.intransitive],
            "other_restarts": [_restart_numbers(restart) for restart in result.other_restarts],
        }
    if result.ancestry is not None or result.doubts:
        numbers["doubts"] = list(result.doubts)
    numbers |= {"certificate": result.certificate.to_json(), "cut_short_at": result.cut_short_at}
    if isinstance(result.model, ImageModel):
        numbers["image"] = {
            "shape": list(result.model.observation_shape),
            "code": result.model.autoencoder.code,
            "reconstruction_error": reconstruction_error(result.records),
        }
    return numbers


def _restart_numbers(restart: Restart) -> dict[str, Any]:
    return {**asdict(restart), "as_likely": restart.as_likely, "worse_by": finite(restart.worse_by)}


def agreement_text(result: Outcome) -> str:
    """Say whether the restarts that reach the best likelihood agree with the best; "" for a single restart."""
    if not result.other_restarts:
        return ""
    alike = [restart for restart in result.other_restarts if restart.as_likely]
    if not alike:
        missing = "No other restart clearly reaches the likelihood of the best one, so nothing confirms it."
        return f"{missing} Try more restarts or more steps."
    agreeing = [restart for restart in alike if restart.agrees]
    reached = f"{len(alike) + 1} of {len(result.other_restarts) + 1} restarts reach the same likelihood"
    if len(agreeing) < len(alike):
        return f"{reached}; {len(agreeing)} of the {len(alike)} others agree with the best one. See the certificate."
    farthest = max(restart.distance for restart in agreeing)
    return f"{reached} and have the same variables and graph. Their distance from the best is at most {farthest:.4f}."


def stage_seconds(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Seconds of every stage of every restart, from metrics.jsonl. Restarts that ran together share the time."""
    found: list[dict[str, Any]] = []
    before = 0.0
    for stage, block in groupby(records, key=lambda record: record["stage"]):
        lines = list(block)
        restarts, end = list(dict.fromkeys(line["restart"] for line in lines)), float(lines[-1]["seconds"])
        share = round((end - before) / len(restarts), 3)
        found += [{"restart": restart, "stage": stage, "seconds": share} for restart in restarts]
        before = end
    return found


def edge_lines(evidence: GraphEvidence, graph: Graph, names: Sequence[str]) -> list[str]:
    """A line for each edge, strongest first: its strength, the interval of the strength, and the p-value."""
    (low, high), strength = np.moveaxis(evidence.strength_interval(), -1, 0), evidence.edge_strength
    return [
        f"{names[i]} -> {names[j]}  {strength[i, j]:.3f}  [{low[i, j]:.3f}, {high[i, j]:.3f}]"
        f"  {p_value_text(evidence.edge_p_value[i, j])}"
        for i, j in sorted(graph.edges(), key=lambda edge: -strength[edge])
    ]


def strength_lines(graph: Graph, edge_strength: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """A line for each edge, strongest first: its strength."""
    ranked = sorted(graph.edges(), key=lambda edge: -edge_strength[edge])
    return [f"{names[i]} -> {names[j]}  {edge_strength[i, j]:.3f}" for i, j in ranked]


def target_text(distribution: TargetDistribution, names: Sequence[str]) -> str:
    """The share of each target set, as text."""
    ranked = zip(distribution.as_lists(), distribution.probabilities.tolist(), strict=True)
    shares = [f"{'+'.join(names[i] for i in targets) or 'none'} {share:.1%}" for targets, share in ranked]
    return ", ".join(shares[:_MAX_LISTED]) + (f", ... ({len(shares)} sets)" if len(shares) > _MAX_LISTED else "")


def _edges(result: Outcome) -> list[str]:
    if result.found.evidence is None:
        return strength_lines(result.model.graph, result.edge_strength, result.names)
    return edge_lines(result.found.evidence, result.model.graph, result.names)


def _targets(result: Outcome) -> str:
    shares = target_text(result.model.target_distribution, result.names)
    if result.implicit_nll is not None:
        return f"Share of pairs by target: {shares}"
    return f"Target probabilities of the model, learned or assumed: {shares}"


def fit_report(result: Outcome) -> str:
    """The content of report.md."""
    listed = "\n".join(f"- {line}" for line in _edges(result)) or "- no edge"
    stages = stage_seconds(result.records)
    times = "".join(f"- restart {each['restart']}, {each['stage']}: {each['seconds']:.1f} s\n" for each in stages)
    training = "![training](figures/training.png)" if result.records else "A closed form has no training curves."
    return f"""# Fit of the model {result.config.model}

{_variables_text(result)}, fitted to {result.size[0]:,} pairs of {result.size[1]} dimensions in {result.seconds:.1f} s.
The numbering, orientation and units of learned variables are arbitrary. Variables are numbered from 0.
{_numbers_paragraph(result)}{_coordinates_paragraph(result)}
## Graph

{_edges_text(result)}

{listed}

Causal order, causes first: {", ".join(result.names[i] for i in result.order)}.
{_columns_text(result)}
![graph](figures/graph.png)

{certificate_section(result)}## Held-out log-likelihood, nats per pair

{_likelihood_lines(result)}
{training}

## Interventions

{_targets(result)}.
{_thickness_line(result)}
![pairs](figures/pairs.png)

## Time

{times}{_image_section(result)}"""


def _numbers_paragraph(result: Outcome) -> str:
    figure = "\n![number of variables](figures/number_of_variables.png)\n" if shows_numbers(result) else ""
    if not result.tried:
        return figure
    listed = ", ".join(f"{-nll:.3f} with {n}" for n, nll in result.tried)
    return (
        f"\nNumber of variables: {result.model.n}, the likeliest of {len(result.tried)} fits. Held-out log-likelihoods"
        f" in nats per pair: {listed}.\n{figure}"
    )


def shows_numbers(result: Outcome) -> bool:
    """Whether the run has a figure of the evidence for n: of vectors of two or more dimensions, where n is not told."""
    told = isinstance(result.config.n, int)
    return not told and not isinstance(result.model, ImageModel) and result.model.d > 1


def _coordinates_paragraph(result: Outcome) -> str:
    text = coordinates_text(result)
    return f"\n{text}\n" if text else ""


def _variables_text(result: Outcome) -> str:
    causal = isinstance(result.latent, LatentCausalModel)
    return f"{result.model.n} {'causal' if causal else 'latent'} variables"


def related_lines(result: Outcome) -> list[str]:
    """A line for each variable: the most related columns of x. The list is empty if columns have no names."""
    return [
        f"{result.names[i]}: {', '.join(f'{name} {strength:.2f}' for name, strength in related)}"
        for i, related in enumerate(result.related)
    ]


def _columns_text(result: Outcome) -> str:
    listed = "".join(f"- {line}\n" for line in related_lines(result))
    return f"\nColumns most related to each variable (absolute rank correlation):\n\n{listed}" if listed else ""


def _edges_text(result: Outcome) -> str:
    if result.found.evidence is None:
        return (
            "Each line gives an edge and its strength, as the graph search measures it (docs/graph-search.md). The\n"
            "edges of this model have no p-values."
        )
    rate = result.config.readout.false_discovery_rate
    return (
        f"The edges at a false discovery rate of {rate:g}. Each line gives an edge, its strength (how much the\n"
        "effect changes, in standard deviations and without a sign, for a change of the cause by one), the 95 %\n"
        'interval of the strength over pairs, and the p-value of "there is no edge". `lcm graph RUN --fdr Q`\n'
        "prints the graph at another rate."
    )


def _likelihood_lines(result: Outcome) -> str:
    restarts = "".join(
        f"- restart {index}: {-nll:.4f}{' (kept)' if index == result.restart else ''}\n"
        for index, nll in enumerate(result.restart_nll)
    )
    if result.implicit_nll is None:
        lines = f"{-result.held_out_nll:.4f}. For a variational model, this is a lower bound.\n"
        return lines + (f"\nBy restart:\n\n{restarts}" if len(result.restart_nll) > 1 else "")
    both = f"- implicit model: {-result.implicit_nll:.4f}\n- explicit model: {-result.held_out_nll:.4f}\n"
    compared = "".join(
        f"- restart {each.restart}: {each.worse_by:.4f} ± {each.standard_error:.4f} nats per pair below the best, at"
        f" equal thickness; {'isomorphic' if each.isomorphic else 'not isomorphic'}, distance {each.distance:.4f}\n"
        for each in result.other_restarts
    )
    agreement = f"\n{agreement_text(result)}\n\n{compared}" if compared else ""
    return f"{both}\nExplicit model by restart:\n\n{restarts}{agreement}"


def _thickness_line(result: Outcome) -> str:
    latent = result.latent
    if not isinstance(latent, LatentCausalModel):
        return ""
    listed = ", ".join(f"{value:.4g}" for value in latent.thickness.tolist())
    said = f"Thickness by variable (standard deviation of the change of its noise without intervention): {listed}.\n"
    if latent.sensor_noise is None:
        return said
    least, most = (float(value) for value in latent.sensor_noise.deviation.aminmax())
    noisy = "Dimensions of the codes" if isinstance(result.model, ImageModel) else "Columns of x"
    return (
        f"{said}{noisy} have noise with standard deviations from {least:.3g} to {most:.3g}; targets are judged by"
        " what it does to the variables at each place.\n"
    )


def image_figure_names(result: Outcome) -> tuple[str, ...]:
    """The names of the figures of a fit to images."""
    causal = isinstance(result.latent, LatentCausalModel)
    return (("traversals", "counterfactuals", "samples") if causal else ()) + ("targets",)


def _image_section(result: Outcome) -> str:
    if not isinstance(result.model, ImageModel):
        return ""
    height, width, colours = result.model.observation_shape
    shown = "\n\n".join(f"![{name}](figures/{name}.png)" for name in image_figure_names(result))
    return f"""
## Images

The images have {height} × {width} pixels and {colours} channels. The autoencoder maps them to codes of
{result.model.autoencoder.code} dimensions. The root mean square error of decoded held-out images is
{reconstruction_error(result.records):.4f} of full brightness. The log-likelihoods above are those of the codes.

{shown}
"""


def reconstruction_error(records: Sequence[Mapping[str, Any]]) -> float:
    """Root mean square error per pixel of held-out images, as a share of full brightness, at the end of the fit."""
    kept = [record for record in records if record.get("error") is not None]
    best = max(kept, key=lambda record: float(record["validation_log_likelihood"]))
    return float(best["error"]) ** 0.5


def fit_text(result: Outcome) -> str:
    """A fit on one page: the model, the graph, the likelihood, the interventions, and the certificate."""
    edges = _edges(result)
    shown = edges[:_MAX_LISTED] + ([f"... {len(edges) - _MAX_LISTED} more"] if len(edges) > _MAX_LISTED else [])
    described = ", with strength, 95 % interval, p-value" if result.found.evidence else ", with strength"
    lines = [
        f"Fitted {_variables_text(result)} to {result.size[0]:,} pairs in {result.seconds:.1f} s.",
        f"Model: {result.config.model}",
        "",
        f"Graph: {len(edges) or 'no'} edge{'' if len(edges) == 1 else 's'}{described if edges else ''}",
        *(f"  {line}" for line in shown),
    ]
    if result.related:
        lines += [
            "Columns most related to each variable (absolute rank correlation)",
            *(f"  {line}" for line in related_lines(result)),
        ]
    if result.implicit_nll is None:
        lines += [f"Held-out log-likelihood or a lower bound, nats per pair: {-result.held_out_nll:.4f}"]
    else:
        both = f"  implicit {-result.implicit_nll:.4f}   explicit {-result.held_out_nll:.4f}"
        lines += ["Held-out log-likelihood, nats per pair", both]
    lines += [f"Interventions. {_targets(result)}"]
    lines += [f"Restarts: {agreement_text(result)}"] if result.other_restarts else []
    return "\n".join([*lines, *certificate_lines(result)])


def finite(value: float) -> float | None:
    """The value for JSON; None if it is not finite."""
    return value if math.isfinite(value) else None
