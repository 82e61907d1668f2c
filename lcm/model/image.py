"""A model of pairs of images: an autoencoder, small enough for a machine without a GPU, and a model of its codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from lcm.base.arrays import as_tensor, in_kind_of
from lcm.base.component import Component, describe
from lcm.base.settings import require_mapping, require_settings
from lcm.model.do import Do
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import MODEL_TYPES, EncodedPairs, Encoding, PairModel, Pairs, build_model

_SILU_GAIN = 1.68
_CHUNK = 256


@final
class ImageAutoencoder(Component):
    """Maps uint8 images (N, H, W, C) to codes (N, m) and back.

    The encoder gets the coordinates of each pixel as two more channels (Liu et al. 2018, CoordConv). Every convolution
    halves height and width, and the decoder mirrors the encoder. Images are centred by `mean` (C, H, W) and divided by
    `scale`, the root mean square of centred images over images and pixels.
    """

    kind = "image-autoencoder"
    mean: Tensor
    scale: Tensor
    coordinates: Tensor

    def __init__(self, shape: Sequence[int], code: int, channels: Sequence[int] = (16, 32, 64, 64), hidden: int = 256):
        """`shape` is (H, W, C). All weights are zero until `draw_weights` draws them.

        Raises:
            ValueError: a height or width that the convolutions cannot halve.
        """
        super().__init__()
        require_halving(shape, len(channels))
        height, width, colours = (int(part) for part in shape)
        factor = 2 ** len(channels)
        self.shape, self.code = (height, width, colours), code
        self.channels, self.hidden = tuple(channels), hidden
        self._small = (self.channels[-1], height // factor, width // factor)
        entries = math.prod(self._small)
        outward = (self.channels[0], *self.channels)
        self.convolutions = nn.ModuleList(
            _empty(nn.Conv2d, colours + 2 if index == 0 else self.channels[index - 1], each, 4, 2, 1)
            for index, each in enumerate(self.channels)
        )
        self.to_code = nn.ModuleList([_empty(nn.Linear, entries, hidden), _empty(nn.Linear, hidden, code)])
        self.from_code = nn.ModuleList(
            [_empty(nn.Linear, code, hidden), _empty(nn.Linear, hidden, hidden), _empty(nn.Linear, hidden, entries)]
        )
        self.transposed = nn.ModuleList(
            _empty(nn.ConvTranspose2d, self.channels[index], outward[index] if index else colours, 4, 2, 1)
            for index in reversed(range(len(self.channels)))
        )
        self.register_buffer("mean", torch.zeros(colours, height, width))
        self.register_buffer("scale", torch.ones(()))
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("coordinates", torch.stack([columns, rows]).unsqueeze(0), persistent=False)

    def require_sound(self) -> None:
        """Raise ValueError for a scale that is not positive."""
        if not float(self.scale) > 0:
            raise ValueError(f"Expected a positive scale of images; got {float(self.scale)}.")

    def settings(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "code": self.code, "channels": list(self.channels), "hidden": self.hidden}

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights at unit gain. Biases stay zero."""
        layers = [*self.convolutions, *self.to_code, *self.from_code, *self.transposed]
        for layer in layers:
            weight: Tensor = layer.weight
            # an output of a transposed convolution sums over a quarter of its kernel and over all input channels
            fan_in = weight.shape[0] * 4 if isinstance(layer, nn.ConvTranspose2d) else weight[0].numel()
            gain = 1.0 if layer is layers[0] else _SILU_GAIN
            drawn = torch.randn(weight.shape, generator=generator, device=generator.device)
            weight.copy_(gain * drawn / math.sqrt(fan_in))

    def encode(self, images: Tensor) -> Tensor:
        """Codes (N, m) of uint8 images (N, H, W, C)."""
        return self.encode_standardised(self.standardise(images))

    def decode(self, code: Tensor) -> Tensor:
        """uint8 images (N, H, W, C) of codes (N, m)."""
        levels = (self.decode_standardised(code) * self.scale + self.mean) * 255.0
        return levels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def standardise(self, images: Tensor) -> Tensor:
        """The input (N, C, H, W) of the networks, with mean 0 and mean square 1, for images (N, H, W, C)."""
        levels = images.to(self.mean.dtype).permute(0, 3, 1, 2) / 255.0
        return (levels - self.mean) / self.scale

    def encode_standardised(self, values: Tensor) -> Tensor:
        """Codes (N, m) of standardised images (N, C, H, W)."""
        where = self.coordinates.expand(len(values), -1, -1, -1)
        hidden = torch.cat([values, where], 1).contiguous(memory_format=torch.channels_last)
        for layer in self.convolutions:
            hidden = functional.silu(layer(hidden))
        code: Tensor = self.to_code[1](functional.silu(self.to_code[0](hidden.flatten(1))))
        return code

    def decode_standardised(self, code: Tensor) -> Tensor:
        """Standardised images (N, C, H, W) of codes (N, m)."""
        hidden = code
        for layer in self.from_code:
            hidden = functional.silu(layer(hidden))
        hidden = hidden.view(-1, *self._small).contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.transposed):
            hidden = layer(functional.silu(hidden) if index else hidden)
        return hidden


