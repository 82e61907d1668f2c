"""What a file of pairs holds, by its heading alone."""

from __future__ import annotations

import json
from pathlib import Path

from lcm.base.files import read_tensor_names
from lcm.base.npy import opened_archive
from lcm.data.table import TABLE_SUFFIXES, own_layout, read_heading, split
from lcm.data.validation import require_observations


def columns_of_file(path: str | Path) -> tuple[str, ...]:
    """The names of the columns of x in a file with x and x_tilde; () where they have none. No row is read.

    Raises:
        ValueError: a file that is missing, unreadable or of another type, or without x or x_tilde.
        ImportError: a Parquet file without the extra `parquet`.
    """
    suffix = Path(path).suffix
    if suffix in TABLE_SUFFIXES:
        heading = read_heading(path)
        own = own_layout(heading)
        return split(heading)[0].names if own is None else own[1]
    if suffix == ".safetensors":
        names, metadata = read_tensor_names(path)
    elif suffix == ".npz":
        with opened_archive(path) as archive:
            names, metadata = [name.removesuffix(".npy") for name in archive.namelist()], {}
    else:
        raise ValueError(f"{path}: Expected a .safetensors, .npz, .csv or .parquet file; got the suffix {suffix!r}")
    require_observations(names, str(path))
    return tuple(json.loads(metadata["columns"])) if "columns" in metadata else ()
