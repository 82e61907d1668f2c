"""All kinds of files; a new one is one line here."""

from __future__ import annotations

from . import configs, data, models
from .run import Kind

KINDS: dict[str, Kind] = {**configs.KINDS, **models.KINDS, **data.KINDS}
