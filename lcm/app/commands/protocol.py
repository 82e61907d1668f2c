"""`lcm protocol`: instructions with which a causal chamber measures pairs of a latent causal model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lcm.app.commands.common import check_output, find_config, open_model

if TYPE_CHECKING:
    from lcm.model.latent_causal_model import LatentCausalModel

HELP = "write instructions for a causal chamber to measure pairs"
DESCRIPTION = """\
Write the instructions with which a causal chamber measures counterfactual pairs, as SET and MSR lines in the text
format of the chambers (Gamella, Peters and Buehlmann 2025).

The pairs are drawn from a model: a run folder, a model file, or a config for lcm generate, of which the sections nature
and seed are used. Each variable of the model sets one actuator, by a rising map to its range: the share of the range is
the normal distribution function of the standardised variable. The actuators keep the graph of the model.

A pair is two measurements in a row. An intervention sets its target anew and leaves all noise as it was. So the target
and its descendants change, and everything else stays. If there is no intervention, nothing changes. The thickness of a
fitted model is left out. Values are rounded to the steps of the actuator, integers for the lights.

The command also writes the truth to the .json file of the same name. Measure the protocol, keep all rows in order, and
run: lcm import chamber MEASURED --protocol FILE.json --out OUT (docs/chambers.md).
"""
EPILOG = """\
examples:
  lcm protocol paper_configs/scaling.yaml --pairs 5000 --out protocol.txt
  lcm protocol run --pairs 2000 --out protocol.txt --targets next/targets.yaml          # of lcm plan run --out next
  lcm protocol run --pairs 5000 --out protocol.txt --actuators red green pol_1 --range pol_1=0,90 --wait 200
  lcm protocol data/toy2d/nature.safetensors --pairs 2000 --out wind.txt --actuators load_in hatch \\
    --range load_in=0.1,1,0.01 hatch=0,45 --set load_out=0.5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="run folder, model file, or .yaml config of a ground truth")
    parser.add_argument("--pairs", metavar="N", type=int, required=True, help="number of pairs; 2 N measurements")
    parser.add_argument("--out", metavar="FILE", required=True, help=".txt file; the truth goes to FILE with .json")
    parser.add_argument(
        "--actuators",
        metavar="NAME",
        nargs="+",
        help="actuator of each variable, in order; default: the first of red, green, blue, pol_1, pol_2, l_11, l_12, …",
    )
    parser.add_argument(
        "--range",
        metavar="NAME=LOW,HIGH[,STEP]",
        nargs="+",
        default=[],
        dest="ranges",
        help="range of an actuator; default: 0,255,1 for lights and -90,90,0.1 for pol_1 and pol_2",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        nargs="+",
        default=[],
        dest="settings",
        help="other settings, set once at the start",
    )
    parser.add_argument(
        "--wait", metavar="MS", type=int, default=0, help="milliseconds from the last SET to a measurement; default: 0"
    )
    targets_help = "YAML file with targets and probabilities, as lcm plan writes; default: those of the model"
    parser.add_argument("--targets", metavar="FILE", help=targets_help)
    parser.add_argument("--seed", metavar="S", type=int, help="seed of the pairs; default: that of the config, else 0")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.wait < 0:
        raise ValueError(f"--wait: Expected at least 0 milliseconds; got {arguments.wait}")
    if arguments.seed is not None and arguments.seed < 0:
        raise ValueError(f"--seed: Expected at least 0; got {arguments.seed}")

    from lcm.data.chamber.actuator import chosen_actuators
    from lcm.data.chamber.protocol import draw_protocol
    from lcm.data.chamber.protocol_files import parsed_settings, truth_path, write_protocol

    out = check_output(arguments.out, ".txt", arguments.model, arguments.targets)
    truth = check_output(str(truth_path(out)), ".json", arguments.model, arguments.targets)
    setup = parsed_settings(arguments.settings)
    model, seed = _model(arguments.model, arguments.seed)
    if arguments.targets:
        model = _with_targets(model, arguments.targets)
    actuators = chosen_actuators(model.n, arguments.actuators, arguments.ranges)
    driven = [name for name in setup if name in {actuator.name for actuator in actuators}]
    if driven:
        raise ValueError(f"--set: Expected no actuator that a variable drives; got {driven[0]}")
    protocol = draw_protocol(model, arguments.pairs, actuators, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_protocol(out, protocol, setup=setup, wait=arguments.wait, seed=seed)
    if not arguments.quiet:
        print(f"Wrote {2 * len(protocol):,} measurements of {len(protocol):,} pairs: {out}")
        for variable, actuator in enumerate(actuators):
            low, high = actuator.text(actuator.low), actuator.text(actuator.high)
            print(f"  z{variable} sets {actuator.name}, {low} to {high}")
        print(f"Wrote their truth: {truth}")
        print(f"Next, with what was measured:\n  lcm import chamber MEASURED.csv --protocol {truth} --out OUT")


def _model(path: str, seed: int | None) -> tuple[LatentCausalModel, int]:
    """The latent causal model, and the seed of the pairs."""
    if Path(path).suffix not in (".yaml", ".yml"):
        return open_model(path).model.causal_model(), seed or 0

    from lcm.base.config import load_config
    from lcm.data.data_set import GenerateConfig
    from lcm.data.nature.build import build_nature

    config = load_config(find_config(path), GenerateConfig)
    return build_nature(config.nature, config.seed), config.seed if seed is None else seed


def _with_targets(model: LatentCausalModel, file: str) -> LatentCausalModel:
    """The model with the target sets of a YAML file and their probabilities."""
    from lcm.base.config import load_config
    from lcm.model.intervention import TargetsConfig
    from lcm.model.latent_causal_model import LatentCausalModel

    config = load_config(file, TargetsConfig)
    try:
        targets = config.target_distribution(model.n)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    parts = model.scm, model.decoder, model.intervention, targets
    return LatentCausalModel(*parts, model.thickness, model.growth).requires_grad_(False)
