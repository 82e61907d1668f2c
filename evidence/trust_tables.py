"""Tables of any list in a file of results/, for files whose numbers are not in the form of a summary.

    rows FILE LIST COLUMN ... [KEY=VALUE ...]                a row for each entry of the list
    grouped FILE LIST KEYS COLUMN ... [KEY=VALUE ...]        a row for each value of the keys: medians, ranges, shares
    crossed FILE LIST KEYS KEY COLUMN [KEY=VALUE ...]        one column, for each value of the keys and of another key
    certificate sound|violations|power                       how often rows of the certificate object, of its records

FILE is a folder of results/ or a JSON file in it, and LIST the path to a list of entries in it. A column is
PATH:FORMAT~INTERVAL@HEADING, of which all but the first may be left out:

- the path to a value: keys and indices between dots, or between / where a key has a dot;
- the number of its decimals, or % for a percentage, a comma for thousands, g for as many digits as needed, s for the
  share of ones, m3 for a mean at three decimals with its 95 % interval by Student's t;
- the path to an interval that follows the value in brackets;
- a heading.

KEY=VALUE|VALUE keeps the entries of these values. A _ stands for a space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any

from scipy.special import stdtrit

from evidence.summaries import heading
from lcm.base.files import read_json
from lcm.report.tables import to_markdown

if TYPE_CHECKING:
    from experiments._violations import Violation

Entry = Mapping[str, Any]
Column = tuple[str, str, str, str]
"""Path, format, path of an interval, heading."""


def rows(root: Path, options: Sequence[str]) -> str:
    """A row for each entry of a list."""
    file, where, *others = options
    columns, wanted = _columns(others)
    return _table(_with(entries(root, file, where, wanted), columns), columns)


def grouped(root: Path, options: Sequence[str]) -> str:
    """A row for each value of the keys, with medians and ranges of numbers and shares of what is true."""
    file, where, keys, *others = options
    columns, wanted = _columns(others)
    names = _columns(keys.split(","))[0]
    found = _with(entries(root, file, where, wanted), [*names, *(each for each in columns if each[0] != "count")])
    summed = [_summed(group, names, columns) for group in _groups(found, names)]
    # what was summed up is called by its heading
    return _table(summed, [(column[3], column[1], "", column[3]) for column in (*names, *columns)])


def crossed(root: Path, options: Sequence[str]) -> str:
    """One value, a row for each value of the first keys and a column for each value of another key."""
    file, where, down, across, column, *wanted = options
    names, (score,) = _columns(down.split(","))[0], _columns([column])[0]
    found = _with(entries(root, file, where, wanted), [*names, score])
    across_values = list(dict.fromkeys(value(entry, across) for entry in found))
    body = []
    for group in _groups(found, names):
        cells = {value(entry, across): _cell(entry, score) for entry in group}
        body.append([*(_cell(group[0], name) for name in names), *(cells.get(each, "–") for each in across_values)])
    return to_markdown([[*(name[3] for name in names), *(told(each, "") for each in across_values)], *body])


def entries(root: Path, file: str, where: str, wanted: Sequence[str] = ()) -> list[Entry]:
    """The entries of a list in a folder or file of results/, of these values. Raises ValueError if there are none."""
    path = root / "results" / file
    found = value(read_json(path / "results.json" if path.is_dir() else path), where)
    for text in wanted:
        key, _, values = text.partition("=")
        found = [entry for entry in found if told(value(entry, key), "").replace(" ", "_") in values.split("|")]
    if not found:
        raise ValueError(f"Expected entries of {where} in results/{file} with {' '.join(wanted)}; got none")
    return list(found)


def _with(found: list[Entry], columns: Sequence[Column]) -> list[Entry]:
    for path, *_ in columns:
        if all(value(entry, path) is None for entry in found):
            raise ValueError(f"Expected entries with {path}; got {', '.join(found[0])}")
    return found


def value(content: Any, path: str) -> Any:
    """What stands at a path of keys and indices, where _ may stand for a space; None if a key or index is missing."""
    if isinstance(content, Mapping) and path in content:
        return content[path]
    for key in path.split("/" if "/" in path else "."):
        if isinstance(content, list):
            content = content[int(key)] if -len(content) <= int(key) < len(content) else None
        elif content is not None:
            content = content.get(key, content.get(key.replace("_", " ")))
    return content


def told(what: Any, form: str) -> str:
    """A value as text: a number in its format, a median with its range, a share, an interval; – for nothing."""
    if what is None or what == "":
        return "–"
    if isinstance(what, bool):
        return "yes" if what else "no"
    if isinstance(what, Mapping):
        if "mean" in what:
            middle, low, high = (told(what[key], form[1:]) for key in ("mean", "low", "high"))
            return f"{middle} ({low}–{high})"
        if "of" in what:
            return f"{what['true']} of {what['of']}"
        middle, low, high = (told(what[key], form) for key in ("median", "min", "max"))
        return middle if low == high else f"{middle} ({low}–{high})"
    if isinstance(what, list):
        return "–".join(told(each, form) for each in what)
    if isinstance(what, str) or not form:
        return str(what)
    if form.startswith("%"):
        return f"{100 * what:.{form[1:] or 0}f} %"
    return format(what, f".{form}f" if form.isdigit() else form)


def _columns(texts: Sequence[str]) -> tuple[list[Column], list[str]]:
    columns = []
    for text in texts:
        if "=" not in text:
            body, _, name = text.partition("@")
            body, _, interval = body.partition("~")
            path, _, form = body.partition(":")
            columns.append((path, form, interval, name.replace("_", " ") or heading(path)))
    return columns, [text for text in texts if "=" in text]


def _cell(entry: Entry, column: Column) -> str:
    path, form, interval, _ = column
    text = told(value(entry, path), form)
    return f"{text} ({told(value(entry, interval), form).replace(' %', '')})" if interval and text != "–" else text


def _table(found: Sequence[Entry], columns: Sequence[Column]) -> str:
    return to_markdown(
        [[column[3] for column in columns], *([_cell(each, column) for column in columns] for each in found)]
    )


def _groups(found: Sequence[Entry], names: Sequence[Column]) -> list[list[Entry]]:
    """Entries of the same keys together; groups in the order of their first key in the list, and of numbers."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in found:
        groups.setdefault(tuple(told(value(entry, name[0]), "") for name in names), []).append(entry)
    firsts = list(dict.fromkeys(key[0] for key in groups))

    def place(group: list[Entry]) -> list[float]:
        first, *others = (value(group[0], name[0]) for name in names)
        numbers = [each if isinstance(each, int | float) else 0.0 for each in (first, *others)]
        return [0.0 if isinstance(first, int | float) else float(firsts.index(told(first, ""))), *numbers]

    return sorted(groups.values(), key=place)


