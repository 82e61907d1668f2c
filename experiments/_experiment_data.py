"""Data sets of an experiment: drawn once from a config, or files that are there already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments._experiment import Plan
    from lcm.data.data_set import GenerateConfig
    from lcm.data.pairs import PairData


@final
@dataclass(frozen=True)
class DataSet:
    """Pairs to fit and pairs to score on, both with their truth.

    Attributes:
        name: unique within the experiment.
        train, test: files of pairs.
        seed: of the nature and its pairs; None where it is not known.
        family: the kind of nature, where an experiment has several.
    """

    name: str
    train: Path
    test: Path
    seed: int | None
    family: str = ""


def draw_data(config_file: Path, name: str, seed: int, pairs: int, out: Path, n: int | None = None) -> DataSet:
    """Generate a data set as `lcm generate` does, or find it there from before.

    Args:
        config_file: a nature and its splits; of val and test, at most `pairs` are drawn.
        name: of the data set.
        seed: replaces the config's.
        pairs: to fit on.
        out: the folder of the experiment.
        n: replaces the number of variables.

    Raises:
        ValueError: another data set of that name is there.
    """
    from lcm.base.config import load_config
    from lcm.data.data_set import GenerateConfig

    config = load_config(config_file, GenerateConfig)
    config = replace(_resized(config, pairs), seed=seed)
    if n is not None:
        config = replace(config, nature=replace(config.nature, n=n))
    return draw_config(config, name, out)


def draw_config(config: GenerateConfig, name: str, out: Path) -> DataSet:
    """Generate the data set of a config, or find it there from before.

    Raises:
        ValueError: another data set of that name is there.
    """
    from lcm.base.config import to_yaml
    from lcm.data.data_set import generate

    folder = out / "data" / name
    if not folder.exists():
        generate(config, folder)
    elif (folder / "config.yaml").read_text(encoding="utf-8") != to_yaml(config):
        raise ValueError(f"{folder}: Expected the data of these settings; got others. Choose another --out.")
    return DataSet(name, folder / "train.safetensors", folder / "test.safetensors", config.seed)


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
    """A data set from files that exist already, named after the first; its metadata may know the seed.

    Raises:
        ValueError: a file that cannot be read, or a test set without the truth to score against.
    """
    from lcm.data.pairs import load_pairs

    seed = load_pairs(train).metadata.get("seed", "")
    load_scored(test)
    return DataSet(train.stem.removesuffix("_train"), train, test, int(seed) if seed.isdecimal() else None)


def load_scored(path: Path) -> tuple[PairData, NDArray[Any], NDArray[Any]]:
    """Test pairs with their z and adjacency; ValueError where the truth to score against is missing."""
    from lcm.data.pairs import load_pairs

    test = load_pairs(path)
    if test.z is None or test.targets is None or test.adjacency is None:
        missing = next(key for key in ("z", "targets", "adjacency") if getattr(test, key) is None)
        raise ValueError(f"{path}: Expected the truth to score against: z, targets, adjacency; got no {missing}.")
    return test, test.z, test.adjacency
