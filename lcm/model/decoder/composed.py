"""Decoders made of others: chains, decoders seen through other variables, and those that lead through an SCM.

ψ = g ∘ s leads from standard-normal noise to observations; it is the inverse of the noise encoder φ.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn

from lcm.base.component import describe
from lcm.base.settings import require_mapping, require_settings
from lcm.model.decoder.base import Decoder
from lcm.model.elementwise import ElementwiseMap, Relabelling
from lcm.model.scm import SCM


@final
class ChainDecoder(Decoder):
    """g = g_L ∘ … ∘ g_1.

    An embedding into more dimensions may only stand last, since log-volumes add up for square maps only.
    """

    kind = "chain"

    def __init__(self, parts: Sequence[Decoder | dict[str, Any]]) -> None:
        """`parts` in decoding order.

        Raises:
            ValueError: no parts, sizes of neighbours that differ, or an embedding into more dimensions that
                is not last.
        """
        super().__init__()
        built = [Decoder.build(part) for part in parts]
        if not built:
            raise ValueError("Expected at least one decoder in the chain; got none.")
        for before, after in pairwise(built):
            if before.d != before.n:
                raise ValueError(f"Expected an embedding ({before.n} to {before.d}) last in the chain; got it earlier.")
            if before.d != after.n:
                raise ValueError(f"Expected a decoder of {before.d} inputs next in the chain; got {after.n}.")
        self.parts = nn.ModuleList(built)
        self.n, self.d = built[0].n, built[-1].d

    @property
    def circular(self) -> Tensor:
        first: Decoder = self.parts[0]  # type: ignore[assignment]
        return first.circular

    @property
    def measured_share(self) -> float:
        return min(float(part.measured_share) for part in self.parts)  # type: ignore[arg-type]

    @property
    def observation_dtype(self) -> torch.dtype | None:
        last: Decoder = self.parts[-1]  # type: ignore[assignment]
        return last.observation_dtype

    def settings(self) -> dict[str, Any]:
        return {"parts": [describe(part) for part in self.parts]}  # type: ignore[arg-type]

    def deepened(self, generator: torch.Generator) -> ChainDecoder:
        return ChainDecoder([part.deepened(generator) for part in self.parts])  # type: ignore[operator]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = z, z.new_zeros(len(z))
        for part in self.parts:
            values, log_part = part(values)
            log_det = log_det + log_part
        return values, log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse_measuring(x, len(x))

    def inverse_measuring(self, x: Tensor, measured: int) -> tuple[Tensor, Tensor]:
        values, log_det = x, x.new_zeros(measured)
        for part in reversed(self.parts):
            values, log_part = part.inverse_measuring(values, measured)  # type: ignore[operator]
            log_det = log_det + log_part
        return values, log_det

    def encode(self, x: Tensor) -> Tensor:
        for part in reversed(self.parts):
            x = part.encode(x)  # type: ignore[operator]
        return x

    def decode(self, z: Tensor) -> Tensor:
        for part in self.parts:
            z = part.decode(z)  # type: ignore[operator]
        return z


@final
class ReparametrisedDecoder(Decoder):
    """g′ = g ∘ h⁻¹ ∘ π⁻¹, so that z′_{π(i)} = h_i(z_i) has the image of z."""

    kind = "reparametrised"

    def __init__(
        self,
        decoder: Decoder | dict[str, Any],
        variable_map: ElementwiseMap | dict[str, Any],
        permutation: Sequence[int],
    ) -> None:
        super().__init__()
        self.decoder = Decoder.build(decoder)
        self.variable_map, self.labels = ElementwiseMap.build(variable_map), Relabelling(permutation)
        self.n, self.d = self.decoder.n, self.decoder.d

    def settings(self) -> dict[str, Any]:
        return {
            "decoder": describe(self.decoder),
            "variable_map": describe(self.variable_map),
            "permutation": self.labels.new_label.tolist(),
        }

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        old_z, log_derivative = self.variable_map.inverse(z[:, self.labels.new_label])
        x, log_det = self.decoder(old_z)
        return x, log_det + log_derivative.sum(1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder.decode(self.variable_map.inverse(z[:, self.labels.new_label])[0])

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        old_z, log_det = self.decoder.inverse(x)
        z, log_derivative = self.variable_map(old_z)
        return z[:, self.labels.old_label], log_det + log_derivative.sum(1)


@final
class NoiseDecoder(Decoder):
    """x = g(s(ε)), ε the noise of standard-normal gauge u (docs/theory.md section 2)."""

    kind = "noise"

    def __init__(self, decoder: Decoder | dict[str, Any], scm: SCM | dict[str, Any]) -> None:
        """Raises ValueError when the SCM and the decoder differ in n."""
        super().__init__()
        self.decoder = Decoder.build(decoder)
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


@final
class SolutionDecoder(Decoder):
    """g = ψ ∘ s⁻¹ with ψ a decoder of standard-normal noise u (docs/theory.md section 3).

    It shares the SCM of the model it belongs to and adds no tensors of its own but ψ's.
    """

    kind = "solution"

    def __init__(self, noise_decoder: Decoder | dict[str, Any], scm: SCM) -> None:
        """Raises ValueError when the SCM and the noise decoder differ in n."""
        super().__init__()
        self.noise_decoder = Decoder.build(noise_decoder)
        if scm.n != self.noise_decoder.n:
            raise ValueError(f"Expected a noise decoder of {scm.n} variables; got {self.noise_decoder.n}.")
        # a tuple keeps the shared SCM out of this module's own parameters and state
        self._scm = (scm,)
        self.n, self.d = scm.n, self.noise_decoder.d

    @property
    def circular(self) -> Tensor:
        return self._scm[0].circular

    @property
    def observation_dtype(self) -> torch.dtype | None:
        return self.noise_decoder.observation_dtype

    def settings(self) -> dict[str, Any]:
        return {"noise_decoder": describe(self.noise_decoder)}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        scm = self._scm[0]
        noise, log_abduction = scm.abduct(z)
        normal, log_gauge = scm.noise.to_normal(noise)
        x, log_det = self.noise_decoder(normal)
        return x, log_det + log_gauge.sum(1) + log_abduction

    def decode(self, z: Tensor) -> Tensor:
        scm = self._scm[0]
        return self.noise_decoder.decode(scm.noise.to_normal(scm.abduct(z)[0])[0])

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scm = self._scm[0]
        normal, log_det = self.noise_decoder.inverse(x)
        noise, log_gauge = scm.noise.from_normal(normal)
        z, log_solution = scm.solve(noise)
        return z, log_det + log_gauge.sum(1) + log_solution


def build_decoder(description: dict[str, Any], scm: SCM) -> Decoder:
    """Rebuild any decoder, the fitted model's included, from its description."""
    given = require_mapping(description, "a decoder", ("kind", "settings"))
    if given["kind"] == SolutionDecoder.kind:
        return SolutionDecoder(**require_settings(given["settings"], SolutionDecoder, SolutionDecoder.kind), scm=scm)
    return Decoder.build(description)
