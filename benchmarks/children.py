"""What needs a process of its own: peak memory, and compilation without caches.

`python -m benchmarks.children JOB ARGUMENTS`: a job gets its arguments as JSON, and prints its result as JSON on
the last line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def run_child(job: str, threads: int, timeout: float, **arguments: Any) -> dict[str, Any]:
    """The result of a job in a fresh process.

    Raises:
        RuntimeError: it failed or took longer than `timeout` seconds; the message says why in one line.
    """
    command = [sys.executable, "-m", "benchmarks.children", job, json.dumps({"threads": threads, **arguments})]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"took longer than {timeout:g} s") from error
        except subprocess.CalledProcessError as error:
            raise RuntimeError((error.stderr.strip().splitlines() or [f"exit {error.returncode}"])[-1]) from error
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def peak_resident_bytes() -> int:
    """The largest resident size that this process has had.

    Where Linux tells it, the peak of this program alone: what `getrusage` reports of a process includes the size that
    the one which started it had.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def idle(arguments: dict[str, Any]) -> dict[str, Any]:
    """The peak of a process that has imported torch and run one backward pass."""
    import torch

    torch.set_num_threads(arguments["threads"])
    torch.nn.Linear(10, 10)(torch.zeros(512, 10)).sum().backward()
    return {"peak_bytes": peak_resident_bytes()}


def pairs(arguments: dict[str, Any]) -> dict[str, Any]:
    """Write x and x̃ of a nature to the folder `out`, as two .npy files and as one file of pairs."""
    import numpy as np

    from benchmarks.problems import curved, draw, linear
    from lcm.data.pair_files import save_pairs
    from lcm.data.pairs import PairData

    nature = {"linear": linear, "curved": curved}[arguments["nature"]](arguments["n"])
    train = draw(nature, arguments["pairs"], arguments["seed"], test_pairs=1).train
    folder = Path(arguments["out"])
    np.save(folder / "x.npy", train.x)
    np.save(folder / "x_tilde.npy", train.x_tilde)
    save_pairs(folder / "pairs.safetensors", PairData(train.x, train.x_tilde))
    return {"data_bytes": train.x.nbytes + train.x_tilde.nbytes}


def fit(arguments: dict[str, Any]) -> dict[str, Any]:
    """Fit to the pairs in `out`, from arrays or from the file; the peak of it all, and the peak before the fit."""
    import numpy as np
    import torch

    from experiments._experiment import fit_config
    from lcm.data.pair_files import load_pairs
    from lcm.data.pairs import PairData
    from lcm.run.fitting import fit_pairs

    torch.set_num_threads(arguments["threads"])
    folder = Path(arguments["out"])
    if arguments["source"] == "file":
        data = load_pairs(folder / "pairs.safetensors")
    else:
        data = PairData.from_arrays(*(np.load(folder / f"{name}.npy") for name in ("x", "x_tilde")))
    loaded = peak_resident_bytes()
    result = fit_pairs(data, fit_config(arguments["steps"]))
    return {"peak_bytes": peak_resident_bytes(), "loaded_bytes": loaded, "seconds": result.seconds}


def compiled(arguments: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the loss of a stage and its gradients, eager and compiled, and seconds of compilation."""
    import torch

    from benchmarks.row import Plan, repeated
    from benchmarks.training import stage_of

    torch.set_num_threads(arguments["threads"])
    plan = Plan(**arguments["plan"])
    stage = stage_of(arguments["stage"], arguments["n"], plan)
    rows = torch.arange(stage.batch_size) % stage.objective.n_rows
    objective: Any = stage.objective
    batch = objective.batch(rows) if hasattr(objective, "batch") else rows

    def seconds(loss: Callable[[Any, float], torch.Tensor], steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            # past the annealing, so that no constant of the step changes
            loss(batch, 0.9).backward()
        return (time.perf_counter() - started) / steps

    eager = objective.loss
    fast = torch.compile(eager)
    steps = max(3, int((0.2 if plan.quick else 1.0) / seconds(eager, 3)))
    first = seconds(fast, 1)
    return {
        "eager": repeated(lambda: seconds(eager, steps), plan),
        "compiled": repeated(lambda: seconds(fast, steps), plan),
        "compilation": first,
    }


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "idle": idle,
    "pairs": pairs,
    "fit": fit,
    "compiled": compiled,
}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](json.loads(sys.argv[2]))))
