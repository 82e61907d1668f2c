"""What runs the tasks of a sweep: the processes of this machine, or a Ray cluster."""

from __future__ import annotations

import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, final

from lcm.app.sweep.work import Outcome, Task, failure, run_task, write_members

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SECONDS_TO_STOP = 10.0


@final
@dataclass(frozen=True)
class Update:
    """What has happened: cells that have ended, and how many are being done now."""

    outcomes: tuple[Outcome, ...]
    running: int


class Executor(ABC):
    """Runs tasks, many at a time."""

    @property
    @abstractmethod
    def jobs(self) -> int:
        """Tasks that can run at a time."""

    def close(self) -> None:  # noqa: B027  most have nothing to leave
        """Leave what was joined."""

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        """Run the tasks and say what happens; whatever runs is stopped when the iterator is closed.

        Every cell has one outcome; one whose process is lost for good has failed.
        """


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@final
class LocalExecutor(Executor):
    """Processes on this machine, as many as its cores hold of so many threads each by default."""

    def __init__(self, device: str = "auto", jobs: int | None = None, threads: int = 1) -> None:
        """`jobs` processes of `threads` threads each; "auto", "cpu" or "cuda"."""
        self.device, self.threads = device, threads
        self._jobs = jobs or max(1, cores() // threads)

    @property
    def jobs(self) -> int:
        """The processes."""
        return self._jobs

    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        """Run the tasks, in order, on as many processes; see `Executor.run`."""
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
    """A process, and the cells of its task that have not ended."""

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
        # a process that died just now says so when it is asked for news
        with suppress(BrokenPipeError):
            self.pipe.send(task)

    def news(self) -> list[Outcome]:
        """The next outcome; where the process has died, failures of all that it has left."""
        try:
            outcome: Outcome = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            self.dead = True
            reason = f"the process died ({_end(self.process.exitcode)}); was there memory enough?"
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
    """Those of the busy workers that have news, once there are any."""
    busy: dict[Any, _Worker] = {worker.pipe: worker for worker in workers if worker.left}
    return [busy[pipe] for pipe in wait(list(busy))]


def _end(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _serve(pipe: Connection, device: str, threads: int) -> None:
    """Do tasks until the other end closes, or this process is told to stop."""
    # Ctrl-C reaches all processes of a terminal; the one that started this one decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while True:
            task = pipe.recv()
            for outcome in run_task(task, device, threads):
                pipe.send(outcome)


def _interrupt(*_: object) -> None:
    # once: the files that are being written are removed undisturbed
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        # nobody is left to write down what comes of the task, and another sweep may take it up
        os._exit(1)
