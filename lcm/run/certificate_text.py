"""The certificate in the report and in the summary of a fit."""

from __future__ import annotations

from lcm.model.names import default_names, put_names
from lcm.run.assumption import Certificate
from lcm.run.outcome import Outcome


def certificate_section(result: Outcome) -> str:
    """The section of report.md: all rows; for a peer, the notes on its data; "" if there is nothing to say."""
    certificate = known_certificate(result)
    notes = "".join(f"\n**Note.** {note}\n" for note in certificate.notes)
    if not certificate.rows:
        return f"## Data\n{notes}\n" if notes else ""
    return f"""## Certificate

{certificate.summary()}. `holds` means that a test found nothing,
with the power that is stated; the level of most tests is 0.01 % (docs/certificate.md).

{in_names(result, certificate.markdown())}{notes}
"""


def certificate_lines(result: Outcome) -> list[str]:
    """The verdicts in one line, and one line for each broken assumption and each note."""
    certificate = known_certificate(result)
    summary = [f"Certificate: {certificate.summary()}"] if certificate.rows else []
    broken = [
        f"Broken ({row.key}): {in_names(result, finding)}" for row in certificate.rows for finding in row.findings
    ]
    return [*summary, *broken, *(f"Note: {note}" for note in certificate.notes)]


def in_names(result: Outcome, text: str) -> str:
    """A sentence of a certificate with the names of the variables; as it is where a column of x has such a name."""
    columns = default_names(max(len(result.columns), result.model.n))
    return text if set(columns) & set(result.columns) else put_names(text, result.names)


def known_certificate(result: Outcome) -> Certificate:
    """The certificate; for a run of a version that wrote none, the doubts that it wrote."""
    try:
        return result.certificate
    except ValueError:
        return Certificate((), result.doubts)
