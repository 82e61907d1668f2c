"""The result of a search for an isomorphism: its parts, the remaining errors, and a verdict at given tolerances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, final

import numpy as np

from lcm.isomorphism.apply import Isomorphism
from lcm.isomorphism.consistency import Consistency
from lcm.isomorphism.findings import Findings
from lcm.isomorphism.text import comparison_text, meaning_lines
from lcm.isomorphism.verdict import Judgement, Verdict, judge
from lcm.model.names import default_names

_MAPS = ("variable_map", "noise_map")
_VERDICT = ("verdict", "isomorphic", "distance", "graphs_equal", "reasons")
_PARTS = ("part_reasons", "likelihood_reasons", "undecided", "compared", "not_compared")


@final
@dataclass(frozen=True, eq=False)
class Comparison(Findings):
    """What `find_isomorphism` finds between models A and B: the attributes of `Findings`, with a verdict."""

    @property
    def isomorphism(self) -> Isomorphism | None:
        """π, k and h as one object, which can be applied to A; None without noise in both models."""
        if self.noise_map is None:
            return None
        return Isomorphism(self.permutation, self.noise_map, self.variable_map)

    @cached_property
    def judgement(self) -> Judgement:
        """The verdict and its reasons."""
        return judge(self)

    @property
    def verdict(self) -> Verdict:
        """Not isomorphic if a condition fails, not decided if one could not be checked, else isomorphic."""
        return self.judgement.verdict

    @property
    def isomorphic(self) -> bool:
        """Whether all that an isomorphism must carry along was compared and is within its tolerance."""
        return self.verdict == "isomorphic"

    @property
    def parts_agree(self) -> bool:
        """Whether all parts that could be compared are within their tolerances, whatever the likelihoods."""
        return not self.judgement.part_reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each condition of an isomorphism that fails."""
        return self.judgement.reasons

    @property
    def meaning(self) -> str:
        """What the verdict means for a user, given the likelihoods of both; "" without them."""
        return " ".join(meaning_lines(self, self.judgement))

    def text(self, a: Sequence[str], b: Sequence[str]) -> str:
        """What `print` shows, with names of the variables of A and of B."""
        return comparison_text(self, self.judgement, a, b)

    def __str__(self) -> str:
        return self.text(*[default_names(len(self.permutation))] * 2)

    def numbers(self) -> dict[str, Any]:
        """Everything as JSON values, under the names of the attributes; the maps h and k are left out, and numbers that
        are not finite are null."""
        measured = {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.name not in _MAPS}
        verdict = {name: _plain(getattr(self, name)) for name in _VERDICT}
        parts = {name: _plain(getattr(self.judgement, name)) for name in _PARTS}
        return {**verdict, **parts, **measured, "tolerances": asdict(self.tolerances)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Consistency):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
