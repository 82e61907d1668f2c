"""Data sets of pairs drawn from a ground truth, with the truth beside them: what `lcm generate` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import final

import torch

from lcm.base import __version__
from lcm.base.config import to_yaml
from lcm.base.files import write_text
from lcm.base.memory import require_memory
from lcm.data.image_files import FinishedBefore, found_shards, partial_folder, remove_partial, writer_is_at_work
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.pair_files import load_pairs, save_pairs
from lcm.data.pairs import PairData
from lcm.data.sample import pair_width, sample_data
from lcm.data.scene.scene import SceneConfig
from lcm.model.decoder import RotationDecoderConfig
from lcm.model.storage import save_model

_MOST_PAIRS = 10**12
_COPIES = 3


@final
@dataclass(frozen=True)
class SplitConfig:
    """Number of pairs of each split.

    Attributes:
        train, val, test: at least 1.
    """

    train: int = 100_000
    val: int = 10_000
    test: int = 10_000

    def __post_init__(self) -> None:
        for split, count in asdict(self).items():
            if count < 1:
                raise ValueError(f"Expected {split} >= 1; got {count}.")
            if count > _MOST_PAIRS:
                raise ValueError(f"Expected {split} <= {_MOST_PAIRS:,}; got {count:,}.")


@final
@dataclass(frozen=True)
class GenerateConfig:
    """A data set to generate.

    Attributes:
        nature: the ground truth.
        pairs: how many pairs to draw from it.
        observation_noise: standard deviation of independent normal noise added to every entry of x and x_tilde, as a
            share of that of its column of x; at least 0. It is no part of the saved nature.
        seed: of the ground truth and of its pairs, at least 0.
        scene: what the variables drive, for data sets of images; None for vectors, by the decoder of the nature.
    """

    nature: NatureConfig
    pairs: SplitConfig = field(default_factory=SplitConfig)
    observation_noise: float = 0.0
    seed: int = 0
    scene: SceneConfig | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"Expected seed >= 0; got {self.seed}.")
        if not self.observation_noise >= 0.0:
            raise ValueError(f"Expected observation_noise >= 0; got {self.observation_noise}.")
        if self.scene is not None and self.observation_noise:
            raise ValueError(f"Expected no observation_noise beside a scene; got {self.observation_noise}.")
        if self.scene is not None and self.nature.decoder != RotationDecoderConfig():
            kind = self.nature.decoder.kind
            raise ValueError(f"nature.decoder: Expected none beside a scene; got one of kind {kind}.")


def require_room(config: GenerateConfig) -> None:
    """Raise ValueError for a data set whose largest split does not fit into the memory at hand."""
    nature, count = config.nature, max(asdict(config.pairs).values())
    width = pair_width(nature.n, nature.decoder.dimension(nature.n))
    require_memory(_COPIES * width * count, f"{count:,} pairs of {nature.n} variables")


def add_observation_noise(data: PairData, share: float, generator: torch.Generator) -> PairData:
    """The pairs with independent normal noise on every entry, of `share` times the standard deviation of its column."""
    if share == 0.0:
        return data
    scale = torch.from_numpy(share * data.x.std(0))
    noise = torch.randn((2, *data.x.shape), generator=generator) * scale
    return replace(data, x=data.x + noise[0].numpy(), x_tilde=data.x_tilde + noise[1].numpy())


def generate(
    config: GenerateConfig,
    out: str | Path,
    seed: int | None = None,
    *,
    processes: int | None = None,
    progress: bool = False,
    draw: Callable[[Path, PairData], None] | None = None,
) -> None:
    """Draw a ground truth and its data set into the folder `out`, which appears whole or not at all.

    It holds train, val and test.safetensors (the pairs and their truth), nature.safetensors (the model) and
    config.yaml (all settings, defaults filled in). A seed given here replaces the config's. The same
    config and seed give the same bytes. With a scene, files of images above 1 GB come in parts, the model's
    observations are the variables that drive the scene, and what was interrupted goes on.

    Args:
        processes: that draw the images of a scene, by default one a core.
        progress: whether to show progress bars of that on stderr.
        draw: draws some pairs of images to a file, pairs.png; by default there is none.

    Raises:
        ValueError: `out` is a file, a folder that is not empty, or one that another process is writing to; the seed is
            negative; the data do not fit into the memory or onto the disk; or a scene cannot be drawn.
    """
    config = config if seed is None else replace(config, seed=seed)
    require_room(config)
    text = to_yaml(config)
    with suppress(FinishedBefore), partial_folder(Path(out), {"config": text, "version": __version__}) as folder:
        if config.scene is None:
            with _removed_after_errors(Path(out)):
                _generate_vectors(config, folder)
        else:
            _generate_images(config, config.scene, folder, processes, progress)
            if draw is not None:
                draw(folder / "pairs.png", load_pairs(folder / "test.safetensors"))
        write_text(folder / "config.yaml", text)


@contextmanager
def _removed_after_errors(out: Path) -> Iterator[None]:
    """Vectors are drawn in no time: after an error or an interruption nothing of them is kept."""
    try:
        yield
    except BaseException:
        remove_partial(out)
        raise


def _generate_vectors(config: GenerateConfig, folder: Path) -> None:
    model = build_nature(config.nature, config.seed)
    for split, count in asdict(config.pairs).items():
        data = sample_data(model, count, torch_generator(config.seed, split), _metadata(config, split))
        noise = torch_generator(config.seed, f"{split} noise")
        data = add_observation_noise(data, config.observation_noise, noise)
        save_pairs(folder / f"{split}.safetensors", data)
    save_model(model, folder / "nature.safetensors")


def _generate_images(
    config: GenerateConfig, scene: SceneConfig, folder: Path, processes: int | None, progress: bool
) -> None:
    from lcm.data.scene.render import scene_map, scene_parameters, without_decoder, write_images

    scene_parameters(scene, config.nature.n)
    model = without_decoder(build_nature(config.nature, config.seed))
    to_scene = scene_map(scene, model, torch_generator(config.seed, "scene"))
    for split, count in asdict(config.pairs).items():
        path = folder / f"{split}.safetensors"
        if (path.exists() or found_shards(path)) and not writer_is_at_work(path):
            continue
        pairs = sample_data(model, count, torch_generator(config.seed, split))
        metadata = _metadata(config, split) | {"scene": json.dumps(asdict(scene))}
        write_images(path, pairs, scene, to_scene, metadata, processes=processes, progress=progress)
    save_model(model, folder / "nature.safetensors")


def _metadata(config: GenerateConfig, split: str) -> dict[str, str]:
    return {
        "made_by": "lcm generate",
        "version": __version__,
        "seed": str(config.seed),
        "split": split,
        "nature": json.dumps(asdict(config.nature)),
        "observation_noise": str(config.observation_noise),
    }
