"""What the pairs show: the variables, what was done to them, and how they compare with a truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from lcm.report.page import (
    Card,
    Cards,
    Paragraph,
    Section,
    TextTable,
    certainty_chart,
    distribution_chart,
    match_chart,
    share_chart,
)
from lcm.run.outcome import Outcome
from lcm.run.page.found import set_names
from lcm.run.page.material import ShownPairs

_MOST_SETS = 30


def variables_section(result: Outcome, pairs: ShownPairs | None) -> Section:
    """A card for each variable: its distributions, and the columns that it is most related to."""
    if pairs is None:
        text = "This model draws no pairs. Write the page with data: lcm report RUN DATA."
        return Section("Variables", [Paragraph(text)])
    about = (
        f"The numbering, orientation and units of learned variables are arbitrary. Distributions in {pairs.origin}:"
        " of x, and of x̃ where the posterior names the variable alone as the target."
    )
    sets = result.model.target_distribution.as_lists()
    cards = [_card(pairs, i, result.names[i], sets.index([i]) if [i] in sets else None) for i in range(result.model.n)]
    return Section("Variables", [Paragraph(about), Cards(cards)])


def _card(pairs: ShownPairs, i: int, name: str, target_set: int | None) -> Card:
    imposed = np.empty(0) if target_set is None else pairs.imposed(target_set, i)
    elements: list[Any] = [distribution_chart(name, pairs.z[:, i], imposed)]
    if pairs.related:
        listed = ", ".join(f"{column} {strength:.2f}" for column, strength in pairs.related[i])
        elements.append(Paragraph(f"Columns most related (absolute rank correlation): {listed}."))
    return Card(name, elements)


def pairs_section(result: Outcome, pairs: ShownPairs) -> Section:
    """The share of each target set, and how sure the posterior is."""
    names, shares = set_names(result), result.model.target_distribution.probabilities.double().cpu().numpy()
    kept = np.sort(np.argsort(-shares, kind="stable")[:_MOST_SETS])
    charts = [
        share_chart([names[k] for k in kept], shares[kept], pairs.posterior.mean(axis=0)[kept]),
        certainty_chart(pairs.posterior.max(axis=1)),
    ]
    few = f" The {_MOST_SETS} most frequent of {len(names)} target sets are shown." if len(names) > _MOST_SETS else ""
    about = f"Which variables the interventions act on, in {len(pairs.data):,} of {pairs.origin}.{few}"
    return Section("What was done in the pairs", [Paragraph(about), *charts])


def truth_section(result: Outcome, pairs: ShownPairs) -> Section:
    """Scores against the truth in the data, and learned against true variables."""
    from lcm.metric.scores import METRICS, score_text

    body = [[key, score_text(value), METRICS[key].about] for key, value in pairs.scores.items() if value is not None]
    about = f"Against the truth in {pairs.origin}. lcm evaluate RUN DATA computes all scores."
    return Section(
        "Truth", [Paragraph(about), TextTable(["score", "value", "meaning"], body), *_matches(result, pairs)]
    )


def _matches(result: Outcome, pairs: ShownPairs) -> list[Cards]:
    permutation, true = pairs.scores.get("permutation"), pairs.data.z
    if permutation is None or true is None:
        return []
    # scipy's statistics are heavy
    from lcm.isomorphism.matching import correlation_matrix

    strength = correlation_matrix(np.asarray(true, dtype=np.float64), pairs.z)
    cards = [
        Card(
            f"true z{i}, learned {result.names[j]}",
            [match_chart(f"z{i}", result.names[j], np.asarray(true[:, i]), pairs.z[:, j], float(strength[i, j]))],
        )
        for i, j in enumerate(permutation)
        if j >= 0
    ]
    return [Cards(cards)]