def _summed(group: Sequence[Entry], names: Sequence[Column], columns: Sequence[Column]) -> Entry:
    summed: dict[str, Any] = {name[3]: value(group[0], name[0]) for name in names}
    for path, form, _, name in columns:
        values = [each for entry in group if (each := value(entry, path)) is not None]
        if path == "count":
            summed[name] = len(group)
        elif not values:
            summed[name] = None
        elif form.startswith("m"):
            reach = stdtrit(len(values) - 1, 0.975) * stdev(values) / len(values) ** 0.5 if len(values) > 1 else nan
            summed[name] = {"mean": mean(values), "low": mean(values) - reach, "high": mean(values) + reach}
        elif form == "s" or isinstance(values[0], bool):
            summed[name] = {"true": int(sum(values)), "of": len(values)}
        else:
            summed[name] = {"median": median(values), "min": min(values), "max": max(values)}
    return summed


def certificate(root: Path, options: Sequence[str]) -> str:
    """How often rows of the certificate object: in sound natures, to violations, or at the power that they state."""
    from experiments._violations import VIOLATIONS

    (part,) = options
    found = entries(root, "certificate", "records", [f"part={part}"])
    if part == "sound":
        return _sound(found)
    of = {name: [entry for entry in found if entry["violation"] == name] for name in VIOLATIONS}
    told_rows = _powers if part == "power" else _violations
    return told_rows({violation: of[name] for name, violation in VIOLATIONS.items() if of[name]})


def _sound(found: Sequence[Entry]) -> str:
    from experiments._certificate_report import share

    body = []
    for row in found[0]["rows"]:
        verdicts = [entry["rows"][row] for entry in found]
        broken = share(verdicts.count("broken"), len(found))
        body.append([f"`{row}`", broken, str(verdicts.count("cannot be known"))])
    body.append(["any of them", share(sum(bool(entry["broken"]) for entry in found), len(found)), ""])
    return to_markdown([["row", "called broken (95 %)", "cannot be known"], *body])


def _violations(found: Mapping[Violation, Sequence[Entry]]) -> str:
    body = []
    for violation, records in found.items():
        groups = _groups(records, _columns(["strength"])[0])
        hits = [str(_hits(group, violation.rows)) for group in groups]
        strengths = ", ".join(f"{group[0]['strength']:g}" for group in groups)
        named = f"{', '.join(hits)} of {len(groups[0])}" if violation.rows else "no data can show it"
        body.append([violation.title, violation.unit, strengths, _quoted(violation.rows), named])
    return to_markdown([["violation", "unit", "strengths", "rows that name it", "one of them calls it broken"], *body])


def _powers(found: Mapping[Violation, Sequence[Entry]]) -> str:
    from experiments._certificate_report import share

    body = []
    for violation, records in found.items():
        stated = [record["stated"] for record in records]
        strength = told({"median": median(stated), "min": min(stated), "max": max(stated)}, ".3g")
        named = share(_hits(records, violation.rows[:1]), len(records))
        body.append([violation.title, violation.unit, strength, _quoted(violation.rows[:1]), named])
    return to_markdown([["violation", "unit", "stated", "row", "calls it broken (95 %)"], *body])


def _hits(records: Sequence[Entry], named: Sequence[str]) -> int:
    return sum(any(row in record["broken"] for row in named) for record in records)


def _quoted(named: Sequence[str]) -> str:
    return ", ".join(f"`{row}`" for row in named) or "–"


TRUST_TABLES: Mapping[str, Callable[[Path, Sequence[str]], str]] = {
    "rows": rows,
    "grouped": grouped,
    "crossed": crossed,
    "certificate": certificate,
}