def require_halving(shape: Sequence[int], convolutions: int) -> None:
    """Raise ValueError if images (H, W, C) cannot be halved by this number of convolutions."""
    (height, width), factor = shape[:2], 2**convolutions
    if height % factor or width % factor:
        raise ValueError(
            f"Expected images of a height and width that {convolutions} convolutions can halve, multiples of {factor}; "
            f"got {height} x {width}"
        )


def _empty(layer: type[nn.Module], *sizes: int) -> nn.Module:
    """A layer of zeros. It avoids the initialisation of torch, which would use the global generator."""
    made = nn.utils.skip_init(layer, *sizes)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


@final
class ImageModel(PairModel):
    """An autoencoder of single images, and a latent causal model or a peer of its codes.

    Densities, and thus log-likelihoods, are those of the codes.
    """

    kind: ClassVar[str] = "image"

    def __init__(self, autoencoder: ImageAutoencoder, latent: PairModel) -> None:
        """Raises ValueError if the dimension of the latent model differs from that of the codes."""
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
        """The target distribution of the model of codes."""
        return self.latent.target_distribution

    def encode_pairs(self, x: Tensor, x_tilde: Tensor) -> EncodedPairs:
        """Encodings of pairs of images (N, H, W, C), with levels 0 to 255 of any type; log_density is that of codes."""
        return self.latent.encode_pairs(self.autoencoder.encode(x), self.autoencoder.encode(x_tilde))

    @torch.no_grad()
    def encoding(self, x: Tensor) -> Encoding:
        """Variables and noise of images (N, H, W, C), in chunks, without gradients; log_det is that of the codes."""
        first = self.latent.encoding(self.autoencoder.encode(x[:_CHUNK]))
        if len(x) <= _CHUNK:
            return first
        parts = [first, *(self.latent.encoding(self.autoencoder.encode(part)) for part in x[_CHUNK:].split(_CHUNK))]
        z, noise, log_det = ([part[index] for part in parts] for index in range(3))
        return Encoding(torch.cat(z), torch.cat(noise), None if first.log_det is None else torch.cat(log_det))

    def causal_model(self) -> LatentCausalModel:
        """The model of codes.

        Raises:
            NotImplementedError: the model of codes has no mechanisms.
        """
        found: LatentCausalModel = self.latent.causal_model()
        return found

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """uint8 images (N, H, W, C) of variables (N, n), in chunks. Raises NotImplementedError as `causal_model`."""
        causal = self.causal_model()
        return torch.cat([self.autoencoder.decode(causal.decode(part)) for part in z.split(_CHUNK)])

    def sample_pairs(self, n_pairs: int, generator: torch.Generator) -> Pairs:
        """Draw pairs of images and their truth from the model's own p(x, x̃)."""
        pairs = self.causal_model().sample_pairs(n_pairs, generator)
        return pairs._replace(x=self.decode(pairs.z), x_tilde=self.decode(pairs.z_tilde))

    def counterfactual(self, x: Any, do: Do, generator: torch.Generator | None = None) -> Any:
        """What images x (N, H, W, C) would have been after `do`: encode, abduct, act, predict, decode."""
        causal = self.causal_model()
        z = self.encoding(as_tensor(x, causal.thickness)).z
        return in_kind_of(x, self.decode(causal.scm.counterfactual(z, do, generator)))

    def description(self) -> dict[str, Any]:
        """JSON description, from which `ImageModel.build` rebuilds the model without its tensors."""
        return {
            "type": self.kind,
            "autoencoder": describe(self.autoencoder),
            "latent": self.latent.description(),
        }

    @staticmethod
    def build(description: dict[str, Any]) -> ImageModel:
        """Rebuild a model, without its tensors, from `description`."""
        given = require_mapping(description, "a model of images", ("type", "autoencoder", "latent"))
        part = require_mapping(given["autoencoder"], "an autoencoder", ("kind", "settings"))
        settings = require_settings(part["settings"], ImageAutoencoder, ImageAutoencoder.kind)
        return ImageModel(ImageAutoencoder(**settings), build_model(given["latent"], "model"))


MODEL_TYPES[ImageModel.kind] = ImageModel.build
