"""The figures of a fit to images, and what its report says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lcm.data.pairs import PairData
from lcm.encode import encode_pairs
from lcm.image.model import ImageModel
from lcm.learn.result import ImageResult
from lcm.model import LatentCausalModel

_ENCODED = 2_000
_SHOWN = 8
_NAMES = ("traversals", "counterfactuals", "samples", "targets")


def draw_image_figures(folder: Path, model: ImageModel, data: PairData, seed: int) -> list[Path]:
    """Draw traversals, counterfactuals, sampled pairs and pairs with their posteriors, as far as the model can.

    A peer without mechanisms has the last alone. Pairs are those of the data, with which the model was fitted.
    """
    from lcm.plot.image_grid import draw_sampled_pairs, draw_traversals

    some = data.first(_ENCODED)
    encoded = encode_pairs(model, some)
    drawn = []
    if isinstance(model.latent, LatentCausalModel):
        z, image = encoded.z.cpu().numpy(), np.array(some.x[:1])[0]
        draw_traversals(folder / "traversals.png", model, image, z)
        draw_traversals(folder / "counterfactuals.png", model, image, z, act=True)
        device = model.latent.thickness.device
        pairs = model.latent.sample_pairs(_SHOWN, torch.Generator(device).manual_seed(seed))
        sampled = [model.autoencoder.decode(part).cpu().numpy() for part in (pairs.x, pairs.x_tilde)]
        draw_sampled_pairs(folder / "samples.png", some.x[:_SHOWN], some.x_tilde[:_SHOWN], *sampled)
        drawn += [folder / f"{name}.png" for name in _NAMES[:3]]
    _draw_targets(folder / "targets.png", model, some, encoded.posterior.cpu().numpy())
    return [*drawn, folder / "targets.png"]


def _draw_targets(path: Path, model: ImageModel, data: PairData, posterior: Any) -> None:
    """Pairs from the surest to the least sure, evenly."""
    from lcm.plot.image_grid import draw_uncertain_pairs

    sure = np.argsort(-posterior.max(1), kind="stable")
    rows = sure[np.linspace(0, len(sure) - 1, min(_SHOWN, len(sure))).astype(np.int64)]
    with torch.no_grad():
        code = model.autoencoder.encode(torch.from_numpy(np.array(data.x[rows])))
        decoded = model.autoencoder.decode(code).numpy()
    sets = model.target_distribution.as_lists()
    labels = ["+".join(f"z{i}" for i in targets) or "∅" for targets in sets]
    draw_uncertain_pairs(path, data.x[rows], data.x_tilde[rows], decoded, posterior[rows], labels)


def reconstruction_error(result: ImageResult) -> float:
    """Root mean square error of a pixel of held-out images, as a share of full brightness, at the end of the fit."""
    kept = [record for record in result.records if record.get("error") is not None]
    last = [record for record in kept if record["stage"] == kept[-1]["stage"]]
    best = max(last, key=lambda record: float(record["validation_log_likelihood"]))
    return float(best["error"]) ** 0.5


def image_section(result: ImageResult, data: PairData) -> str:
    """What report.md says of images."""
    height, width, colours = data.x.shape[1:]
    figures = _NAMES if isinstance(result.model.latent, LatentCausalModel) else _NAMES[3:]
    shown = "\n\n".join(f"![{name}](figures/{name}.png)" for name in figures)
    return f"""
## Images

{height} × {width} pixels of {colours} channels, through codes of {result.model.autoencoder.code} dimensions. Held-out
images are decoded from their codes with a root mean square error of {reconstruction_error(result):.4f} of full
brightness. Log-likelihoods above are those of the codes.

{shown}
"""
