"""What runs the tasks of a sweep: this process, the processes of this machine, or a Ray cluster.

On Ray no file system is shared: data travel to the tasks, and runs travel back to the process that started the sweep,
which writes them down. A node that is lost takes with it only what it was doing, and Ray does that again elsewhere.
"""

from __future__ import annotations

import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

from lcm.app.sweep.config import RayConfig
from lcm.app.sweep.work import CellOutcome, Task, failure, run_task, write_members

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SECONDS_TO_STOP = 10.0


@final
@dataclass(frozen=True)
class Update:
    """News of a sweep: the cells that have ended, and how many are running."""

    outcomes: tuple[CellOutcome, ...]
    running: int


class Executor(ABC):
    """Abstract: runs tasks, as many at a time as `jobs` says."""

    @property
    @abstractmethod
    def jobs(self) -> int:
        """Tasks that can run at a time."""

    def close(self) -> None:  # noqa: B027  most hold nothing
        """Release what the executor holds, such as a connection to a cluster."""

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        """Run the tasks and yield the news; closing the iterator stops what runs.

        Every cell has one outcome. A cell whose process is lost for good has failed.
        """


@final
class InProcessExecutor(Executor):
    """This process, one task after the other."""

    def __init__(self, device: str = "auto", threads: int = 1) -> None:
        """`threads` to compute with; the device is "auto", "cpu" or "cuda"."""
        self.device, self.threads = device, threads

    @property
    def jobs(self) -> int:
        """One."""
        return 1

    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        """Run the tasks, in order; see `Executor.run`."""
        for task in tasks:
            write_members(task)
            yield Update((), len(task.works))
            for outcome in run_task(task, self.device, self.threads):
                yield Update((outcome,), 0)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@final
class LocalExecutor(Executor):
    """Processes on this machine; by default as many as its cores allow at so many threads each."""

    def __init__(self, device: str = "auto", jobs: int | None = None, threads: int = 1) -> None:
        """`jobs` processes of `threads` threads each, on the device "auto", "cpu" or "cuda"."""
        self.device, self.threads = device, threads
        self._jobs = jobs or max(1, cores() // threads)

    @property
    def jobs(self) -> int:
        """The number of processes."""
        return self._jobs

    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        """Run the tasks, in order, on that many processes; see `Executor.run`."""
        queue = deque(tasks)
        workers: list[_Worker] = []
        try:
            for _ in range(min(self._jobs, len(queue))):
                workers.append(_Worker(self.device, self.threads))
                workers[-1].give(queue.popleft())
            while any(worker.left for worker in workers):
                yield Update((), sum(len(worker.left) for worker in workers))
                outcomes = [each for worker in _ready(workers) for each in worker.news()]
                for index, worker in enumerate(workers):
                    if not worker.left and queue:
                        if worker.dead:
                            workers[index] = _Worker(self.device, self.threads)
                        workers[index].give(queue.popleft())
                yield Update(tuple(outcomes), sum(len(worker.left) for worker in workers))
        finally:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                worker.end()


class _Worker:
    """A process, and the cells of its task that have not ended yet."""

    def __init__(self, device: str, threads: int) -> None:
        context = get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, device, threads), daemon=True)
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
        try:
            self.process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        other.close()
        self.left: set[str] = set()
        self.dead = False

    def give(self, task: Task) -> None:
        write_members(task)
        self.left = {work.key for work in task.works}
        # `news` reports a process that has just died
        with suppress(BrokenPipeError):
            self.pipe.send(task)

    def news(self) -> list[CellOutcome]:
        """The next outcome; if the process has died, a failure for each of its remaining cells."""
        try:
            outcome: CellOutcome = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            self.dead = True
            reason = f"the process died ({_end(self.process.exitcode)}); did it run out of memory?"
            lost = [failure(key, reason) for key in sorted(self.left)]
            self.left = set()
            return lost
        self.left.discard(outcome.key)
        return [outcome]

    def end(self) -> None:
        self.process.join(_SECONDS_TO_STOP)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait until a busy worker has news; return all that have."""
    busy: dict[Any, _Worker] = {worker.pipe: worker for worker in workers if worker.left}
    return [busy[pipe] for pipe in wait(list(busy))]


def _end(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _serve(pipe: Connection, device: str, threads: int) -> None:
    """Do tasks until the other end of the pipe closes, or a signal stops this process."""
    # Ctrl-C reaches all processes of a terminal; the parent decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while True:
            task = pipe.recv()
            for outcome in run_task(task, device, threads):
                pipe.send(outcome)


def _interrupt(*_: object) -> None:
    # a second signal must not disturb the removal of half-written files
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        # without the parent no result is recorded, and another sweep may do the task
        os._exit(1)


@final
class RayExecutor(Executor):
    """A Ray cluster that is joined at once, or a new one on this machine."""

    def __init__(self, config: RayConfig, device: str = "auto", address: str | None = None) -> None:
        """Join the cluster at `address`: "auto" or host:port; None starts one on this machine.

        Raises:
            ValueError: Ray is not installed, or the cluster has too few CPUs or GPUs for a task.
            ConnectionError: there is no cluster at the address.
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
        """How many tasks the CPUs and GPUs of the cluster allow at a time."""
        resources = self._ray.cluster_resources()
        jobs = resources.get("CPU", 0) // self.config.cpus
        return int(min(jobs, resources.get("GPU", 0) // self.config.gpus) if self.config.gpus else jobs)

    def close(self) -> None:
        """Leave the cluster that was joined."""
        if self._joined:
            self._ray.shutdown()

    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        """Submit all tasks to the cluster, which starts them in order; see `Executor.run`."""
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

    def _result(self, ready: Any, task: Task) -> list[CellOutcome]:
        try:
            outcomes: list[CellOutcome] = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            tried = f"given up after {self.config.retries} retries: {type(error).__name__}: {error}"
            return [failure(work.key, tried) for work in task.works]
        return outcomes

    def _running(self, pending: dict[Any, Task]) -> int:
        """The cells of the first tasks, as many as the cluster runs at a time."""
        return sum(len(task.works) for task in list(pending.values())[: self.jobs])


def _import_ray() -> Any:
    # no usage statistics leave this machine unless the user asks for it
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


def _run_there(task: Task, paths: Sequence[Path], device: str, threads: int, *contents: bytes) -> list[CellOutcome]:
    """Do a task on a node, in a temporary folder, and return its runs."""
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
