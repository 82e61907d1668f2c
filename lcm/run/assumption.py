"""A row of a certificate, the certificate of all rows, and both as text, Markdown and JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, final

HOLDS, BROKEN, CANNOT_BE_KNOWN = "holds", "broken", "cannot be known"
VERDICTS = (HOLDS, BROKEN, CANNOT_BE_KNOWN)
_WIDTH = 110


@final
@dataclass(frozen=True)
class CertificateRow:
    """What these data say of one assumption.

    Attributes:
        key: a short name, the same in every version.
        assumption: the assumption, in a few words.
        verdict: `holds`, `broken` or `cannot be known`. `holds`: the test found nothing; read it with `power`.
        test: what was looked at, in words.
        statistic: the number that the test looks at; None if there is none.
        p_value: in [0, 1], of data at least as odd if the assumption holds; None for a rule without a distribution.
        smallest: the smallest violation that is found with a probability of 90 %, in the unit of the statistic
            (of `pairs` and `acyclic`, a correlation); None where it is not known.
        power: the same in words.
        findings: one sentence for each sign against the assumption; empty unless the verdict is `broken`.
        reason: why it cannot be known; empty for other verdicts.
        consequence: what follows if the assumption fails.
    """

    key: str
    assumption: str
    verdict: str
    test: str
    consequence: str
    statistic: float | None = None
    p_value: float | None = None
    smallest: float | None = None
    power: str = ""
    findings: tuple[str, ...] = ()
    reason: str = ""

    @classmethod
    def judged(
        cls,
        key: str,
        assumption: str,
        test: str,
        consequence: str,
        *,
        findings: tuple[str, ...] = (),
        unknown: str = "",
        **numbers: Any,
    ) -> CertificateRow:
        """A row that is broken if there are findings, else cannot be known if there is a reason, else holds."""
        verdict = BROKEN if findings else CANNOT_BE_KNOWN if unknown else HOLDS
        reason = "" if findings else unknown
        return cls(key, assumption, verdict, test, consequence, findings=findings, reason=reason, **numbers)

    def said(self) -> str:
        """What the verdict rests on, in one paragraph."""
        if self.verdict == BROKEN:
            return " ".join(self.findings)
        if self.verdict == CANNOT_BE_KNOWN:
            return self.reason
        return self.power or self.test


@final
@dataclass(frozen=True)
class Certificate:
    """All assumptions of the theorem and of the method, one row each. `print(certificate)` gives one page.

    Attributes:
        rows: of docs/certificate.md, in its order; empty for a model whose assumptions are not tested.
        notes: what else is remarkable about the data; no assumption hangs on it.

    Example:
        >>> import lcm
        >>> result = lcm.fit("data/sample.safetensors", model="linear", quiet=True)
        >>> result.certificate.row("acyclic").verdict
        'holds'
    """

    rows: tuple[CertificateRow, ...]
    notes: tuple[str, ...] = ()

    def row(self, key: str) -> CertificateRow:
        """The row of an assumption. Raises ValueError for an unknown key."""
        for row in self.rows:
            if row.key == key:
                return row
        raise ValueError(f"key: Expected one of {[row.key for row in self.rows]}; got {key!r}.")

    @property
    def broken(self) -> tuple[str, ...]:
        """The keys of the assumptions that are broken."""
        return tuple(row.key for row in self.rows if row.verdict == BROKEN)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The notes, and every sign against an assumption."""
        return (*self.notes, *(finding for row in self.rows for finding in row.findings))

    def summary(self) -> str:
        """How many assumptions have which verdict."""
        counts = Counter(row.verdict for row in self.rows)
        return (
            f"{len(self.rows)} assumptions: {counts[HOLDS]} hold, {counts[BROKEN]} broken,"
            f" {counts[CANNOT_BE_KNOWN]} cannot be known from these data"
        )

    def to_json(self) -> dict[str, Any]:
        """All rows and notes for JSON; `from_json` reads them."""
        return {"rows": [asdict(row) for row in self.rows], "notes": list(self.notes)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Certificate:
        """A certificate from what `to_json` gave."""
        known = {field.name for field in fields(CertificateRow)}
        rows = []
        for row in content["rows"]:
            kept: dict[str, Any] = {key: value for key, value in row.items() if key in known}
            rows.append(CertificateRow(**kept | {"findings": tuple(row["findings"])}))
        return cls(tuple(rows), tuple(content["notes"]))

    def markdown(self) -> str:
        """The certificate as a table in Markdown, with what follows where an assumption is broken or open."""
        head = "| assumption | verdict | why | test | p-value |\n|---|---|---|---|---|\n"
        lines = [
            f"| {row.assumption} (`{row.key}`) | **{row.verdict}** | {row.said()} | {row.test} |"
            f" {_number(row.p_value)} |\n"
            for row in self.rows
        ]
        open_rows = [row for row in self.rows if row.verdict != HOLDS]
        follows = "".join(f"- {row.assumption} (`{row.key}`): {row.consequence}\n" for row in open_rows)
        return head + "".join(lines) + (f"\nWhat follows if one of these fails:\n\n{follows}" if follows else "")

    def __str__(self) -> str:
        untested = "No certificate: the assumptions of this model are not tested."
        lines = [f"Certificate of {self.summary()}." if self.rows else untested]
        for row in self.rows:
            numbers = [f"statistic {_number(row.statistic)}"] if row.statistic is not None else []
            numbers += [f"p-value {_number(row.p_value)}"] if row.p_value is not None else []
            of_test = row.test + (f" ({', '.join(numbers)})" if numbers else "")
            body = [row.said(), f"Test: {of_test}."] if row.said() != row.test else [f"{of_test}."]
            body += [f"Power: {row.power}"] if row.power and row.verdict == BROKEN else []
            body += [f"If it fails: {row.consequence}"] if row.verdict != HOLDS else []
            verdict = row.verdict.upper() if row.verdict == BROKEN else row.verdict
            lines.append(f"{verdict:<16}{row.assumption} ({row.key})")
            for text in body:
                lines += textwrap.wrap(text, _WIDTH, initial_indent=" " * 18, subsequent_indent=" " * 18)
        return "\n".join([*lines, *(f"note            {note}" for note in self.notes)])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
