"""Models and runs: safetensors with a description, and the JSON, JSON lines and CSV files beside them."""

from __future__ import annotations

from pathlib import Path

from small import fit_in, small_data, small_nature, thick_nature

import lcm
from lcm.data.pair_files import save_pairs
from lcm.model.storage import save_model

from .law import command, python
from .mutate import any_of, spoil_bytes
from .run import Kind
from .structure import spoil_csv, spoil_json, spoil_json_lines, spoil_yaml
from .tensors import spoil_tensors

_CELLS = """\
cell,status,seed,data,n_variables,mcc,shd,fit_seconds,error,key,lcm
a-1,finished,0,a,2,0.91,1,3.5,,abc,0.1.0
a-2,finished,1,a,2,0.93,0,3.4,,abd,0.1.0
b-1,failed,0,b,,,,,"ValueError: x, y",abe,0.1.0
"""


def _write_models(folder: Path) -> None:
    save_model(small_nature("linear"), folder / "linear.safetensors")
    save_model(small_nature("nonlinear"), folder / "nonlinear.safetensors")
    save_model(thick_nature(3), folder / "thick.safetensors")
    save_pairs(folder / "data.safetensors", small_data("linear", 20))


_RUN: dict[str, bytes] = {}


def _write_run(folder: Path) -> None:
    """A finished run, fitted once a process."""
    if not _RUN:
        fit_in(folder / "run")
        _RUN.update({path.name: path.read_bytes() for path in (folder / "run").iterdir() if path.is_file()})
    (folder / "run").mkdir(exist_ok=True)
    for name, content in _RUN.items():
        (folder / "run" / name).write_bytes(content)
    save_pairs(folder / "data.safetensors", small_data("linear", 20))


def _write_table(folder: Path) -> None:
    (folder / "results.csv").write_text(_CELLS)


def _loaded(folder: Path) -> None:
    result = lcm.load(folder / "run")
    str(result), result.report(), result.graph_at(0.1)


_ENCODE = command("encode", "{in}/run", "{in}/data.safetensors", "--out", "{out}/e.safetensors", "--quiet")
_GRAPH = command("graph", "{in}/run", "--json", "{out}/graph.json", "--quiet")
_TABLE = command("table", "{in}/results.csv", "--json", "{out}/t.json")


def _of_run(name: str, spoil: object) -> Kind:
    calls = (_ENCODE, _GRAPH, python(_loaded))
    return Kind(_write_run, (f"run/{name}",), any_of(spoil_bytes, spoil, spoil), calls, share=0.5)


def _of_model(name: str) -> tuple:
    sample = command("sample", f"{{in}}/{name}.safetensors", "--n", "5", "--out", "{out}/s.npz", "--quiet")
    encode = command("encode", f"{{in}}/{name}.safetensors", "{in}/data.safetensors", "--out", "{out}/e.npz", "--quiet")
    return sample, encode


KINDS = {
    f"model-{name}": Kind(
        _write_models, (f"{name}.safetensors",), any_of(spoil_bytes, *[spoil_tensors] * 4), _of_model(name)
    )
    for name in ("linear", "nonlinear", "thick")
}
KINDS |= {
    "run.json": _of_run("run.json", spoil_json),
    "fit.json": _of_run("fit.json", spoil_json),
    "graph.json": _of_run("graph.json", spoil_json),
    "metrics.jsonl": _of_run("metrics.jsonl", spoil_json_lines),
    "run-config.yaml": _of_run("config.yaml", spoil_yaml),
    "run-model": _of_run("model.safetensors", spoil_tensors),
    "results.csv": Kind(_write_table, ("results.csv",), any_of(spoil_bytes, spoil_csv, spoil_csv), (_TABLE,)),
}
