"""From a sweep file to a `Sweep`: find it, read it, check all of it, look up what it names.

Called by the verbs (`load`), by Python users (`load`, `build`) and on resume (`from_document`). Every problem of
a file is reported at once and with its place. Nothing the file names is imported here, and no engine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hpo.errors import InputError, Problem, did_you_mean
from hpo.recurrence import Recurrence
from hpo.sweep import Data, Sweep
from hpo.sweepfile.document import Document, Loc

if TYPE_CHECKING:
    from hpo.sweepfile.shape import File

FOLDER = "search_spaces"


class _Given(NamedTuple):
    """What a person says beside the file."""

    dirty_data: bool = False
    prepared: str = ""


def load(
    path_or_name: str | Path,
    overrides: Sequence[str] = (),
    *,
    allow_import: Sequence[str] = (),
    allow_dirty_data: bool = False,
) -> Sweep:
    """The sweep in a file: a path, or a name in `search_spaces/`, or the name of a bundled one.

    `overrides` are "dotted.key=value". Code comes from the file's project, and models from the well-known libraries;
    `allow_import` names further packages to trust, and addresses that the file's `executor` may use;
    `allow_dirty_data` takes a file that is not what its DVC pointer says. Raises InputError with everything that is
    wrong.
    """
    path = find_space(path_or_name)
    document = Document.read(path, _display(path)).override(*overrides)
    folder = Path(os.path.abspath(path)).parent
    root = folder.parent if folder.name == FOLDER else folder
    return _sweep(document, root, allowed=tuple(allow_import), given=_Given(allow_dirty_data))


def load_schedule(path: Path) -> tuple[str, Recurrence | None]:
    """A file's name and schedule. The file is checked as ever; what it names on disk need not be there yet."""
    document = Document.read(path, _display(path))
    file, problems = _checked(document)
    if problems:
        raise InputError(*sorted(problems, key=_place))
    return file.name, file.schedule


def build(**document: Any) -> Sweep:
    """A sweep from Python: the keys are those of the file; `objective` may be a function.

    Relative paths start in the working folder. Who writes Python may name any code. `allow_dirty_data` is as in `load`.
    """
    given = _Given(bool(document.pop("allow_dirty_data", False)))
    function = document.get("objective")
    if not callable(function):
        return _from_python(document, Path.cwd(), given=given)
    if not hasattr(function, "__qualname__"):
        hint = "constant arguments belong into fixed"
        raise InputError(Problem(f"{function!r:.60} is not a function", "objective", hint))
    name = re.sub(r"\W", "_", function.__qualname__.rpartition(".")[2])  # a lambda's has < and >
    named = {**document, "objective": f"{function.__module__}:{name}"}
    return _from_python(named, Path.cwd(), function, given=given)


def from_document(
    document: Mapping[str, Any],
    root: Path,
    function: Callable[..., Any] | None = None,
    allowed: Sequence[str] | None = None,
    prepared: str = "",
) -> Sweep:
    """The sweep of a document, as `sweep.document` holds it; `function` is what its objective stands for.

    `prepared` is the digest of a table that was prepared already, wherever it came from: it is not looked for again.
    """
    permitted = None if allowed is None else tuple(allowed)
    return _from_python(document, root, function, permitted, _Given(prepared=prepared))


def _from_python(
    document: Mapping[str, Any],
    root: Path,
    function: Callable[..., Any] | None = None,
    allowed: tuple[str, ...] | None = None,
    given: _Given = _Given(),  # noqa: B008 (a constant)
) -> Sweep:
    problems: list[Problem] = []
    data = _plain_data(dict(document), (), problems)
    if problems:
        raise InputError(*problems)
    return _sweep(Document(data, "the sweep"), root, function, allowed, given)


def find_space(name: str | Path) -> Path:
    """The file that `--space name` means."""
    for path in (Path(name), *(folder / name for folder in _folders())):
        for candidate in (path, Path(f"{path}.yaml")):
            if os.path.isfile(candidate):
                return candidate
    known = dict.fromkeys(file.stem for folder in _folders() for file in sorted(folder.glob("*.yaml")))
    there = f"there are: {', '.join(known)}"
    guess = did_you_mean(Path(name).stem, known)
    hint = f"{guess} {there}" if guess.startswith("did") else there
    raise InputError(Problem(f"there is no sweep file {str(name)!r}", hint=hint))


def _folders() -> tuple[Path, ...]:
    package = Path(__file__).parent
    bundled = package / "bundled" / FOLDER  # in a wheel; a checkout has them beside the package
    return (Path(FOLDER), bundled if bundled.is_dir() else package.parent / FOLDER)


