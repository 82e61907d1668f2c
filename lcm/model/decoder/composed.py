"""Decoders made of others in a chain, and the table of decoder kinds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, final

from torch import Tensor, nn

from lcm.base.component import build, describe
from lcm.model.decoder.base import Decoder
from lcm.model.decoder.flow import FlowDecoder
from lcm.model.decoder.linear import AffineDecoder, EmbeddingDecoder, LinearDecoder, MixingDecoder, RotationDecoder
from lcm.model.decoder.residual import ResidualDecoder
from lcm.model.decoder.torus import AutomorphismDecoder, TorusDecoder


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
        built = [build(part, DECODER_KINDS) if isinstance(part, dict) else part for part in parts]
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

    def settings(self) -> dict[str, Any]:
        return {"parts": [describe(part) for part in self.parts]}  # type: ignore[arg-type]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = z, z.new_zeros(len(z))
        for part in self.parts:
            values, log_part = part(values)
            log_det = log_det + log_part
        return values, log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = x, x.new_zeros(len(x))
        for part in reversed(self.parts):
            values, log_part = part.inverse(values)  # type: ignore[operator]
            log_det = log_det + log_part
        return values, log_det


DECODER_KINDS: dict[str, type[Decoder]] = {
    cls.kind: cls
    for cls in (
        RotationDecoder,
        LinearDecoder,
        AffineDecoder,
        EmbeddingDecoder,
        FlowDecoder,
        MixingDecoder,
        ResidualDecoder,
        TorusDecoder,
        AutomorphismDecoder,
        ChainDecoder,
    )
}
