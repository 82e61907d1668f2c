"""What a fit found, in three sentences and as a graph."""

from __future__ import annotations

from lcm.readout.dependence import NEGLIGIBLE
from lcm.readout.evidence import p_value_text
from lcm.report.page import Paragraph, Section, TextTable, drawn_graph
from lcm.run.certificate_text import known_certificate
from lcm.run.outcome import Outcome
from lcm.run.page.material import ShownPairs

_MOST = 6
_SURE = 0.9
_HARDLY = 0.5
_TWO_QUESTIONS = (
    "The interval and the p-value answer different questions, so an interval above 0 can stand beside a p-value that"
    " does not reject, and the reverse. The interval says how far the strength, which is never negative, would vary"
    " over samples of pairs, with the encoder taken as exact. The p-value tests whether the effect on mean or spread is"
    f" larger than one that counts as none: a correlation of {NEGLIGIBLE:g}, or more where an inexact encoder leaves"
    " traces. An edge is drawn if its p-value passes among those of all possible edges at the false discovery rate."
)
"""Why the columns of the table of edges can seem to contradict each other (docs/readout.md)."""


def three_sentences(result: Outcome, pairs: ShownPairs | None) -> list[str]:
    """The graph, the interventions, and what is to be trusted, a sentence each."""
    return [_graph_sentence(result), _targets_sentence(result, pairs), _trust_sentence(result)]


def set_names(result: Outcome) -> list[str]:
    """The names of the target sets."""
    sets = result.model.target_distribution.as_lists()
    return ["+".join(result.names[i] for i in targets) or "nothing" for targets in sets]


def _graph_sentence(result: Outcome) -> str:
    edges = [f"{result.names[i]} → {result.names[j]}" for i, j in result.graph.edges()]
    listed = ", ".join(edges[:_MOST]) + (f" and {len(edges) - _MOST} more" if len(edges) > _MOST else "")
    rate = result.config.readout.false_discovery_rate
    at = f" at a false discovery rate of {rate:g}" if result.found.evidence else ""
    graph = f"with the edge{'' if len(edges) == 1 else 's'} {listed}{at}" if edges else f"and no edges{at}"
    return f"The model {result.config.model} found {result.model.n} variables in {result.size[0]:,} pairs, {graph}."


def _targets_sentence(result: Outcome, pairs: ShownPairs | None) -> str:
    if pairs is None:
        shares = result.model.target_distribution.probabilities.tolist()
    else:
        shares = pairs.posterior.mean(axis=0).tolist()
    ranked = sorted(zip(shares, set_names(result), strict=True), key=lambda each: -each[0])
    listed = ", ".join(f"{name} in {share:.0%}" for share, name in ranked[:_MOST])
    more = f" and {len(ranked) - _MOST} more sets" if len(ranked) > _MOST else ""
    text = f"Changed by the interventions: {listed}{more}"
    if pairs is None:
        return f"{text}."
    sure = float((pairs.posterior.max(axis=1) > _SURE).mean())
    return f"{text}; the posterior is sure of the target (above {_SURE}) in {sure:.0%} of {pairs.origin}."


def _trust_sentence(result: Outcome) -> str:
    certificate = known_certificate(result)
    if not certificate.rows:
        return "The assumptions of this model are not tested, so nothing is said about them."
    verdicts = f"Of {certificate.summary().replace(':', ',')}"
    if not certificate.broken:
        return f"{verdicts}: no test contradicts this result."
    names = "; ".join(row.assumption for row in certificate.rows if row.verdict == "broken")
    return f"{verdicts}. Broken: {names}. Read the certificate before you use this result."


def graph_section(result: Outcome) -> Section:
    """The drawn graph and the table of its edges."""
    names = list(result.names)
    evidence, rate = result.found.evidence, result.config.readout.false_discovery_rate
    about = [_about(result, i) for i in range(result.model.n)]
    drawn = drawn_graph(result.graph, result.edge_strength, names, about, evidence, rate)
    if evidence is None:
        meaning = "The strength of an edge is what the graph search of this model measures. Its edges have no p-values."
    else:
        meaning = (
            "The strength of an edge is how much the effect changes, in standard deviations and without a sign, for a"
            " change of the cause by one. The false discovery rate is the expected share of false edges among those"
            " that are drawn."
        )
    head = ["edge", "strength", *(["95 % interval", "p-value of no edge"] if evidence else []), "drawn"]
    rows = _rows(result)
    table = (
        TextTable(head, rows, "Edges and candidates, strongest first") if rows else Paragraph("There is no candidate.")
    )
    below = [Paragraph(_TWO_QUESTIONS)] if rows and evidence is not None else []
    return Section("Graph", [drawn, Paragraph(meaning), table, *below])


def _rows(result: Outcome) -> list[list[str]]:
    """The accepted edges, and candidates that were not accepted, strongest first."""
    evidence, graph = result.found.evidence, result.graph
    edges = set(graph.edges())
    if evidence is not None:
        likely = (evidence.edge_p_value < _HARDLY) & evidence.forward()
        edges |= {(int(i), int(j)) for i, j in zip(*likely.nonzero(), strict=True)}
    interval = None if evidence is None else evidence.strength_interval()
    rows = []
    for i, j in sorted(edges, key=lambda edge: -result.edge_strength[edge]):
        row = [f"{result.names[i]} → {result.names[j]}", f"{result.edge_strength[i, j]:.3f}"]
        if evidence is not None and interval is not None:
            row += ["{:.3f} – {:.3f}".format(*interval[i, j]), p_value_text(evidence.edge_p_value[i, j])]
        rows.append([*row, "yes" if graph.adjacency[i, j] else "no"])
    return rows


def _about(result: Outcome, i: int) -> str:
    adjacency = result.graph.adjacency
    found = {"causes": adjacency[:, i].nonzero()[0], "effects": adjacency[i].nonzero()[0]}
    parts = [f"{words}: {', '.join(result.names[k] for k in those) or 'none'}" for words, those in found.items()]
    related = f"; most related to {result.related[i][0][0]}" if result.related else ""
    return f"{result.names[i]}: {'; '.join(parts)}{related}"
