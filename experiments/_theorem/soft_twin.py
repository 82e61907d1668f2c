"""Why soft interventions hide the graph: a model without edges that explains their pairs exactly.

Where the mechanism of a target stays and only its noise is drawn afresh, ẽ_i does not depend on e: imposing that noise,
whatever the parents, is a perfect intervention in the model whose causal variables are the noise (docs/theory.md
section 4).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from lcm.model.decoder import SolutionDecoder
from lcm.model.elementwise import AffineMap
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, ShiftedIntervention
from lcm.model.latent_causal_model import LatentCausalModel, noise_decoder
from lcm.model.mechanism import AdditiveMechanism, LinearMechanism
from lcm.model.noise import Noise, PushforwardNoise
from lcm.model.scm import SCM


def empty_graph_twin(model: LatentCausalModel) -> LatentCausalModel:
    """The model of equal p(x, x̃) with the empty graph, z = ε, and perfect interventions; it shares no tensors.

    Raises:
        ValueError: interventions that are not shifted, or mechanisms that are neither linear nor additive: there, a
            shift of z_i is no shift of its noise.
    """
    scm, intervention = model.scm, model.intervention
    if not isinstance(intervention, ShiftedIntervention):
        raise ValueError(f"Expected shifted interventions; got {intervention.kind}.")
    if not isinstance(scm.mechanism, LinearMechanism | AdditiveMechanism):
        raise ValueError(f"Expected linear or additive mechanisms; got {scm.mechanism.kind}.")
    noise: Noise = copy.deepcopy(scm.noise)
    adjacency = torch.zeros(model.n, model.n, dtype=torch.bool, device=model.thickness.device)
    identity = LinearMechanism(adjacency).to(model.thickness)
    twin = SCM(Graph(adjacency.cpu().numpy()), identity, noise)
    shift: Tensor = (intervention.shift * torch.exp(-scm.mechanism.log_scale)).detach().clone()
    imposed = PushforwardNoise(copy.deepcopy(noise), AffineMap(model.n, shift, torch.ones_like(shift)))
    found = LatentCausalModel(
        twin,
        SolutionDecoder(noise_decoder(model), twin),
        PerfectIntervention(imposed),
        copy.deepcopy(model.target_distribution),
        model.thickness.clone(),
    )
    # past the constructor, which takes the default precision
    found.thickness = model.thickness.clone()
    return found.to(model.thickness.device).requires_grad_(False)
