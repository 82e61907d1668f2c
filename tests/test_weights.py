"""Fits keep their weights: digests of short fits, made before lcm/ was laid out anew, still describe today's fits.

`python tests/test_weights.py` prints the digests of the code as it is; weights.json holds them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import SHORT, small_data
from small_images import image_pairs

from lcm.learn.config import ImageConfig, KnownConfig, NoiseEncoderConfig
from lcm.model.pair_model import PairModel
from lcm.peer.disentanglement import DisentanglementConfig
from lcm.peer.explicit import ExplicitConfig
from lcm.peer.implicit import ImplicitVAEConfig
from lcm.peer.search.config import GraphSearchConfig
from lcm.peer.switch import SwitchVAEConfig
from lcm.run.config import FitConfig, models
from lcm.run.fitting import fit_pairs

pytestmark = pytest.mark.usefixtures("cheap_scores")

STORED = Path(__file__).with_name("weights.json")
STEPS = 30
CONFIG = replace(
    SHORT,
    noise_encoder=replace(SHORT.noise_encoder, steps=STEPS, marginal_steps=STEPS),
    peers={
        "implicit_vae": ImplicitVAEConfig(hidden=8, steps=STEPS, batch_size=32),
        "explicit": ExplicitConfig(
            layers=2, hidden=8, bins=4, mechanism_hidden=4, steps=STEPS, refit_steps=STEPS, batch_size=32
        ),
        "disentanglement": DisentanglementConfig(hidden=8, steps=STEPS, batch_size=32),
        "switch_vae": SwitchVAEConfig(hidden=8, steps=STEPS, batch_size=32),
    },
    graph_search=GraphSearchConfig(method="none"),
    image=ImageConfig(channels=(4,), hidden=8, passes=1, batch_size=32),
)
FITS: dict[str, tuple[str, FitConfig]] = {
    **{
        f"{model} on {data}": (data, replace(CONFIG, model=model))
        for model in models()
        for data in ("linear", "nonlinear")
    },
    "flow, two restarts": ("nonlinear", replace(CONFIG, restarts=2, seed=3)),
    "flow, known targets": ("nonlinear", replace(CONFIG, known=KnownConfig(targets=True))),
    "flow, spline couplings": (
        "nonlinear",
        replace(CONFIG, noise_encoder=NoiseEncoderConfig(flow="spline", layers=2, hidden=8, bins=4, steps=STEPS)),
    ),
    "flow on images": ("images", replace(CONFIG, n=2)),
    "dvae on images": ("images", replace(CONFIG, n=2, model="dvae")),
}


def fitted(name: str) -> PairModel:
    """One of `FITS`."""
    where, config = FITS[name]
    data = image_pairs(200) if where == "images" else small_data(where)
    return fit_pairs(data, config).model


def digest(model: PairModel) -> list[list[float]]:
    """Size, norm and sum of each tensor of weights: what a model is, whatever its parts are called."""
    tensors = [value.double().flatten() for value in model.state_dict().values() if value.is_floating_point()]
    return sorted([len(each), float(each.norm()), float(each.sum())] for each in tensors)


def exact(model: PairModel) -> str:
    """SHA-256 of all weights, whatever their names and order: equal on one machine alone."""
    parts = sorted(
        hashlib.sha256(each.contiguous().numpy().tobytes()).hexdigest() for each in model.state_dict().values()
    )
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@pytest.mark.parametrize("name", FITS)
def test_a_fit_has_the_weights_it_had(name: str) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))[name]
    found = digest(fitted(name))
    assert len(found) == len(stored)
    # Processors round differently, and thirty steps let that grow.
    torch.testing.assert_close(torch.tensor(found), torch.tensor(stored), rtol=2e-3, atol=2e-3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    found: dict[str, Any] = {name: fitted(name) for name in FITS}
    STORED.write_text(json.dumps({name: digest(model) for name, model in found.items()}) + "\n", encoding="utf-8")
    print("\n".join(f"{exact(model)} {name}" for name, model in found.items()))
