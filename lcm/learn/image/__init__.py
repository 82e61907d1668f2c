"""Latent causal models of images: an autoencoder, the model of its codes, and both trained together."""
