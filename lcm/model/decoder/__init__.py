"""Decoders g: 𝒵 → 𝒳 with exact inverse and log-determinant."""

from __future__ import annotations

from lcm.model.decoder.base import Decoder
from lcm.model.decoder.composed import DECODER_KINDS, ChainDecoder
from lcm.model.decoder.flow import FlowDecoder
from lcm.model.decoder.linear import AffineDecoder, EmbeddingDecoder, LinearDecoder, MixingDecoder, RotationDecoder
from lcm.model.decoder.noise import NoiseDecoder, SolutionDecoder, build_decoder
from lcm.model.decoder.residual import ResidualDecoder
from lcm.model.decoder.torus import AutomorphismDecoder, TorusDecoder

__all__ = [
    "DECODER_KINDS",
    "AffineDecoder",
    "AutomorphismDecoder",
    "ChainDecoder",
    "Decoder",
    "EmbeddingDecoder",
    "FlowDecoder",
    "LinearDecoder",
    "MixingDecoder",
    "NoiseDecoder",
    "ResidualDecoder",
    "RotationDecoder",
    "SolutionDecoder",
    "TorusDecoder",
    "build_decoder",
]
