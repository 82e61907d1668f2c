"""Disentanglement autoencoders: `dvae`, `beta-vae` and the supervised one (docs/disentanglement-peers.md)."""
