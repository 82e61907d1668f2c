"""Configs: what is written comes back, and every mistake has its file, its path and its reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lcm.base.config import config_hash, load_config, parse_config, structure_config, to_yaml


@dataclass(frozen=True)
class GraphSection:
    kind: Literal["chain", "full", "erdos-renyi"] = "chain"
    edge_probability: float = 0.5
    edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.edge_probability <= 1:
            raise ValueError(f"Expected edge_probability in [0, 1];\ngot {self.edge_probability}")


@dataclass(frozen=True)
class Nature:
    n: int
    graph: GraphSection = field(default_factory=GraphSection)
    name: str = "nature"
    flag: bool = False
    seed: int | None = None
    threshold: float | Literal["auto"] = "auto"
    weights: tuple[float, ...] = ()
    choice: Literal[1, 2] = 1


@dataclass(frozen=True)
class Experiment:
    nature: Nature
    sections: tuple[GraphSection, ...] = ()
    second: Nature | None = None


def parse(text: str) -> Experiment:
    return parse_config(text, Experiment, "file.yaml")


def test_every_kind_of_value_is_read() -> None:
    text = """
    nature:
      n: 4
      graph: {kind: full, edge_probability: 1, edges: [[0, 1], [1, 2]]}
      name: "3"
      flag: true
      seed: 7
      threshold: 1e-3
      weights: [1, 2.5, 1.e+2, .5e-1]
      choice: 2
    sections: [{}, {kind: full}]
    second: null
    """
    graph = GraphSection("full", 1.0, ((0, 1), (1, 2)))
    nature = Nature(4, graph, "3", True, 7, 0.001, (1.0, 2.5, 100.0, 0.05), 2)
    assert parse(text) == Experiment(nature, (GraphSection(), GraphSection("full")), None)
    assert isinstance(parse(text).nature.graph.edge_probability, float)


def test_an_empty_document_is_all_defaults() -> None:
    assert parse_config("# nothing\n", GraphSection, "file.yaml") == GraphSection()


MISTAKES = {
    "unknown key": (
        "nature: {n: 1, graph: {knid: full}}",
        r"nature\.graph\.knid: Expected a known key \(did you mean 'kind'\?\); got an unknown one",
    ),
    "unlike any key": (
        "nature: {n: 1, graph: {zzz: full}}",
        r"nature\.graph\.zzz: Expected one of the keys kind, edge_probability, edges; got an unknown one",
    ),
    "key that is a number": (
        "1: 2\nnature: {n: 1}",
        "1: Expected one of the keys nature, sections, second; got an",
    ),
    "duplicate key": (
        "nature:\n  n: 1\n  n: 2",
        r"nature\.n: Expected each key once; got it again in line 3",
    ),
    "duplicate section": (
        "nature: {n: 1}\n'nature': {n: 1}",
        "nature: Expected each key once; got it again in line 2",
    ),
    "duplicate in a list": (
        "sections: [{}, {kind: full, kind: full}]",
        r"sections\[1\]\.kind: Expected each key once",
    ),
    "string for int": ("nature: {n: '3'}", r"nature\.n: Expected an integer; got the string '3'"),
    "bool for int": ("nature: {n: true}", r"nature\.n: Expected an integer; got true"),
    "float for int": ("nature: {n: 3.5}", r"nature\.n: Expected an integer; got the number 3\.5"),
    "date for int": ("nature: {n: 2024-01-01}", r"nature\.n: Expected an integer; got date 2024-01-01"),
    "null for int": ("nature: {n: }", r"nature\.n: Expected an integer; got null"),
    "bool for float": (
        "sections: [{edge_probability: no}]",
        r"sections\[0\]\.edge_probability: Expected a number; got false",
    ),
    "nan for float": (
        "sections: [{edge_probability: .nan}]",
        r"sections\[0\]\.edge_probability: Expected a number; got the number nan",
    ),
    "string for float": (
        "sections: [{edge_probability: half}]",
        r"sections\[0\]\.edge_probability: Expected a number; got the string 'half'",
    ),
    "int for bool": ("nature: {n: 1, flag: 1}", r"nature\.flag: Expected true or false; got the integer 1"),
    "int for string": ("nature: {n: 1, name: 3}", r"nature\.name: Expected a string; got the integer 3"),
    "long string": (
        "nature: {n: " + "a" * 100 + "}",
        r"nature\.n: Expected an integer; got the string 'a{56}…$",
    ),
    "choice": (
        "nature: {n: 1, graph: {kind: chian}}",
        r"nature\.graph\.kind: Expected one of 'chain', 'full', 'erdos-renyi' \(did you mean 'chain'\?\);",
    ),
    "true is not 1": ("nature: {n: 1, choice: true}", r"nature\.choice: Expected one of 1, 2; got true"),
    "union": (
        "nature: {n: 1, threshold: low}",
        r"nature\.threshold: Expected a number, or one of 'auto'; got the string 'low'",
    ),
    "list for optional": ("nature: {n: 1, seed: [1]}", r"nature\.seed: Expected an integer; got a list"),
    "inside an optional": (
        "nature: {n: 1}\nsecond: {n: x}",
        r"second\.n: Expected an integer; got the string 'x'",
    ),
    "scalar for list": ("nature: {n: 1, weights: 3}", r"nature\.weights: Expected a list; got the integer 3"),
    "string for list": (
        "nature: {n: 1, weights: abc}",
        r"nature\.weights: Expected a list; got the string 'abc'",
    ),
    "wrong in a list": (
        "nature: {n: 1, weights: [1, x]}",
        r"nature\.weights\[1\]: Expected a number; got the string",
    ),
    "length": (
        "sections: [{edges: [[0, 1], [2]]}]",
        r"sections\[0\]\.edges\[1\]: Expected a list of 2 entries; got 1",
    ),
    "list for section": ("nature: [1]", "nature: Expected a mapping; got a list"),
    "null for section": ("nature:", "nature: Expected a mapping; got null"),
    "mapping for scalar": ("nature: {n: {}}", r"nature\.n: Expected an integer; got a mapping"),
    "missing key": ("nature: {}", r"nature\.n: Expected a value for this required key; got none"),
    "not a mapping": ("- 1", "Expected a mapping; got a list"),
    "refused by the section": (
        "nature: {n: 1, graph: {edge_probability: 2}}",
        r"nature\.graph: Expected edge_probability in \[0, 1\]; got 2\.0",
    ),
    "not YAML": ("nature: {n: 1\nsections: []", r"line 2: Expected YAML; got: .*"),
    "two documents": ("nature: {n: 1}\n---\n{}", "line 2: Expected YAML; got: .*another document"),
    "control character": ("nature: \x00", "Expected YAML; got: .*character"),
    "object tag": ("nature: !!python/name:os.system ''", "line 1: Expected YAML; got: .*tag"),
    "list as key": ("? [a]\n: b", "line 1: Expected YAML; got: .*unhashable"),
    "no such date": ("nature: {n: 2024-13-01}", "Expected YAML; got: month must be in"),
    "cycle": ("&a [*a]", "Expected YAML; got: an alias inside what it names"),
    "many aliases": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 8)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        "Expected YAML; got: more than 200,000 values, aliases written out",
    ),
    "deep nesting": ("[" * 3000, "Expected YAML; got: more than 60 levels of nesting"),
    "large integer": ("nature: {n: 0x" + "f" * 99 + "}", "Expected YAML; got: an integer of 396 bits"),
    "not an integer": ("nature: {n: !!int _}", "Expected YAML; got: a value that does not fit its tag"),
    "infinite": ("sections: [{edge_probability: .inf}]", r"sections\[0\]\.edge_probability: Expected a finite number"),
    "escape": ('"\\e[2J": 1', r"\\x1b\[2J: Expected"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^file\.yaml: (?:[^;\n]*; )*?{message}") as raised:
        parse(text)
    assert "\n" not in str(raised.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ValueError) as raised:
        parse("nature: {n: x, flag: y, graph: {knid: 1}}")
    assert all(path in str(raised.value) for path in ("nature.n: ", "nature.flag: ", "nature.graph.knid: "))


def test_an_error_that_is_no_ones_input_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        structure_config({"value": 0}, Broken, "file.yaml")


@dataclass(frozen=True)
class Broken:
    value: int

    def __post_init__(self) -> None:
        assert 1 // self.value


def test_load_config_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("n: 2\n")
    assert load_config(path, Nature) == Nature(2)
    path.write_text("n: two\n")
    with pytest.raises(ValueError, match=r"small\.yaml: n: Expected an integer"):
        load_config(path, Nature)
    path.write_bytes(b"\xff\xff")
    with pytest.raises(ValueError, match=r"small\.yaml: Expected YAML; got bytes that are not UTF-8"):
        load_config(path, Nature)
    with pytest.raises(ValueError, match=r"none\.yaml: Expected a file; got no such file"):
        load_config(tmp_path / "none.yaml", Nature)


finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
graphs = st.builds(
    GraphSection,
    st.sampled_from(["chain", "full", "erdos-renyi"]),
    st.floats(0, 1),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=3).map(tuple),
)
natures = st.builds(
    Nature,
    st.integers(-(2**40), 2**40),
    graphs,
    text | st.sampled_from(["1e-3", "null", "yes", "1:30", "2024-01-01", "0x1", "~", "", "- a", "1.e5"]),
    st.booleans(),
    st.none() | st.integers(0, 9),
    finite | st.just("auto"),
    st.lists(finite, max_size=3).map(tuple),
    st.sampled_from([1, 2]),
)
experiments = st.builds(Experiment, natures, st.lists(graphs, max_size=2).map(tuple), st.none() | natures)


@settings(deadline=None)
@given(experiments)
def test_what_is_written_is_read_back(config: Experiment) -> None:
    assert parse(to_yaml(config)) == config
    assert config_hash(parse(to_yaml(config))) == config_hash(config)


def test_keys_are_written_in_the_order_of_the_fields() -> None:
    lines = to_yaml(GraphSection(edges=((0, 1), (1, 2)))).splitlines()
    assert lines == ["kind: chain", "edge_probability: 0.5", "edges: [[0, 1], [1, 2]]"]


def test_the_hash_depends_on_values_alone() -> None:
    config = parse("nature: {n: 1, name: a}")
    assert config_hash(config) == config_hash(parse("nature: {name: a, n: 1}"))
    assert config_hash(GraphSection(edge_probability=1)) == config_hash(GraphSection(edge_probability=1.0))
    changes: list[dict[str, Any]] = [
        {"n": 2},
        {"name": "b"},
        {"seed": 0},
        {"flag": True},
        {"weights": (1.0,)},
    ]
    hashes = {config_hash(replace(config.nature, **change)) for change in [{}, *changes]}
    assert len(hashes) == len(changes) + 1
    assert all(len(digest) == 64 for digest in hashes)
