"""images: variables and graph from pixels. Scenes are rendered first; then models are fitted to the images alone.

circuit: the robot arm and three lights; objects3: graphs over three variables; objects5, objects7: more variables;
peers: other models of the first circuit. The same command resumes after an interruption.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments._cells import run_once
from experiments._experiment import Plan, Size, at_least_one, draw_fit, experiment_parser, make_cell, run_cells
from experiments._experiment_data import draw_config
from lcm.app.sweep.cells import Cell, DataSet

if TYPE_CHECKING:
    from lcm.data.data_set import GenerateConfig
    from lcm.run.config import FitConfig

CONFIGS = Path(__file__).resolve().parent.parent / "paper_configs"
FULL = Size(model_seeds=1, data_seeds=1, pairs=20_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=5_000)
PARTS = ("circuit", "objects3", "objects5", "objects7", "peers")
GRAPHS: dict[str, tuple[tuple[int, int], ...]] = {
    "chain": ((0, 1), (1, 2)),
    "full": ((0, 1), (0, 2), (1, 2)),
    "fork": ((0, 1), (0, 2)),
    "collider": ((0, 2), (1, 2)),
    "edge": ((0, 1),),
    "empty": (),
}
"""All graphs over three variables, up to a renaming."""
PEERS = ("dvae", "beta-vae", "ilcm-vae")
PUBLISHED_CODE = 32
QUICK_STEPS = 2_000
FIGURES = ("traversals", "counterfactuals", "samples", "targets")


@dataclass(frozen=True)
class Scene:
    """A data set of images to render: its config, and its name in the table."""

    part: str
    name: str
    config: GenerateConfig


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser(
        "images", "Variables and graph from pixels: a robot arm with lights, objects under a lamp."
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument(
        "--circuit-seeds",
        type=at_least_one,
        metavar="K",
        help="number of circuits, each a data set; default: 3",
    )
    parser.add_argument("--all-graphs", action="store_true", help="all six graphs over three variables instead of two")
    options = parser.parse_args(argv)
    plan = Plan.chosen(options, FULL, QUICK)
    parts = ("circuit",) if options.quick else options.parts
    circuit_seeds = options.circuit_seeds or (1 if options.quick else 3)
    graphs = tuple(GRAPHS) if options.all_graphs else tuple(GRAPHS)[:2]
    scenes = [scene for part in parts for scene in _scenes(part, plan, circuit_seeds, graphs)]
    cells = [cell for scene in scenes for cell in _cells(scene, plan, options.quick)]
    records = run_cells("Images: variables and graph from pixels", cells, {"scene": "scene", "model": "model"}, plan)
    _draw(cells, records, plan.out)


def _scenes(part: str, plan: Plan, circuit_seeds: int, graphs: Sequence[str]) -> Iterator[Scene]:
    from lcm.base.config import load_config
    from lcm.data.data_set import GenerateConfig

    file = "circuit" if part == "peers" else part
    config = load_config(CONFIGS / f"{file}.yaml", GenerateConfig)
    pairs, splits = plan.size.pairs, config.pairs
    config = replace(
        config, pairs=replace(splits, train=pairs, val=min(splits.val, pairs), test=min(splits.test, pairs))
    )
    if part != "objects3":
        seeds = circuit_seeds if part == "circuit" else plan.size.data_seeds
        yield from (Scene(part, file, replace(config, seed=seed)) for seed in range(seeds))
        return
    for name in graphs:
        nature = replace(config.nature, graph=replace(config.nature.graph, edges=GRAPHS[name]))
        for seed in range(plan.size.data_seeds):
            yield Scene(part, f"{file}-{name}", replace(config, nature=nature, seed=seed))


def _cells(scene: Scene, plan: Plan, quick: bool) -> Iterator[Cell]:
    """Render a scene; yield the fits to it."""
    seed = scene.config.seed
    data, seconds = _drawn(scene.config, f"{scene.name}-seed{seed}", plan.out)
    keys = {"scene": scene.name, "rendering_seconds": seconds}
    config = _fit_config(scene.config.nature.n, plan, quick)
    if scene.part == "peers":
        for model in PEERS:
            yield make_cell(data, seed, replace(config, model=model), model, **keys)
        wide = replace(config, model="ilcm-vae", image=replace(config.image, code=PUBLISHED_CODE))
        keys |= {"scene": f"{scene.name}, code of {PUBLISHED_CODE}"}
        yield make_cell(data, seed, wide, "wide", **keys)
        return
    seeds = [seed] if scene.part == "circuit" else range(plan.size.model_seeds)
    yield from (make_cell(data, each, config, **keys) for each in seeds)


def _drawn(config: GenerateConfig, name: str, out: Path) -> tuple[DataSet, float]:
    """The data set, and the seconds that rendering took."""
    started = time.perf_counter()
    new = not (out / "data" / name).exists()
    data = draw_config(config, name, out)
    seconds = time.perf_counter() - started

    def measured() -> Mapping[str, Any]:
        return {"seconds": seconds if new else None}

    record = run_once(out / "drawing" / f"{name}.json", {"name": name, "pairs": config.pairs.train}, measured)
    return data, record["seconds"]


def _fit_config(n: int, plan: Plan, quick: bool) -> FitConfig:
    from experiments._experiment import fit_config
    from lcm.learn.config import ImageConfig

    config = replace(fit_config(plan.steps, plan.config), n=n)
    if not quick:
        return config
    small = ImageConfig(channels=(16, 32, 32), hidden=128, passes=8.0)
    steps = plan.steps or QUICK_STEPS
    return replace(config, image=small, noise_encoder=replace(config.noise_encoder, steps=steps))


def _draw(cells: Sequence[Cell], records: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Draw what was recovered in the first cell of each scene, and the pairs that were fitted."""
    from lcm.app.sweep.sweep import run_folder

    drawn = set()
    for cell, record in zip(cells, records, strict=True):
        name = f"{record['scene'].replace(',', '').replace(' ', '-')}-{record['model']}"
        if name in drawn:
            continue
        drawn.add(name)
        draw_fit(cell, out, record, prefix=f"{name}-")
        run, figures = run_folder(out, cell) / "figures", out / "figures"
        for figure in FIGURES:
            if (run / f"{figure}.png").exists():
                shutil.copyfile(run / f"{figure}.png", figures / f"{name}-{figure}.png")
        shutil.copyfile(
            cell.data.train.parent / "pairs.png", figures / f"{cell.data.name.partition('-seed')[0]}-data.png"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
