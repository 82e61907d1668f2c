"""The steps of a release check: each runs programs in environments of their own, and raises where one fails."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from release.contents import expected_in_sdist, expected_in_wheel, require_contents, sdist_files, wheel_files

# Pairs of a linear model of two variables, as a user would have them: z0 -> z1, seen through a rotation.
_DRAW_PAIRS = """
import numpy as np
random = np.random.default_rng(0)
noise, target = random.normal(size=(1000, 2)), random.integers(3, size=1000)
after, fresh = noise.copy(), random.normal(size=(1000, 2))
for variable in (0, 1):
    after[target == variable, variable] = fresh[target == variable, variable]
mixed = lambda e, cut: np.stack([e[:, 0], np.where(cut, 0, 0.8) * e[:, 0] + 0.6 * e[:, 1]], 1) @ [[.8, .6], [-.6, .8]]
for name, values in (("before", mixed(noise, False)), ("after", mixed(after, target == 1))):
    np.savetxt(f"{name}.csv", values, delimiter=",", header="speed,height", comments="")
"""


def build(root: Path, python: Path, out: Path) -> tuple[Path, Path]:
    """Build the wheel and the sdist, each in an environment of its own, the wheel from the sdist; return both."""
    for old in (*out.glob("*.whl"), *out.glob("*.tar.gz")):
        old.unlink()
    run([python, "-m", "build", "--outdir", out, root], out)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def check_archives(root: Path, python: Path, wheel: Path, sdist: Path) -> None:
    """Check the metadata with twine, and the contents, which are listed in contents.txt, and sizes of both archives."""
    run([python, "-m", "twine", "check", "--strict", wheel, sdist], wheel.parent)
    found = {wheel: wheel_files(wheel), sdist: sdist_files(sdist)}
    listed = "".join(f"{path.name}\n" + "".join(f"  {name}\n" for name in sorted(found[path])) for path in found)
    (wheel.parent / "contents.txt").write_text(listed, encoding="utf-8")
    require_contents(wheel, found[wheel], expected_in_wheel(root))
    require_contents(sdist, found[sdist], expected_in_sdist(root))


def tools(root: Path) -> list[str]:
    """The requirements of the extra `release`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"]["release"])


def new_environment(folder: Path, interpreter: str) -> Path:
    """Create an empty environment; return its Python."""
    run([interpreter, "-m", "venv", folder], folder.parent)
    return folder / "bin" / "python"


def install(python: Path, requirements: list[str], root: Path) -> None:
    """Install with the pinned versions of constraints.txt."""
    run([python, "-m", "pip", "install", "--quiet", "-c", root / "constraints.txt", *requirements], root.parent)


def check_install(python: Path, folder: Path) -> None:
    """Check that the requirements of everything installed are met, and that `lcm` comes from the environment."""
    run([python, "-m", "pip", "check"], folder)
    place = run([python, "-c", "import lcm; print(lcm.__file__)"], folder).strip()
    if not Path(place).is_relative_to(python.parent.parent):
        raise ValueError(f"lcm: Expected the package of {python.parent.parent}; got {place}")


def check_readme(root: Path, python: Path, folder: Path) -> None:
    """Run the lines of Python and the commands `lcm` that the README tells a reader to type."""
    run([python, "-c", _DRAW_PAIRS], folder)
    readme = (root / "README.md").read_text(encoding="utf-8")
    (lines,) = blocks(readme, "python")
    run([python, "-c", lines], folder)
    for command in commands(readme):
        run([python.parent / command[0], *command[1:]], folder)


def check_shipped(python: Path, folder: Path) -> None:
    """Use configs and experiments, which are in the wheel."""
    lcm = python.parent / "lcm"
    run([lcm, "generate", "paper_configs/toy2d.yaml", "--out", "toy2d"], folder)
    run([lcm, "sweep", "paper_configs/sweep-example.yaml", "--out", "sweep", "--dry-run"], folder)
    run([lcm, "reproduce", "demo", "--quick", "--pairs", "2000", "--steps", "100"], folder)


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language in a Markdown text."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The commands `lcm` in the shell blocks of a Markdown text, as words."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words[:1] == ["lcm"]]


def run(argv: list[str | Path], folder: Path) -> str:
    """Run a program in a folder, without the paths of this Python; return what it prints.

    Raises:
        ValueError: the program failed; its output goes to stderr.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    # the fits are small: more threads would wait for each other
    environment |= {"OMP_NUM_THREADS": "1"}
    words = [str(word) for word in argv]
    done = subprocess.run(words, cwd=folder, env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise ValueError(f"{shlex.join(words)[:200]}: Expected exit code 0; got {done.returncode}")
    return done.stdout


def bytes_in(folder: Path) -> int:
    """The size of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
