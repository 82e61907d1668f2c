"""Kinds of tensor operations, and how much of each a computation does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

MATMUL, ELEMENTWISE, INDEX, REDUCTION = "matrix products", "elementwise", "gather and index", "reductions"
SOFTMAX, COPY, OPTIMISER, AUTOGRAD = "softmax", "copies and views", "optimiser and clipping", "autograd bookkeeping"
PYTHON = "Python"
KINDS = (MATMUL, ELEMENTWISE, SOFTMAX, INDEX, REDUCTION, COPY, OPTIMISER, AUTOGRAD)
SHARES = (*KINDS, PYTHON)

_EXACT = {
    MATMUL: "mm addmm bmm baddbmm addbmm mv addmv dot matmul linear einsum",
    INDEX: "gather scatter scatter_ scatter_add scatter_add_ index _index_put_impl_ index_put index_put_ "
    "index_add index_add_ index_select take take_along_dim gather_backward index_backward masked_select nonzero "
    "value_selecting_reduction_backward embedding randint randint_like random_",
    REDUCTION: "sum mean logsumexp amax amin max min cumsum cumsum_ norm var std any all argmax "
    "sum_to_size prod count_nonzero",
    COPY: "cat stack copy_ clone contiguous to _to_copy expand expand_as view _unsafe_view reshape _reshape_alias "
    "constant_pad_nd pad unbind as_strided empty empty_like empty_strided zeros zeros_like ones ones_like full "
    "new_zeros new_empty fill_ zero_ t transpose permute select slice split split_with_sizes chunk unsqueeze squeeze "
    "unflatten flatten narrow diagonal detach detach_ alias resize_ resolve_conj resolve_neg slice_backward "
    "select_backward movedim flip diag_embed lift_fresh new_empty_strided set_ expand_backward broadcast_tensors",
}
_EXACT[SOFTMAX] = "softmax _softmax _softmax_backward_data log_softmax _log_softmax _log_softmax_backward_data"
# nothing but the clipping of gradients takes it
_EXACT[OPTIMISER] = "linalg_vector_norm"
_KIND_OF = {name: kind for kind, names in _EXACT.items() for name in names.split()}


def kind_of(name: str) -> str:
    """The kind of an operation by its name, such as aten::mul, or of an event of torch's profiler.

    What is in no list is elementwise.
    """
    if name.startswith("Optimizer."):
        return OPTIMISER
    plain = name.removeprefix("aten::").removeprefix("aten.").partition(".")[0]
    if plain.startswith(("_fused_adam", "_foreach")):
        return OPTIMISER
    if name.startswith(("autograd::", "torch::autograd")) or plain.endswith(("Backward0", "Backward1")):
        return AUTOGRAD
    return _KIND_OF.get(plain, ELEMENTWISE)


@final
class _Counter(TorchDispatchMode):
    """Counts calls and the entries that they write, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.entries: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        kind = kind_of(str(func))
        self.calls[kind] += 1
        if not func.is_view:
            written = outputs if isinstance(outputs, (tuple, list)) else [outputs]
            self.entries[kind] += sum(each.numel() for each in written if isinstance(each, Tensor))
        return outputs


@final
@dataclass(frozen=True)
class Work:
    """What a computation does.

    Attributes:
        flops: floating-point operations of its matrix products, a multiplication and an addition being two.
        calls: calls of tensor operations, by kind.
        entries: tensor entries written, by kind; views write none.
    """

    flops: int
    calls: Counter[str]
    entries: Counter[str]

    def less(self, other: Work) -> Work:
        """What this does beyond `other`."""
        return Work(self.flops - other.flops, self.calls - other.calls, self.entries - other.entries)


def work_of(run: Callable[[], object]) -> Work:
    """Run a computation twice and count what it does."""
    with FlopCounterMode(display=False) as flops:
        run()
    with _Counter() as counter:
        run()
    return Work(int(flops.get_total_flops()), counter.calls, counter.entries)


def product_rate(shape: tuple[int, int, int], repeats: int) -> float:
    """Floating-point operations a second of a float32 product (m, k) by (k, n), the mean over `repeats`."""
    rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(*sides, generator=generator) for sides in ((rows, inner), (inner, columns)))
    out = torch.empty(rows, columns)
    started = time.perf_counter()
    for _ in range(repeats):
        torch.mm(left, right, out=out)
    return 2.0 * rows * inner * columns * repeats / (time.perf_counter() - started)


def call_seconds(repeats: int) -> float:
    """Seconds of one tensor operation on a single entry: what every call costs, whatever its size."""
    value = torch.ones(1)
    started = time.perf_counter()
    for _ in range(repeats):
        torch.add(value, value)
    return (time.perf_counter() - started) / repeats


def profiled_seconds(run: Callable[[], object]) -> dict[str, float]:
    """Seconds of a computation under torch's profiler, by `SHARES`: each kind's own time, and the rest as Python.

    The profiler adds a little to every operation and so makes many small ones look dearer than they are.
    """
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        started = time.perf_counter()
        run()
        wall = time.perf_counter() - started
    spent = dict.fromkeys(KINDS, 0.0)
    for event in profiler.key_averages():
        spent[kind_of(event.key)] += event.self_cpu_time_total * 1e-6
    return {**spent, PYTHON: max(0.0, wall - sum(spent.values()))}
