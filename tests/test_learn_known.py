"""Side information: what it must fit, and what knowing it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import SHORT, fit_in, relabelled, sampled, without

from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import FullConfig
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import correlation_matrix
from lcm.learn.config import KnownConfig
from lcm.learn.known import assign_components, known_graph
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectInterventionConfig, TargetDistribution
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs
from lcm.run.known import known_targets, require_usable
from lcm.run.result import FitResult
from lcm.run.runs import load_run

LINEAR = FitConfig(model="linear")
KNOWN = KnownConfig(targets=True)


@pytest.fixture(scope="module")
def chain() -> PairData:
    """z_0 → z_1 → z_2, with an edge z_0 → z_2, behind a rotation."""
    return sampled(build_nature(NatureConfig(3, FullConfig()), 3), 8_000)


def fitted(data: PairData, known: KnownConfig, model: str = "linear") -> FitResult:
    result = fit_pairs(data, replace(SHORT, model=model, known=known))
    assert isinstance(result, FitResult)
    return result


@pytest.mark.parametrize("model", ["linear", "flow"])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_known_targets_number_the_variables(model: str, order: list[int], chain: PairData) -> None:
    data = relabelled(chain, order)
    result = fitted(data, KNOWN, model)
    z = result.model.encode(data.x).z
    assert data.z is not None
    assert correlation_matrix(data.z, z).diagonal().min() > 0.99


def test_a_known_graph_is_the_graph(chain: PairData) -> None:
    edges = ((0, 1), (1, 2))
    result = fitted(chain, KnownConfig(targets=True, graph=edges))
    assert result.model.graph == Graph.from_edges(3, edges)
    # the edge that is there all the same is no candidate, and so is not tested
    assert result.edge_strength[0, 2] == 0.0 and result.evidence.edge_p_value[0, 2] == 1.0


def test_a_known_order_allows_no_edge_against_it(chain: PairData) -> None:
    assert chain.adjacency is not None
    causes_first = Graph(chain.adjacency).order()
    right = fitted(chain, KnownConfig(targets=True, order=tuple(causes_first)))
    assert right.model.graph == Graph(chain.adjacency) and right.order == tuple(causes_first)
    turned = fitted(chain, KnownConfig(targets=True, order=tuple(reversed(causes_first))))
    position = np.argsort(turned.order)
    assert all(position[i] < position[j] for i, j in turned.model.graph.edges())
    assert turned.order == tuple(reversed(causes_first))


def test_targets_are_part_of_what_a_run_was_fitted_to(finished: dict[str, Path], tmp_path: Path) -> None:
    fit_in(tmp_path / "known", config=replace(SHORT, known=KNOWN))
    unknown, known = (load_run(folder).info["data_sha256"] for folder in (finished["linear"], tmp_path / "known"))
    assert unknown != known


def test_components_are_assigned_to_the_targets_that_move_them() -> None:
    targets = np.eye(3, dtype=np.bool_)[[0, 1, 2, 0, 1, 2]]
    moved = targets[:, [2, 0, 1]] * np.linspace(1.0, 2.0, 6)[:, None]
    order = assign_components(moved + 0.01, targets)
    assert (moved[:, order] > 0).tolist() == targets.tolist()


ERRORS = {
    "twice": (LINEAR, KnownConfig(True, order=(0, 0, 1)), r"known.order: Expected each of the variables 0..2 once;"),
    "both": (LINEAR, KnownConfig(True, ((0, 1),), (0, 1, 2)), r"known.order: Expected none beside known.graph"),
    "unordered": (
        FitConfig(model="dvae"),
        KnownConfig(True, order=(0, 1, 2)),
        r"known.order: Expected a model that learns with an order; got dvae",
    ),
    "targets": (
        FitConfig(model="elcm-flow"),
        KNOWN,
        r"known.targets: Expected a model that makes use of targets; got elcm-flow",
    ),
    "graph": (
        FitConfig(model="beta-vae"),
        KnownConfig(graph=((0, 1),)),
        r"known.graph: Expected a model that makes use of a graph; got beta-vae",
    ),
    "unnumbered graph": (FitConfig(), KnownConfig(graph=()), r"known.graph: Expected known.targets beside it"),
    "unnumbered order": (FitConfig(), KnownConfig(order=(0, 1, 2)), r"known.order: Expected known.targets beside it"),
    "its own order": (
        FitConfig(model="elcm-vae"),
        KnownConfig(order=(1, 0, 2)),
        r"known.order: Expected \[0, 1, …\], in which elcm-vae numbers its variables; got \[1, 0, 2\]",
    ),
    "out of range": (LINEAR, KnownConfig(True, ((0, 3),)), r"known.graph: Expected variables of 0..2; got .*\[0, 3\]"),
    "cycle": (LINEAR, KnownConfig(True, ((0, 1), (1, 0))), r"known.graph: .*cycl"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_side_information_that_cannot_be_used_is_an_error(name: str) -> None:
    config, known, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        require_usable(replace(config, known=known), 3)


def test_a_learned_order_needs_no_targets() -> None:
    require_usable(FitConfig(model="elcm-flow", known=KnownConfig(order=(0, 1, 2))), 3)
    assert known_graph(KnownConfig(), 3) == Graph.from_edges(3, [])


def test_targets_that_are_missing_or_do_not_fit_are_an_error(chain: PairData) -> None:
    config, family = FitConfig(known=KNOWN), TargetDistribution.family(3, "atomic-or-empty")
    with pytest.raises(ValueError, match=r"targets: Expected the targets of every pair, which this fit is to know"):
        known_targets(without(chain, "targets"), config, family)
    with pytest.raises(ValueError, match=r"targets: Expected 2 variables, as fitted; got 3"):
        known_targets(chain, config, TargetDistribution.family(2, "atomic-or-empty"))
    several = sampled(build_nature(NatureConfig(3, intervention=PerfectInterventionConfig(targets="all")), 0), 400)
    with pytest.raises(ValueError, match=r"targets: Expected sets of the intervention family; got \[\d, \d"):
        known_targets(several, config, family)
    assert known_targets(chain, FitConfig(), family) is None
