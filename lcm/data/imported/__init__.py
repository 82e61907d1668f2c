"""Existing sets of images as files of pairs: CausalCircuit, Causal3DIdent, and any folder with a CSV."""
