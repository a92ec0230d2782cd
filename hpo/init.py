"""A sweep file for a table that has none: `python -m hpo.init data.csv --target y`.

A command. `hpo.data.survey` reads the table with the functions that a search reads it with; here is only what to make
of it: a model and a space that suit its size, each with the reason beside it, so that the file teaches whoever changes
it. Written once and never overwritten: from then on it belongs to the user.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from hpo.command import run, verb
from hpo.errors import InputError, Problem, did_you_mean

if TYPE_CHECKING:
    from hpo.data.dataset import Label
    from hpo.data.survey import Survey
    from hpo.metric import Task

HOLDOUT = 0.2
FOLDS = 5
LINEAR, FOREST = 200, 1000  # fewer rows than these: a linear model, a random forest; from there on XGBoost
_SHOWN = 8  # names at most in a hint
_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)  # as YAML of any version reads it as text, …
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}  # … unless it is one of these


class Choice(NamedTuple):
    """A model with all that goes with it. Lines of YAML, comments included; `why` begins in lower case."""

    model: str
    why: str
    fixed: tuple[str, ...]
    space: tuple[str, ...]
    trials: int


_XGBOOST_FIXED = (
    "n_estimators: 2000                      # an upper limit: early stopping finds each fold's own number",
    "early_stopping_rounds: 50",
)
_XGBOOST_SPACE = (
    "learning_rate: {float: [0.03, 0.3], log: true}",
    "max_depth: {int: [3, 10]}",
    "min_child_weight: {float: [1.0, 100.0], log: true}     # how much a leaf has to rest on",
    "subsample: {float: [0.5, 1.0]}                         # share of the rows that each tree sees",
    "colsample_bytree: {float: [0.4, 1.0]}                  # … and of the columns",
    "reg_lambda: {float: [0.01, 100.0], log: true}",
    "reg_alpha: {float: [0.001, 10.0], log: true}",
    "grow_policy: {choice: [depthwise, lossguide]}",
    "max_leaves: {int: [15, 127], log: true, when: {grow_policy: lossguide}}  # only asked for when it has a meaning",
)
_FOREST_SPACE = (
    "max_features: {float: [0.1, 1.0]}       # share of the columns that each split may choose from",
    "max_depth: {int: [2, 32], log: true}",
    "min_samples_leaf: {int: [1, 20], log: true}",
    "bootstrap: {choice: [true, false]}",
    "max_samples: {float: [0.3, 1.0], when: {bootstrap: true}}   # without bootstrap there is nothing to sample",
)
_IMPUTE = "preprocess__num__impute__strategy: {choice: [mean, median]}   # of the step in front of the model"


def choose(found: Survey) -> Choice:
    """The model for so many rows and columns."""
    classifies = found.task != "regression"
    if found.rows < LINEAR or found.rows <= len(found.columns):
        gaps = any(column.missing and column.kind != "categorical" for column in found.columns)
        impute = (_IMPUTE,) if gaps else ()
        why = f"{found.rows:,} rows for {_columns(found)} are few: what is simple is also what lasts"
        if classifies:
            fixed = ("solver: saga", "max_iter: 1000", "tol: 0.001")
            space = ("C: {float: [0.0001, 100.0], log: true}          # the smaller, the simpler",
                     "l1_ratio: {float: [0.0, 1.0]}                   # 0 is ridge, 1 is lasso")  # fmt: skip
            return Choice("sklearn.linear_model.LogisticRegression", why, fixed, (*impute, *space), 30)
        ridge = ("alpha: {float: [0.001, 1000.0], log: true}      # the greater, the simpler",)
        return Choice("sklearn.linear_model.Ridge", why, (), (*impute, *ridge), 30)
    kind = "Classifier" if classifies else "Regressor"
    if found.rows < FOREST:
        why = f"robust on {found.rows:,} rows, and holds none back to know when to stop"
        return Choice(f"sklearn.ensemble.RandomForest{kind}", why, ("n_estimators: 300",), _FOREST_SPACE, 40)
    why = f"strong on {found.rows:,} rows; takes categories, dates and gaps as they are"
    return Choice(f"xgboost.XGB{kind}", why, _XGBOOST_FIXED, _XGBOOST_SPACE, 50)


_METRICS: dict[Task, tuple[str, str, str]] = {
    "binary": (
        "roc_auc",
        "[log_loss, average_precision]",
        "how well the two classes are ranked, whatever the threshold",
    ),
    "multiclass": ("log_loss", "[accuracy, f1_macro]", "how right the probabilities of all classes are; minimised"),
    "regression": ("rmse", "[mae, r2]", "a loss in the target's unit, minimised; mae if outliers should count less"),
}


def draft(found: Survey, name: str, path: str, target: str, said: str) -> str:
    """The text of a sweep file. `path` as the file names it, `said`: how a person names the file in a command."""
    chosen = choose(found)
    metric, metrics, meaning = _METRICS[found.task]
    lines = [
        "# yaml-language-server: $schema=schema.json",
        "#",
        f"# What tells {quoted(target)}? Begun by hpo.init, for {found.rows:,} rows; change what you know better.",
        "#",
        f"#     python -m hpo.plan --space {said}      # check, and estimate the time",
        f"#     python -m hpo.search --space {said}",
        "#",
        "# An editor completes and checks the keys once the schema is beside this file:",
        "#",
        "#     python -m hpo.schema > schema.json",
        "",
        _with(f"name: {quoted(name)}", "the MLflow experiment, and the registered model"),
        "data:",
        f"  path: {quoted(path)}",
        _with(f"  target: {quoted(target)}", _about_target(found)),
        *([_with(f"  task: {found.task}", found.asked)] if found.asked else []),
        _with(f"  holdout: {HOLDOUT}", "locked away before the first trial; judges the promotion"),
        *_indented(_about_columns(found)),
        "",
        f"# {chosen.why}",
        f"model: {chosen.model}",
        *(["fixed:", *_indented(chosen.fixed)] if chosen.fixed else []),
        "",
        _with(f"metric: {metric}", meaning),
        _with(f"metrics: {metrics}", "logged beside it"),
        "validation:",
        *_about_validation(found),
        "",
        "space:",
        *_indented(chosen.space),
        "",
        "search:",
        f"  trials: {chosen.trials}",
        _with("  timeout: 1h", "whichever comes first; with --resume last and a longer one it goes on"),
        _with("  seed: 1", "same seed, same folds, same proposals"),
        "",
        "promote:",
        _with("  alias: champion", "moves only if the hold-out says that the new model is better"),
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """As a YAML scalar that is this text and nothing else, on one line, whatever it holds; also in a comment."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    escaped = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped)


