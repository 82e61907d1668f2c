"""The decoder of a fitted model: from causal variables back to noise, then by the flow to the observation."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from lcm.component import build, describe
from lcm.decoder.base import Decoder
from lcm.decoder.composed import DECODER_KINDS
from lcm.scm import SCM


@final
class SolutionDecoder(Decoder):
    """g = ψ ∘ s⁻¹ with ψ a decoder of standard-normal noise u (docs/theory.md section 3).

    It shares the SCM of the model it belongs to and adds no tensors of its own but ψ's.
    """

    kind = "solution"

    def __init__(self, noise_decoder: Decoder | dict[str, Any], scm: SCM) -> None:
        """Raises ValueError when the SCM and the noise decoder differ in n."""
        super().__init__()
        self.noise_decoder: Decoder = (
            build(noise_decoder, DECODER_KINDS) if isinstance(noise_decoder, dict) else noise_decoder
        )
        if scm.n != self.noise_decoder.n:
            raise ValueError(f"Expected a noise decoder of {scm.n} variables; got {self.noise_decoder.n}.")
        # a tuple keeps the shared SCM out of this module's own parameters and state
        self._scm = (scm,)
        self.n, self.d = scm.n, self.noise_decoder.d

    @property
    def circular(self) -> Tensor:
        return self._scm[0].circular

    def settings(self) -> dict[str, Any]:
        return {"noise_decoder": describe(self.noise_decoder)}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        scm = self._scm[0]
        noise, log_abduction = scm.abduct(z)
        normal, log_gauge = scm.noise.to_normal(noise)
        x, log_det = self.noise_decoder(normal)
        return x, log_det + log_gauge.sum(1) + log_abduction

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scm = self._scm[0]
        normal, log_det = self.noise_decoder.inverse(x)
        noise, log_gauge = scm.noise.from_normal(normal)
        z, log_solution = scm.solve(noise)
        return z, log_det + log_gauge.sum(1) + log_solution


def build_decoder(description: dict[str, Any], scm: SCM) -> Decoder:
    """Rebuild any decoder, the fitted model's included, from its description."""
    if description.get("kind") == SolutionDecoder.kind:
        return SolutionDecoder(**description["settings"], scm=scm)
    decoder: Decoder = build(description, DECODER_KINDS)
    return decoder
