"""The decoder ψ = g ∘ s of a model, from standard-normal noise to observations: the inverse of its noise encoder φ."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from lcm.component import build, describe
from lcm.decoder.base import Decoder
from lcm.decoder.composed import DECODER_KINDS
from lcm.decoder.solution import SolutionDecoder
from lcm.scm import SCM

if TYPE_CHECKING:
    from lcm.model import LatentCausalModel


@final
class NoiseDecoder(Decoder):
    """x = g(s(ε)), ε the noise of standard-normal gauge u (docs/theory.md section 2)."""

    kind = "noise"

    def __init__(self, decoder: Decoder | dict[str, Any], scm: SCM | dict[str, Any]) -> None:
        """Raises ValueError when the SCM and the decoder differ in n."""
        super().__init__()
        self.decoder: Decoder = build(decoder, DECODER_KINDS) if isinstance(decoder, dict) else decoder
        self.scm = SCM.build(scm) if isinstance(scm, dict) else scm
        if self.scm.n != self.decoder.n:
            raise ValueError(f"Expected a decoder of {self.scm.n} variables; got {self.decoder.n}.")
        self.n, self.d = self.decoder.n, self.decoder.d

    def settings(self) -> dict[str, Any]:
        return {"decoder": describe(self.decoder), "scm": self.scm.description()}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        noise, log_gauge = self.scm.noise.from_normal(z)
        value, log_solution = self.scm.solve(noise)
        x, log_det = self.decoder(value)
        return x, log_det + log_solution + log_gauge.sum(1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, log_det = self.decoder.inverse(x)
        noise, log_abduction = self.scm.abduct(value)
        normal, log_gauge = self.scm.noise.to_normal(noise)
        return normal, log_det + log_abduction + log_gauge.sum(1)


def noise_decoder(model: LatentCausalModel) -> Decoder:
    """ψ of any model, a copy that shares no tensors with it."""
    if isinstance(model.decoder, SolutionDecoder):
        return copy.deepcopy(model.decoder.noise_decoder)
    decoder, scm = copy.deepcopy((model.decoder, model.scm))
    return NoiseDecoder(decoder, scm)


DECODER_KINDS[NoiseDecoder.kind] = NoiseDecoder
