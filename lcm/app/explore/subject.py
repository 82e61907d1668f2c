"""What the explorer shows: a model, the observations to pick from, and where the variables lie in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.data.encode import encode_pairs
from lcm.data.named_columns import in_fitted_order
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import Array, PairData
from lcm.data.sample import sample_pairs
from lcm.model.image import ImageModel
from lcm.model.names import default_names
from lcm.model.pair_model import PairModel
from lcm.model.storage import load_model
from lcm.run.naming import name_variables
from lcm.run.related import related_columns
from lcm.run.result import FitResult
from lcm.run.run_folder import NAMES_FILE, RUN_FILE
from lcm.run.runs import load_run
from lcm.run.stored import read_names

NATURE_FILE = "nature.safetensors"
_MOST_ROWS, _MOST_IMAGES = 2_000, 300
_OWN_ROWS = 500
_OUTER, _MARGIN = 0.005, 0.15


@final
@dataclass(frozen=True)
class Given:
    """Where the observations come from.

    Attributes:
        files: one or two files of pairs; empty for draws from the model.
        mark: of the columns of x_tilde in one table; None if not given.
        is_cut: whether the files have more rows than are kept.
    """

    files: tuple[str, ...] = ()
    mark: str | None = None
    is_cut: bool = False


@final
@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is explored. Nothing in it changes while the page is open; names are read from the run folder.

    Attributes:
        path: run folder or model file, as given.
        model: with mechanisms, in the units of the data.
        result: of the run; None for a model file, such as a nature.
        data: pairs, of which x is shown: those given, or draws from the model itself.
        given: where they come from.
        z, noise: (N, n) of these observations.
        ranges: (n, 2), where the sliders begin and end.
        usual: (2, d), the range of nine in ten rows of each column of x; None for images.
    """

    path: Path
    model: PairModel
    result: FitResult | None
    data: PairData
    given: Given
    z: NDArray[np.float32]
    noise: NDArray[np.float32]
    ranges: NDArray[np.float64]
    usual: NDArray[np.float64] | None

    @property
    def is_image(self) -> bool:
        """Whether x are images."""
        return isinstance(self.model, ImageModel)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of x; empty for images."""
        return () if self.is_image else self.given_columns or tuple(f"x{i}" for i in range(self.model.d))

    @property
    def given_columns(self) -> tuple[str, ...]:
        """Names of the columns of x that a table gave them; empty without."""
        return self.data.columns or (self.result.columns if self.result else ())

    @cached_property
    def related(self) -> tuple[tuple[tuple[str, float], ...], ...]:
        """For each variable, the columns of x most related to it, with |Spearman|; empty for images."""
        if self.is_image:
            return ((),) * self.model.n
        if self.result is not None and self.result.related:
            return self.result.related
        return related_columns(replace(self.data, columns=self.columns), self.z)

    def names(self) -> tuple[str, ...]:
        """The names of the variables, as they are in the run folder now."""
        if self.result is None:
            return default_names(self.model.n)
        return read_names(self.path / NAMES_FILE, self.model.n)

    def rename(self, variable: int, name: str) -> tuple[str, ...]:
        """Keep the name of a variable in the run folder; all names.

        Raises:
            ValueError: a model that is no run, or a name that `lcm.name_variables` refuses.
        """
        if self.result is None:
            raise ValueError(f"{self.path}: Expected a run folder to keep names in; got a model file")
        return name_variables(self.path, {variable: name}).names

    def share_below(self, variable: int, value: float) -> float:
        """The share of the observations whose variable is below a value."""
        return float(np.mean(self.z[:, variable] < value))


def open_subject(path: str | Path, data: Sequence[str | Path] = (), mark: str | None = None) -> Subject:
    """Read a run folder, a model file or a folder of `lcm generate`, and the observations to pick from.

    Args:
        path: run folder of `lcm fit`; model file; or folder with nature.safetensors.
        data: one or two files of pairs; without, the model draws 500 pairs.
        mark: of the columns of x_tilde in one table.

    Raises:
        ValueError: no finished run or model, or pairs of another shape than the model's.
        NotImplementedError: a model without mechanisms, which cannot intervene.
    """
    place, model, result = _opened(path)
    model.causal_model()
    if data:
        pairs = in_fitted_order(load_pairs(*data, mark=mark), result.columns if result else ())
    else:
        pairs = sample_pairs(model, _OWN_ROWS)
    kept = pairs.first(_MOST_IMAGES if isinstance(model, ImageModel) else _MOST_ROWS)
    given = Given(tuple(map(str, data)), mark, len(kept) < len(pairs))
    return subject_of(place, model, result, kept, given)


def subject_beside(subject: Subject, path: str | Path) -> Subject:
    """Another model, as `open_subject` reads it, with the observations of the first.

    Raises:
        ValueError: a model of other observations or another number of variables.
    """
    place, model, result = _opened(path)
    mine = subject.model
    if model.observation_shape != mine.observation_shape or model.n != mine.n:
        raise ValueError(
            f"{place}: Expected a model of {mine.n} variables of x of shape {mine.observation_shape}; got {model.n} of"
            f" {model.observation_shape}"
        )
    return subject_of(place, model, result, subject.data, subject.given)


def subject_of(place: Path, model: PairModel, result: FitResult | None, pairs: PairData, given: Given) -> Subject:
    """A model with the observations that are shown. Raises NotImplementedError for a model without mechanisms."""
    model.causal_model()
    encoded = encode_pairs(model, pairs)
    z, noise = encoded.z.cpu().numpy(), encoded.noise.cpu().numpy()
    usual = None if pairs.is_images else np.quantile(pairs.x.astype(np.float64), (0.05, 0.95), axis=0)
    return Subject(place, model, result, pairs, given, z, noise, _ranges(model, z), usual)


def _opened(path: str | Path) -> tuple[Path, PairModel, FitResult | None]:
    place = _model_path(Path(path))
    if place.is_file():
        return place, load_model(place), None
    result = load_run(place).result()
    return place, result.model, result


def _model_path(path: Path) -> Path:
    """The model file or the run folder that is meant."""
    if path.is_dir() and not (path / RUN_FILE).exists() and (path / NATURE_FILE).is_file():
        return path / NATURE_FILE
    if not path.exists():
        raise ValueError(f"{path}: Expected a run folder or a model file; got no such file or folder")
    return path


def _ranges(model: PairModel, z: NDArray[np.float32]) -> NDArray[np.float64]:
    """The range (n, 2) of each slider: that of the data, a little wider; the whole circle for a variable on one."""
    low, high = np.quantile(z.astype(np.float64), (_OUTER, 1.0 - _OUTER), axis=0)
    margin = np.maximum(_MARGIN * (high - low), 1e-6)
    ranges = np.stack([low - margin, high + margin], 1)
    ranges[model.causal_model().scm.circular.cpu().numpy()] = (-np.pi, np.pi)
    return ranges


def observation(subject: Subject, row: int) -> tuple[Array, torch.Tensor]:
    """x (1, …) of a row of the data as it is, and its variables (1, n) as a tensor."""
    like = subject.model.causal_model().thickness
    return np.array(subject.data.x[row : row + 1]), torch.from_numpy(subject.z[row : row + 1]).to(like)
