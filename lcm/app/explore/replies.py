"""What the page does when it is touched: each reply is a function of what the browser sends, and keeps nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from lcm.app.explore.asking import (
    COUNTERFACTUAL,
    MODES,
    Question,
    answer_to,
    checked_question,
    checked_row,
    interval_text,
    question_text,
    warnings_of,
)
from lcm.app.explore.drawing import (
    columns_address,
    columns_text,
    cut_names,
    graph_address,
    graph_text,
    place_address,
    png_address,
)
from lcm.app.explore.export import exported, exported_pairs
from lcm.app.explore.page import COMPARED, MODE, NAMES, ROW, STATE, SUFFIXES
from lcm.app.explore.subject import Subject, observation
from lcm.data.pairs import PairData
from lcm.data.sample import sample_pairs
from lcm.report.answer import Answer
from lcm.run.run_folder import NAMES_FILE, PAGE_FILE

if TYPE_CHECKING:
    from lcm.app.explore.beside import Beside

_SHOWN_PAIRS, _FILED_PAIRS, _SEEN = 6, 1_000, 0.005


def add_replies(app: Dash, subject: Subject, beside: Beside | None) -> None:
    """Tell the page what to do; every error of a reply is one line on the page."""
    _add_question(app, subject)
    _add_pairs(app, subject)
    _add_files(app, subject)
    if beside is not None:
        _add_beside(app, subject, beside)


def _add_question(app: Dash, subject: Subject) -> None:
    n = range(subject.model.n)
    buttons = ("any", "release")

    @app.callback(
        output={
            "state": Output(STATE, "data"),
            "mode": Output(MODE, "data"),
            "pressed": [Output(mode, "aria-pressed") for mode in MODES],
            "row": Output("row", "value"),
            "kept": Output(ROW, "data"),
            "names": Output(NAMES, "data"),
            "sliders": [Output(f"slider-{i}", "value") for i in n],
            "exact": [Output(f"exact-{i}", "value") for i in n],
            "exact_labels": [Output(f"exact-label-{i}", "children") for i in n],
            "titles": [Output(f"title-{i}", "children") for i in n],
            "labels": [Output(f"label-{i}", "children") for i in n],
            "places": [Output(f"place-{i}", "src") for i in n],
            "places_alt": [Output(f"place-{i}", "alt") for i in n],
            "texts": [Output(f"text-{i}", "children") for i in n],
            "graph": Output("graph", "src"),
            "graph_alt": Output("graph", "alt"),
            "x": Output("x", "children"),
            "interval": Output("interval", "children"),
            "asked": Output("asked", "children"),
            "warnings": Output("warnings", "children"),
            "named": Output("named", "children"),
        },
        inputs={
            "row": Input("row", "value"),
            "kept": State(ROW, "data"),
            "mode": State(MODE, "data"),
            "modes": [Input(mode, "n_clicks") for mode in MODES],
            "sliders": [Input(f"slider-{i}", "value") for i in n],
            "exact": [Input(f"exact-{i}", "value") for i in n],
            "names": [Input(f"name-{i}", "value") for i in n],
            "shown_names": State(NAMES, "data"),
            "clicks": [Input(button, "n_clicks") for button in buttons],
            "values": State(STATE, "data"),
        },
    )
    def reply(**sent: Any) -> dict[str, Any]:
        touched = str(ctx.triggered_id or "")
        mode = touched if touched in MODES else sent["mode"]
        renamed = _renamed(subject, touched, sent["names"])
        values = _set_values(touched, sent)
        row, wrong_row = _chosen_row(subject, touched, sent)
        try:
            question = checked_question(subject, row, mode, values)
        except ValueError as error:
            return _only(subject.model.n, warnings=[html.Li(str(error))])
        shown = _shown(subject, question, touched)
        shown["warnings"] = [html.Li(text) for text in (*wrong_row, *warnings_of(subject, question))]
        shown["named"] = renamed
        names = list(subject.names())
        # whatever shows names is drawn again when they change, and only then
        shown["names"] = no_update if names == sent["shown_names"] else names
        return shown


def _renamed(subject: Subject, touched: str, names: Any) -> Any:
    """Keep the name that was typed; that it is kept, or what is wrong with it."""
    if not touched.startswith("name-"):
        return ""
    variable = int(touched.removeprefix("name-"))
    try:
        kept = subject.rename(variable, str(names[variable] or ""))
    except (ValueError, OSError) as error:
        return html.Strong(f"The name was not kept. {error}", className="warnings")
    said = f"Kept in {subject.path / NAMES_FILE}: variable {variable} is {kept[variable]}."
    if not (subject.path / PAGE_FILE).is_file():
        return said
    # the page shows pairs, and only their data make them again
    return f"{said} lcm report {subject.path} DATA writes the page with the new name."


def _set_values(touched: str, sent: dict[str, Any]) -> Any:
    """The variables that are set after the touch."""
    values = sent["values"]
    if touched == "release":
        return {}
    control, _, variable = touched.partition("-")
    if control == "slider":
        return {**(values or {}), variable: float(sent["sliders"][int(variable)])}
    # an empty field sets nothing
    if control == "exact" and (typed := sent["exact"][int(variable)]) is not None:
        return {**(values or {}), variable: typed}
    return values


def _chosen_row(subject: Subject, touched: str, sent: dict[str, Any]) -> tuple[Any, list[str]]:
    """The observation after the touch, and what is wrong with what was typed; then the last one is kept."""
    if touched == "any":
        # for the eye alone: no answer depends on it
        return random.randrange(len(subject.data)), []
    try:
        return checked_row(subject, sent["row"]), []
    except ValueError as error:
        return sent["kept"], [f"{error}. The page stays at {sent['kept']}."] if touched == "row" else []


def _only(n: int, **parts: Any) -> dict[str, Any]:
    """A reply that changes some parts and leaves all others."""
    several = ("sliders", "exact", "exact_labels", "titles", "labels", "places", "places_alt", "texts")
    stores, others = ("state", "mode", "kept", "names"), ("row", "x", "interval", "asked", "warnings", "named")
    single = (*stores, *others, "graph", "graph_alt")
    kept: dict[str, Any] = {name: [no_update] * n for name in several} | {"pressed": [no_update] * len(MODES)}
    return {**kept, **dict.fromkeys(single, no_update), **parts}


def _shown(subject: Subject, question: Question, touched: str) -> dict[str, Any]:
    """All parts of the page for a question."""
    answer, n = answer_to(subject, question), subject.model.n
    # a slider that somebody holds is left alone
    free = [i not in question.values for i in range(n)]
    sliders = [float(answer.z_after[i]) if free[i] else question.values[i] for i in range(n)]
    held = [no_update if touched == f"slider-{i}" else value for i, value in enumerate(sliders)]
    return {
        "state": {str(i): value for i, value in question.values.items()},
        "mode": question.mode,
        "pressed": ["true" if mode == question.mode else "false" for mode in MODES],
        # somebody may still be typing
        "row": no_update if touched == "row" else question.row,
        "kept": question.row,
        "sliders": held,
        "exact": [float(f"{value:.6g}") for value in sliders],
        "exact_labels": [f"Exact value of {name}" for name in answer.names],
        "titles": [_title(answer, i) for i in range(n)],
        "labels": [f"Value of {name}" for name in answer.names],
        "places": [place_address(subject.z[:, i], subject.ranges[i], answer.z[i]) for i in range(n)],
        "places_alt": [_place_text(subject, answer, question, i) for i in range(n)],
        "texts": [_reading(subject, answer, question, i) for i in range(n)],
        "graph": graph_address(answer),
        "graph_alt": graph_text(answer),
        "x": _images(subject, question, answer) if subject.is_image else _columns(answer),
        "interval": interval_text(subject, question),
        "asked": question_text(subject, question),
    }


def _title(answer: Answer, i: int) -> str:
    return f"{answer.names[i]}{' (set)' if i in answer.done else ''}"


def _place_text(subject: Subject, answer: Answer, question: Question, i: int) -> str:
    whose = f"observation {question.row}" if question.mode == COUNTERFACTUAL else "the mean of the draws"
    share = subject.share_below(i, float(answer.z[i]))
    return f"Where {whose} lies in {answer.names[i]} before anything is set: above {share:.0%} of all observations"


def _reading(subject: Subject, answer: Answer, question: Question, i: int) -> str:
    """The value before, with what is said of it in brackets, and the value after."""
    before, after = float(answer.z[i]), float(answer.z_after[i])
    place = f"{subject.share_below(i, before):.0%} of the data lie below"
    if question.mode == COUNTERFACTUAL:
        text = f"{before:.3g} (noise {float(subject.noise[question.row, i]):.3g}, {place})"
    else:
        text = f"mean {before:.3g} ({place})"
    return f"before: {text}; after: {after:.3g}" if i in answer.changed else text


def _columns(answer: Answer) -> list[Any]:
    left_out = len(answer.columns) - 40
    note = [html.P(f"The {left_out} columns that change least are left out.", className="note")] if left_out > 0 else []
    legend = "Grey: nine in ten rows of the data. Ring: before. Dot: after. Triangle: off the scale."
    whole = ", ".join(cut_names(answer))
    hover = {"title": f"Names in full: {whole}"} if whole else {}
    return [
        html.Img(src=columns_address(answer), alt=columns_text(answer), className="picture", **hover),
        html.P(legend, className="note"),
        *note,
    ]


def _images(subject: Subject, question: Question, answer: Answer) -> list[Any]:
    if question.mode == COUNTERFACTUAL:
        from lcm.report.images import difference

        _, z = observation(subject, question.row)
        decoded = subject.model.decode(z).cpu().numpy()[0]
        parts = {"x": answer.x[0], "x, decoded": decoded, "x after": answer.x_after[0]}
        parts["change, tripled"] = difference(decoded, answer.x_after[0])
        return [html.Div([_picture(caption, image) for caption, image in parts.items()], className="strip")]
    rows = [
        html.Div([_picture(f"draw {k}, before", before), _picture(f"draw {k}, after", after)], className="strip")
        for k, (before, after) in enumerate(zip(answer.x, answer.x_after, strict=True))
    ]
    return rows


def _picture(caption: str, image: Any) -> html.Figure:
    return html.Figure([html.Img(src=png_address(image), alt=caption, className="pixels"), html.Figcaption(caption)])


def _add_pairs(app: Dash, subject: Subject) -> None:
    @app.callback(
        Output("pairs", "children"), Input("draw", "n_clicks"), Input(NAMES, "data"), prevent_initial_call=True
    )
    def draw(clicks: int | None, names: Any) -> Any:
        if not clicks:
            return no_update
        pairs = sample_pairs(subject.model, _SHOWN_PAIRS, seed=clicks)
        return _image_pairs(pairs, subject.names()) if subject.is_image else _pair_table(pairs, subject.names())


def _targets(pairs: PairData, names: Sequence[str], k: int) -> str:
    targets = np.flatnonzero([] if pairs.targets is None else pairs.targets[k]).tolist()
    return ", ".join(names[i] for i in targets) or "nothing"


def _image_pairs(pairs: PairData, names: Sequence[str]) -> html.Div:
    shown = []
    for k in range(len(pairs)):
        after = f"x after: {_targets(pairs, names, k)} acted on"
        images = [_picture(f"pair {k}, x", pairs.x[k]), _picture(after, pairs.x_tilde[k])]
        shown.append(html.Div(images, className="pair"))
    return html.Div(shown, className="pairs")


def _pair_table(pairs: PairData, names: Sequence[str]) -> html.Div:
    rows = []
    for k, (before, after) in enumerate(zip(np.asarray(pairs.z), np.asarray(pairs.z_tilde), strict=True)):
        changes = zip(before.tolist(), after.tolist(), strict=True)
        cells = [f"{a:.2f} → {b:.2f}" if abs(a - b) > _SEEN else f"{a:.2f}" for a, b in changes]
        rows.append([_targets(pairs, names, k), *cells])
    return _table(["acted on", *names], rows)


def _table(head: list[str], rows: list[list[str]]) -> html.Div:
    body = [html.Tr([html.Th(row[0], scope="row"), *map(html.Td, row[1:])]) for row in rows]
    table = html.Table([html.Thead(html.Tr([html.Th(name, scope="col") for name in head])), html.Tbody(body)])
    # a wide table scrolls by itself, also by the keyboard
    return html.Div(table, className="scroll", tabIndex=0, role="region", **{"aria-label": f"Table of {head[0]}"})


def _add_files(app: Dash, subject: Subject) -> None:
    @app.callback(
        Output("file", "data"),
        [Input(f"export-{suffix}", "n_clicks") for suffix in SUFFIXES],
        Input("pairs-file", "n_clicks"),
        State(ROW, "data"),
        State(MODE, "data"),
        State(STATE, "data"),
        State("draw", "n_clicks"),
        prevent_initial_call=True,
    )
    def write(*given: Any) -> Any:
        row, mode, values, drawn = given[-4:]
        touched = str(ctx.triggered_id)
        if touched == "pairs-file":
            suffix = ".safetensors" if subject.is_image else ".csv"
            return dcc.send_bytes(exported_pairs(subject, _FILED_PAIRS, drawn or 0, suffix), f"pairs{suffix}")
        question, suffix = checked_question(subject, row, mode, values), f".{touched.removeprefix('export-')}"
        return dcc.send_bytes(exported(subject, question, suffix), f"answer{suffix}")


def _add_beside(app: Dash, subject: Subject, beside: Beside) -> None:
    # a reply of its own: it is on the page before the search begins
    @app.callback(
        Output(COMPARED, "data"),
        Output("comparing", "children"),
        Input("compare", "n_clicks"),
        prevent_initial_call=True,
    )
    def announce(clicks: int | None) -> Any:
        return clicks, "Comparing…"

    @app.callback(
        Output("beside", "children"),
        Output("comparing", "children", allow_duplicate=True),
        Input(COMPARED, "data"),
        Input(STATE, "data"),
        Input(NAMES, "data"),
        State(ROW, "data"),
        State(MODE, "data"),
        prevent_initial_call=True,
    )
    def carry(compared: int | None, values: Any, names: Any, row: Any, mode: Any) -> Any:
        if not compared:
            return no_update, no_update
        try:
            return _side_by_side(subject, beside, checked_question(subject, row, mode, values)), ""
        except ValueError as error:
            return html.P(str(error), className="warnings"), ""


def _side_by_side(subject: Subject, beside: Beside, question: Question) -> list[Any]:
    found, judged = beside.carry(question), beside.found
    mine, other = found.mine, found.other
    rows = [
        [
            f"{mine.names[i]} ↔ {other.names[j]}",
            *(f"{value:.3g}" for value in (mine.z_after[i], found.carried[i], other.z_after[j])),
            f"{found.apart[i]:.3f}",
        ]
        for i, j in enumerate(found.permutation)
    ]
    head = ["A ↔ B, after", "A", "A, carried to B", "B", "apart, sd"]
    shown = [_one_of_two("A", subject, mine), _one_of_two("B", beside.other, other)]
    return [
        html.P(f"The two models: {judged.verdict}. Distance {judged.distance:.4f}."),
        _table(head, rows),
        html.Div(shown, className="two"),
    ]


def _one_of_two(letter: str, subject: Subject, answer: Answer) -> html.Div:
    graph = html.Img(src=graph_address(answer), alt=graph_text(answer), className="picture")
    x = [_picture(f"{letter}: x after", answer.x_after[0])] if subject.is_image else _columns(answer)[:1]
    return html.Div([html.H3(f"{letter}: {subject.path}"), graph, *x])
