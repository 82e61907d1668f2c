"""The decoder ψ = g ∘ s of a model, from standard-normal noise to observations: the inverse of its noise encoder φ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from lcm.base.component import build, describe
from lcm.model.decoder.base import Decoder
from lcm.model.decoder.composed import DECODER_KINDS
from lcm.model.scm import SCM

if TYPE_CHECKING:
    pass


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


DECODER_KINDS[NoiseDecoder.kind] = NoiseDecoder


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
