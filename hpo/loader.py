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
from typing import TYPE_CHECKING, Any

from hpo.errors import InputError, Problem, did_you_mean
from hpo.sweep import Sweep
from hpo.sweepfile.document import Document, Loc

if TYPE_CHECKING:
    from hpo.sweepfile.shape import File

FOLDER = "search_spaces"


def load(path_or_name: str | Path, overrides: Sequence[str] = (), *, allow_import: Sequence[str] = ()) -> Sweep:
    """The sweep in a file: a path, or a name in `search_spaces/`, or the name of a bundled one.

    `overrides` are "dotted.key=value". Code comes from the file's project, and models from the well-known libraries;
    `allow_import` names further packages to trust. Raises InputError with everything that is wrong.
    """
    path = find_space(path_or_name)
    document = Document.read(path, _display(path)).override(*overrides)
    folder = Path(os.path.abspath(path)).parent
    return _sweep(document, folder.parent if folder.name == FOLDER else folder, allowed=tuple(allow_import))


def build(**document: Any) -> Sweep:
    """A sweep from Python: the keys are those of the file; `objective` may be a function.

    Relative paths start in the working folder. Who writes Python may name any code.
    """
    function = document.get("objective")
    if not callable(function):
        return from_document(document, Path.cwd())
    if not hasattr(function, "__qualname__"):
        hint = "constant arguments belong into fixed"
        raise InputError(Problem(f"{function!r:.60} is not a function", "objective", hint))
    name = re.sub(r"\W", "_", function.__qualname__.rpartition(".")[2])  # a lambda's has < and >
    return from_document({**document, "objective": f"{function.__module__}:{name}"}, Path.cwd(), function)


def from_document(
    document: Mapping[str, Any],
    root: Path,
    function: Callable[..., Any] | None = None,
    allowed: Sequence[str] | None = None,
) -> Sweep:
    """The sweep of a document, as `sweep.document` holds it; `function` is what its objective stands for."""
    problems: list[Problem] = []
    data = _plain_data(dict(document), (), problems)
    if problems:
        raise InputError(*problems)
    return _sweep(Document(data, "the sweep"), root, function, None if allowed is None else tuple(allowed))


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
) -> Sweep:
    from hpo.sweepfile import explain, rules, shape

    file, errors = shape.read(document.data)
    problems: list[Problem] = []
    if errors:
        schema = shape.json_schema()
        problems = [explain.explain(error, document, schema) for error in errors]
    broken = {str(part) for error in errors for part in error["loc"][:2]}
    for breach in rules.check(file, broken):
        problems.append(Problem(breach.message, document.where(breach.loc), breach.hint))
    digests = _digests(file, root, document, function, allowed, problems)
    if problems:
        raise InputError(*sorted(problems, key=_place))
    data = file.data
    if data is not None:
        data = replace(data, path=Path(os.path.realpath(root / data.path)), digest=digests["data"])
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
        executor=file.executor,
        promote=file.promote,
        root=root,
        document=document.data,
        source=document.text,
        places={".".join(map(str, loc)): place for loc, (_, place) in document.positions.items()},
        code_digest=digests["code"],
        allowed=allowed,
    )


def _place(problem: Problem) -> tuple[int, int]:
    """In the order of the file; those of a flag or of nowhere come first."""
    numbers = problem.where.rsplit(":", 2)[1:]
    return (int(numbers[0]), int(numbers[1])) if all(n.isdecimal() for n in numbers) and numbers[1:] else (0, 0)


def _digests(
    file: File,
    root: Path,
    document: Document,
    function: Callable[..., Any] | None,
    allowed: tuple[str, ...] | None,
    problems: list[Problem],
) -> dict[str, str]:
    """What the file names on disk, by its SHA-256; adds to the problems what is not there."""
    from hpo.sweepfile import lookup

    found = {"data": "", "code": ""}

    def data() -> None:
        if file.data is not None:
            where = document.where(("data", "path"))
            found["data"] = lookup.digest(lookup.data_file(str(file.data.path), root, where), where)

    def code() -> None:
        if function is not None:
            found["code"] = lookup.function_digest(function)
        elif file.objective:
            module, _, name = file.objective.partition(":")
            found["code"] = lookup.module_digest(module, root, document.where(("objective",)), name, allowed)
        elif file.model:
            module, _, name = file.model.rpartition(".")
            trusted = None if allowed is None else (*lookup.LIBRARIES, *allowed)
            found["code"] = lookup.module_digest(module, root, document.where(("model",)), name, trusted)

    def cluster() -> None:
        module, _, name = file.executor.cluster.rpartition(".")
        if module and "://" not in module:
            trusted = None if allowed is None else (*lookup.CLUSTER_LIBRARIES, *allowed)
            lookup.module_digest(module, root, document.where(("executor", "cluster")), name, trusted)

    for look in (data, code, cluster):
        try:
            look()
        except InputError as error:
            problems += error.problems
    return found
