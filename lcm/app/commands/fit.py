"""`lcm fit`: fit a model to pairs and write a run folder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm.app.commands.common import add_pairs_arguments, check_writable, pairs_of
from lcm.base.requirement import to_dict
from lcm.run.config import FitConfig, models

if TYPE_CHECKING:
    from lcm.data.pairs import PairData

HELP = "fit a latent causal model to pairs"
DESCRIPTION = """\
Fit a latent causal model to pairs of vectors or images by maximum likelihood. The fit sees x and x_tilde alone, unless
the config says that targets, graph or order are known.

RUN holds report.html, a page to read in a browser and to send; model.safetensors, config.yaml, graph.json, fit.json,
report.md, metrics.jsonl, figures/, TensorBoard events, and a model card (README.md, config.json) for the Hugging Face
hub. If the fit is interrupted, run the same command again to resume it.
"""
EPILOG = """\
examples:
  lcm fit data/toy2d/train.safetensors --out run
  lcm fit before.csv after.csv --out run
  lcm fit pairs.parquet --after-mark _post --out run
  lcm fit data/toy2d/train.safetensors --out peer --model ilcm-vae

A config may set any of the keys below, which are shown with their defaults. If n is null, it is estimated: it is the
dimension of x, the rank of x if that is lower, or the dimension of the curved sheet that the observations lie on. The
key targets is atomic, atomic-or-empty, all, or a list of target sets such as [[], [0], [0, 1]]. The section image is
for images only.

keys:
"""


def _keys(settings: Mapping[str, Any], indent: str = "  ") -> str:
    """The keys and values of nested settings, as YAML."""
    lines = ""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            lines += f"{indent}{key}:\n{_keys(value, indent + '  ')}"
        else:
            lines += f"{indent}{key}: {'null' if value is None else value}\n"
    return lines


def _listed_models() -> str:
    return "models:\n" + "".join(f"  {name:29} {summary}\n" for name, summary in models().items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command. Models and keys are those that the table of peers has when this runs."""
    parser.epilog = f"{_listed_models()}\n{EPILOG}{_keys(to_dict(FitConfig()))}"
    add_pairs_arguments(parser)
    parser.add_argument("--out", metavar="RUN", required=True, help="run folder to write")
    parser.add_argument("--config", metavar="YAML", help="settings; the options below override them")
    parser.add_argument("--model", metavar="NAME", choices=tuple(models()), help="a model listed below; default: flow")
    parser.add_argument(
        "--n", metavar="N", type=_number, help="number of causal variables, or auto: fits several; default: estimated"
    )
    parser.add_argument("--seed", metavar="S", type=int, help="seed of the fit; default: that of the config, else 0")
    parser.add_argument("--restarts", metavar="K", type=int, help="number of fits; the likeliest is kept")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--overwrite", action="store_true", help="replace another run in RUN")
    parser.set_defaults(resumes=_resumes)


def _number(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}") from None


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check_writable(Path(arguments.out))
    config = _config(arguments)
    _check_inputs_stay(arguments)
    data = pairs_of(arguments)

    from lcm.run.report import fit_text
    from lcm.run.run_folder import OVERWRITE
    from lcm.run.runs import fit_run
    from lcm.run.suggestions import next_steps

    if not arguments.quiet:
        _say_what_was_estimated(data, config)
    options = {"device": arguments.device, "overwrite": arguments.overwrite, "progress": not arguments.quiet}
    try:
        result = fit_run(data, arguments.out, config, **options)
    except ValueError as error:
        raise ValueError(str(error).replace(OVERWRITE, "--overwrite")) from error
    if not arguments.quiet:
        if result.data is None:
            print(f"{arguments.out}: this fit is finished; nothing was left to do")
        print(fit_text(result), next_steps(result, arguments.out), sep="\n\n")


def _config(arguments: argparse.Namespace) -> FitConfig:
    from lcm.base.config import load_config

    config = load_config(arguments.config, FitConfig) if arguments.config else FitConfig()
    given = {"model": arguments.model, "n": arguments.n, "seed": arguments.seed, "restarts": arguments.restarts}
    for key, value in given.items():
        try:
            config = config if value is None else replace(config, **{key: value})
        except ValueError as error:
            raise ValueError("--" + str(error)) from error
    return config


def _check_inputs_stay(arguments: argparse.Namespace) -> None:
    """Refuse to replace a run that holds the config: an interruption would leave nothing to start from."""
    if arguments.overwrite and arguments.config:
        from lcm.run.run_folder import is_own_file

        if is_own_file(Path(arguments.out), Path(arguments.config)):
            expected = f"a file outside of {arguments.out}, which --overwrite clears"
            raise ValueError(f"--config: Expected {expected}; got {arguments.config}")


def _say_what_was_estimated(data: PairData, config: FitConfig) -> None:
    if isinstance(config.n, int):
        return
    from lcm.run.fitting import choose_n

    n = choose_n(data, config)
    if data.is_images:
        if n < data.n_dimensions:
            print(f"n = {n}, estimated: the images lie on a sheet of {n} dimensions (--n overrides this)")
        return
    evidence = data.without_outliers.dimension_evidence
    others = ", ".join(str(each) for each in evidence.plausible if each != n)
    plausible = f"; plausible as well: {others}" if others else ""
    if config.n is not None:
        print(f"n = {n}, estimated{plausible}. Up to three numbers are fitted")
    elif others or n < data.n_dimensions:
        from lcm.data.intrinsic_dimension import sheet_text

        where = sheet_text(data.n_dimensions, n, data.without_outliers.directions(n))
        print(f"n = {n}, estimated: {where}{plausible} (--n overrides this)")


def _resumes(arguments: argparse.Namespace) -> str:
    return f"the same command resumes the fit in {arguments.out}"
