"""The certificate in the report and in the summary of a fit."""

from __future__ import annotations

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
with the power that is stated; the level of each test is 0.01 % (docs/certificate.md).

{certificate.markdown()}{notes}
"""


def certificate_lines(result: Outcome) -> list[str]:
    """The verdicts in one line, and one line for each broken assumption and each note."""
    certificate = known_certificate(result)
    summary = [f"Certificate: {certificate.summary()}"] if certificate.rows else []
    broken = [f"Broken ({row.key}): {finding}" for row in certificate.rows for finding in row.findings]
    return [*summary, *broken, *(f"Note: {note}" for note in certificate.notes)]


def known_certificate(result: Outcome) -> Certificate:
    """The certificate; for a run of a version that wrote none, the doubts that it wrote."""
    try:
        return result.certificate
    except ValueError:
        return Certificate((), result.doubts)
