"""A model from its description and its tensors, both from a file that may say anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lcm.base.entry_budget import EntryBudget
from lcm.base.text import printable, shortened
from lcm.model.pair_model import PairModel, build_model

_ENTRIES_PER_ENTRY, _FREE_ENTRIES = 64, 20_000_000


def restored(description: Any, tensors: Mapping[str, Tensor], path: Any) -> PairModel:
    """The model of a description with these tensors.

    Raises:
        ValueError: a description that is none of a model, sizes far beyond those of the tensors, or tensors that are
            missing, unexpected, of another shape or type, not finite, or of no use to the model.
    """
    entries = sum(value.numel() for value in tensors.values())
    try:
        with EntryBudget(_ENTRIES_PER_ENTRY * entries + _FREE_ENTRIES, "as the file holds"):
            model = build_model(description, path)
    except (TypeError, KeyError, IndexError, AttributeError, RuntimeError, OverflowError, RecursionError) as error:
        # what the checks of settings do not foresee, such as sizes of two parts that do not fit
        why = shortened(printable(" ".join(str(error).split())), 200)
        raise ValueError(f"Expected parts of a model that fit; got others ({why})") from error
    expected = model.state_dict()
    # files hold numbers as tensors of one entry
    tensors = {
        name: value.reshape(()) if value.shape == (1,) and name in expected and expected[name].dim() == 0 else value
        for name, value in tensors.items()
    }
    _require_tensors(expected, tensors)
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
