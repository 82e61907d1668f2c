"""A protocol has the pairs of a model: what a chamber measures by it is imported as the draws of the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chambers import measured, write_image_experiment, write_rows
from laws import CIRCLE_MODELS
from scipy.special import ndtr, ndtri
from small import small_nature, thick_nature

from lcm.data.chamber.actuator import Actuator, chosen_actuators
from lcm.data.chamber.protocol import MOST_VALUES, PairProtocol, draw_protocol
from lcm.data.chamber.protocol_files import parsed_settings, read_protocol, truth_path, write_protocol
from lcm.data.imported.chamber import ChamberColumns, import_chamber
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig, EdgesConfig, EmptyConfig
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.model.intervention import PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel

CHAIN = build_nature(NatureConfig(5, ChainConfig()), 3)


def drawn(model: LatentCausalModel = CHAIN, pairs: int = 200, seed: int = 0, **options: Any) -> PairProtocol:
    return draw_protocol(model, pairs, chosen_actuators(model.n, **options), seed)


def test_what_changes_are_the_targets_and_their_descendants() -> None:
    protocol, ancestors = drawn(), CHAIN.graph.ancestors()
    changes = protocol.before != protocol.after
    reached = np.array([ancestors[row].any(axis=0) | row for row in protocol.targets])
    assert not (changes & ~reached).any()
    # rounding hides few changes, and in a chain most interventions move more than one actuator
    assert changes[reached].mean() > 0.95 and (changes.sum(axis=1) > 1).mean() > 0.4
    assert 0 < (~protocol.targets).all(axis=1).mean() < 0.4
    np.testing.assert_array_equal(protocol.adjacency, CHAIN.graph.adjacency)


def test_the_thickness_of_a_model_moves_nothing() -> None:
    model = thick_nature()
    assert (model.thickness > 0).all()
    protocol = drawn(model)
    stays = ~np.array([model.graph.ancestors()[row].any(axis=0) | row for row in protocol.targets])
    assert stays.any() and (protocol.before == protocol.after)[stays].all()


def test_actuators_follow_the_variables_by_rising_maps() -> None:
    """The values, taken back through the map, are pairs of the linear model: they share their noise."""
    model = build_nature(NatureConfig(2, EdgesConfig(edges=((0, 1),))), 0)
    protocol = draw_protocol(model, 4000, chosen_actuators(2, ranges=["red=0,1,0.000001", "green=0,1,0.000001"]))
    both = np.stack([protocol.before, protocol.after])
    z, z_tilde = protocol.centre + protocol.scale * ndtri(np.clip(both, 1e-6, 1 - 1e-6))
    chosen = protocol.targets[:, 0] & ((both > 0.01) & (both < 0.99)).all(axis=(0, 2))
    moved = (z_tilde - z)[chosen]
    scm = model.scm
    noise = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    weight = (scm.solve(noise)[0][1] - scm.solve(noise)[0][0]).tolist()
    np.testing.assert_allclose(moved[:, 1], moved[:, 0] * weight[1] / weight[0], atol=0.01)
    assert len(moved) > 500 and abs(weight[1]) > 0.1


def test_the_range_is_used_evenly() -> None:
    shares = drawn(pairs=4000).before / np.array([255, 255, 255, 180, 180]) + np.array([0, 0, 0, 0.5, 0.5])
    np.testing.assert_allclose(shares.mean(axis=0), 0.5, atol=0.05)
    assert (shares.std(axis=0) > 0.22).all() and (shares.std(axis=0) < 0.36).all()


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        write_protocol(tmp_path / name / "p.txt", drawn(seed=seed), seed=seed)
    files = [[(tmp_path / name / file).read_bytes() for file in ("p.txt", "p.json")] for name in "abc"]
    assert files[0] == files[1] and files[0][0] != files[2][0] and files[0][1] != files[2][1]


def test_lines_set_what_changes_and_measure_once() -> None:
    values = np.array([[1.0, -0.5], [3.0, 7.0]])
    protocol = PairProtocol(
        chosen_actuators(2, ["red", "pol_1"]),
        values,
        np.array([[1.0, 2.0], [3.0, 7.0]]),
        np.array([[False, True], [False, False]]),
        np.zeros((2, 2), np.uint8),
        np.zeros(2),
        np.ones(2),
    )
    assert list(protocol.lines({"camera": "1"}, 30)) == [
        *("SET,camera,1", "SET,red,1", "SET,pol_1,-0.5", "WAIT,30", "MSR,1,0"),
        *("SET,pol_1,2.0", "WAIT,30", "MSR,1,0"),
        *("SET,red,3", "SET,pol_1,7.0", "WAIT,30", "MSR,1,0"),
        "MSR,1,0",
    ]
    assert "WAIT" not in "".join(protocol.lines()) and len(protocol) == 2 and protocol.names == ("red", "pol_1")


@pytest.fixture
def written(tmp_path: Path) -> tuple[PairProtocol, Path, Path]:
    """A protocol, its JSON file, and what the chamber measured by its text."""
    protocol = drawn()
    write_protocol(tmp_path / "p.txt", protocol)
    rows = measured((tmp_path / "p.txt").read_text().splitlines())
    return protocol, truth_path(tmp_path / "p.txt"), write_rows(tmp_path / "m" / "measured.csv", rows)


def test_what_is_measured_is_imported_as_the_draws_of_the_model(
    written: tuple[PairProtocol, Path, Path], tmp_path: Path
) -> None:
    protocol, truth, csv = written
    (path,) = import_chamber(csv, tmp_path / "out", protocol=truth)
    data = load_pairs(path)
    np.testing.assert_array_equal(data.z, protocol.before.astype(np.float32))
    np.testing.assert_array_equal(data.z_tilde, protocol.after.astype(np.float32))
    np.testing.assert_array_equal(data.targets, protocol.targets)
    np.testing.assert_array_equal(data.adjacency, CHAIN.graph.adjacency)
    assert "licence" not in data.metadata and len(data.metadata["protocol_sha256"]) == 64
    # and these are the draws of the model itself, each by the same rising map
    pairs = CHAIN.sample_pairs(len(data), torch_generator(0, "protocol"))
    for name, values in (("z", data.z), ("z_tilde", data.z_tilde)):
        shares = ndtr((getattr(pairs, name).numpy() - protocol.centre) / protocol.scale)
        expected = np.stack([each.values(shares[:, a]) for a, each in enumerate(protocol.actuators)], 1)
        np.testing.assert_allclose(values, expected, atol=1e-3)
    np.testing.assert_array_equal(pairs.targets.numpy(), data.targets)


def test_without_its_truth_only_single_changes_are_pairs(
    written: tuple[PairProtocol, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"measured\.csv: line \d+: Expected at most one actuator to differ from line"):
        import_chamber(written[2], tmp_path / "out")
    empty = build_nature(NatureConfig(5, EmptyConfig()), 3)
    protocol = drawn(empty)
    csv = write_rows(tmp_path / "b.csv", measured(protocol.lines()))
    data = load_pairs(next(iter(import_chamber(csv, tmp_path / "out"))))
    np.testing.assert_array_equal(data.targets, protocol.before != protocol.after)
    assert data.adjacency is None


def test_a_protocol_may_leave_an_actuator_where_it_is(tmp_path: Path) -> None:
    """A range of one step, in few pairs."""
    protocol = drawn(CHAIN, 2, ranges=["red=3,4"], seed=1)
    assert np.ptp(np.stack([protocol.before, protocol.after])[..., 0]) == 0
    write_protocol(tmp_path / "p.txt", protocol)
    csv = write_rows(tmp_path / "m.csv", measured(protocol.lines()))
    (path,) = import_chamber(csv, tmp_path / "out", protocol=tmp_path / "p.json")
    data = load_pairs(path)
    assert data.z is not None and np.ptp(data.z[:, 0]) == 0 and len(data) == 2


def test_images_of_a_protocol_are_imported(tmp_path: Path) -> None:
    folder = write_image_experiment(tmp_path / "set", pairs=4)
    protocol = drawn(build_nature(NatureConfig(1), 0), 4)
    rows = measured(protocol.lines())
    for number, row in enumerate(rows):
        row["image_file"] = f"{number:05d}.png"
    write_rows(folder / "walk" / "walk.csv", rows)
    write_protocol(tmp_path / "p.txt", protocol)
    columns = ChamberColumns(images="image_file")
    (path,) = import_chamber(folder, tmp_path / "out", 32, columns=columns, protocol=tmp_path / "p.json")
    data = load_pairs(path)
    assert data.is_images and data.targets is not None
    np.testing.assert_array_equal(data.targets, protocol.targets)


MEASURED: dict[str, tuple[Callable[[list[dict[str, str]]], Any], str]] = {
    "a row too few": (
        lambda rows: rows[:-2],
        r"Expected 400 measurements, two for each pair of the protocol; got 398$",
    ),
    "another value": (
        lambda rows: [*rows[:3], rows[3] | {"pol_1": str(float(rows[3]["pol_1"]) + 0.2)}, *rows[4:]],
        r"measured\.csv: line 5: column 'pol_1': Expected -?\d+\.\d, as in the protocol; got -?\d+\.?\d*$",
    ),
    "rows in another order": (lambda rows: [*rows[2:], *rows[:2]], r"line 2: column 'timestamp'|line 2: column 'red'"),
}


@pytest.mark.parametrize(("change", "message"), MEASURED.values(), ids=MEASURED.keys())
def test_rows_of_another_protocol_are_refused(
    change: Callable[..., Any], message: str, written: tuple[PairProtocol, Path, Path], tmp_path: Path
) -> None:
    _, truth, csv = written
    rows = [{key: cell for key, cell in row.items() if key != "timestamp"} for row in measured(drawn().lines())]
    write_rows(csv, change(rows))
    with pytest.raises(ValueError, match=message):
        import_chamber(csv, tmp_path / "out", protocol=truth)
    assert not (tmp_path / "out").exists()


def test_a_protocol_leaves_no_choice_of_actuators_and_pairs(
    written: tuple[PairProtocol, Path, Path], tmp_path: Path
) -> None:
    _, truth, csv = written
    with pytest.raises(ValueError, match=r"^actuators: Expected none beside a protocol, which names them; got some$"):
        import_chamber(csv, tmp_path / "out", protocol=truth, columns=ChamberColumns(["red"]))
    with pytest.raises(
        ValueError, match=r"^overlapping: Expected pairs of rows as in the protocol; got overlapping ones$"
    ):
        import_chamber(csv, tmp_path / "out", protocol=truth, overlapping=True)


def test_the_truth_is_read_back(tmp_path: Path) -> None:
    protocol = drawn(ranges=["pol_1=0,45.5,0.5"])
    write_protocol(tmp_path / "p.txt", protocol)
    again = read_protocol(tmp_path / "p.json")
    assert again.actuators == protocol.actuators and again.actuators[3] == Actuator("pol_1", 0.0, 45.5, 0.5)
    for key in ("before", "after", "targets", "adjacency", "centre", "scale"):
        np.testing.assert_array_equal(getattr(again, key), getattr(protocol, key))


def put(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda truth: truth | {key: value}


def put_in(key: str, index: int, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda truth: truth | {key: [*truth[key][:index], value, *truth[key][index + 1 :]]}


ACTUATOR = {"name": "red", "low": 0, "high": 255, "step": 1}
TRUTHS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda truth: [truth], r"p\.json: Expected the keys actuators, centre, .* of a protocol; got \["),
    "no targets": (
        lambda truth: {k: v for k, v in truth.items() if k != "targets"},
        r"Expected the keys .*; got 'made",
    ),
    "another key": (put("noise", 1), r"Expected the keys actuators, centre, scale, .* of a protocol; got 'made_by'"),
    "no actuators": (put("actuators", []), r"p\.json: actuators: Expected a list of actuators; got \[\]$"),
    "an actuator without a step": (
        put_in("actuators", 1, {"name": "red"}),
        r"actuators: 1: Expected name, low, high, st",
    ),
    "a name that is none": (
        put_in("actuators", 0, ACTUATOR | {"name": "a,b"}),
        r"actuators: 0: Expected the name of an actuator, .*; got 'a,b'$",
    ),
    "a range in words": (
        put_in("actuators", 0, ACTUATOR | {"low": "0"}),
        r"actuators: 0: Expected a list of 3 numbers;",
    ),
    "a range upside down": (
        put_in("actuators", 0, ACTUATOR | {"low": 300}),
        r"actuators: 0: red: Expected a range low,high with low < high; got 300,255$",
    ),
    "a step too wide": (
        put_in("actuators", 0, ACTUATOR | {"step": 999}),
        r"0: red: Expected a step above 0, at most 255",
    ),
    "an actuator twice": (put_in("actuators", 1, ACTUATOR), r"actuators: Expected each name once; got red again$"),
    "a centre too few": (put("centre", [0.0]), r"p\.json: centre: Expected a list of 2 numbers; got \[0\.0\]$"),
    "a graph of another size": (put("adjacency", [[0]]), r"adjacency: Expected a list of 2 entries; got 1 entries$"),
    "a graph of words": (put("adjacency", "x"), r"adjacency: Expected a list of 2 entries; got 'x'$"),
    "a cycle": (
        put("adjacency", [[0, 1], [1, 0]]),
        r"p\.json: adjacency: Expected an acyclic adjacency; got the cycle 0 -> 1 -> 0",
    ),
    "a target that is none": (
        put_in("targets", 2, [2]),
        r"targets: pair 2: Expected a list of actuators, 0 to 1; got \[",
    ),
    "a true target": (
        put_in("targets", 2, [True]),
        r"targets: pair 2: Expected a list of actuators, 0 to 1; got \[True",
    ),
    "no pairs": (put("targets", []), r"targets: Expected a list with an entry for each pair; got 0 entries$"),
    "a pair too few": (put("before", [[0, 0]]), r"before: Expected a list of 4 entries; got 1 entries$"),
    "a pair of words": (put_in("after", 1, ["a", 0]), r"after: pair 1: Expected a list of 2 numbers; got \['a', 0\]$"),
    "a change out of reach": (
        lambda truth: truth | {"targets": [[]] * 4, "after": [[0, 1]] * 4, "before": [[0, 0]] * 4},
        r"p\.json: after: pair 0: Expected green to stay, which no target reaches; got a change$",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), TRUTHS.values(), ids=TRUTHS.keys())
def test_a_truth_that_is_none_is_refused(spoil: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    write_protocol(tmp_path / "p.txt", drawn(small_nature("linear"), 4))
    path = tmp_path / "p.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=message):
        read_protocol(path)


def test_a_large_value_is_read_and_an_infinite_one_is_not(tmp_path: Path) -> None:
    write_protocol(tmp_path / "p.txt", drawn(small_nature("linear"), 4))
    path = tmp_path / "p.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"centre": [10**18, 0]}))
    assert read_protocol(path).centre[0] == 1e18
    path.write_text(path.read_text().replace(str(10**18), "1e999"))
    with pytest.raises(ValueError, match=r"p\.json: Expected JSON; got a number that is not finite"):
        read_protocol(path)


@pytest.mark.parametrize("pairs", [0, MOST_VALUES // 5 + 1])
def test_pairs_are_bounded(pairs: int) -> None:
    with pytest.raises(ValueError, match=rf"^pairs: Expected from 1 to 1,000,000 pairs of 5 variables; got {pairs:,}$"):
        drawn(pairs=pairs)


def test_models_that_no_actuator_can_follow_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^actuators: Expected 5, one for each variable; got 2$"):
        draw_protocol(CHAIN, 3, chosen_actuators(2))
    circles = CIRCLE_MODELS["torus"]()
    with pytest.raises(
        ValueError, match=r"^model: Expected variables on lines, which actuators with .*; got circle z\d$"
    ):
        draw_protocol(circles, 3, chosen_actuators(circles.n))


def test_a_variable_that_hardly_ever_varies_has_no_range(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = PairData.from_arrays(*np.random.default_rng(0).normal(size=(2, 50, 5)).astype(np.float32))
    flat.x[:, 2] = flat.x_tilde[:, 2] = 1.0
    monkeypatch.setattr("lcm.data.chamber.protocol.sample_data", lambda *_: flat)
    with pytest.raises(ValueError, match=r"^model: Expected variables that vary; got one value for most of z2$"):
        drawn()


def test_settings_are_names_and_values() -> None:
    assert parsed_settings(["camera=1", "shutter_speed=1/200"]) == {"camera": "1", "shutter_speed": "1/200"}
    for text in ("camera", "a b=1", "camera=1,2", "camera=1\nMSR"):
        with pytest.raises(ValueError, match=r"^set: Expected NAME=VALUE, without commas and spaces; got "):
            parsed_settings([text])
    with pytest.raises(ValueError, match=r"^set: Expected each name once; got iso again$"):
        parsed_settings(["iso=1", "iso=2"])


def test_one_pair_and_all_targets_are_possible() -> None:
    model = build_nature(NatureConfig(2, intervention=PerfectInterventionConfig(targets="all")), 0)
    assert len(drawn(model, 1)) == 1
    assert (drawn(model, 300).targets.sum(axis=1) == 2).any()
