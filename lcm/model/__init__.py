"""The latent causal model and its parts, in the words of the paper (docs/theory.md sections 1 and 2)."""
