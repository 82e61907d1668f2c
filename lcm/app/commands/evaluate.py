"""`lcm evaluate`: score a model against the truth in a data set, as a table, JSON and figures."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm.app.commands.common import add_pairs_arguments, check_output, check_writable, open_model, pairs_of

if TYPE_CHECKING:
    from lcm.app.commands.common import Opened
    from lcm.data.pairs import PairData
    from lcm.model.latent_causal_model import LatentCausalModel
    from lcm.model.pair_model import EncodedPairs

HELP = "score a fit against the truth in a data set"
DESCRIPTION = """\
Score a fit against the truth in DATA: z, targets and adjacency, or those of them that DATA has.

variables:
  n_variables           number of learned variables
  mcc, mcc_pearson      mean correlation of true variables with their matches, 0 to 1
  mcc_cauca             mean |Pearson| with the matches that maximise it, 0 to 1 (CauCA)
  dci_*                 disentanglement and completeness, 0 to 1; informativeness, a held-out R2
  r2, r2_per_variable   held-out R2 of each true variable given its match alone, by splines
  kernel_r2, kernel_r2_matched
                        the same by kernel regression (CausalVerse), given all learned variables, or the match alone
  tmex                  T-MEX: number of conditional independences that contradict the matches, 0 to n^2
  permutation           true variable i is learned variable permutation[i]
targets:
  intervention_accuracy share of pairs whose target set is found
  intervention_calibration_error
                        expected calibration error of the most probable target set, 0 to 1
graph:
  shd                   structural Hamming distance: edges that are missing, added or reversed
  edge_*                precision, recall, F1 and AUROC of the edges, 0 to 1
  graph_isomorphic      whether the graph is correct up to the names of the variables
answers:
  ate_error             error of average effects under do(), in standard deviations; needs --nature
  counterfactual_error_z, counterfactual_error_x
                        error of counterfactuals, in standard deviations, against z_tilde and x_tilde
  interventional_mmd    squared MMD between x of the fit and of the nature under do(); needs --nature
further:
  nll                   mean negative log-likelihood in nats per pair; comparable only on the same DATA
  fit_seconds           duration of the fit
A score is null if DATA lacks the truth that it needs. docs/scores.md has ranges and sources. If DATA has z, the figures
variables.png and, with adjacency, graphs.png go to RUN/figures.
"""
EPILOG = """\
examples:
  lcm evaluate run data/toy2d/test.safetensors --json scores.json
  lcm evaluate run data/toy2d/test.safetensors --nature data/toy2d/nature.safetensors
  lcm evaluate run test.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit, or a model file (no figures)")
    add_pairs_arguments(parser, "x, x_tilde and their truth")
    parser.add_argument("--json", metavar="FILE", help=".json file to write the scores to")
    parser.add_argument(
        "--nature",
        metavar="MODEL",
        help="file of the model that drew DATA, such as DIR/nature.safetensors of lcm generate",
    )
    parser.add_argument("--float64", action="store_true", help="compute in double precision")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    inputs = arguments.data, arguments.after, arguments.run_folder, arguments.nature
    out = check_output(arguments.json, ".json", *inputs) if arguments.json else None
    data = pairs_of(arguments)

    from lcm.base.files import write_json
    from lcm.data.encode import encode_pairs
    from lcm.data.named_columns import in_order_of
    from lcm.metric.scores import evaluate
    from lcm.run.run_folder import claimed_figures

    opened = open_model(arguments.run_folder, arguments.float64)
    data = in_order_of(data, opened.run)
    nature = _open_nature(arguments.nature, data)
    if opened.run:
        check_writable(opened.run.folder)
    # claimed before the work, so that a second command ends at once
    with claimed_figures(opened.run.folder) if opened.run and data.z is not None else nullcontext(Path()) as folder:
        encoded = encode_pairs(opened.model, data)
        scores = evaluate(
            opened.model,
            data,
            edge_strength=opened.run.edge_strength if opened.run else None,
            fit_seconds=opened.run.fit["fit_seconds"] if opened.run else None,
            n_jobs=arguments.threads or -1,
            encoded=encoded,
            nature=nature,
        )
        figures = _draw(folder, opened, data, encoded, scores["permutation"])
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_json(out, scores)
    if not arguments.quiet:
        print(format_scores(scores))
        if data.z is None and data.targets is None and data.adjacency is None:
            print("DATA has no truth (z, targets or adjacency), so that nothing but the likelihood can be scored.")
        for figure in figures:
            print(f"figure: {figure}")


def _open_nature(path: str | None, data: PairData) -> LatentCausalModel | None:
    """The nature in a file, checked before the data are encoded; errors name the file."""
    if path is None:
        return None
    from lcm.metric.known_nature import checked_nature
    from lcm.model.storage import load_model

    nature = load_model(path)
    try:
        return checked_nature(nature, data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def format_scores(scores: dict[str, Any]) -> str:
    """The scores as an aligned table in groups; a dash stands for null."""
    from lcm.metric.case import GROUPS
    from lcm.metric.scores import METRICS, score_text

    width = max(map(len, scores))
    lines = []
    for group in GROUPS:
        keys = [key for key in scores if METRICS[key].group == group]
        lines += [f"{group}:"] if keys else []
        lines += [f"  {key:<{width}}  {score_text(scores[key])}" for key in keys]
    return "\n".join(lines)


def _draw(
    folder: Path, opened: Opened, data: PairData, encoded: EncodedPairs, permutation: list[int] | None
) -> list[Path]:
    """Draw the figures that the truth in `data` allows into `folder`, and return their paths."""
    if opened.run is None or data.z is None or permutation is None:
        return []
    import numpy as np

    from lcm.metric.graph import aligned_adjacency
    from lcm.report import draw_two_graphs, draw_variables

    matches = np.array(permutation)
    learned = encoded.z.cpu().numpy()[:, matches[matches >= 0]]
    drawn = [folder / "variables.png"]
    given = opened.run.names
    # a default name would give the learned number, where the figure counts in the true one
    named = any(name != f"z{i}" for i, name in enumerate(given))
    names = [given[j] for j in matches[matches >= 0]] if named else None
    draw_variables(drawn[0], data.z[:, matches >= 0], learned, names)
    if data.adjacency is not None:
        drawn.append(folder / "graphs.png")
        graph = opened.model.graph.adjacency
        aligned = (aligned_adjacency(matrix, permutation) for matrix in (graph, opened.run.edge_strength))
        draw_two_graphs(drawn[1], data.adjacency, *aligned)
    return drawn
