"""Tasks on a Ray cluster: data travel there, and runs come back to the process that started the sweep.

No file system is shared. The objects of data lie with that process, which also writes down what is finished: a node
that is lost takes with it only what it was doing, and Ray does that again elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

from lcm.app.sweep.config import RayConfig
from lcm.app.sweep.on_local import Executor, Update
from lcm.app.sweep.work import Outcome, Task, failure, run_task


@final
class RayExecutor(Executor):
    """A Ray cluster, joined when it is made, or one of this machine alone."""

    def __init__(self, config: RayConfig, device: str = "auto", address: str | None = None) -> None:
        """Join the cluster at `address`: "auto", host:port, or None for one of this machine's own.

        Raises:
            ValueError: Ray is not installed, or nobody ever offers what a task declares.
            ConnectionError: no cluster there.
        """
        self.config, self.device = config, device
        self._ray = _import_ray()
        self._joined = not self._ray.is_initialized()
        if self._joined:
            own = {"include_dashboard": False} if address is None else {"address": address}
            self._ray.init(log_to_driver=False, logging_level="error", **own)
        if self.jobs < 1:
            offered = {key: self._ray.cluster_resources().get(key, 0) for key in ("CPU", "GPU")}
            self.close()
            raise ValueError(
                f"ray: Expected a cluster with {config.cpus} CPUs and {config.gpus:g} GPUs for a task; got {offered}"
            )

    @property
    def jobs(self) -> int:
        """Tasks for which the cluster has CPUs and GPUs now."""
        resources = self._ray.cluster_resources()
        jobs = resources.get("CPU", 0) // self.config.cpus
        return int(min(jobs, resources.get("GPU", 0) // self.config.gpus) if self.config.gpus else jobs)

    def close(self) -> None:
        """Leave the cluster that was joined."""
        if self._joined:
            self._ray.shutdown()

    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        """Give all tasks to the cluster, which takes them in order; see `Executor.run`."""
        ray, config = self._ray, self.config
        remote = ray.remote(_run_there).options(
            num_cpus=config.cpus, num_gpus=config.gpus, max_retries=config.retries, retry_exceptions=False
        )
        files = {path: ray.put(path.read_bytes()) for path in _files(tasks)}
        pending = {
            remote.remote(
                task, _files([task]), self.device, config.cpus, *(files[path] for path in _files([task]))
            ): task
            for task in tasks
        }
        try:
            while pending:
                yield Update((), self._running(pending))
                (ready,), _ = ray.wait(list(pending), num_returns=1)
                task = pending[ready]
                outcomes = self._result(ready, task)
                del pending[ready]
                yield Update(tuple(outcomes), self._running(pending))
        finally:
            for each in pending:
                ray.cancel(each, force=True)

    def _result(self, ready: Any, task: Task) -> list[Outcome]:
        try:
            outcomes: list[Outcome] = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            tried = f"given up after {self.config.retries} retries: {type(error).__name__}: {error}"
            return [failure(work.key, tried) for work in task.works]
        return outcomes

    def _running(self, pending: dict[Any, Task]) -> int:
        """Cells of the tasks that the cluster has room for, which it takes in order."""
        return sum(len(task.works) for task in list(pending.values())[: self.jobs])


def _import_ray() -> Any:
    # what runs here is nobody's business unless they are told
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "ray: Expected Ray to be installed; got none (pip install 'latent-causal-models[ray]')"
        ) from error
    return ray


def _files(tasks: Sequence[Task]) -> list[Path]:
    """The files that tasks read, each once."""
    return list(dict.fromkeys(path for task in tasks for work in task.works for path in (work.train, work.test)))


def _run_there(task: Task, paths: Sequence[Path], device: str, threads: int, *contents: bytes) -> list[Outcome]:
    """What a node does: the task in a folder of its own, whose runs it returns."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    with TemporaryDirectory(prefix="lcm-sweep-") as name:
        folder = Path(name)
        moved = {path: folder / f"{number}-{path.name}" for number, path in enumerate(paths)}
        for path, content in zip(paths, contents, strict=True):
            moved[path].write_bytes(content)
        works = tuple(
            replace(work, train=moved[work.train], test=moved[work.test], folder=folder / work.name)
            for work in task.works
        )
        here = Task(works, None if task.folder is None else folder / "batch")
        folders = {work.key: work.folder for work in works}
        return [
            replace(each, record={**each.record, "node": node}, files={} if each.failed else packed(folders[each.key]))
            for each in run_task(here, device, threads)
        ]


def packed(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by their paths in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
