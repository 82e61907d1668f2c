"""The implicit latent causal model `ilcm-vae` of the paper (docs/ilcm-vae.md)."""
