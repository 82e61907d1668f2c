"""Settings of the scene that the variables of a ground truth drive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from lcm.requirement import require

_SMALLEST, _LARGEST, _MULTIPLE, _MOST_SUPERSAMPLING = 16, 512, 16, 4


@final
@dataclass(frozen=True)
class SceneConfig:
    """Images instead of vectors: a scene, and which of its parameters each variable drives.

    Attributes:
        kind: circuit, objects, or FILE.py:CLASS, a scene of one's own (docs/images.md).
        size: height and width in pixels, a multiple of 16 from 16 to 512, which the default autoencoder can halve.
        supersampling: drawn so many times larger, then averaged; 1 to 4.
        parameters: of the scene, one for each variable in order; by default its first n.
        values: how a variable becomes a parameter in (0, 1): "unit", as it is; "logistic", standardised, then through
            1 / (1 + exp(−1.5 v)); "auto", unit for mechanisms of kind circuit, logistic for others.
    """

    kind: str = "circuit"
    size: int = 64
    supersampling: int = 2
    parameters: tuple[str, ...] | None = None
    values: Literal["auto", "unit", "logistic"] = "auto"

    def __post_init__(self) -> None:
        sizes = f"a multiple of {_MULTIPLE} from {_SMALLEST} to {_LARGEST}"
        require(self, ("size",), lambda v: _SMALLEST <= v <= _LARGEST and v % _MULTIPLE == 0, sizes)
        require(self, ("supersampling",), lambda v: 1 <= v <= _MOST_SUPERSAMPLING, f"1 to {_MOST_SUPERSAMPLING}")
        names = self.parameters or ()
        twice = [name for index, name in enumerate(names) if name in names[:index]]
        if twice:
            raise ValueError(f"parameters: Expected each parameter once; got {twice[0]} again.")
