"""Rows that are read when they are asked for are the rows of the data, and no more of these is read than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SHORT, small_data

from lcm.base.files import write_tensors
from lcm.base.rows import map_tensors, mapped_file
from lcm.learn import prepared as prepare_module
from lcm.learn.prepared import prepare
from lcm.learn.training.objective import StreamedRows
from lcm.run.fitting import fit_pairs

CPU = torch.device("cpu")
SHAPES = {"square": (3, 3), "embedded": (2, 5)}


def observations(shape: str, count: int = 5_000) -> np.ndarray:
    n, d = SHAPES[shape]
    generator = np.random.default_rng(0)
    return (generator.normal(size=(count, n)) @ generator.normal(size=(n, d)) + 3.0).astype(np.float32)


def moved(x: np.ndarray) -> np.ndarray:
    """Other observations of the same shape."""
    return np.where(x > 3, x + 1, x).astype(np.float32)


@pytest.fixture
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "_HELD_BYTES", {"cpu": 0})


@pytest.mark.parametrize("shape", SHAPES)
def test_streamed_training_pairs_are_all_but_the_held_out_ones(shape: str, nothing_held: None) -> None:
    x = observations(shape)
    found = prepare(x, moved(x), SHAPES[shape][0], 0.1, 0, CPU)
    first, second = found.train
    assert isinstance(first, StreamedRows) and isinstance(second, StreamedRows)
    assert (len(first), len(found.validation[0])) == (4_500, 500)
    rows = torch.arange(len(first))
    numbers = first.source_rows(rows.numpy())
    held_out = np.setdiff1d(np.arange(len(x)), numbers)
    for part, expected in ((first[rows], x[numbers]), (found.validation[0], x[held_out])):
        torch.testing.assert_close(found.standardisation(part)[0], torch.from_numpy(expected), atol=1e-4, rtol=0)
    torch.testing.assert_close(first[100:200], first[torch.arange(100, 200)], atol=0, rtol=0)
    np.testing.assert_array_equal(second.source_rows(rows.numpy()), numbers)
    assert len(set(numbers.tolist())) == len(first)


@pytest.mark.parametrize("shape", SHAPES)
def test_streamed_and_held_rows_have_the_same_coordinates(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = observations(shape)
    tilde = moved(x)
    held = prepare(x, tilde, SHAPES[shape][0], 0.1, 0, CPU)
    monkeypatch.setattr(prepare_module, "_HELD_BYTES", {"cpu": 0})
    streamed = prepare(x, tilde, SHAPES[shape][0], 0.1, 0, CPU)
    whole = held.standardisation.inverse(torch.from_numpy(x))[0]
    numbers = streamed.train[0].source_rows(np.arange(4_500))  # type: ignore[union-attr]
    torch.testing.assert_close(streamed.train[0][:], whole[torch.from_numpy(numbers)], atol=1e-5, rtol=0)
    assert isinstance(held.train[0], torch.Tensor)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 4_096, 99_991])
def test_neighbouring_rows_are_spread_over_the_data(count: int) -> None:
    x = np.zeros((count + 1, 1), np.float32)
    x[0], standardisation = 1.0, prepare(observations("square"), moved(observations("square")), 3, 0.1, 0, CPU)
    rows = StreamedRows(x, np.array([count // 2]), standardisation.standardisation, start=count // 3)
    numbers = rows.source_rows(np.arange(count))
    assert sorted(numbers.tolist()) == [row for row in range(count + 1) if row != count // 2]
    if count > 1_000:
        # every tenth of the data holds close to a tenth of the first 500 rows
        tenths = np.bincount(numbers[:500] * 10 // (count + 1), minlength=10)
        assert tenths.min() >= 47 and tenths.max() <= 53


class Counted(np.ndarray):
    """An array that knows the largest number of entries read from it at once."""

    most = 0

    def __getitem__(self, key: Any) -> Any:
        found = np.asarray(self).__getitem__(key)
        type(self).most = max(self.most, found.size)
        return found


@pytest.mark.parametrize("name", ["linear", "nonlinear"])
def test_a_fit_never_reads_all_rows_at_once(name: str, nothing_held: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, limit in ((prepare_module, "_MOST_START_ROWS"), (prepare_module, "_MOST_HELD_OUT")):
        monkeypatch.setattr(module, limit, 400)
    monkeypatch.setattr("lcm.learn.noise_encoder_objective._MOST_ENCODED", 400)
    monkeypatch.setattr("lcm.learn.noise_encoder_fit._START_ROWS", 400)
    monkeypatch.setattr("lcm.base.rows._WHOLE_ROWS", 400)
    monkeypatch.setattr("lcm.base.rows._BLOCK_ROWS", 400)
    monkeypatch.setattr("lcm.data.intrinsic_dimension._MAX_ROWS", 400)
    monkeypatch.setattr("lcm.data.intrinsic_dimension._MAX_LOCAL_ROWS", 400)
    monkeypatch.setattr("lcm.data.measurement._ROWS", 400)
    monkeypatch.setattr("lcm.data.measurement._RELATED_ROWS", 400)
    monkeypatch.setattr("lcm.learn.thickness._ROWS", 400)
    monkeypatch.setattr("lcm.run.fitting._ENCODED_ROWS", 400)
    data = small_data(name, 20_000)
    # the rows of all steps up to the next validation are gathered at once
    batches = 100 * SHORT.noise_encoder.batch_size
    monkeypatch.setattr(Counted, "most", 0)
    object.__setattr__(data, "x", data.x.view(Counted))
    object.__setattr__(data, "x_tilde", data.x_tilde.view(Counted))
    fit_pairs(data, SHORT)
    assert 0 < Counted.most <= 2 * max(400, batches) < data.x.size / 5


def test_few_pairs_are_held_out_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "_MOST_HELD_OUT", 30)
    x = observations("square")
    found = prepare(x, moved(x), 3, 0.1, 0, CPU)
    assert [len(found.validation[0]), len(found.train[0])] == [30, 4_970]


def test_rows_of_a_mapped_file_are_those_of_the_array(tmp_path: Path) -> None:
    x = observations("square")
    write_tensors(tmp_path / "x.safetensors", {"x": x})
    mapped = map_tensors(tmp_path / "x.safetensors")["x"]
    assert mapped_file(mapped) is not None
    standardisation = prepare(x, moved(x), 3, 0.1, 0, CPU).standardisation
    first, second = (StreamedRows(part, np.arange(7), standardisation, 3) for part in (mapped, x))
    for rows in (torch.tensor([5, 0, 4_000, 5]), slice(10, 20), slice(0, 0)):
        assert torch.equal(first[rows], second[rows])
