"""The declared graph of the evidence: every part, what runs it, what is kept of it, and what it costs.

Parts are in the order of their worth for each hour: the README's tables come first, images and the published protocol
last. A part is small enough to be run again alone, and its cells are resumed where a run was stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Part:
    """One folder of results/.

    Attributes:
        name: the folder, below results/.
        experiment: a script of experiments/, without .py.
        options: its options, with all seeds, without --out.
        hours: of CPU on one core, as guessed from earlier runs; a finished part says what it took.
        figures: names of figures in its folder figures/ that documents show.
        keep: patterns of other files that results/ keeps; data and weights stay in runs/.
        sample: further options, by which a share of its cells is made; empty where there is no such share.
    """

    name: str
    experiment: str
    options: tuple[str, ...] = ()
    hours: float = 0.1
    figures: tuple[str, ...] = ()
    keep: tuple[str, ...] = ("results.json", "results.md", "*.png")
    sample: tuple[str, ...] = ()


FAMILY_HOURS = {
    "linear-10": 0.05,
    "few-pairs-linear-4": 0.03,
    "few-pairs-mild-4": 0.08,
    "fewest-pairs-mild-4": 0.06,
    "location-scale-mild-5": 0.1,
    "location-scale-strong-4": 0.1,
    "skewed-strong-3": 0.1,
    "uneven-linear-10": 0.05,
    "linear-10-dense": 0.05,
    "tanh-laplace-10": 0.25,
    "location-scale-strong-10": 0.3,
    "noisy-8-linear-4": 0.15,
    "uneven-mild-5": 0.15,
    "linear-20": 0.1,
    "linear-20-dense": 0.1,
    "linear-30": 0.2,
    "linear-30-dense": 0.2,
    "noisy-20-linear-4": 0.15,
    "noisy-8-mild-4": 0.2,
    "noisy-20-mild-4": 0.2,
    "noisiest-8-linear-4": 0.2,
    "noisiest-20-linear-4": 0.2,
    "noisiest-8-mild-4": 0.2,
    "noisiest-20-mild-4": 0.2,
    "spline-couplings-5": 0.4,
}
"""The families in the order of their worth, with hours for five seeds of the data."""

SPLINE_SEEDS = "3"
"""Of `spline-couplings-5`: the nature of seed 3 has values of 10⁷, which a fit refuses."""

ONE_SEED = ("--data-seeds", "1")


def _family(name: str, hours: float) -> Part:
    seeds = SPLINE_SEEDS if name == "spline-couplings-5" else "5"
    options = ("--family", name, "--data-seeds", seeds)
    return Part(f"families/{name}", "families", options, hours, keep=("results.json", "bars.json"), sample=ONE_SEED)


FAMILIES = tuple(_family(name, hours) for name, hours in FAMILY_HOURS.items())
INSTRUMENTS = tuple(
    Part(f"physics/{'-'.join(names)}", "physics", ("--data-seeds", "3", "--instrument", *names), 0.6, sample=ONE_SEED)
    for names in (("arm", "tanks"), ("polarisers", "photodiodes"))
)
PAPER = tuple(
    Part(f"paper/{name}", "paper", ("--part", name), hours, figures)
    for name, hours, figures in (
        ("toy2d", 0.2, ()),
        ("samples", 0.2, ("samples",)),
        ("wrong-targets", 0.3, ()),
        ("noise", 0.5, ("noise",)),
        ("wrong-n", 0.7, ("wrong-n",)),
        ("scaling", 2.0, ("scaling",)),
    )
)
INTERVALS = (
    Part("intervals/linear", "intervals", ("--kinds", "linear"), 0.2, sample=("--natures", "2")),
    Part(
        "intervals/curved",
        "intervals",
        ("--kinds", "curved", "--sizes", "2000", "10000", "--natures", "10"),
        1.5,
        sample=("--natures", "1", "--sizes", "2000"),
    ),
)
IMAGES = Part(
    "images",
    "images",
    ("--all-graphs", "--circuit-seeds", "3", "--data-seeds", "2"),
    5.0,
    ("circuit-flow-traversals", "objects3-full-flow-counterfactuals"),
)

PARTS: tuple[Part, ...] = (
    *FAMILIES[:8],
    Part("toy2d", "toy2d", ("--data-seeds", "5", "--model-seeds", "1"), 0.1, sample=ONE_SEED),
    Part("dimension", "dimension", ("--seeds", "7", "8"), 0.2, sample=("--seeds", "7", "--n", "2", "5")),
    *INSTRUMENTS,
    Part("ablations", "ablations", (), 2.5, sample=(*ONE_SEED, "--arms", "default", "splines")),
    Part("agreement", "agreement", (), 0.2),
    Part("false_discoveries", "false_discoveries", (), 0.3),
    *FAMILIES[8:12],
    Part("scaling", "scaling", ("--n", "2", "6", "10", "--data-seeds", "5", "--model-seeds", "1"), 0.1),
    Part("theorem", "theorem", (), 0.5, ("power", "likelihood")),
    Part("limits", "limits", (), 0.4, ("limits",)),
    Part("verdict", "verdict", (), 0.3),
    Part("geometry", "geometry", (), 0.1, ("circle", "groups", "magnification", "manifolds")),
    Part("calibration", "calibration", ("--nonlinear", "50"), 1.0),
    Part("certificate", "certificate", (), 2.0),
    Part("unpaired", "unpaired", (), 0.5),
    Part("soft", "soft", (), 0.1),
    Part("kl-weight", "kl_weight", (), 0.1),
    Part("plan", "plan", (), 0.5),
    *FAMILIES[12:],
    *PAPER,
    Part("discovery", "discovery", ("--n", "3", "4", "8", "--pairs", "20000", "--data-seeds", "2", "--steps", "2000")),
    *INTERVALS,
    IMAGES,
)
"""All parts. Pairs of the published generator are not in the project, so that `published`, `agreement-published` and
`paper/reference` are made by hand (results/README.md)."""


def named(names: list[str]) -> tuple[Part, ...]:
    """The parts of these names, or in folders of these names; all of them for none. Raises ValueError for others."""
    for name in names:
        if not any(_matches(part, name) for part in PARTS):
            raise ValueError(f"Expected a part of evidence/parts.py; got {name!r}. Parts: {', '.join(_folders())}")
    return tuple(part for part in PARTS if not names or any(_matches(part, name) for name in names))


def one_of_each(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The first part of each experiment."""
    found: dict[str, Part] = {}
    for part in parts:
        found.setdefault(part.experiment, part)
    return tuple(found.values())


def _matches(part: Part, name: str) -> bool:
    return part.name == name or part.name.startswith(f"{name}/")


def _folders() -> list[str]:
    return list(dict.fromkeys(part.name.partition("/")[0] for part in PARTS))
