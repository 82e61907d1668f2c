"""Images a second of one process: python -m benchmarks.rendering [SIZE]."""

from __future__ import annotations

import sys
import time

import numpy as np

from lcm.data.scene.render import Painter
from lcm.data.scene.scene import SCENE_HOMES, Scene, find_scene

_IMAGES, _ROUNDS = 400, 5


def main(argv: list[str]) -> None:
    """Draw each scene in turns, five times, and print the median and the range."""
    size = int(argv[0]) if argv else 64
    kinds = [kind for kind in SCENE_HOMES if issubclass(find_scene(kind), Scene)]
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    painters = {kind: Painter(kind, size, 2) for kind in kinds}
    generator = np.random.default_rng(0)
    for _ in range(_ROUNDS):
        for kind, painter in painters.items():
            names = list(painter.scene.parameters)
            values = [
                dict(zip(names, row, strict=True)) for row in generator.uniform(size=(_IMAGES, len(names))).tolist()
            ]
            started = time.perf_counter()
            for each in values:
                painter.draw(each)
            rates[kind].append(_IMAGES / (time.perf_counter() - started))
    for kind, found in rates.items():
        low, middle, high = min(found), sorted(found)[len(found) // 2], max(found)
        print(f"{kind}: {middle:.0f} ({low:.0f}-{high:.0f}) images a second a core at {size} x {size}")


if __name__ == "__main__":
    main(sys.argv[1:])
