"""What is on the page as files: a figure, a table, and the Python that makes both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lcm.app.explore.asking import (
    COUNTERFACTUAL,
    DRAWS,
    IMAGE_DRAWS,
    LEVEL,
    SEED,
    Question,
    answer_to,
    question_text,
    whiskers_text,
)
from lcm.app.explore.subject import Subject
from lcm.data.named_columns import with_columns_of
from lcm.data.pair_files import save_pairs
from lcm.data.sample import sample_pairs
from lcm.data.table import write_table
from lcm.report.answer import answer_table

FIGURES = (".png", ".svg")


def exported(subject: Subject, question: Question, suffix: str) -> bytes:
    """The content of a file of the answer: .png or .svg, .csv, or .py."""
    if suffix == ".py":
        return script_of(subject, question).encode()
    answer = answer_to(subject, question)
    if suffix in FIGURES:
        # matplotlib takes a part of the time until the page opens
        from lcm.report import draw_answer

        return _content(suffix, lambda path: draw_answer(path, answer))
    return _content(suffix, lambda path: write_table(path, answer_table(answer)))


def exported_pairs(subject: Subject, n_pairs: int, seed: int, suffix: str) -> bytes:
    """Pairs that the model draws, with their truth, as a file."""
    pairs = with_columns_of(sample_pairs(subject.model, n_pairs, seed=seed), subject.given_columns)
    return _content(suffix, lambda path: save_pairs(path, pairs))


def _content(suffix: str, write: Callable[[Path], None]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        write(path)
        return path.read_bytes()


def script_of(subject: Subject, question: Question) -> str:
    """Python that answers the question and writes answer.csv and answer.png into the current folder.

    The names of variables are those of now, whatever the run calls them later.
    """
    body = _script_body(subject, question)
    libraries = [line for line, name in {"import numpy as np": "np.", "import torch": "torch."}.items() if name in body]
    samplers = [name for name in ("sample_counterfactuals", "sample_pairs") if f"{name}(" in body]
    ordered = ["from lcm.data.named_columns import in_fitted_order"] if "in_fitted_order(" in body else []
    own = ["import lcm", *ordered, *([f"from lcm.data.sample import {', '.join(samplers)}"] if samplers else [])]
    imports = "\n\n".join("\n".join(lines) for lines in (libraries, own) if lines)
    # names are printable, so that the title stays on the line of its comment
    return f"""# {question_text(subject, question)}: written by lcm explore.
# It writes answer.csv and answer.png into the current folder, over files of these names.

{imports}
from lcm.data.table import write_table
from lcm.report import draw_answer
from lcm.report.answer import Answer, answer_table

{body}"""


def _script_body(subject: Subject, question: Question) -> str:
    is_counterfactual = question.mode == COUNTERFACTUAL
    part = _counterfactual_part if is_counterfactual else _intervention_part
    read = f"lcm.load({str(subject.path.resolve())!r})"
    opened = f"model = {read}" if subject.result is None else f"result = {read}\nmodel = result.model"
    # draws of images have no use for the data
    pairs = _pairs_line(subject) if is_counterfactual or not subject.is_image else ""
    usual = "None" if subject.is_image else "np.quantile(pairs.x.astype(np.float64), (0.05, 0.95), axis=0)"
    return f"""{opened}
{pairs}values = {dict(question.values)!r}

{part(subject, question)}
answer = Answer(
    title={question_text(subject, question)!r},
    graph=model.graph,
    names={subject.names()!r},
    done=tuple(values),
    z=z,
    z_after=z_after,
    columns={subject.columns!r},
    x=x,
    x_after=x_after,
    low=low,
    high=high,
    usual={usual},
    whiskers={whiskers_text(subject, question)!r},
)
write_table("answer.csv", answer_table(answer))
draw_answer("answer.png", answer)
"""


def _pairs_line(subject: Subject) -> str:
    rows, given = len(subject.data), subject.given
    if not given.files:
        return f"pairs = sample_pairs(model, {rows})\n"
    files = ", ".join(repr(str(Path(each).resolve())) for each in given.files)
    mark = f", mark={given.mark!r}" if given.mark else ""
    read = f"lcm.load_pairs({files}{mark})"
    if subject.result is not None and subject.result.columns:
        read = f"in_fitted_order({read}, result.columns)"
    return f"pairs = {read}.first({rows})\n"


def _counterfactual_part(subject: Subject, question: Question) -> str:
    has_interval = subject.result is not None and subject.result.refits is not None and not subject.is_image
    interval = "low = high = None"
    if has_interval:
        interval = f"low, high = (end[0] for end in result.counterfactual(x, lcm.Do(values), interval={LEVEL})[1:3])"
    rows = "" if subject.is_image else "\nx, x_after = x[0], x_after[0]"
    return f"""x = np.array(pairs.x[{question.row} : {question.row + 1}])
found = model.encode(torch.from_numpy(x)).z
acted = model.causal_model().scm.counterfactual(found, lcm.Do(values))
x_after = model.decode(acted).numpy()
z, z_after = found[0].numpy(), acted[0].numpy()
{interval}{rows}"""


def _intervention_part(subject: Subject, question: Question) -> str:
    n = IMAGE_DRAWS if subject.is_image else DRAWS
    end = "x, x_after = drawn.x, drawn.x_tilde\nlow = high = None"
    if not subject.is_image:
        end = """x, x_after = drawn.x.mean(0), drawn.x_tilde.mean(0)
low, high = np.quantile(drawn.x_tilde, (0.05, 0.95), axis=0)"""
    return f"""drawn = sample_counterfactuals(model, values, n={n}, seed={SEED})
z, z_after = drawn.z.mean(0), drawn.z_tilde.mean(0)
{end}"""
