"""Importing the package costs nothing and changes nothing; its public names are there when they are used."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lcm

ROOT = Path(__file__).parent.parent
LIGHT = [
    "lcm",
    "lcm.base.config",
    "lcm.data",
    "lcm.run.check",
    "lcm.data.pairs",
    "lcm.data.pair_files",
    "lcm.base.files",
    "lcm.learn.warm_start",
]


def run(code: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return finished.stdout


def test_torch_is_not_imported_before_it_is_needed() -> None:
    code = f"import importlib, sys\nfor module in {LIGHT}:\n    importlib.import_module(module)\n"
    assert run(f"{code}    assert 'torch' not in sys.modules, module") == ""


def test_a_run_is_read_without_what_only_fits_and_figures_need() -> None:
    heavy = "{'scipy.stats', 'matplotlib', 'sklearn', 'pandas', 'jinja2', 'PIL'}"
    # which imports lcm.run.runs
    assert run(f"import sys, lcm.app.explore.subject; print({heavy} & set(sys.modules))") == "set()\n"


def test_importing_the_package_has_no_side_effects() -> None:
    code = """
import logging, os, random, sys, warnings
def state():
    lists = (warnings.filters, sys.path, sys.meta_path, logging.root.handlers)
    return dict(os.environ), random.getstate(), [list(value) for value in lists]
before, modules = state(), set(sys.modules)
import lcm
loaded = {name for name in set(sys.modules) - modules if name.startswith(("lcm", "numpy", "torch"))}
print(state() == before, sorted(loaded))
"""
    assert run(code) == "True ['lcm', 'lcm.base', 'lcm.base.clash']\n"


@pytest.mark.parametrize("name", lcm.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(lcm, name) is not None
    assert name in dir(lcm)


def test_a_name_is_imported_once_and_from_its_home() -> None:
    from lcm.data.pairs import PairData

    assert lcm.PairData is PairData
    assert vars(lcm)["PairData"] is PairData


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'lcm' has no attribute 'nonsense'"):
        _ = lcm.nonsense  # type: ignore[attr-defined, unused-ignore]


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert f"version: {lcm.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{lcm.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_is_pinned_and_explained() -> None:
    pins = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["test"]
    names = {requirement.replace("==", ">=").partition(">=")[0].lower() for requirement in needed}
    assert names <= pins
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert all(" # " in line for line in lines if any(f'"{requirement}"' in line for requirement in needed))


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(lcm.__file__).parent / "py.typed").is_file()


def test_make_lists_its_targets() -> None:
    listed = subprocess.run(["make", "-s"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    targets = {line.split()[1] for line in listed.splitlines()}
    assert targets == {
        "help",
        "setup",
        "demo",
        "test",
        "test-extras",
        "test-web",
        "test-notebooks",
        "docs",
        "docs-links",
        "fuzz",
        "mutate",
        "soak",
        "lint",
        "types",
        "bench",
        "bench-compare",
        "release-check",
        "clean",
        "bench-quick",
        "evidence",
        "evidence-quick",
    }