def _display(path: Path) -> str:
    """The path as people would type it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _plain_data(value: Any, loc: Loc, problems: list[Problem]) -> Any:
    """A copy as a file would hold it: tuples as lists, paths as text; anything with behaviour is refused."""
    if isinstance(value, Mapping):
        place = ".".join(map(str, loc))
        problems += [Problem(f"the key {k!r} must be text", place) for k in value if not isinstance(k, str)]
        return {str(key): _plain_data(item, (*loc, str(key)), problems) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_data(item, (*loc, i), problems) for i, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    problems.append(
        Problem(f"{value!r:.60} is not plain data", ".".join(map(str, loc)), "text, number, list or mapping")
    )
    return None


def _sweep(
    document: Document,
    root: Path,
    function: Callable[..., Any] | None = None,
    allowed: tuple[str, ...] | None = None,
    given: _Given = _Given(),  # noqa: B008 (a constant)
) -> Sweep:
    from hpo.sweepfile import rules

    file, problems = _checked(document)
    data = _table(file.data, root, document, given, problems)
    code_digest = _code_digest(file, root, document, function, allowed, problems)
    _check_cluster(file, root, document, allowed, problems)
    if problems:
        raise InputError(*sorted(problems, key=_place))
    return Sweep(
        name=file.name,
        space=rules.space(file),
        metrics=tuple(map(rules.metric, file.metric)),
        extra_metrics=tuple(map(rules.metric, file.metrics)),
        data=data,
        model=file.model,
        objective=function or file.objective,
        fixed=file.fixed,
        validation=file.validation,
        search=rules.search(file),
        limits=file.limits,
        resources=file.resources,
        executor=file.executor,
        recheck=file.recheck,
        promote=file.promote,
        schedule=file.schedule,
        tracking=file.tracking,
        root=root,
        document=document.data,
        source=document.text,
        places={".".join(map(str, loc)): place for loc, (_, place) in document.positions.items()},
        code_digest=code_digest,
        allowed=allowed,
    )


def _checked(document: Document) -> tuple[File, list[Problem]]:
    """What the file says, and what is wrong with it, without a look at anything else."""
    from hpo.sweepfile import explain, rules, shape

    file, errors = shape.read(document.data)
    problems: list[Problem] = []
    if errors:
        schema = shape.json_schema()
        problems = [explain.explain(error, document, schema) for error in errors]
    broken = {str(part) for error in errors for part in error["loc"][:2]}
    for breach in rules.check(file, broken):
        problems.append(Problem(breach.message, document.where(breach.loc), breach.hint))
    return file, problems


def _place(problem: Problem) -> tuple[int, int]:
    """In the order of the file; those of a flag or of nowhere come first."""
    numbers = problem.where.rsplit(":", 2)[1:]
    return (int(numbers[0]), int(numbers[1])) if all(n.isdecimal() for n in numbers) and numbers[1:] else (0, 0)


def _table(data: Data | None, root: Path, document: Document, given: _Given, problems: list[Problem]) -> Data | None:
    """The table that the file names, on this disk and with its SHA-256; adds to the problems what is wrong with it."""
    if data is None:
        return None
    from hpo.data import source
    from hpo.sweepfile import lookup

    if problems and source.is_remote(data):  # no network for a file that is wrong anyway
        return data
    if given.prepared:
        return replace(data, path=Path(os.path.abspath(root / data.path)), digest=given.prepared)
    try:
        if source.is_remote(data):
            return source.fetch(data, root, Path(".hpo", "cache"))
        where = document.where(("data", "path"))
        try:
            path = lookup.data_file(str(data.path), root, where)
        except InputError:
            written = Path(os.path.realpath(root / data.path))
            pointer = source.missing(written) if written.is_relative_to(os.path.realpath(root)) else None
            if pointer is None:
                raise
            hint = f"`dvc pull {pointer.target.name}` brings it, or name a data.rev"
            raise InputError(Problem(f"{written} is under DVC and not here", where, hint)) from None
        return source.local(data, path, lookup.digest(path, where), given.dirty_data)
    except InputError as error:
        problems += [replace(p, where=_placed(p.where, document)) for p in error.problems]
        return data


def _placed(where: str, document: Document) -> str:
    """A dotted key of `data` as the place in the file where it stands."""
    return document.where(tuple(where.split("."))) if where.startswith("data.") else where


def _code_digest(
    file: File,
    root: Path,
    document: Document,
    function: Callable[..., Any] | None,
    allowed: tuple[str, ...] | None,
    problems: list[Problem],
) -> str:
    """The SHA-256 of the project's module that the file names; adds to the problems what is wrong with it."""
    from hpo.sweepfile import lookup

    try:
        if function is not None:
            return lookup.function_digest(function)
        if file.objective:
            module, _, name = file.objective.partition(":")
            return lookup.module_digest(module, root, document.where(("objective",)), name, allowed)
        if file.model:
            module, _, name = file.model.rpartition(".")
            trusted = None if allowed is None else (*lookup.LIBRARIES, *allowed)
            return lookup.module_digest(module, root, document.where(("model",)), name, trusted)
    except InputError as error:
        problems += error.problems
    return ""


def _check_cluster(
    file: File, root: Path, document: Document, allowed: tuple[str, ...] | None, problems: list[Problem]
) -> None:
    """The cluster that the file names may be reached, and its class imported."""
    from hpo.sweepfile import lookup, reach

    def written(key: str) -> str | None:
        return document.written(("executor", key))

    unspoken = [] if allowed is None else list(reach.unspoken(file.executor, written, allowed))
    problems += unspoken
    module, _, name = file.executor.cluster.rpartition(".")
    if module and "://" not in module and not unspoken:
        trusted = None if allowed is None else (*lookup.CLUSTER_LIBRARIES, *allowed)
        try:
            lookup.module_digest(module, root, document.where(("executor", "cluster")), name, trusted)
        except InputError as error:
            problems += error.problems
