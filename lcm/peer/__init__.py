"""The peers: other models of the same pairs, a folder each, and searches for a graph over the variables of any model.

A new peer is a folder, which says in a `Peer` what it is, and one line in the table below.
"""

from __future__ import annotations

from lcm.model import MODEL_TABLES
from lcm.peer.base import Peer
from lcm.peer.disentanglement import BETA_VAE, DVAE, SUPERVISED_VAE
from lcm.peer.explicit import ELCM_FLOW, ELCM_VAE
from lcm.peer.implicit import ILCM_VAE

PEERS: dict[str, Peer] = {
    "elcm-flow": ELCM_FLOW,
    "ilcm-vae": ILCM_VAE,
    "elcm-vae": ELCM_VAE,
    "dvae": DVAE,
    "beta-vae": BETA_VAE,
    "vae-supervised-interventions": SUPERVISED_VAE,
}
"""All peers by the name that `lcm fit --model` takes; a model that a peer loads has this name as its `kind`."""

MODEL_TABLES.append(PEERS)
