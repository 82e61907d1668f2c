"""Decoders g: 𝒵 → 𝒳 with exact inverse and log-determinant."""

from __future__ import annotations

from lcm.decoder.base import Decoder
from lcm.decoder.composed import DECODER_KINDS, ChainDecoder
from lcm.decoder.flow import FlowDecoder
from lcm.decoder.linear import AffineDecoder, EmbeddingDecoder, LinearDecoder, RotationDecoder
from lcm.decoder.mixing import MixingDecoder
from lcm.decoder.noise import NoiseDecoder, noise_decoder
from lcm.decoder.residual import ResidualDecoder
from lcm.decoder.solution import SolutionDecoder, build_decoder
from lcm.decoder.torus import AutomorphismDecoder, TorusDecoder

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
    "noise_decoder",
]
