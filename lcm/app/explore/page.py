"""The page of the explorer: its parts and their labels. What they do is in `replies`."""

from __future__ import annotations

from dash import dcc, html

from lcm.app.explore.asking import COUNTERFACTUAL, INTERVENTION
from lcm.app.explore.subject import Subject

STATE, MODE, ROW, NAMES, COMPARED = "state", "mode", "kept-row", "kept-names", "compared"
"""Where the state of a tab is kept, which is in the browser alone: values that are set, what is asked, of which
observation, the names that are shown, and how often the other run was asked for."""
SUFFIXES = {"png": "Figure (PNG)", "svg": "Figure (SVG)", "csv": "Data (CSV)", "py": "Python that makes them"}

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title><link rel="icon" href="data:,">{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def layout(subject: Subject, has_other: bool) -> html.Div:
    """The whole page for one model; each tab that opens it begins with nothing set."""
    return html.Div(
        [
            html.P(
                "The explorer has ended, so that this page does not answer. Start lcm explore again, then reload.",
                id="lost",
                role="alert",
                hidden=True,
            ),
            html.Header([html.H1(f"What if? {subject.path.name}"), html.P(_about(subject))]),
            html.Main(
                [
                    html.Div(
                        [
                            html.Div([_question(subject), _variables(subject)], className="asking"),
                            _graph(),
                            html.Section(
                                [
                                    html.H2("x, before and after"),
                                    html.Div(id="x"),
                                    html.P(id="interval", className="note"),
                                ],
                                className="card x",
                            ),
                        ],
                        className="top",
                    ),
                    *([_beside()] if has_other else []),
                    _names(subject),
                    _pairs(subject),
                    _files(),
                ]
            ),
            dcc.Store(id=STATE, data={}),
            dcc.Store(id=MODE, data=COUNTERFACTUAL),
            dcc.Store(id=ROW, data=0),
            dcc.Store(id=NAMES),
            dcc.Download(id="file"),
        ],
        className="page",
    )


def _about(subject: Subject) -> str:
    kind = f"fit of {subject.result.config.model}" if subject.result else "model file"
    given = subject.given
    whose = "of " + ", ".join(given.files) if given.files else "drawn from the model itself"
    rows = f"{'The first ' if given.is_cut else ''}{len(subject.data):,} observations"
    return f"{subject.path}: {kind}, {subject.model.n} variables. {rows} {whose}."


def _question(subject: Subject) -> html.Section:
    most = len(subject.data) - 1
    return html.Section(
        [
            html.H2("Question"),
            html.Div(
                [
                    html.Label(f"Observation (0 to {most})", htmlFor="row"),
                    # without ends, so that a number beyond them arrives, and the page can say what is wrong
                    dcc.Input(id="row", type="number", value=0, step="any"),
                    html.Button("Any", id="any", type="button", title="Pick an observation at random"),
                ],
                className="row",
            ),
            html.Div(
                [
                    _mode(COUNTERFACTUAL, "this observation, its noise kept"),
                    _mode(INTERVENTION, "draws from the model"),
                ],
                className="modes",
                role="group",
                **{"aria-label": "What is asked"},
            ),
            html.P(id="asked", className="asked", role="status"),
            html.Ul(id="warnings", className="warnings"),
        ],
        className="card question",
    )


def _mode(mode: str, what: str) -> html.Button:
    pressed = "true" if mode == COUNTERFACTUAL else "false"
    text = [html.Strong(mode.capitalize()), html.Span(what)]
    return html.Button(text, id=mode, type="button", **{"aria-pressed": pressed})


def _graph() -> html.Section:
    legend = "Thick ring: set. Blue: rises. Orange: falls. Moving edges carry an effect; dotted edges are cut."
    parts = [html.H2("Graph"), html.Img(id="graph", alt="", className="picture"), html.P(legend, className="note")]
    return html.Section(parts, className="card graph")


def _variables(subject: Subject) -> html.Section:
    return html.Section(
        [
            html.H2("Variables"),
            html.P(
                "Drag a variable, or type its value and press Enter, to set it: its causes no longer act on it, and its"
                " effects follow.",
                className="note",
            ),
            *(_variable(subject, i) for i in range(subject.model.n)),
            html.Button("Release all variables", id="release", type="button"),
        ],
        className="card",
    )


def _variable(subject: Subject, i: int) -> html.Div:
    low, high = map(float, subject.ranges[i])
    value = float(subject.z[0, i])
    slider = dcc.Input(id=f"slider-{i}", type="range", min=low, max=high, step="any", value=value, className="slider")
    exact = dcc.Input(id=f"exact-{i}", type="number", step="any", debounce=True, autoComplete="off")
    related = ", ".join(f"{name} {strength:.2f}" for name, strength in subject.related[i])
    return html.Div(
        [
            html.H3(id=f"title-{i}"),
            html.Img(id=f"place-{i}", alt="", className="place"),
            html.Label(f"Value of variable {i}", htmlFor=f"slider-{i}", id=f"label-{i}", className="hidden"),
            html.Label(f"Exact value of variable {i}", htmlFor=f"exact-{i}", id=f"exact-label-{i}", className="hidden"),
            html.Div([slider, exact], className="setting"),
            html.P(id=f"text-{i}", className="reading"),
            *([html.P(f"Most related: {related}", id=f"related-{i}", className="reading")] if related else []),
        ],
        className="variable",
    )


def _names(subject: Subject) -> html.Section:
    fixed, names = subject.result is None, subject.names()
    note = "A model file has no run folder to keep names in." if fixed else "Enter keeps a name in the run folder."
    fields = [
        html.Div(
            [
                html.Label(f"Name of variable {i}", htmlFor=f"name-{i}"),
                dcc.Input(
                    id=f"name-{i}",
                    type="text",
                    value=name,
                    debounce=True,
                    maxLength=60,
                    autoComplete="off",
                    disabled=fixed,
                ),
            ]
        )
        for i, name in enumerate(names)
    ]
    return html.Section(
        [
            html.H2("Names"),
            html.P(note, className="note"),
            html.Div(fields, className="names"),
            html.P(id="named", className="note", role="status"),
        ],
        className="card wide",
    )


def _beside() -> html.Section:
    return html.Section(
        [
            html.H2("Beside the other run"),
            html.Button("Compare", id="compare", type="button"),
            html.P(
                "Finds the isomorphism between both models, which takes seconds, and carries the question over.",
                className="note",
            ),
            dcc.Store(id=COMPARED),
            html.P(id="comparing", role="status"),
            html.Div(id="beside", **{"aria-live": "polite"}),
        ],
        className="card wide",
    )


def _pairs(subject: Subject) -> html.Section:
    suffix = "safetensors" if subject.is_image else "csv"
    return html.Section(
        [
            html.H2("Pairs drawn from the model"),
            html.Button("Draw pairs", id="draw", type="button"),
            html.Button(f"1,000 pairs as a file ({suffix})", id="pairs-file", type="button"),
            html.Div(id="pairs", **{"aria-live": "polite"}),
        ],
        className="card wide",
    )


def _files() -> html.Section:
    buttons = [html.Button(label, id=f"export-{suffix}", type="button") for suffix, label in SUFFIXES.items()]
    return html.Section([html.H2("What is on the page, as files"), *buttons], className="card wide")
