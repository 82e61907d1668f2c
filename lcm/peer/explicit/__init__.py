"""The explicit latent causal models `elcm-vae` and `elcm-flow` (docs/explicit-models.md)."""
