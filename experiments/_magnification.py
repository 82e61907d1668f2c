"""What is needed to draw a decoder's magnification and geodesics, computed."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments._plot_geometry import MagnificationPanel
from lcm.geometry.pullback import Decode, find_geodesics, magnification
from lcm.model.decoder import Decoder
from lcm.model.latent_causal_model import LatentCausalModel

_TAIL = 0.005
_MARGIN = 0.08
# an energy that is right to a millionth is more than can be seen
_TOLERANCE = 1e-3


def magnification_panel(
    title: str,
    decoder: Decoder | LatentCausalModel | Decode,
    z: Tensor,
    ends: tuple[Tensor, Tensor],
    resolution: int = 80,
    symbol: str = "z",
) -> MagnificationPanel:
    """The panel of a decoder of two latent variables, for `experiments._plot_geometry.draw_magnification`.

    Args:
        title: of the panel.
        decoder: see `lcm.geometry.pullback.as_decode`.
        z: encodings (N, 2) of data; the panel spans all but their outermost half per cent, the ends, and a margin.
        ends: starts and ends of geodesics, (P, 2) each.
        resolution: points of the grid on either axis.
        symbol: of the latent variables.

    Raises:
        ValueError: not two variables, or a metric that is singular on the grid or on a geodesic.
    """
    if z.dim() != 2 or z.shape[1] != 2:
        raise ValueError(f"Expected encodings of shape (N, 2); got {tuple(z.shape)}.")
    found = find_geodesics(decoder, *ends, tolerance=_TOLERANCE)
    bulk = torch.quantile(z, torch.tensor([_TAIL, 1.0 - _TAIL], dtype=z.dtype), dim=0)
    corners = torch.cat([bulk, found.curve.flatten(0, 1)])
    low, high = corners.amin(0), corners.amax(0)
    low, high = low - _MARGIN * (high - low), high + _MARGIN * (high - low)
    axes = [torch.linspace(float(a), float(b), resolution, dtype=z.dtype) for a, b in zip(low, high, strict=True)]
    values = magnification(decoder, torch.cartesian_prod(*axes)).detach().reshape(resolution, resolution)
    return MagnificationPanel(
        title=title,
        grid=(axes[0].double().numpy(), axes[1].double().numpy()),
        magnification=values.double().numpy(),
        encodings=z.double().numpy(),
        geodesics=found.curve.double().numpy(),
        straight=found.straight.double().numpy(),
        symbol=symbol,
    )
