"""Image sets that exist already, made into files of pairs: CausalCircuit, Causal3DIdent, any folder with a CSV."""
