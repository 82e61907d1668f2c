"""The one step of the build that pyproject.toml cannot say: configs and some experiments go into the wheel."""

import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["lcm"]["shipped"]


class BuildWithExperiments(build_py):
    """Copy files beside `lcm/` to `lcm/shipped/`, where an installed package looks for them."""

    def run(self) -> None:
        super().run()
        # an editable install finds them in the checkout
        if not self.editable_mode:
            for source in (path for pattern in SHIPPED for path in Path().glob(pattern)):
                target = Path(self.build_lib, "lcm", "shipped", source)
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))


setup(cmdclass={"build_py": BuildWithExperiments})
