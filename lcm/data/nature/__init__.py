"""Natures: known latent causal models that pairs are drawn from."""
