"""What the README tells a reader to type works, and what it points at is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from experiments._experiment import SCORES
from lcm.app.cli import main
from lcm.app.commands import COMMANDS
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import EdgesConfig
from lcm.data.sample import sample_data
from lcm.metric.scores import KEYS

ROOT = Path(__file__).parent.parent
ROOT_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = sorted(file for file in (ROOT / "docs").rglob("*.md") if "_build" not in file.parts)
DOCUMENTS = (*ROOT_DOCUMENTS, *(str(file.relative_to(ROOT)) for file in PAGES))


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def own_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with before.csv and after.csv is where commands are run."""
    graph = EdgesConfig(edges=((0, 1),))
    data = sample_data(build_nature(NatureConfig(n=2, graph=graph), 0), 3000, torch_generator(0, "pairs"))
    for name, part in (("before", data.x), ("after", data.x_tilde)):
        np.savetxt(tmp_path / f"{name}.csv", part, delimiter=",", header="speed,height", comments="")
    monkeypatch.chdir(tmp_path)


def test_the_ten_lines_of_python_run(own_pairs: None, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) == 10
    code = code.replace("seed=0", "seed=0, quiet=True")
    names: dict[str, object] = {}
    exec(code, names)
    *page, edges = capsys.readouterr().out.splitlines()
    assert page[0].startswith("Fitted 2 causal variables to 3,000 pairs") and edges in ("[(0, 1)]", "[(1, 0)]")
    z, done, x_if = (np.asarray(names[name]) for name in ("z", "done", "x_if"))
    assert z.shape == x_if.shape == (3000, 2)
    assert np.bincount(done).min() > 900


def test_the_two_commands_run(own_pairs: None, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    typed = [words[1:] for words in commands if words[0] == "lcm"]
    assert [words[0] for words in typed] == ["fit", "encode"]
    for words in typed:
        assert main([*words, "--quiet"]) == 0
    assert Path("encoded.csv").is_file()
    assert capsys.readouterr().out == ""


def test_the_commands_that_are_listed_are_those_there_are() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `lcm (\w+) [A-Z]", text, flags=re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_files_that_are_named_are_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if not link.startswith("http")]
    for link in links:
        # a file, since the site has no page for a folder
        assert (ROOT / document).parent.joinpath(link).is_file(), link
    for file in re.findall(r"`((?:lcm|experiments|paper_configs|docs|tests)/[\w./]*)`", text):
        assert (ROOT / file).exists(), file


def test_sections_that_docstrings_cite_are_there() -> None:
    headings = re.findall(
        r"^## (\d)\. (.+)$", (ROOT / "docs/theory.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert [number for number, _ in headings] == ["1", "2", "3", "4", "5"]
    cited = {
        number
        for file in (ROOT / "lcm").rglob("*.py")
        for number in re.findall(r"docs/theory\.md sections? (\d)", file.read_text(encoding="utf-8"))
    }
    assert cited <= {number for number, _ in headings}


def test_columns_of_the_tables_are_scores() -> None:
    assert {column.key for column in SCORES} <= set(KEYS)
