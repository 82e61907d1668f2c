"""What is fresh, confirmed or stale, and what all of it costs."""

from __future__ import annotations

from collections.abc import Sequence

from evidence.runner import Place
from lcm.report.tables import to_text

HEADINGS = ("part", "state", "CPU hours", "commit", "made")


def status_text(places: Sequence[Place]) -> str:
    """A table of the parts, with the hours that they took, or "about" the hours that are guessed."""
    rows = [_row(place) for place in places]
    total = sum(hours_of(place) for place in places)
    left = sum(hours_of(place) for place in places if not place.is_current)
    table = to_text([list(HEADINGS), *rows])
    return f"{table}\nAll of it takes about {total:.1f} hours of CPU; {left:.1f} of them are to be run."


def hours_of(place: Place) -> float:
    """Hours of CPU: measured if the pipeline made the results, guessed otherwise."""
    record = place.record()
    return place.part.hours if record is None else record["cpu_seconds"] / 3_600


def _row(place: Place) -> list[str]:
    record = place.record()
    if record is None:
        return [place.part.name, place.state(), f"about {place.part.hours:g}", "", ""]
    commit, made = str(record["commit"]), record["sessions"][-1]["started"][:10]
    return [place.part.name, place.state(), f"{hours_of(place):.2f}", commit[:7] + commit[40:], made]
