"""Names of the variables of a run, kept in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lcm.run.result import FitResult
from lcm.run.run_folder import claimed_names
from lcm.run.runs import load_run, write_names


def name_variables(run: str | Path, names: Mapping[int, str]) -> FitResult:
    """Name learned variables of a run, and keep the names in its folder; "" gives back a default name.

    The names stand in RUN/names.json. graph.json, report.md, README.md and the figures of the graph and of refits are
    written again with them; everything that is made from the run later has them too. The page report.html shows pairs,
    which the run does not hold: `lcm report RUN DATA` writes it with the names.

    Args:
        run: the folder of a finished run.
        names: from the number of a variable to its name.

    Returns:
        The result of the fit, with its names.

    Raises:
        ValueError: no finished run, a number out of range, or a name that figures, tables and commands could not show
            as it is (a reserved character, more than 40 characters, the name of another variable).

    Example:
        >>> import lcm, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = lcm.fit("data/sample.safetensors", model="linear", quiet=True, out=f"{folder}/run")
        ...     lcm.name_variables(f"{folder}/run", {0: "light", 2: "shadow"}).names
        ('light', 'z1', 'shadow')
    """
    folder = load_run(run).folder
    with claimed_names(folder):
        # read again, since another process may have named other variables meanwhile
        result = load_run(folder).result().named(names)
        write_names(folder, result)
    return result
