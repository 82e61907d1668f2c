"""The latent causal model and its parts, in the words of the paper (docs/theory.md sections 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODEL_TABLES: list[Mapping[str, Any]] = []
"""Tables of further types of models, which packages above this one add; `load` of an entry rebuilds such a model.

They are here, where nothing is imported, so that a model is known before torch is.
"""
