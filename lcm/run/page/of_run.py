"""The sections of the page of a run, in the order in which a reader asks for them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lcm.base import __version__
from lcm.base.config import to_yaml
from lcm.data.pairs import PairData
from lcm.model.image import ImageModel
from lcm.report.page import CodeBlock, Page, Paragraph, Picture, Section, TextTable, course_chart, write_page
from lcm.run.assumption import CertificateRow
from lcm.run.certificate_text import in_names, known_certificate
from lcm.run.columns import coordinates_text
from lcm.run.outcome import Outcome
from lcm.run.page.found import graph_section, three_sentences
from lcm.run.page.material import drawn_pairs, shown_pairs
from lcm.run.page.of_pairs import pairs_section, truth_section, variables_section
from lcm.run.report import image_figure_names, reconstruction_error, shows_numbers
from lcm.run.run_folder import CONFIG_FILE, FIGURE_FOLDER, PAGE_FILE

_PICTURES = {
    "traversals": "Each row moves one variable alone and decodes the image, the others held.",
    "counterfactuals": "Each row imposes a value on one variable; its effects follow, the noise is kept.",
    "samples": "Pairs of the data above, and pairs that the model draws.",
    "targets": "Pairs from the most to the least certain target, with the posterior.",
    "number_of_variables": "The evidence for the number of variables.",
    "refits": "Each variable as refits to halves of the pairs see it.",
}


def write_fit_page(run: Path, result: Outcome, info: Mapping[str, Any], pairs: PairData | None) -> Path:
    """Write the page of a run, report.html; returns its path.

    Args:
        run: its folder. Of its figures, the page holds those of images, of n and of refits.
        result: of the fit.
        info: the content of run.json.
        pairs: to show, with a truth or without; None for pairs that the model draws, if it can.
    """
    shown = drawn_pairs(result) if pairs is None else shown_pairs(result, pairs, _origin_of(pairs, result))
    figures = run / FIGURE_FOLDER
    sections = [
        graph_section(result),
        variables_section(result, shown),
        *([pairs_section(result, shown)] if shown else []),
        *([truth_section(result, shown)] if shown and shown.scores else []),
        *_images(result, figures),
        _certificate(result, "the pairs of the fit" if pairs is None else _origin_of(pairs, result)),
        _course(result),
        *_number(result, figures),
        _settings(result, info, str(run) if run.name else run.resolve().name),
    ]
    page = run / PAGE_FILE
    write_page(page, Page(f"Causal model of {_data_name(info)}", three_sentences(result, shown), sections))
    return page


def _origin_of(pairs: PairData, result: Outcome) -> str:
    if pairs is result.data:
        return "the pairs of the fit"
    files = " and ".join(Path(file).name for file in (pairs.source, pairs.after) if file)
    return f"the pairs of {files or 'a table'}"


def _data_name(info: Mapping[str, Any]) -> str:
    """The file of the data without its folders, or words where there was no file."""
    return " and ".join(Path(file).name for file in _files(info)) or "pairs from memory"


def _files(info: Mapping[str, Any]) -> list[str]:
    """The files of the pairs: two for two tables; none where the pairs came from memory."""
    return [str(info[key]) for key in ("data", "after") if info.get(key)]


def _pictures(figures: Path, *names: str) -> list[Picture]:
    files = [(figures / f"{name}.png", _PICTURES[name]) for name in names]
    return [Picture.read(file, text) for file, text in files if file.is_file()]


def _images(result: Outcome, figures: Path) -> list[Section]:
    pictures = _pictures(figures, *image_figure_names(result)) if isinstance(result.model, ImageModel) else []
    return [Section("Images", pictures)] if pictures else []


def _number(result: Outcome, figures: Path) -> list[Section]:
    """The sections on the number of variables and on refits, of what the run has."""
    shown = {"Number of variables": "number_of_variables", "Refits": "refits"}
    if not shows_numbers(result):
        del shown["Number of variables"]
    found = {title: _pictures(figures, name) for title, name in shown.items()}
    return [Section(title, pictures) for title, pictures in found.items() if pictures]


def _certificate(result: Outcome, origin: str) -> Section:
    """Every assumption with its verdict, what is broken first, and the notes on the data."""
    certificate = known_certificate(result)
    notes = [Paragraph(note, "note") for note in certificate.notes]
    if not certificate.rows:
        return Section("Certificate", [*notes, Paragraph("The assumptions of this model are not tested.")])
    verdicts = ("broken", "cannot be known", "holds")
    rows = sorted(certificate.rows, key=lambda row: verdicts.index(row.verdict))
    body = [[row.assumption, row.verdict, in_names(result, _reasons(row)), _p_value(row)] for row in rows]
    head = ["assumption", "verdict", "why", "p-value"]
    table = TextTable(head, body, f"{certificate.summary()}.", marks=[row.verdict for row in rows])
    about = (
        f"Judged from {origin}. “holds” means that a test found nothing; the third column says how small a violation it"
        " would have found."
    )
    return Section("Certificate", [*notes, Paragraph(about), table])


def _reasons(row: CertificateRow) -> str:
    follows = f" If it fails: {row.consequence}" if row.verdict != "holds" else ""
    return f"{row.said()}{follows}"


def _p_value(row: CertificateRow) -> str:
    return "" if row.p_value is None else f"{row.p_value:.2g}"


def _course(result: Outcome) -> Section:
    stages = list(dict.fromkeys(str(record["stage"]) for record in result.records))
    charts: list[Any] = [chart for stage in stages if (chart := course_chart(result.records, stage)) is not None]
    elements = charts or [Paragraph("This fit was computed in closed form; it has no training curves.")]
    held_out = f"Held-out log-likelihood, or a lower bound: {-result.held_out_nll:.4f} nats per pair."
    return Section("Course of the fit", [Paragraph(held_out), *elements])


def _settings(result: Outcome, info: Mapping[str, Any], folder: str) -> Section:
    """What the fit was made from, and how to make it again."""
    made = {
        "data": " and ".join(_files(info)) or "pairs from memory",
        "SHA-256 of the data": info.get("data_sha256", ""),
        "pairs": f"{result.size[0]:,} of {result.size[1]} dimensions",
        "model": result.config.model,
        "seed": result.config.seed,
        "fit time": f"{result.seconds:.1f} s, {info.get('threads', '?')} thread(s), {info.get('device', '?')}",
        "lcm": info.get("lcm", __version__),
        "torch": info.get("torch", torch.__version__),
    }
    if isinstance(result.model, ImageModel):
        height, width, colours = result.model.observation_shape
        made["images"] = f"{height} × {width} pixels, {colours} channels, code of {result.model.autoencoder.code}"
        if result.records:
            made["reconstruction error"] = f"{reconstruction_error(result.records):.4f} of full brightness"
    options = ["--config", f"{folder}/{CONFIG_FILE}", "--out", "NEW_RUN"]
    marked = ["--after-mark", str(info["after_mark"])] if info.get("after_mark") else []
    command = shlex.join(["lcm", "fit", *(_files(info) or ["DATA"]), *marked, *options])
    text = coordinates_text(result)
    return Section(
        "Data and settings",
        [
            *([Paragraph(text)] if text else []),
            TextTable(["what", "value"], [[key, str(value)] for key, value in made.items()]),
            Paragraph("To repeat the fit:"),
            CodeBlock(command),
            CodeBlock(to_yaml(result.config), "all settings (config.yaml)"),
        ],
    )
