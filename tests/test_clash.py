"""Another distribution that writes an `lcm/__init__.py` is seen, and said with what to do, and costs no time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lcm.base.clash import other_distributions, overwritten_message, warn_of_other_distributions

ROOT = Path(__file__).parent.parent
THEIRS = "lcm/__init__.py,sha256=0,1\nlcm/_lcm.so,sha256=0,1\n"


def distribution(site: Path, name: str, record: str = THEIRS) -> None:
    (site / f"{name}.dist-info").mkdir()
    (site / f"{name}.dist-info" / "RECORD").write_text(record)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages: this one, of which each module is a link, and others that do not clash."""
    (tmp_path / "lcm").mkdir()
    for path in (ROOT / "lcm").iterdir():
        (tmp_path / "lcm" / path.name).symlink_to(path)
    distribution(tmp_path, "latent_causal_models-0.1.0")
    distribution(tmp_path, "lcm_cli-0.2.0", "lcm_cli/__init__.py,sha256=0,1\n")
    distribution(tmp_path, "numpy-2.4.6", "numpy/__init__.py,sha256=0,1\n")
    (tmp_path / "lcm_half.dist-info").mkdir()
    return tmp_path


def ended(site: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, cwd=site, env=environment)


def test_other_packages_do_not_clash(site: Path) -> None:
    assert other_distributions(str(site)) == []
    assert other_distributions(str(site / "missing")) == []
    assert ended(site, "-W", "error", "-c", "import lcm").returncode == 0


def test_a_second_distribution_is_one_warning_that_says_what_to_do(site: Path) -> None:
    distribution(site, "lcm-1.5.3")
    with pytest.warns(RuntimeWarning, match=re.escape("Expected one distribution with a package lcm; got two")):
        warn_of_other_distributions(str(site))
    (site / "user.py").write_text("import lcm\nimport lcm\nprint(lcm.__version__)\n")
    done = ended(site, "user.py")
    warning, line = done.stderr.splitlines()
    assert "user.py:1: RuntimeWarning: " in warning and line == "  import lcm"
    assert "(pip uninstall lcm, which belongs in another environment, then pip install --force-reinstall" in warning
    assert done.stdout and done.returncode == 0


@pytest.mark.parametrize("theirs", ["LCM = object\n", None], ids=["replaced", "removed"])
def test_the_command_says_that_its_package_was_overwritten(site: Path, theirs: str | None) -> None:
    assert overwritten_message(str(site)) is None
    (site / "lcm" / "__init__.py").unlink()
    if theirs:
        (site / "lcm" / "__init__.py").write_text(theirs)
        distribution(site, "lcm_fork-1.5.2")
    done = ended(site, "-m", "lcm", "--version")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "__init__.py: Expected that of latent-causal-models; got another or none (" in line
    assert ("(pip uninstall lcm_fork, which" in line) == (theirs is not None)
    assert "pip install --force-reinstall --no-deps latent-causal-models)" in line
