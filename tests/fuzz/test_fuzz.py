"""The law on spoiled files, for each kind; `make fuzz N=…` tries more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .kinds import KINDS
from .run import run_mutations

_MUTATIONS = 120


@pytest.mark.parametrize("name", KINDS)
def test_a_spoiled_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    report = run_mutations(_MUTATIONS, 0, {name: KINDS[name]}, tmp_path)
    assert not report.failures, str(report)
    assert report.refused[name] > 0
