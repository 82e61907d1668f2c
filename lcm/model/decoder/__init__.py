"""Decoders g: 𝒵 → 𝒳 with exact inverse and log-determinant.

A new kind is one file with a `Decoder`, a `DecoderConfig` if natures may draw it, a `Flow` if it may be the noise
encoder of a fit, and one line here.
"""

from __future__ import annotations

from lcm.model.decoder.base import Decoder, DecoderConfig, Flow
from lcm.model.decoder.composed import ChainDecoder, NoiseDecoder, ReparametrisedDecoder, SolutionDecoder, build_decoder
from lcm.model.decoder.flow import FlowDecoder, FlowDecoderConfig
from lcm.model.decoder.light_tunnel import LightTunnelDecoder, LightTunnelDecoderConfig
from lcm.model.decoder.linear import (
    AffineDecoder,
    EmbeddingDecoder,
    EmbeddingDecoderConfig,
    LinearDecoder,
    LinearDecoderConfig,
    MixingDecoder,
    MixingDecoderConfig,
    RotationDecoder,
    RotationDecoderConfig,
)
from lcm.model.decoder.residual import ResidualDecoder
from lcm.model.decoder.sheet import ColumnsDecoder, SheetDecoder
from lcm.model.decoder.torus import AutomorphismDecoder, TorusDecoder
from lcm.model.decoder.triangular import TriangularDecoder

__all__ = [
    "AffineDecoder",
    "AutomorphismDecoder",
    "ChainDecoder",
    "ColumnsDecoder",
    "Decoder",
    "DecoderConfig",
    "EmbeddingDecoder",
    "EmbeddingDecoderConfig",
    "Flow",
    "FlowDecoder",
    "FlowDecoderConfig",
    "LightTunnelDecoder",
    "LightTunnelDecoderConfig",
    "LinearDecoder",
    "LinearDecoderConfig",
    "MixingDecoder",
    "MixingDecoderConfig",
    "NoiseDecoder",
    "ReparametrisedDecoder",
    "ResidualDecoder",
    "RotationDecoder",
    "RotationDecoderConfig",
    "SheetDecoder",
    "SolutionDecoder",
    "TorusDecoder",
    "TriangularDecoder",
    "build_decoder",
]
