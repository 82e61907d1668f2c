"""Configs: the YAML files of `lcm generate`, `lcm fit` and `lcm sweep`."""

from __future__ import annotations

from pathlib import Path

from small import small_data

from lcm.base.config import to_yaml
from lcm.data.pair_files import save_pairs
from lcm.run.config import FitConfig

from .law import command
from .mutate import any_of, spoil_bytes
from .run import Kind
from .structure import spoil_yaml

_NATURES = {
    "linear": "nature: {n: 2}\npairs: {train: 60, val: 9, test: 9}\nseed: 3\n",
    "nonlinear": """\
nature:
  n: 3
  graph: {kind: edges, edges: [[0, 1], [1, 2]]}
  mechanism: {kind: location-scale, hidden: 4}
  noise: {kind: normal}
  intervention: {kind: soft, targets: [[], [0], [1, 2]], probabilities: [0.5, 0.25, 0.25]}
  decoder: {kind: mixing, dim_x: 5, layers: 2, condition: 2.0, strength: 0.3}
  thickness: 0.1
pairs: {train: 60, val: 9, test: 9}
observation_noise: 0.01
seed: 3
""",
    # wrong in three places, since drawing images takes seconds
    "scene": """\
nature: {n: 2, decoder: {kind: linear}}
pairs: {train: 1, val: 1, test: 1}
scene: {kind: none.py:None, size: 16, parameters: [a, b]}
seed: 3
""",
}
_SWEEP = """\
data:
  - {name: a, train: few.safetensors, test: few.safetensors, values: {n: 2}}
  - {generate: linear.yaml, base: {nature.n: 2}, grid: {seed: [0, 1], pairs.train: [60, 70]}}
base: &base {n: 2, noise_encoder: {steps: 100, layers: 2}, seed: 0}
grid: {seed: [0, 1], noise_encoder.hidden: [8, 9]}
list: [{model: linear}, {model: flow, mechanisms: {hidden: 4}}]
batch: 2
ray: {cpus: 1, gpus: 0.0, retries: 3}
"""


def _write(folder: Path) -> None:
    for name, text in _NATURES.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "fit.yaml").write_text(to_yaml(FitConfig(n=2, targets=((), (0,), (1,)))))
    (folder / "sweep.yaml").write_text(_SWEEP)
    # too few for a fit, so that a config that is taken ends there
    save_pairs(folder / "few.safetensors", small_data("linear", 40))


_spoil = any_of(spoil_bytes, spoil_yaml, spoil_yaml)

KINDS = {
    "generate.yaml": Kind(
        _write,
        ("linear.yaml", "nonlinear.yaml"),
        _spoil,
        tuple(
            command("generate", f"{{in}}/{name}.yaml", "--out", "{out}/o", "--quiet")
            for name in ("linear", "nonlinear")
        ),
        share=0.4,  # a taken config draws its pairs
    ),
    "scene.yaml": Kind(
        _write, ("scene.yaml",), _spoil, (command("generate", "{in}/scene.yaml", "--out", "{out}/o", "--quiet"),)
    ),
    "fit.yaml": Kind(
        _write,
        ("fit.yaml",),
        _spoil,
        (command("fit", "{in}/few.safetensors", "--config", "{in}/fit.yaml", "--out", "{out}/run", "--quiet"),),
    ),
    "sweep.yaml": Kind(
        _write,
        ("sweep.yaml", "sweep.yaml", "linear.yaml"),
        _spoil,
        (command("sweep", "{in}/sweep.yaml", "--out", "{out}/sweep", "--dry-run"),),
    ),
}
