"""Fitting: from pairs to a latent causal model by maximum likelihood."""
