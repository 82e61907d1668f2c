"""Data sets of an experiment: generated once from a config, or given files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm.app.sweep.cells import DataSet, draw, generated_data
from lcm.app.sweep.cells import given_data as data_in_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments._experiment import Plan
    from lcm.data.data_set import GenerateConfig
    from lcm.data.pairs import PairData


def draw_data(config_file: Path, name: str, seed: int, pairs: int, out: Path, n: int | None = None) -> DataSet:
    """Generate a data set as `lcm generate` does, or reuse the existing one.

    Args:
        config_file: a nature and its splits; val and test have at most `pairs` pairs.
        name: the name of the data set.
        seed: replaces the seed of the config.
        pairs: the number of pairs to fit on.
        out: the folder of the experiment.
        n: replaces the number of variables.

    Raises:
        ValueError: the folder holds another data set of that name.
    """
    from lcm.base.config import load_config
    from lcm.data.data_set import GenerateConfig

    config = load_config(config_file, GenerateConfig)
    config = replace(_resized(config, pairs), seed=seed)
    if n is not None:
        config = replace(config, nature=replace(config.nature, n=n))
    return draw_config(config, name, out)


def draw_config(config: GenerateConfig, name: str, out: Path) -> DataSet:
    """Generate the data set of a config, or reuse the existing one.

    Raises:
        ValueError: the folder holds another data set of that name.
    """
    values = {"data.n": config.nature.n, "data.seed": config.seed}
    data = generated_data(name, config, out / "data" / name, values)
    draw(data)
    return data


def draw_sizes(config_file: Path, sizes: Iterable[int], plan: Plan) -> list[DataSet]:
    """The data sets of a nature at several numbers of variables, each with all of the plan's data seeds."""
    return [
        draw_data(config_file, f"n{n}-seed{seed}", seed, plan.size.pairs, plan.out, n)
        for n in sizes
        for seed in range(plan.size.data_seeds)
    ]


def _resized(config: GenerateConfig, pairs: int) -> GenerateConfig:
    splits = config.pairs
    return replace(config, pairs=replace(splits, train=pairs, val=min(splits.val, pairs), test=min(splits.test, pairs)))


def given_data(train: Path, test: Path) -> DataSet:
    """A data set of given files, named after the first, whose metadata may hold the seed.

    Raises:
        ValueError: a file that cannot be read, or a test set without the truth to score against.
    """
    from lcm.data.pair_files import load_pairs

    seed = load_pairs(train).metadata.get("seed", "")
    n = load_scored(test)[1].shape[1]
    values = {"data.n": n, "data.seed": int(seed) if seed.isdecimal() else None}
    return data_in_files(train.stem.removesuffix("_train"), train, test, values)


def load_scored(path: Path) -> tuple[PairData, NDArray[Any], NDArray[Any]]:
    """Test pairs with their z and adjacency; ValueError if the truth to score against is missing."""
    from lcm.data.pair_files import load_pairs

    test = load_pairs(path)
    if test.z is None or test.targets is None or test.adjacency is None:
        missing = next(key for key in ("z", "targets", "adjacency") if getattr(test, key) is None)
        raise ValueError(f"{path}: Expected the truth to score against: z, targets, adjacency; got no {missing}.")
    return test, test.z, test.adjacency
