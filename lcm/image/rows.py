"""Images as they are gathered for a batch: from memory, from files, or from the device itself."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.data.mapped import take_rows

_RESIDENT_SHARE = 0.5


@final
class ImageRows:
    """uint8 images (N, H, W, C), of which rows are asked for by number; on a GPU with room for them they lie there."""

    def __init__(self, images: NDArray[np.uint8], device: torch.device) -> None:
        self._images, self._device = images, device
        self._resident = _on_device(images, device)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The images (M, H, W, C) with these numbers (M,), uint8, on the device."""
        if self._resident is not None:
            return self._resident[rows.to(self._device)]
        found = torch.from_numpy(take_rows(self._images, rows.cpu().numpy()))
        return found.to(self._device, non_blocking=True)


def _on_device(images: NDArray[np.uint8], device: torch.device) -> Tensor | None:
    if device.type != "cuda" or images.nbytes > _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    resident = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), 4096):
        resident[start : start + 4096] = torch.from_numpy(np.ascontiguousarray(images[start : start + 4096]))
    return resident
