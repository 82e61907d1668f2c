"""The other package named `lcm`, which passes messages between robots: two in one environment overwrite each other."""

from __future__ import annotations

import os
import sys
import warnings

from lcm.base import __version__


def other_distributions(site: str) -> list[str]:
    """The names of other distributions in the folder `site` that write an `lcm/__init__.py` there.

    Only those are looked at whose name begins with lcm, since a look into all would slow every import down.
    """
    try:
        names = sorted(os.listdir(site))
    except OSError:
        return []
    infos = [name for name in names if name.startswith("lcm") and name.endswith(".dist-info")]
    return [name.partition("-")[0] for name in infos if _writes_package(os.path.join(site, name, "RECORD"))]


def warn_of_other_distributions(site: str) -> None:
    """Warn if another distribution in the folder `site` writes an `lcm/__init__.py`."""
    others = other_distributions(site)
    if others:
        message = f"{site}: Expected one distribution with a package lcm; got two ({_remedy(others)})"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def overwritten_message(site: str) -> str | None:
    """What to say where the `lcm/__init__.py` in the folder `site` was replaced or removed; None where it was not."""
    if getattr(sys.modules.get("lcm"), "__version__", None) == __version__:
        return None
    file = os.path.join(site, "lcm", "__init__.py")
    return f"{file}: Expected that of latent-causal-models; got another or none ({_remedy(other_distributions(site))})"


def _remedy(others: list[str]) -> str:
    apart = f"pip uninstall {' '.join(others)}, which belongs in another environment, then " if others else ""
    return f"{apart}pip install --force-reinstall --no-deps latent-causal-models"


def _writes_package(record: str) -> bool:
    try:
        with open(record, encoding="utf-8", errors="replace") as lines:
            return any(line.startswith("lcm/__init__.py,") for line in lines)
    except OSError:
        return False