def _about_target(found: Survey) -> str:
    if not found.classes:
        return "numbers: regression"
    (rarest, rows), count = min(found.classes, key=lambda pair: pair[1]), len(found.classes)
    return f"{count} classes, the rarest ({_short(rarest)}) has {rows:,} row{'s' * (rows != 1)}: {found.task}"


def _about_columns(found: Survey) -> list[str]:
    """What is dropped and why, and what may have another meaning than it looks."""
    lines = [f"# {_cleaned(note)}" for note in found.notes]
    if found.left_out:
        lines += ["drop:", *(f"  - {quoted(name)}  # {why}" for name, why in found.left_out.items())]
    if found.codes:
        more = f"  # and {len(found.codes) - _SHOWN} more" if len(found.codes) > _SHOWN else ""
        names = ", ".join(map(quoted, found.codes[:_SHOWN]))
        lines += ["# Few whole numbers, read as quantities. Those that are names (a month, a district) belong here:",
                  f"# categorical: [{names}]{more}"]  # fmt: skip
    if _may_be_grades(found):
        lines += ["# The classes are numbers: if they are grades or counts, `python -m hpo.init … --task regression`."]
    return lines


def _about_validation(found: Survey) -> list[str]:
    plain = "each with its share of every class" if found.classes else "each trial is judged on every row once"
    lines = [_with(f"  folds: {found.folds}", found.trouble or plain)]
    for name in found.owners:
        why = f"rows that share their {quoted(name)} stay together: where they are alike, scores are too good"
        lines.append(_with(f"  # groups: {quoted(name)}", why))
    for column in found.columns:
        if column.kind == "date":
            why = "if the future is to be predicted: learn from before, judge after"
            lines.append(_with(f"  # time: {quoted(column.name)}", why))
            if column.distinct <= found.rows / 2:
                lines.append(_with(f"  # groups: {quoted(column.name)}", "or this, if rows of one date are alike"))
    return lines


