"""What to do after a fit: where the run is, and which commands can use it."""

from __future__ import annotations

from lcm.model.latent_causal_model import LatentCausalModel
from lcm.run.outcome import Outcome


def next_steps(result: Outcome, folder: str) -> str:
    """Where the run is, and which commands can use it."""
    return "\n".join(
        [
            f"Written to {folder}: the page report.html, the model, graph.json; figures in {folder}/figures.",
            f"Open {folder}/report.html in a browser to see what was found.",
            "Next:",
            *(f"  {command:44} {what}" for command, what in _commands(result, folder)),
        ]
    )


def _commands(result: Outcome, folder: str) -> list[tuple[str, str]]:
    """Commands and what they do."""
    commands = [(f"lcm name {folder} 0=NAME", "name a variable, in all that is made of the run later")]
    causal, tested = isinstance(result.latent, LatentCausalModel), result.found.evidence is not None
    if causal:
        commands += [(f"lcm explore {folder}", "set variables in the browser and see what follows")]
    commands += [
        (f"lcm evaluate {folder} DATA", "score the fit, if DATA holds the truth"),
        (f"lcm compare {folder} OTHER DATA", "compare it with another fit, without a truth"),
        (f"lcm certify {folder} DATA", "judge every assumption of the fit"),
        (f"lcm encode {folder} DATA --out FILE", "write the variables of each pair"),
    ]
    if tested:
        commands += [
            (f"lcm graph {folder} --fdr Q", "print the graph at another false discovery rate"),
            (f"lcm plan {folder}", "plan which targets further pairs should have"),
        ]
    else:
        commands += [(f"lcm graph {folder} --method M --data DATA", "search for the graph by another method")]
    if causal:
        commands += [(f"lcm sample {folder} --n N --out FILE", "draw new pairs; --do I=VALUE intervenes")]
    if result.records:
        commands += [(f"tensorboard --logdir {folder}", "show the training curves")]
    return commands
