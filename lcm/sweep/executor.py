"""What runs the tasks of a sweep: the processes of this machine, or a Ray cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import final

from lcm.sweep.tasks import Task
from lcm.sweep.work import Outcome


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
