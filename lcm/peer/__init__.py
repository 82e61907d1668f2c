"""The peers: other models of the same pairs, a folder each, and searches for a graph over the variables of any model.

A new peer is a folder, which says in a `Peer` what it is, and one line in the table below.
"""

from __future__ import annotations

from lcm.model import MODEL_TABLES
from lcm.peer.base import Peer
from lcm.peer.disentanglement import BETA_VAE_PEER, DVAE_PEER, SUPERVISED_VAE_PEER
from lcm.peer.explicit import ELCM_FLOW_PEER, ELCM_VAE_PEER
from lcm.peer.implicit import ILCM_VAE_PEER
from lcm.peer.switch import ICRL_SM_PEER

PEERS: dict[str, Peer] = {
    "elcm-flow": ELCM_FLOW_PEER,
    "ilcm-vae": ILCM_VAE_PEER,
    "icrl-sm": ICRL_SM_PEER,
    "elcm-vae": ELCM_VAE_PEER,
    "dvae": DVAE_PEER,
    "beta-vae": BETA_VAE_PEER,
    "vae-supervised-interventions": SUPERVISED_VAE_PEER,
}
"""All peers by the name that `lcm fit --model` takes; a model that a peer loads has this name as its `kind`."""

MODEL_TABLES.append(PEERS)
