"""What is asked of a command is bounded: sizes, cells, pairs, and code from a stranger's config."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import called, refused
from small import small_nature

from lcm.app.cli import main
from lcm.app.sweep.config import SweepConfig
from lcm.base import memory
from lcm.base.entry_budget import EntryBudget
from lcm.base.memory import require_memory
from lcm.data.pairs import PairData
from lcm.learn.prepared import held_out_pairs
from lcm.model.intervention import TargetDistribution
from lcm.model.storage import save_model

ABSURD = {
    "layers": ("nature: {n: 2, decoder: {kind: flow, layers: 2000000}}", "layers: Expected at most 1,000; got 2000000"),
    "hidden": ("nature: {n: 2, mechanism: {kind: spline, hidden: 1000000000}}", "hidden: Expected at most 4,096"),
    "n": ("nature: {n: 100000}", "nature: n: Expected at most 1,000; got 100000."),
    "pairs": ("nature: {n: 2}\npairs: {train: 1000000000000000}", "Expected train <= 1,000,000,000,000; got 1,000"),
    "memory": (
        "nature: {n: 2}\npairs: {train: 900000000000}",
        "Expected 900,000,000,000 pairs of 2 variables to fit",
    ),
}


@pytest.mark.parametrize(("text", "message"), ABSURD.values(), ids=ABSURD)
def test_absurd_sizes_are_refused(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert message in refused(capsys, "generate", tmp_path / "c.yaml", "--out", tmp_path / "o")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.yaml"]


def test_more_pairs_than_fit_into_memory_are_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(small_nature("linear"), tmp_path / "model.safetensors")
    for option in ([], ["--do", "0=1"]):
        command = ["sample", tmp_path / "model.safetensors", "--n", 10**13, *option, "--out", tmp_path / "o.npz"]
        assert "Expected 10,000,000,000,000 pairs to fit into half of the memory" in refused(capsys, *command)


def test_cells_of_a_sweep_are_bounded() -> None:
    data = ({"train": "a", "test": "b"},)
    from lcm.base.config import structure_config

    grid = {"seed": list(range(10_000)), "restarts": list(range(1, 10_001))}
    with pytest.raises(ValueError, match=r"grid: Expected at most 20,000 combinations of values; got 100,000,000"):
        structure_config({"data": list(data), "grid": grid}, SweepConfig, "s.yaml")


def test_all_target_sets_are_of_few_variables() -> None:
    with pytest.raises(ValueError, match=r"Expected at most 16 variables with target sets all; got 60\."):
        TargetDistribution.family(60, "all")


def test_a_budget_of_entries_refuses_before_it_makes_them() -> None:
    import torch

    with (
        EntryBudget(5_000, "as is stated"),
        pytest.raises(ValueError, match="Expected sizes for at most 5,000"),
    ):
        torch.zeros(10**6, 10**6)
    with EntryBudget(5_000, "as is stated"):
        assert torch.zeros(size=(3, 4)).shape == (3, 4)


def test_half_of_the_memory_at_hand_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    require_memory(4e8, "it")
    with pytest.raises(ValueError, match=r"Expected it to fit into half of the memory at hand, 0\.5 GB; got 0\.6 GB"):
        require_memory(6e8, "it")


def test_a_share_that_leaves_too_few_pairs_is_refused() -> None:
    assert held_out_pairs(0.1, 300, 2) == 30
    for share in (0.0001, 0.9999):
        with pytest.raises(ValueError, match=r"validation_share: Expected 0\.01667 to 0\.75 for 300 pairs of 2 variab"):
            held_out_pairs(share, 300, 2)


EVIL = """\
from pathlib import Path

Path(__file__).with_suffix(".ran").touch()
"""


@pytest.mark.parametrize("command", ["generate", "sweep"])
def test_code_of_a_config_runs_only_where_it_is_allowed(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evil.py").write_text(EVIL)
    scene = f"scene: {{kind: '{tmp_path / 'evil.py'}:Evil', size: 16}}"
    (tmp_path / "generate.yaml").write_text(f"nature: {{n: 2}}\npairs: {{train: 2, val: 1, test: 1}}\n{scene}\n")
    (tmp_path / "sweep.yaml").write_text("data: [{generate: generate.yaml}]\n")
    arguments = [command, str(tmp_path / f"{command}.yaml"), "--out", str(tmp_path / "o")]
    line = refused(capsys, *arguments)
    assert "scene.kind: Expected one of circuit, objects, light-tunnel, or --allow-code to run a file; got " in line
    assert "evil.py" in line and not (tmp_path / "evil.ran").exists() and not (tmp_path / "o").exists()
    assert main([*arguments, "--allow-code", "--quiet"]) == 2
    assert (tmp_path / "evil.ran").exists() and capsys.readouterr().out == ""
    assert "--allow-code" in called(capsys, command, "--help")


def test_names_from_a_file_are_printed_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b]0;title\x07"
    head = "cell,status,seed,data,n_variables,mcc\n"
    (tmp_path / "results.csv").write_text(f"{head}1,finished,0,{name},2,0.5\n2,finished,0,b,2,0.5\n")
    assert r"a\x1b]0;title\x07" in called(capsys, "table", tmp_path)


def test_an_adjacency_of_floats_is_taken_if_its_values_are_0_and_1() -> None:
    x, x_tilde = np.random.default_rng(0).normal(size=(2, 9, 2))
    taken = PairData.from_arrays(x, x_tilde, adjacency=np.array([[0.0, 1.0], [0.0, 0.0]]))
    assert taken.adjacency is not None and taken.adjacency.tolist() == [[0, 1], [0, 0]]
    for wrong in (0.5, np.nan, 2.0):
        with pytest.raises(ValueError, match=r"adjacency: Expected adjacency entries 0 or 1; got"):
            PairData.from_arrays(x, x_tilde, adjacency=np.array([[0.0, wrong], [0.0, 0.0]]))
