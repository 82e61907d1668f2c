"""Graph discovery on fitted variables, for any model."""
