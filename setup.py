"""The one step of the build that pyproject.toml cannot say: experiments and configs go into the wheel."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithExperiments(build_py):
    """Copy folders beside `lcm/` to `lcm/shipped/`, where an installed package looks for them."""

    def run(self) -> None:
        super().run()
        # an editable install finds them in the checkout
        if not self.editable_mode:
            for source in (*Path("experiments").rglob("*.py"), *Path("paper_configs").glob("*.yaml")):
                target = Path(self.build_lib, "lcm", "shipped", source)
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))


setup(cmdclass={"build_py": BuildWithExperiments})
