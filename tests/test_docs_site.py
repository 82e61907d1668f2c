"""The documentation site, without building it: nothing is left out, and its own checks work."""

from __future__ import annotations

import importlib
import json
import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import lcm
from lcm.app.commands import COMMANDS
from lcm.data.nature.config import NatureConfig
from lcm.run.config import FitConfig

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SETTINGS = DOCS / "reference/settings.md"
NOTEBOOKS = sorted((DOCS / "tutorial").glob("*.ipynb"))
SUFFIXES = (".md", ".ipynb")
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def site_parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(DOCS)
    yield importlib.import_module("site_parts")
    del sys.modules["site_parts"]


def entries(page: Path) -> set[Path]:
    """The pages that the tables of contents of a page name."""
    found = set()
    text = page.read_text(encoding="utf-8") if page.suffix == ".md" else ""
    for block in re.findall(r"```\{toctree\}\n(.*?)```", text, flags=re.DOTALL):
        lines = [line for line in block.splitlines() if line and not line.startswith(":")]
        for entry in lines:
            name = re.sub(r".*<(.*)>$", r"\1", entry)
            base = page.parent.joinpath(name.split("*")[0]).resolve()
            files = (
                base.rglob("*") if "*" in name else [base.with_name(f"{base.name}{end}") for end in (".md", ".ipynb")]
            )
            listed = [file for file in files if file.is_file() and file.suffix in (".md", ".ipynb")]
            assert listed, f"{page}: no page {entry}"
            found.update(listed)
    return found


def test_every_page_is_in_the_table_of_contents() -> None:
    reached, waiting = set(), {DOCS / "index.md"}
    while waiting:
        reached |= waiting
        waiting = {entry for page in waiting for entry in entries(page)} - reached
    others = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")]
    pages = {
        page for pattern in ("docs/**/*.md", "docs/**/*.ipynb", "results/**/*.md") for page in ROOT.glob(pattern)
    } | set(others)
    assert {page for page in pages if "_build" not in page.parts} == reached


def test_every_public_name_is_in_the_reference() -> None:
    text = (DOCS / "reference/names.md").read_text(encoding="utf-8")
    assert set(re.findall(r"auto\w+:: (\w+)", text)) == set(lcm.__all__) - {"__version__"}


@pytest.mark.parametrize("package", ["geometry", "isomorphism", "report"])
def test_every_offered_name_of_a_package_is_in_the_reference(package: str) -> None:
    module = importlib.import_module(f"lcm.{package}")
    text = (DOCS / f"reference/{package}.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"auto(?:function|class):: (\w+)$", text, flags=re.MULTILINE))
    whole = f".. automodule:: lcm.{package}\n   :members:\n   :imported-members:" in text
    assert documented == set(module.__all__) or (whole and not documented)


def test_every_section_of_a_config_and_every_kind_is_explained() -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    explained = set(re.findall(r"autoclass:: [\w.]+\.(\w+)$", text, flags=re.MULTILINE))
    config = FitConfig()
    sections = [config, *vars(config).values(), *vars(config.graph_search).values(), *config.peers.values()]
    assert {type(section).__name__ for section in sections if is_dataclass(section)} <= explained
    found = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, flags=re.MULTILINE))
    families = {name: family for name, family in get_type_hints(NatureConfig).items() if hasattr(family, "kinds")}
    listed = {name: sorted(re.findall(r"`([\w-]+)`", kinds)) for name, kinds in found.items()}
    assert listed == {name: family.names() for name, family in families.items()}


@pytest.mark.parametrize(
    "path", re.findall(r"autoclass:: ([\w.]+)$", SETTINGS.read_text(encoding="utf-8"), re.MULTILINE)
)
def test_every_key_of_a_config_is_explained(path: str) -> None:
    module, _, name = path.rpartition(".")
    config = getattr(importlib.import_module(module), name)
    listed = re.findall(r"^ +([\w, ]+):", config.__doc__.partition("Attributes:")[2], flags=re.MULTILINE)
    explained = {key for keys in listed for key in keys.split(", ")}
    assert {field.name for field in fields(config)} <= explained


def test_every_command_is_in_the_reference(site_parts: Any) -> None:
    found = dict(site_parts.command_help())
    assert set(found) == set(COMMANDS) and all(text.startswith(f"usage: lcm {name} ") for name, text in found.items())
    assert "```{command-reference}" in (DOCS / "reference/commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        '<script defer src="https://a.example/x.js"></script>',
        '<script src="//a.example/x.js"></script>',
        '<link href="https://a.example/x.css" rel="stylesheet">',
        '<link rel="stylesheet" href="https://a.example/x.css">',
        "<img alt='' src='http://a.example/x.png'>",
        "@import 'https://a.example/x.css';",
        "@font-face { src: url(https://a.example/x.woff2) }",
        'await import("https://a.example/x.js")',
    ],
)
def test_what_a_page_would_load_is_found(text: str, site_parts: Any) -> None:
    (found,) = site_parts.loaded_from_the_network(text)
    assert "a.example/x." in found


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://a.example/">elsewhere</a>',
        '<script src="../_static/x.js"></script>',
        '<link rel="canonical" href="https://a.example/page">',
        '<svg xmlns="http://www.w3.org/2000/svg"></svg>',
        '<img src="data:image/webp;base64,AA//BB" alt="">',
    ],
)
def test_what_a_page_does_not_load_is_not_found(text: str, site_parts: Any) -> None:
    assert site_parts.loaded_from_the_network(text) == []


def test_captions_have_a_level_and_code_takes_the_keyboard(site_parts: Any) -> None:
    page = '<p class="caption" role="heading"><span>Tutorial</span></p><pre>code</pre>'
    once = site_parts.accessible(page)
    assert 'role="heading" aria-level="2">' in once and '<pre tabindex="0">code' in once
    assert site_parts.accessible(once) == once


@every_notebook
def test_a_notebook_is_kept_without_results_and_installs_what_it_needs(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    first = "".join(code[0]["source"])
    assert first.startswith("try:\n    import lcm") and "%pip install --quiet latent-causal-models" in first


@every_notebook
def test_every_figure_of_a_notebook_says_what_it_shows(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        shows = cell["cell_type"] == "code" and re.search(r"^(?:plt\.show|show)\(", source, flags=re.MULTILINE)
        assert not shows or cell["metadata"]["mystnb"]["image"]["alt"], source


@every_notebook
def test_links_of_a_notebook_are_there(path: Path) -> None:
    text = "".join(
        "".join(cell["source"])
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    )
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert path.parent.joinpath(link).exists(), link
