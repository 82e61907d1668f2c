"""Fixtures shared by the tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from laws import default_dtype
from matplotlib.layout_engine import ConstrainedLayoutEngine
from small import figures_drawn, fit_in, small_data, small_nature

import lcm
from lcm.app.explore.subject import Subject, open_subject
from lcm.data.pair_files import save_pairs
from lcm.isomorphism import find
from lcm.metric import disentanglement, kernel_regression, measurement_exclusivity
from lcm.model.image import ImageAutoencoder, ImageModel
from lcm.report import style
from lcm.run import runs

LAYOUT, DOTS_PER_INCH = ConstrainedLayoutEngine.execute, style._DOTS_PER_INCH
FEW_ROWS = 60
"""As many as kernel regressions need to give a number, which no test reads."""


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """Run a module's tests in float64, so that exact statements can be tested to many digits."""
    with default_dtype(torch.float64):
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run that nothing interrupted for each of the small natures; to be read only."""
    folders = {name: tmp_path_factory.mktemp(name) / "run" for name in ("linear", "nonlinear")}
    with figures_drawn():
        for name, out in folders.items():
            fit_in(out, name)
    return folders


@pytest.fixture(scope="session", autouse=True)
def _no_figures() -> Iterator[None]:
    """Draw no figures and no page of a fit unless a test asks for them, since they take as long as a short fit."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "_draw", lambda *_: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _coarse_figures() -> Iterator[None]:
    """Draw figures with few dots and without a layout, which takes longest; tests of the layout ask for it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)
        patched.setattr(style, "_DOTS_PER_INCH", 30)
        yield


@pytest.fixture(scope="module")
def laid_out() -> Iterator[None]:
    """Lay figures out as a user has them, with the warnings of what does not fit."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ConstrainedLayoutEngine, "execute", LAYOUT)
        patched.setattr(style, "_DOTS_PER_INCH", DOTS_PER_INCH)
        yield


@pytest.fixture
def figures() -> Iterator[None]:
    """Draw the figures and the page of each fit, as a user has them."""
    with figures_drawn():
        yield


@pytest.fixture(scope="module")
def cheap_scores() -> Iterator[None]:
    """Score and compare on few rows, and without gradient boosting, which takes longer than a fit."""
    p_values = measurement_exclusivity.measurement_p_values
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(disentanglement, "_fit_boosting", lambda inputs, *_: (np.full(inputs.shape[1], 0.5), 0.5))
        patched.setattr(kernel_regression, "_MOST_FITTED", FEW_ROWS)
        patched.setattr(find, "_PROBES", 500)
        patched.setattr(
            measurement_exclusivity, "measurement_p_values", lambda true, learned, *_: p_values(true, learned, FEW_ROWS)
        )
        yield


@pytest.fixture(scope="module")
def run_folder(finished: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run on linear data, to which figures may be added."""
    return Path(shutil.copytree(finished["linear"], tmp_path_factory.mktemp("copy") / "run"))


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of that run, with their truth."""
    path = tmp_path_factory.mktemp("data") / "data.safetensors"
    save_pairs(path, small_data("linear"))
    return path


@pytest.fixture(scope="session")
def explored_run(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is fitted in a second."""
    folder = tmp_path_factory.mktemp("explored") / "run"
    lcm.fit(data_file, model="linear", out=folder, quiet=True)
    return folder


@pytest.fixture(scope="session")
def subject(explored_run: Path, data_file: Path) -> Subject:
    """A run, with the data of its fit."""
    return open_subject(explored_run, [data_file])


@pytest.fixture(scope="session")
def nature_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nature") / "nature.safetensors"
    small_nature("nonlinear").save(path)
    return path


@pytest.fixture(scope="session")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of images that nobody has trained."""
    autoencoder = ImageAutoencoder((16, 16, 3), code=2, channels=(4, 4), hidden=8)
    autoencoder.draw_weights(torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("images") / "model.safetensors"
    ImageModel(autoencoder, small_nature("linear")).save(path)
    return path
