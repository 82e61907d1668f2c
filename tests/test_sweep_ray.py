"""A sweep on a Ray cluster of two nodes, of which one is killed midway."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sweeps import assert_equal_scores, opened, written

from lcm.app.sweep.config import RayConfig
from lcm.app.sweep.executors import Executor, LocalExecutor, RayExecutor, Update
from lcm.app.sweep.sweep import run_sweep
from lcm.app.sweep.work import Task
from lcm.run.runs import load_run

ray = pytest.importorskip("ray")
# Ray warns of its own future, and leaves sockets to the garbage collector
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one node, to which others are added."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class Losing(Executor):
    """A cluster that loses a node as soon as the first cell comes from there."""

    def __init__(self, executor: RayExecutor, cluster: Any, node: Any) -> None:
        self.executor, self.cluster, self.node = executor, cluster, node
        self.finished_there: list[str] = []
        self.lost = False

    @property
    def jobs(self) -> int:
        return self.executor.jobs

    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        for update in self.executor.run(tasks):
            yield update
            there = [each.key for each in update.outcomes if each.record["node"] == self.node.node_id]
            self.finished_there += there
            if there and not self.lost:
                self.cluster.remove_node(self.node, allow_graceful=False)
                self.lost = True


def test_a_lost_node_loses_no_finished_cell(cluster: Any, tmp_path: Path) -> None:
    records = opened(tmp_path, grid={"seed": [0, 1, 2, 3, 4, 5]})
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    executor = Losing(RayExecutor(RayConfig(), "cpu", cluster.address), cluster, node)
    try:
        assert executor.jobs == 2
        assert run_sweep(records, executor, batch=1) == []
        assert executor.lost and 1 <= len(executor.finished_there) < 6
        found = written(records)
        assert [each["status"] for each in found] == ["finished"] * 6
        there = [each["key"] for each in found if each["node"] == node.node_id]
        assert sorted(there) == sorted(executor.finished_there)
        for cell in records.cells:
            run = load_run(records.out / "cells" / cell.name)
            assert run.model.n == 2 and run.info["data"].endswith("linear.safetensors")
        before = [path.read_bytes() for path in sorted((records.out / "cells").glob("*.json"))]
        assert run_sweep(opened(tmp_path, grid={"seed": [0, 1, 2, 3, 4, 5]}), executor, batch=1) == []
        assert [path.read_bytes() for path in sorted((records.out / "cells").glob("*.json"))] == before
    finally:
        executor.executor.close()


def test_failures_and_ensembles_come_back_as_from_this_machine(cluster: Any, tmp_path: Path) -> None:
    keys = {"list": [{"seed": 0}, {"seed": 1}, {"n": 7}]}
    there, here = opened(tmp_path / "ray", **keys), opened(tmp_path / "local", **keys)
    executor = RayExecutor(RayConfig(retries=0), "cpu", cluster.address)
    try:
        failed = run_sweep(there, executor, batch=8)
    finally:
        executor.close()
    run_sweep(here, LocalExecutor("cpu", jobs=1), batch=8)
    assert [cell.config.n for cell in failed] == [7]
    for records in (there, here):
        *fitted, refused = written(records)
        assert [each["batch"] for each in fitted] == [2, 2]
        assert refused["error"].endswith("linear.safetensors: x: Expected at least n = 7 dimensions; got 2")
        records.cells = records.cells[:2]
    assert_equal_scores(there, here)


def test_a_cluster_that_is_too_small_is_said_at_once(cluster: Any) -> None:
    with pytest.raises(ValueError, match=r"Expected a cluster with 1000 CPUs and 0 GPUs for a task; got"):
        RayExecutor(RayConfig(cpus=1000), "cpu", cluster.address)
