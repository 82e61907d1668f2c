"""Describe pairs before a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.rows import row_blocks
from lcm.data.intrinsic_dimension import Spectrum, sheet_text
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.learn.warm_start import unmix_differences
from lcm.run.doubts_of_data import data_doubts
from lcm.run.fittable import require_differences, require_enough_pairs, require_measured, require_no_outlier

Array = NDArray[np.float64]
_UNKNOWN = "unknown: too few pairs differ"


@final
@dataclass(frozen=True)
class PairCheck(Mapping[str, Any]):
    """What `check_pairs` found: numbers by their keys, fit for JSON; `print` puts them in words.

    A value is None if it has no meaning. Where fewer than 10 pairs differ, n and all that follows from it are None;
    for images, all are None but the first five, n_guess and doubts.

    Attributes:
        numbers: the values by their keys:
            n_pairs, shape (of one observation), dtype.
            duplicate_rows: rows of x that equal an earlier row.
            unchanged_share: share of pairs with x == x_tilde exactly, in [0, 1].
            rank, singular_values (d,): of x and x_tilde together, with columns divided by their standard deviations;
                singular values are in descending order.
            n_guess: the estimate of n, see `lcm.data.intrinsic_dimension` and `lcm.learn.geodesic`.
            n_directions: how many directions of x the sheet of n_guess dimensions bends into; n_guess for a flat one.
            n_plausible: every number that the evidence leaves open. n_by_neighbours: the dimension of x by distances
                of nearest neighbours, a real number (`lcm.data.variable_count`).
            one_sparse_share: share of the squared difference of a pair that its largest component carries, in
                [1/n, 1]: the median over pairs that differ, after the linear unmixing that maximises it. It is 1 for
                every graph if observations are linear in the noise and interventions are atomic.
            one_sparse_share_random: the same after a random rotation of the components, for comparison.
            doubts: why a fit refuses the pairs, if it does, and what is remarkable about rows and columns, in words.
            target_shares (n_guess,): share of all pairs whose largest component is k, descending: a linear estimate
                of the target probabilities.

    Source: docs/theory.md section 2.
    """

    numbers: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.numbers[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __str__(self) -> str:
        """The numbers in plain words, one line each."""
        lines = [
            ("pairs", f"{self['n_pairs']:,} of shape {tuple(self['shape'])}, {self['dtype']}"),
            ("duplicates", f"{self['duplicate_rows']:,} rows of x equal an earlier one"),
            ("unchanged", f"{self['unchanged_share']:.1%} of pairs have x == x_tilde exactly"),
        ]
        if self["rank"] is None:
            by = " by the dimension of the sheet that the images lie on"
            lines.append(("variables", _UNKNOWN if self["n_guess"] is None else f"n = {self['n_guess']}{by}"))
        else:
            values = self["singular_values"]
            lines.append(("rank", f"{self['rank']} of {len(values)} columns"))
            lines.append(("spectrum", "singular values " + _listed([f"{value:.3g}" for value in values])))
            lines.append(("variables", _number_text(self)))
            lines.append(("one-sparse", verdict(self)))
        if self["target_shares"] is not None:
            shares = _listed([f"{share:.1%}" for share in self["target_shares"]])
            lines.append(("targets", f"{shares} of pairs, by a linear estimate"))
        lines += [("doubt", text) for text in self["doubts"]]
        return "\n".join(f"{name:<12}{text}" for name, text in lines)


def check_pairs(x: Any, x_tilde: Any = None, *, seed: int = 0) -> PairCheck:
    """Describe pairs before a fit, as `lcm check` does.

    Args:
        x, x_tilde: pairs, as anything that `lcm.load_pairs` takes.
        seed: of the linear unmixing.

    Raises:
        ValueError: a value that is far outside the scale of its column, or a code of missing values, as in a fit.

    Example:
        >>> import lcm
        >>> found = lcm.check_pairs("data/sample.safetensors")
        >>> found["n_guess"], found["doubts"]
        (3, [])
    """
    data = load_pairs(x, x_tilde)
    require_measured(data)
    require_no_outlier(data)
    return PairCheck(_described(data, seed))


def _described(data: PairData, seed: int) -> dict[str, Any]:
    refusal = _refusal(require_differences, data)
    whole, data = data, data.without_outliers
    blocks = [(before == after).reshape(len(before), -1).all(1) for before, after in row_blocks(data.x, data.x_tilde)]
    unchanged = np.concatenate(blocks)
    report: dict[str, Any] = {
        "n_pairs": len(whole),
        "shape": list(data.x.shape[1:]),
        "dtype": str(data.x.dtype),
        "duplicate_rows": _count_duplicates(data.x),
        "unchanged_share": float(unchanged.mean()),
        **dict.fromkeys(("rank", "singular_values", "n_guess", "n_directions", "n_plausible", "n_by_neighbours")),
        **dict.fromkeys(("one_sparse_share", "one_sparse_share_random", "target_shares")),
        "doubts": [*refusal, *data_doubts(whole)],
    }
    if data.is_images:
        return report if refusal else _of_images(report, data)
    found = data.spectrum
    report["rank"] = found.rank
    report["singular_values"] = np.sqrt(found.variances).tolist()
    # x alone would give a number, but what never changes is no variable
    if refusal:
        return report
    report["n_guess"] = n = data.estimated_n
    report["n_directions"] = data.directions(n)
    report["n_plausible"], report["n_by_neighbours"] = (
        list(data.dimension_evidence.plausible),
        data.dimension_evidence.neighbours,
    )
    if np.sum(~unchanged) >= max(n, 1) and n > 0:
        differences = _reduced_differences(data, ~unchanged, found, n)
        report.update(_one_sparse(differences, len(data), np.random.default_rng(seed)))
    return _with_too_few(report, data)


def _of_images(report: dict[str, Any], data: PairData) -> dict[str, Any]:
    from lcm.learn.geodesic import estimate_image_n

    return _with_too_few(report | {"n_guess": estimate_image_n(data.x)}, data)


def _with_too_few(report: dict[str, Any], data: PairData) -> dict[str, Any]:
    """The report with a doubt where a fit would refuse as few pairs."""
    return report | {"doubts": [*_refusal(require_enough_pairs, data, report["n_guess"]), *report["doubts"]]}


def _refusal(require: Callable[..., None], *arguments: Any) -> list[str]:
    """What a fit says where it refuses the data; empty where it does not."""
    try:
        require(*arguments)
    except ValueError as error:
        return [f"lcm fit refuses these pairs: {error}"]
    return []


def _number_text(report: Mapping[str, Any]) -> str:
    if report["n_guess"] is None:
        return _UNKNOWN
    plausible = report["n_plausible"]
    among = "no other number is plausible" if len(plausible) == 1 else f"plausible: {_listed([*map(str, plausible)])}"
    where = sheet_text(len(report["singular_values"]), report["n_guess"], report["n_directions"])
    return f"n = {report['n_guess']}: {where}; {among}; by nearest neighbours {report['n_by_neighbours']:.1f}"


def verdict(report: Mapping[str, Any]) -> str:
    """Say whether the differences look as if one variable changed at a time, up to a linear map."""
    share, random = report["one_sparse_share"], report["one_sparse_share_random"]
    if share is None:
        return _UNKNOWN
    if report["n_guess"] == 1:
        return "yes, trivially: there is one variable"
    numbers = f"the largest component carries {share:.1%} of a difference, or {random:.1%} after a random rotation"
    if share >= 0.95:
        return f"yes: {numbers}"
    if share >= (1 + random) / 2:
        return f"largely: {numbers}; the mixing or a mechanism is nonlinear, or the pairs are noisy"
    return (
        f"no: {numbers}; the mixing is strongly nonlinear, several variables change at once, "
        "or x_tilde is not a counterfactual of x"
    )


def _count_duplicates(x: NDArray[Any]) -> int:
    if x.ndim == 4:
        keys = {blake2b(row.tobytes(), digest_size=16).digest() for (block,) in row_blocks(x) for row in block}
        return len(x) - len(keys)
    # -0.0 and 0.0 are equal in value but differ in bytes; adding zero turns -0.0 into 0.0.
    rows = np.ascontiguousarray((x + np.zeros((), x.dtype)).reshape(len(x), -1))
    entries = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))[:, 0]
    return len(x) - len(np.unique(entries))


def _reduced_differences(data: PairData, changed: NDArray[np.bool_], found: Spectrum, n: int) -> Array:
    differences = (data.x_tilde[changed].astype(np.float64) - data.x[changed]) / found.scales
    return differences if n == data.n_dimensions else differences @ found.directions[:, :n]


def _one_sparse(differences: Array, n_pairs: int, generator: np.random.Generator) -> dict[str, Any]:
    unmixing = unmix_differences(differences, generator)
    n = len(unmixing)
    rotation = np.linalg.qr(generator.standard_normal((n, n)))[0]
    components = differences @ unmixing.T
    largest = np.argmax(np.abs(components), axis=1)
    shares = np.bincount(largest, minlength=n) / n_pairs
    return {
        "one_sparse_share": _largest_share(components),
        "one_sparse_share_random": _largest_share(components @ rotation.T),
        "target_shares": np.sort(shares)[::-1].tolist(),
    }


def _largest_share(components: Array) -> float:
    energy = components**2
    return float(np.median(energy.max(axis=1) / energy.sum(axis=1)))


def _listed(entries: list[str], limit: int = 20) -> str:
    return ", ".join(entries[:limit]) + (f", … ({len(entries)} in all)" if len(entries) > limit else "")
