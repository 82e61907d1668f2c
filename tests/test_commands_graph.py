"""`lcm graph`: of a peer, and by another search over the variables of a run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from command_line import called, refused
from small import SHORT, SHORT_YAML, fit_in, small_data

from lcm.base.files import read_json
from lcm.data.pair_files import save_pairs
from lcm.peer.search.config import EncoConfig, GraphSearchConfig, NetworksConfig
from lcm.run.runs import load_run

PEER_YAML = SHORT_YAML + (
    "\nmodel: dvae\ndisentanglement: {hidden: 8, steps: 100, batch_size: 32}\n"
    "graph_search: {networks: {steps: 50}, enco: {steps: 100}}\n"
)


@pytest.fixture(scope="module")
def peer_folder(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a peer on the linear data."""
    from lcm.app.cli import main

    folder = tmp_path_factory.mktemp("peer")
    (folder / "fit.yaml").write_text(PEER_YAML)
    argv = ["fit", data_file, "--out", folder / "run", "--config", folder / "fit.yaml", "--quiet"]
    assert main([str(part) for part in argv]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a model with a graph of its own, whose other searches are short."""
    search = GraphSearchConfig(networks=NetworksConfig(steps=100), enco=EncoConfig(steps=100))
    folder = tmp_path_factory.mktemp("own") / "run"
    fit_in(folder, config=replace(SHORT, graph_search=search))
    return folder


def test_the_graph_of_a_peer_is_what_its_fit_found(
    peer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = load_run(peer_folder), tmp_path / "graph.json"
    said = called(capsys, "graph", peer_folder, "--json", out)
    assert read_json(out) == read_json(peer_folder / "graph.json")
    edges = run.model.graph.edges()
    assert said.startswith(f"{len(edges) or 'no'} edge") and "of dvae, with strength\n" in said
    assert all(f"  z{i} -> z{j}  {run.edge_strength[i, j]:.3f}\n" in said for i, j in edges)
    assert said.endswith(f"causes first: {', '.join(f'z{i}' for i in run.order)}\n")


def test_a_peer_has_no_p_values_to_pass_a_rate(peer_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "graph", peer_folder, "--fdr", "0.1")
    assert (
        f"{peer_folder}: Expected a fit with p-values; got one of dvae, without (lcm graph RUN --method tests" in said
    )


def test_a_peer_has_no_p_values_to_plan_by(peer_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "plan", peer_folder)
    assert (
        f"lcm plan: error: {peer_folder}: Expected a fit with p-values; got one of dvae, without (lcm graph RUN" in said
    )


@pytest.mark.parametrize("method", ["tests", "jacobian", "dependence", "enco", "none"])
def test_another_search_on_the_variables_of_a_run(
    method: str, own_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (own_folder / "graph.json").read_bytes()
    out, figure = tmp_path / "new" / "graph.json", tmp_path / "other" / "graph.png"
    argv = ["graph", own_folder, "--method", method, "--data", data_file]
    said = called(capsys, *argv, "--seed", "1", "--json", out, "--figure", figure)
    written = read_json(out)
    adjacency = np.array(written["adjacency"])
    assert written["method"] == method and f"by {method}" in said
    assert ("edge_p_value" in written) == (method == "tests") == ("at a false discovery rate of" in said)
    assert all(f"  z{i} -> z{j}  " in said for i, j in np.argwhere(adjacency))
    assert f"structural Hamming distance from the truth: {written['shd']}\n" in said
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert (own_folder / "graph.json").read_bytes() == before


def test_the_truth_is_at_distance_zero_if_a_search_finds_it(
    own_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "graph.json"
    called(capsys, "graph", own_folder, "--method", "tests", "--data", data_file, "--json", out)
    # An edge is missing where nothing is sought.
    assert read_json(out)["shd"] == 0
    called(capsys, "graph", own_folder, "--method", "none", "--data", data_file, "--json", out)
    assert read_json(out)["shd"] == small_data("linear").adjacency.sum() > 0


def test_p_values_of_a_peer_can_be_computed(
    peer_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "graph.json"
    argv = ["graph", peer_folder, "--method", "tests", "--data", data_file, "--json", out]
    assert "at a false discovery rate of 0.9\n" in called(capsys, *argv, "--fdr", "0.9")
    assert read_json(out)["false_discovery_rate"] == 0.9


def test_pairs_without_truth_have_no_distance(
    own_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = small_data("linear")
    save_pairs(tmp_path / "bare.safetensors", type(data).from_arrays(data.x, data.x_tilde))
    argv = ["graph", own_folder, "--method", "jacobian", "--data", tmp_path / "bare.safetensors"]
    assert "Hamming" not in called(capsys, *argv, "--json", tmp_path / "graph.json")
    assert read_json(tmp_path / "graph.json")["shd"] is None
    assert called(capsys, *argv, "--quiet") == ""


def test_what_a_search_lacks_is_refused(
    own_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {
        ("--method", "enco"): "--data: Expected pairs, on which --method searches for the graph; got none",
        ("--data", data_file): "--method: Expected a method, which searches for the graph on --data; got none",
        ("--figure", tmp_path / "a.pdf"): (
            "--figure: Expected a .png or .svg file to write to; got the suffix '.pdf' (--json writes .json, --export"
        ),
        ("--json", tmp_path / "a.dot"): (
            "--json: Expected a .json file to write to; got the suffix '.dot' (--figure writes .png or .svg, --export"
            " writes .dot or .graphml)"
        ),
        ("--export", tmp_path / "a.gexf"): (
            "--export: Expected a .dot or .graphml file to write to; got the suffix '.gexf' (--json writes .json"
        ),
        ("--export", tmp_path): "Expected a file to write to; got a folder",
        ("--method", "enco", "--data", data_file, "--fdr", "0.1"): (
            "--fdr: Expected no rate except for the methods tests and pc; got one for enco"
        ),
        ("--method", "magic"): "argument --method: invalid choice: 'magic'",
    }
    for argv, message in expected.items():
        assert message in refused(capsys, "graph", own_folder, *argv)


def test_a_graph_is_exported_with_names_and_strengths(
    own_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(own_folder, run)
    called(capsys, "name", run, "0=light")
    for options in (["--fdr", "0.9"], ["--method", "tests", "--data", data_file]):
        files = [tmp_path / "new" / f"g.{ending}" for ending in ("json", "svg", "dot", "graphml")]
        graphs = "--json", files[0], "--figure", files[1], "--export"
        called(capsys, "graph", run, *options, *graphs, files[2])
        called(capsys, "graph", run, *options, "--export", files[3])
        written = read_json(files[0])
        ((i, j),) = edges = [(int(i), int(j)) for i, j in np.argwhere(written["adjacency"])]
        dot = files[2].read_text(encoding="utf-8")
        assert '0 [label="light"];\n' in dot
        assert f'  {i} -> {j} [label="{written["edge_strength"][i][j]:.3f}"];\n' in dot
        assert "<svg" in files[1].read_text(encoding="utf-8")
        parsed = nx.read_graphml(files[3], node_type=int)
        assert parsed.nodes[0]["label"] == "light" and list(parsed.edges()) == edges
        assert parsed.edges[i, j]["strength"] == pytest.approx(written["edge_strength"][i][j])
