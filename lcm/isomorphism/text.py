"""A comparison of two models as plain text for a reader."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lcm.isomorphism.findings import Findings, Tolerances
from lcm.isomorphism.verdict import Judgement, edges_text
from lcm.model.names import put_names

_EQUAL_LIKELIHOOD = 0.05
_VERDICTS = {
    "isomorphic": "isomorphic",
    "not isomorphic": "NOT isomorphic",
    "not decided": "NOT DECIDED by these data",
}


def comparison_text(found: Findings, judged: Judgement, a: Sequence[str], b: Sequence[str]) -> str:
    """The comparison as plain text for a reader, with names of the variables of A and of B."""
    n = len(found.permutation)
    verdict = _VERDICTS[judged.verdict]
    lines = [f"Verdict: {verdict}, at the tolerances below. Distance from isomorphism: {found.distance:.4f}"]
    lines += [*meaning_lines(found, judged), ""]
    sentences = judged.reasons + judged.undecided
    lines += [f"  {put_names(sentence, a)}" for sentence in sentences]
    lines += [""] if sentences else []
    pairs = [f"{a[i]} -> {b[j]}" for i, j in enumerate(found.permutation)]
    width = max(10, *map(len, pairs))
    lines.append(f"{'A -> B':{width}}  R2 of h   leaks from others   h                   R2 of noise")
    for i in range(n):
        shape = ("rises" if found.orientation[i] > 0 else "falls") + (
            "" if found.monotone_gain[i] <= found.tolerances.monotone else ", not monotone"
        )
        noise = "-" if found.noise_r2 is None else f"{found.noise_r2[i]:.4f}"
        lines.append(
            f"{pairs[i]:{width}}  {found.r2[i]:.4f}    {found.leakage[i]:.4f}              {shape:<19} {noise}"
        )
    measured = [_consistency_line(found), *_model_lines(found), *_compared_lines(judged)]
    # all of these number variables as A does
    lines += ["", *(put_names(line, a) for line in measured), ""]
    return "\n".join([*lines, _tolerance_text(found.tolerances)])


def _consistency_line(found: Findings) -> str:
    measured = found.consistency
    mixed = [", z" + " z".join(map(str, block)) + " in one block" for block in measured.blocks if len(block) > 1]
    return (
        f"Consistency, mean R2 of affine maps: of all variables {measured.affine:.4f}, of blocks {measured.block:.4f}"
        + "".join(mixed)
    )


def _model_lines(found: Findings) -> list[str]:
    if found.graphs_equal is None or found.noise_distance is None:
        return []
    graphs = (
        f"equal, {found.n_edges} edge{'' if found.n_edges == 1 else 's'}"
        if found.graphs_equal
        else f"different: {edges_text(found)}"
    )
    lines = [f"Graphs: {graphs} (in A's numbering)"]
    lines.append(
        f"Share of variance at which maps do not commute with h and k: solution maps {found.solution_error:.2g}, "
        f"decoders {found.decoder_error:.2g}"
    )
    lines.append(
        f"Distributions: target sets {found.target_distance:.3f} (total variation), noise "
        f"{found.noise_distance.max():.3f}, imposed values {_imposed_text(found)} (Kolmogorov, the largest)"
    )
    return lines + _likelihood_lines(found)


def _imposed_text(found: Findings) -> str:
    distances = found.imposed_distance
    if distances is None or not np.isfinite(distances).any():
        return "-"
    return f"{np.nanmax(distances):.3f}"


def _likelihood_lines(found: Findings) -> list[str]:
    if found.log_likelihood_difference is None or found.log_likelihood is None:
        lines = ["Log-likelihood at one thickness: not finite for some pairs"]
    else:
        difference, error = found.log_likelihood_difference
        lines = [
            f"Log-likelihood at one thickness: A {found.log_likelihood[0]:.4f}, B {found.log_likelihood[1]:.4f}, "
            f"difference {difference:.4f} ± {error:.4f} nats a pair"
        ]
    if found.divergence is None or found.divergence_error is None:
        return [*lines, "Likelihood of pairs that the models draw: not finite for some pairs"]
    a, b = (f"{x:.4f} ± {e:.4f}" for x, e in zip(found.divergence, found.divergence_error, strict=True))
    return [*lines, f"Pairs that A draws are less likely under B by {a} nats a pair, B's under A by {b}"]


def _compared_lines(judged: Judgement) -> list[str]:
    lines = [f"Compared: {', '.join(judged.compared)}"]
    return lines + [f"Not compared: {'; '.join(judged.not_compared)}"] * bool(judged.not_compared)


def meaning_lines(found: Findings, judged: Judgement) -> list[str]:
    """What the verdict means, given both likelihoods; an empty list without them."""
    if found.log_likelihood_difference is None:
        return []
    difference, error = found.log_likelihood_difference
    if judged.verdict == "isomorphic":
        return ["The two models agree up to the numbering of the variables and a monotone map of each."]
    if abs(difference) > _EQUAL_LIKELIHOOD + 2.0 * error:
        better, other = ("A", "B") if difference > 0 else ("B", "A")
        return [f"{better} explains these pairs better: keep {better}, and fit {other} longer or with another seed."]
    if judged.likelihood_reasons and not judged.part_reasons:
        alike = f"variables by maps of R2 >= {found.r2.min():.4f}" + ", graphs equal" * bool(found.graphs_equal)
        same = "variables and the graph" if found.graphs_equal else "variables"
        return [
            f"All parts correspond within their tolerances ({alike}), but not the likelihoods: few pairs or noise in x",
            f"leave such a difference, and so do unfinished fits. The {same} are the same in both.",
        ]
    if not judged.reasons:
        return ["Nothing that was compared differs, but not everything could be compared well enough."]
    return ["Neither explains these pairs better: the data may not identify the model, or both fits are unfinished."]


def _tolerance_text(allowed: Tolerances) -> str:
    return (
        f"Tolerances: R2 >= {allowed.r2}, leaks <= {allowed.leakage}, gain without monotonicity <= {allowed.monotone}, "
        f"commuting <= {allowed.commuting},\n  target sets <= {allowed.targets}, "
        f"distributions <= {allowed.distributions}, R2 of imposed scores >= {allowed.imposed}, "
        f"divergence <= {allowed.likelihood} nats,\n  "
        f"likelihood of the data <= {allowed.data_likelihood} nats, graphs equal"
    )
