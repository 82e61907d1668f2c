"""The files that make a run folder a model repository of the Hugging Face hub: README.md, the card, and config.json."""

from __future__ import annotations

from typing import Any

from lcm.base import __version__
from lcm.base.requirement import to_dict
from lcm.run.certificate_text import certificate_section
from lcm.run.outcome import Outcome
from lcm.run.report import edge_lines, related_lines, strength_lines

_LIBRARY = "latent-causal-models"


def hub_config(result: Outcome) -> dict[str, Any]:
    """The content of config.json: library, its version, model, numbers of variables and dimensions, all settings."""
    return {
        "library_name": _LIBRARY,
        "library_version": __version__,
        "model_type": result.config.model,
        "n": result.model.n,
        "n_dimensions": result.size[1],
        "settings": to_dict(result.config),
    }


def model_card(result: Outcome) -> str:
    """The content of README.md: what the model is, how to use it, its graph, and its certificate."""
    graph, evidence = result.model.graph, result.found.evidence
    names = result.names
    lines = (
        strength_lines(graph, result.edge_strength, names) if evidence is None else edge_lines(evidence, graph, names)
    )
    edges = "".join(f"- {line}\n" for line in lines) or "- no edge\n"
    related = "".join(f"- {line}\n" for line in related_lines(result))
    columns = f"\nColumns most related to each variable (absolute rank correlation):\n\n{related}" if related else ""
    return f"""---
library_name: {_LIBRARY}
tags: [causal-representation-learning, causal-discovery, structural-causal-model]
---

# A latent causal model of {result.model.n} variables

The model `{result.config.model}` was fitted to {result.size[0]:,} pairs of {result.size[1]} dimensions, each before and
after an unknown intervention, by `{_LIBRARY}` {__version__}. All settings are in `config.json`, and the whole report of
the fit is in `report.md`.

## Use

```python
import lcm  # pip install {_LIBRARY}

result = lcm.load("FOLDER")  # the folder of this file
print(result.certificate)
z = result.encode(pairs)  # pairs of the same columns: lcm.load_pairs("before.csv", "after.csv")
```

Nothing in this folder is unpickled or run. The numbering, orientation and units of learned variables are arbitrary.
What the model says of data unlike those of the fit rests on extrapolation.

## Graph

Each line gives an edge i -> j and its strength{"" if evidence is None else ", 95 % interval and p-value"}:

{edges}{columns}
{certificate_section(result)}"""
