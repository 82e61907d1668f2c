"""A certificate: sound fits pass, each violation breaks the row that names it, and stated powers are true."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import lcm
from experiments._violations import VIOLATIONS
from lcm.app.cli import main
from lcm.data.encode import encode_pairs
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig
from lcm.data.pair_files import save_pairs
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.model.intervention import TargetDistribution
from lcm.run.assumption import BROKEN, CANNOT_BE_KNOWN, HOLDS, VERDICTS, Certificate, CertificateRow
from lcm.run.certificate.power import (
    LEVEL,
    POWER,
    correlation_p_value,
    critical_count,
    share_p_value,
    smallest_correlation,
    smallest_share,
)
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs
from lcm.run.result import FitResult
from lcm.run.runs import load_run, write_run

NATURE = build_nature(NatureConfig(4, ChainConfig()), 0)
DATA_OF_THREE = PairData(x=np.eye(5, 3, dtype=np.float32), x_tilde=np.eye(5, 3, dtype=np.float32))
NEVER_KNOWN = {"real", "perfect", "faithful", "direction"}
ONE_ROW_EACH = {"real", "diffeomorphic", "counterfactual", "atomic", "drift", "perfect", "support", "acyclic"}
ONE_ROW_EACH |= {"common_cause", "faithful", "n", "converged", "pairs", "direction"}
SHOWN = sorted(name for name, violation in VIOLATIONS.items() if violation.rows and violation.columns == 1)


def pairs_of(name: str, strength: float, pairs: int = 4_000, seed: int = 0) -> PairData:
    return VIOLATIONS[name].draw(NATURE, strength, pairs, torch_generator(seed, name))


@pytest.fixture(scope="module")
def sound() -> FitResult:
    data = pairs_of("several-targets", 0.0, 4_000, 1)
    return fit_pairs(data, FitConfig(model="linear", n=4))


def known(result: FitResult, data: PairData) -> FitResult:
    """The fit with the true model in place of the learned one."""
    return replace(
        result, model=deepcopy(NATURE), data=data, ancestry=None, implicit=None, implicit_nll=0.0, held_out_nll=0.0
    )


def test_a_sound_fit_breaks_nothing_and_claims_no_more_than_data_can_show(sound: FitResult) -> None:
    certificate = sound.certificate
    assert {row.key for row in certificate.rows} == ONE_ROW_EACH and len(certificate.rows) == len(ONE_ROW_EACH)
    assert certificate.broken == () and sound.doubts == ()
    assert {row.key for row in certificate.rows if row.verdict == CANNOT_BE_KNOWN} == NEVER_KNOWN
    for row in certificate.rows:
        assert row.verdict in VERDICTS and row.consequence and row.test
        # `Broken (key)` of a summary leads to its row, in both texts
        assert f"{row.assumption} ({row.key})\n" in str(certificate)
        assert f"| {row.assumption} (`{row.key}`) | **{row.verdict}** |" in certificate.markdown()
        assert (row.verdict == CANNOT_BE_KNOWN) == bool(row.reason)
        assert (row.verdict == BROKEN) == bool(row.findings)
        assert row.p_value is None or 0.0 <= row.p_value <= 1.0


@pytest.mark.parametrize("name", SHOWN)
def test_a_strong_violation_breaks_a_row_that_names_it(name: str) -> None:
    violation = VIOLATIONS[name]
    data = pairs_of(name, violation.strengths[-1])
    certificate = fit_pairs(data, FitConfig(model="linear", n=4)).certificate
    assert set(certificate.broken) & set(violation.rows), certificate
    row = certificate.row(next(key for key in violation.rows if key in certificate.broken))
    assert row.verdict == BROKEN and row.said() in str(certificate).replace("\n                  ", " ")


@pytest.mark.parametrize("name", ["followed", "several-targets", "contaminated", "shift"])
def test_the_true_encoder_shows_each_violation_in_its_row_alone(name: str, sound: FitResult) -> None:
    violation = VIOLATIONS[name]
    assert known(sound, pairs_of(name, 0.0)).certificate.broken == ()
    assert known(sound, pairs_of(name, violation.strengths[1])).certificate.broken == violation.rows[:1]


def test_soft_interventions_leave_no_trace(sound: FitResult) -> None:
    certificate = fit_pairs(pairs_of("soft", 1.0), FitConfig(model="linear", n=4)).certificate
    assert certificate.broken == ()
    assert "No data can tell" in certificate.row("perfect").reason


@given(st.integers(50, 30_000), st.floats(0.001, 0.2), st.floats(0.05, 1.0))
@settings(max_examples=40)
def test_a_share_is_found_as_often_as_stated_and_no_share_is_broken_too_often(
    rows: int, allowed: float, seen: float
) -> None:
    critical = critical_count(rows, allowed)
    assert share_p_value(critical, rows, allowed) <= LEVEL < share_p_value(critical - 1, rows, allowed)
    smallest = smallest_share(rows, allowed, seen)
    found = float(binom.sf(critical - 1, rows, smallest * seen))
    assert found == pytest.approx(POWER) if smallest < 1.0 else found <= POWER + 1e-9
    assert smallest_share(2 * rows, allowed, seen) <= smallest


@pytest.mark.parametrize(("rows", "allowed", "tests"), [(400, 0.05, 1), (4_000, 0.05, 6), (2_000, 0.2, 3)])
def test_a_correlation_is_found_as_often_as_stated(rows: int, allowed: float, tests: int) -> None:
    smallest = smallest_correlation(rows, allowed, tests)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, rows))
    y = smallest * x + np.sqrt(1.0 - smallest**2) * rng.standard_normal((400, rows))
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]
    found = np.mean([correlation_p_value(r, rows, allowed, tests) < LEVEL for r in correlations])
    # four standard errors of 400 draws
    assert abs(found - POWER) < 4 * np.sqrt(POWER * (1 - POWER) / 400)
    assert correlation_p_value(allowed, rows, allowed, tests) == 1.0
    assert correlation_p_value(0.9, 3, allowed, tests) == smallest_correlation(3, allowed, tests) == 1.0


@pytest.mark.parametrize("shift", [0.0, 0.5, -0.5])
def test_a_shift_and_a_scale_of_what_is_no_target_are_told_apart(shift: float, sound: FitResult) -> None:
    data = pairs_of("shift", shift)
    row = known(sound, data).certificate.row("drift")
    assert row.statistic == pytest.approx(abs(shift), abs=0.01)
    assert (row.verdict, bool(row.findings)) == ((BROKEN, True) if shift else (HOLDS, False))
    assert not shift or f"shifts by {shift:+.2g} standard deviations" in row.findings[0]


def test_a_scaled_background_is_named(sound: FitResult) -> None:
    drawn = NATURE.sample_pairs(4_000, torch_generator(0, "scaled"))
    kept = torch.where(drawn.targets, drawn.noise_tilde, 1.1 * drawn.noise)
    x_tilde = NATURE.decode(NATURE.scm.solve(kept)[0])
    row = known(sound, PairData(x=drawn.x.numpy(), x_tilde=x_tilde.numpy())).certificate.row("drift")
    assert row.verdict == BROKEN and "is scaled by 1.10" in row.findings[0]


def test_too_few_pairs_of_a_variable_are_named(sound: FitResult) -> None:
    rare = deepcopy(NATURE)
    rare.target_distribution.probabilities.copy_(torch.tensor([0.25, 0.25, 0.24, 0.25, 0.01]))
    data = VIOLATIONS["several-targets"].draw(rare, 0.0, 4_000, torch_generator(0, "rare"))
    certificate = replace(known(sound, data), model=rare).certificate
    assert certificate.broken == ("pairs",)
    assert "one variable is the target in only" in certificate.row("pairs").findings[0]


def test_more_variables_than_x_has_dimensions_are_named(sound: FitResult) -> None:
    rng = np.random.default_rng(0)
    sheet = NATURE.sample_pairs(4_000, torch_generator(0, "sheet"))
    x, x_tilde = (part.numpy() @ np.diag([1.0, 1.0, 1.0, 0.0]) for part in (sheet.x, sheet.x_tilde))
    x, x_tilde = (part + 1e-3 * rng.standard_normal(part.shape) for part in (x, x_tilde))
    data = PairData(x=x.astype(np.float32), x_tilde=x_tilde.astype(np.float32))
    row = known(sound, data).certificate.row("n")
    assert row.verdict == BROKEN and "fewer than the 4 fitted variables" in row.findings[0]


def test_it_comes_back_from_json_and_from_a_run(sound: FitResult, tmp_path: Path) -> None:
    assert Certificate.from_json(sound.certificate.to_json()) == sound.certificate
    write_run(tmp_path / "run", sound, overwrite=False)
    stored = load_run(tmp_path / "run").result()
    assert stored.certificate == sound.certificate and stored.doubts == sound.doubts
    report = (tmp_path / "run" / "report.md").read_text()
    assert "## Certificate" in report and all(row.assumption in report for row in sound.certificate.rows)


def test_a_stored_fit_is_certified_on_any_pairs(sound: FitResult, tmp_path: Path) -> None:
    write_run(tmp_path / "run", sound, overwrite=False)
    stored = load_run(tmp_path / "run").result()
    again, other = stored.certify(sound.data), stored.certify(pairs_of("contaminated", 0.1))
    assert [row.verdict for row in again.rows] == [row.verdict for row in sound.certificate.rows]
    assert "counterfactual" in other.broken
    with pytest.raises(ValueError, match=r"x: Expected shape \(N, 4\), as the model's observations; got \(5, 3\)"):
        stored.certify(DATA_OF_THREE)


def test_pairs_that_never_target_a_variable_are_judged_by_themselves(sound: FitResult) -> None:
    assert sound.data is not None
    moved = encode_pairs(sound.model, sound.data).posterior.argmax(1).numpy()
    kept = np.isin(moved, (0, 3, 4))
    found = sound.certify(PairData.from_arrays(sound.data.x[kept], sound.data.x_tilde[kept]))
    assert found.row("support").verdict == BROKEN
    assert found.row("pairs").verdict == found.row("acyclic").verdict == CANNOT_BE_KNOWN
    assert "the target in none of these pairs" in found.row("pairs").said()
    assert "the target in too few of these pairs" in found.row("acyclic").said()


def test_one_variable_cannot_drift_where_no_pair_leaves_it() -> None:
    one = sample_data(build_nature(NatureConfig(1, ChainConfig()), 0), 1000, torch_generator(0, "pairs"))
    row = fit_pairs(one, FitConfig(model="linear", n=1)).certificate.row("drift")
    assert row.verdict == CANNOT_BE_KNOWN and "no variable has 50 pairs" in row.said()


def test_a_fit_without_certificate_says_how_to_make_one(sound: FitResult) -> None:
    old = replace(sound, data=None, stored_doubts=("something",))
    with pytest.raises(
        ValueError, match=r"Expected a fit with a certificate; got one .* lcm certify RUN DATA make one"
    ):
        _ = old.certificate
    assert "Note: something" in str(old) and "**Note.** something" in old.report()


def test_an_unknown_row_is_refused(sound: FitResult) -> None:
    with pytest.raises(ValueError, match=r"key: Expected one of \['real', .*; got 'luck'"):
        sound.certificate.row("luck")


def test_the_command_prints_all_rows_and_writes_them(
    sound: FitResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", sound, overwrite=False)
    save_pairs(tmp_path / "pairs.npz", pairs_of("several-targets", 0.3))
    out = tmp_path / "certificate.json"
    assert main(["certify", str(tmp_path / "run"), str(tmp_path / "pairs.npz"), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    written = lcm.Certificate.from_json(lcm.base.files.read_json(out))
    assert printed == f"{written}\n" and "atomic" in written.broken
    assert "BROKEN          an intervention has one target" in printed


@pytest.mark.parametrize("config", [{"n": 3}, 3])
def test_a_config_of_another_kind_is_refused(config: object) -> None:
    with pytest.raises(ValueError, match=r"config: Expected an lcm\.FitConfig or a YAML file; got (dict|int)"):
        lcm.fit(pairs_of("shift", 0.0, 300), config=config)  # type: ignore[arg-type]


def test_without_rows_it_says_so() -> None:
    assert str(Certificate((), ("row 3 lies apart.",))).splitlines() == [
        "No certificate: the assumptions of this model are not tested.",
        "note            row 3 lies apart.",
    ]


ROW: Callable[..., CertificateRow] = CertificateRow.judged


def test_a_row_says_what_its_verdict_rests_on() -> None:
    assert ROW("a", "b", "test", "c", power="seen").said() == "seen"
    assert ROW("a", "b", "test", "c").said() == "test"
    assert ROW("a", "b", "test", "c", unknown="why", power="seen").said() == "why"
    broken = ROW("a", "b", "test", "c", findings=("one.", "two."), unknown="why")
    assert (broken.said(), broken.reason, broken.verdict) == ("one. two.", "", BROKEN)
    assert {field.name for field in fields(CertificateRow)} == set(Certificate((broken,)).to_json()["rows"][0])


def test_pairs_with_several_known_targets_are_not_taken_for_strangers(sound: FitResult) -> None:
    told = deepcopy(NATURE)
    told.target_distribution = TargetDistribution.family(4, "all")
    drawn = told.sample_pairs(2_000, torch_generator(0, "all"))
    data = PairData(x=drawn.x.numpy(), x_tilde=drawn.x_tilde.numpy())
    certificate = replace(known(sound, data), model=told).certificate
    assert certificate.broken == ()
    for key in ("counterfactual", "atomic"):
        assert "the config lists target sets of several variables" in certificate.row(key).reason


def test_one_variable_has_a_certificate_too() -> None:
    rng = np.random.default_rng(0)
    x, fresh = rng.standard_normal((2, 600, 1)).astype(np.float32)
    x_tilde = np.where(rng.random((600, 1)) < 0.5, x, fresh)
    assert fit_pairs(PairData(x=x, x_tilde=x_tilde), FitConfig(model="linear")).certificate.broken == ()
