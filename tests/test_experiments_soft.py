"""The experiment on soft interventions: every arm on the same pairs, the noise scored once."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import soft
from lcm.base.files import read_json
from lcm.run.config import FitConfig

pytestmark = pytest.mark.usefixtures("cheap_scores")


def test_every_arm_is_fitted_to_the_same_pairs_with_known_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--quick", "--quiet", "--pairs", "500", "--steps", "3", "--out", str(tmp_path)]
    soft.main(argv)
    content = read_json(tmp_path / "results.json")
    assert [row["arm"] for row in content["summary"]] == list(soft.ARMS)
    cells = content["cells"]
    assert len({cell["data_sha256"] for cell in cells}) == 1 and len({cell["config_sha256"] for cell in cells}) == 4
    assert {cell["model"] for cell in cells} == {"icrl-sm", "ilcm-vae", "linear"}
    assert all(cell["n_pairs"] == 500 for cell in cells)
    # the linear unmixing finds the noise of a linear mixing without a step
    assert [cell["noise_mcc"] > 0.9 for cell in cells if cell["model"] == "linear"] == [True]
    monkeypatch.setattr(soft, "_noise", None)
    soft.main(argv)
    assert read_json(tmp_path / "results.json") == content


def test_the_arms_differ_in_the_model_and_its_switch_alone() -> None:
    own, without = (soft._config(FitConfig(), "icrl-sm", switch) for switch in (True, False))
    assert own.known.targets and own.graph_search.method == "none" and own.n == soft.N
    assert own.peers["switch_vae"].switch and not without.peers["switch_vae"].switch
    assert {**own.peers, "switch_vae": None} == {**without.peers, "switch_vae": None}
