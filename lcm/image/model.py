"""A model of pairs of images: an autoencoder, and a model of the pairs of its codes."""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor

from lcm.component import describe
from lcm.graph import Graph
from lcm.image.autoencoder import ImageAutoencoder
from lcm.intervention import TargetDistribution
from lcm.learn.optimise import in_chunks
from lcm.model import LatentCausalModel
from lcm.pair_model import EncodedPairs, PairModel
from lcm.scm import Do

_CHUNK = 256


@final
class ImageModel(PairModel):
    """The autoencoder of single images, and on its codes a latent causal model or a peer.

    Densities, and so every nll, are those of the codes.
    """

    kind: ClassVar[str] = "image"

    def __init__(self, autoencoder: ImageAutoencoder, latent: PairModel) -> None:
        """Raises ValueError where the latent model has observations of another dimension than the code."""
        super().__init__()
        if latent.d != autoencoder.code:
            raise ValueError(f"Expected a model of codes of {autoencoder.code} dimensions; got one of {latent.d}.")
        self.autoencoder, self.latent = autoencoder, latent

    @property
    def n(self) -> int:
        """Number of latent variables."""
        return self.latent.n

    @property
    def d(self) -> int:
        """Number of entries of an image, H · W · C."""
        height, width, colours = self.autoencoder.shape
        return height * width * colours

    @property
    def observation_shape(self) -> tuple[int, ...]:
        return self.autoencoder.shape

    @property
    def graph(self) -> Graph:
        """The graph over the latent variables."""
        return self.latent.graph

    @property
    def target_distribution(self) -> TargetDistribution:  # type: ignore[override]
        """That of the model of codes."""
        return self.latent.target_distribution

    def encode_pairs(self, x: Tensor, x_tilde: Tensor) -> EncodedPairs:
        """Encodings of pairs of images (N, H, W, C), levels 0 to 255 of any type; log_density is that of the codes."""
        return self.latent.encode_pairs(self.autoencoder.encode(x), self.autoencoder.encode(x_tilde))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Latent variables z (N, n) of images (N, H, W, C), some at a time, without gradients."""

        def variables(part: Tensor) -> tuple[Tensor]:
            return (self.encode_pairs(part, part).z,)

        return in_chunks(variables, images, size=_CHUNK)[0]

    def causal_model(self) -> LatentCausalModel:
        """The model of codes; ValueError where it is a peer's, without mechanisms to intervene on or to sample from."""
        if not isinstance(self.latent, LatentCausalModel):
            raise ValueError(f"Expected a latent causal model of codes; got one of kind {self.latent.kind}.")
        return self.latent

    def decode(self, z: Tensor) -> Tensor:
        """uint8 images (N, H, W, C) of causal variables (N, n); ValueError for a peer."""
        return self.autoencoder.decode(self.causal_model().decode(z))

    def counterfactual(self, images: Tensor, do: Do, generator: torch.Generator | None = None) -> Tensor:
        """What images (N, H, W, C) would be under an intervention: encode, abduct, act, predict, decode.

        Raises:
            ValueError: a peer, which has no mechanisms, or what `SCM.counterfactual` refuses.
        """
        return self.autoencoder.decode(
            self.causal_model().counterfactual(self.autoencoder.encode(images), do, generator)
        )

    def description(self) -> dict[str, Any]:
        """JSON description that `ImageModel.build` turns back into a model without its tensors."""
        return {
            "type": self.kind,
            "autoencoder": describe(self.autoencoder),
            "latent": self.latent.description(),
        }

    @staticmethod
    def build(description: dict[str, Any]) -> ImageModel:
        """Rebuild a model, without its tensors, from `description`."""
        from lcm.storage import build_pair_model

        return ImageModel(
            ImageAutoencoder(**description["autoencoder"]["settings"]), build_pair_model(description["latent"])
        )
