"""A graph over the variables of a fitted model, sought on pairs; its distance from the truth, where they hold it."""

from __future__ import annotations

from lcm.data.encode import encode_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.metric.graph import aligned_adjacency, structural_hamming_distance
from lcm.model.pair_model import PairModel
from lcm.peer.search import SearchMethod, discover
from lcm.peer.search.config import GraphSearchConfig
from lcm.peer.search.variables import FittedVariables
from lcm.readout.evidence import FoundGraph

_MOST_ROWS = 50_000


def discover_on_data(
    model: PairModel,
    data: PairData,
    method: SearchMethod,
    seed: int = 0,
    *,
    config: GraphSearchConfig | None = None,
    false_discovery_rate: float = 0.05,
) -> tuple[FoundGraph, int | None]:
    """Find a graph over what a model encodes of the first 50,000 pairs (`discover`).

    Returns:
        The graph in the learned variables' numbering, and its structural Hamming distance from the true one; None
        where the data hold no true variables and graph.

    Raises:
        ValueError: as `discover` and `encode_pairs`.
    """
    pairs = data.first(_MOST_ROWS)
    encoded = encode_pairs(model, pairs)
    variables = FittedVariables.from_encoded(encoded, model.target_distribution)
    found = discover(variables, method, seed, config=config, false_discovery_rate=false_discovery_rate)
    if pairs.z is None or pairs.adjacency is None:
        return found, None
    permutation = match_variables(correlation_matrix(pairs.z, encoded.z.double().cpu().numpy()))
    aligned = aligned_adjacency(found.graph.adjacency, permutation)
    return found, structural_hamming_distance(pairs.adjacency, aligned)