def _with(text: str, comment: str) -> str:
    return f"{text:<40}  # {comment}"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _cleaned(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _short(label: Label) -> str:
    if not isinstance(label, str):
        return str(label)
    return quoted(label if len(label) <= 40 else f"{label[:39]}…")


def _relative(data: Path, out: Path) -> str:
    """How the file at `out` names the table: relative to its project, absolute where it lies elsewhere."""
    from hpo.loader import FOLDER

    folder = Path(os.path.abspath(out)).parent
    root = folder.parent if folder.name == FOLDER else folder
    if Path(os.path.realpath(data)).is_relative_to(os.path.realpath(root)):
        way = os.path.relpath(os.path.realpath(data), os.path.realpath(root))
        return Path(way).as_posix()
    return os.path.abspath(data)


def _title(data: Path, target: str) -> str:
    """A name that MLflow takes for an experiment and a model."""
    words = re.sub(r"[^\w-]+", "-", f"{data.stem}-{target}").strip("-_")
    return words[:100] or "sweep"


def _hints(found: Survey) -> Iterable[str]:
    yield from (f"{name!r} is dropped: {why}" for name, why in found.left_out.items())
    dates = [column.name for column in found.columns if column.kind == "date"]
    yield from (f"{name!r} is a date: consider validation: {{time: …}}" for name in dates)
    yield from (f"{name!r} may say whom a row is about: consider validation: {{groups: …}}" for name in found.owners)
    if found.classes:
        yield _about_target(found).rpartition(":")[0]
    if _may_be_grades(found):
        yield "the classes are numbers: if they are grades or counts, --task regression"
    if found.trouble:
        yield f"only {found.folds} folds: {found.trouble}"
    if found.asked:
        yield f"the task is {found.task}: {found.asked}"


def _columns(found: Survey) -> str:
    return f"{len(found.columns)} column{'s' * (len(found.columns) != 1)}"


def _may_be_grades(found: Survey) -> bool:
    return found.task == "multiclass" and all(type(label) is int for label, _ in found.classes)


def _refuse(data: Path, out: Path) -> None:
    if not data.is_file():
        beside = [p.name for p in data.parent.iterdir()] if data.parent.is_dir() else []
        guess = did_you_mean(data.name, beside)
        raise InputError(Problem(f"there is no file {data}", "DATA", guess if guess.startswith("did") else ""))
    if os.path.lexists(out):
        raise InputError(Problem(f"{out} is there already", "--out", "another name, or remove it: it may be your work"))
    if not out.parent.is_dir():
        raise InputError(Problem(f"there is no folder {out.parent}", "--out", f"mkdir -p {out.parent}"))


@verb("init", "python -m hpo.init data.csv --target y")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--target", metavar="COLUMN", help="What is to be predicted; without it the columns are listed.")
@click.option("--task", type=click.Choice(["binary", "multiclass", "regression"]), help="Where the values mislead.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: DATA's name with .yaml, here.")
def command(data: Path, target: str | None, task: Task | None, out: Path | None) -> None:
    """Write a sweep file for the table in DATA (CSV or Parquet), with the reasons beside each choice."""
    out = out or Path(f"{data.stem}.yaml")
    _refuse(data, out)
    from hpo.data.survey import list_columns, survey

    try:
        if target is None:
            hint = "\n    ".join(["the columns are:", *list_columns(data)])
            raise InputError(Problem("which column is to be predicted?", "--target", hint))
        found = survey(data, target, task, HOLDOUT, FOLDS)
    except InputError as error:
        raise error.placed({"data.target": "--target", "data.task": "--task", "data.path": "DATA"}) from None
    said = shlex.quote(str(out))
    text = draft(found, _title(data, target), _relative(data, out), target, _cleaned(said))
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(Problem(f"{out} cannot be written: {error.strerror}", "--out")) from error
    chosen = choose(found)
    click.echo(f"{out}: {found.task} on {found.rows:,} rows and {_columns(found)}, {chosen.model}")
    for hint in _hints(found):
        click.echo(f"  {hint}")
    click.echo(f"  next: python -m hpo.search --space {said}")


if __name__ == "__main__":
    run(command)
