"""From noise encodings to a graph: ancestors, order, parents, and edges with error rates (docs/readout.md)."""
