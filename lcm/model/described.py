"""A model from its description and its tensors, both from a file that may say anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lcm.base.text import printable, shortened
from lcm.model.pair_model import PairModel, build_model

_ENTRIES_PER_ENTRY, _FREE_ENTRIES = 64, 20_000_000
_LEAST_COST = 1_000
_FACTORIES = frozenset({"zeros", "ones", "empty", "full", "eye", "rand", "randn", "linspace", "arange", "randint"})


@final
class _Budget(TorchFunctionMode):
    """Refuses to make tensors of more entries in total than a file can hold, before they are made."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.entries = self.left = entries

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if getattr(func, "__name__", "") in _FACTORIES:
            sizes = args or (options.get("size", ()),)
            first = sizes[0] if isinstance(sizes[0], Sequence) else sizes
            self.left -= max(_LEAST_COST, math.prod(size for size in first if isinstance(size, int)))
            if self.left < 0:
                raise ValueError(f"Expected sizes for at most {self.entries:,} entries, as the file holds; got more.")
        return func(*args, **options)


def restored(description: Any, tensors: Mapping[str, Tensor], path: Any) -> PairModel:
    """The model of a description with these tensors.

    Raises:
        ValueError: a description that is none of a model, sizes far beyond those of the tensors, or tensors that are
            missing, unexpected, of another shape or type, not finite, or of no use to the model.
    """
    entries = sum(value.numel() for value in tensors.values())
    try:
        with _Budget(_ENTRIES_PER_ENTRY * entries + _FREE_ENTRIES):
            model = build_model(description, path)
    except (TypeError, KeyError, IndexError, AttributeError, RuntimeError, OverflowError, RecursionError) as error:
        # what the checks of settings do not foresee, such as sizes of two parts that do not fit
        why = shortened(printable(" ".join(str(error).split())), 200)
        raise ValueError(f"Expected parts of a model that fit; got others ({why})") from error
    _require_tensors(model.state_dict(), tensors)
    # assigned, not copied, so that a float64 model stays float64
    model.load_state_dict(dict(tensors), assign=True)
    for module in model.modules():
        check = getattr(module, "require_sound", None)
        if check is not None:
            check()
    return model


def _require_tensors(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for name in expected:
        if name not in found:
            raise ValueError(f"Expected the tensor {name}; got none.")
    for name, value in found.items():
        if name not in expected:
            raise ValueError(f"Expected no tensor {shortened(printable(name))}; got one.")
        _require_alike(name, expected[name], value)


def _require_alike(name: str, expected: Tensor, value: Tensor) -> None:
    if value.shape != expected.shape:
        raise ValueError(f"{name}: Expected a tensor of shape {list(expected.shape)}; got {list(value.shape)}.")
    if expected.is_floating_point():
        if value.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{name}: Expected a tensor of float32 or float64; got {str(value.dtype)[6:]}.")
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name}: Expected finite entries; got {int((~value.isfinite()).sum())} that are not.")
    elif value.dtype != expected.dtype:
        raise ValueError(f"{name}: Expected a tensor of {str(expected.dtype)[6:]}; got {str(value.dtype)[6:]}.")
    elif value.dtype != torch.bool and not torch.equal(value.flatten().sort().values, expected.flatten().sort().values):
        raise ValueError(f"{name}: Expected the integers of the description; got others.")
