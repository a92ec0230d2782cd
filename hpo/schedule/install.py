"""`hpo.schedule install` and `uninstall`: have systemd, cron, Kubernetes or GitHub wake the project's `tick`.

Commands for people, once a project. What is written carries our mark and is replaced or taken away as a whole; what
others have written is left alone. Nothing is started from here: the next command is said, for the person to give.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import click

from hpo.command import verb
from hpo.errors import InputError, Problem
from hpo.schedule.found import schedules
from hpo.schedule.units import HEADER, Project, cron, github, kubernetes, marks, slug, systemd

Kind = Literal["systemd", "cron", "k8s", "github"]
WORKFLOW = Path(".github/workflows/hpo-schedule.yml")


def _kinds(function: Callable[..., Any]) -> Callable[..., Any]:
    for kind in reversed(get_args(Kind)):
        function = click.option(f"--{kind}", "kind", flag_value=kind, help=_HELP[kind])(function)
    return function


_HELP = {
    "systemd": "A timer and a service of your own user.",
    "cron": "A line in your crontab.",
    "k8s": "A CronJob for each schedule, printed for kubectl.",
    "github": f"A workflow, {WORKFLOW}.",
}


@verb("install", "python -m hpo.schedule install --systemd")
@_kinds
@click.option("--print", "only_print", is_flag=True, help="Print what would be written, and write nothing.")
@click.option("--image", metavar="IMAGE", help="For Kubernetes: with Python, hpo and the project in /work.")
@click.argument("files", nargs=-1, metavar="[FILES]…")
def install(kind: Kind | None, only_print: bool, image: str | None, files: tuple[str, ...]) -> None:
    """Have another scheduler wake the sweeps of this folder; what it starts is `tick`."""
    project = _project(files)
    if kind is None:
        raise InputError(Problem("there is no default", hint="--systemd, --cron, --k8s or --github"))
    if kind == "k8s":
        if image is None:
            raise InputError(
                Problem("Kubernetes needs an image", "--image", "with Python, hpo and the project in /work")
            )
        click.echo(_yaml(*kubernetes(project, image)), nl=False)
        return
    made = _made(kind, project, files)
    if only_print:
        click.echo("\n".join(text for text in made.values()), nl=False)
    elif kind == "cron":
        _crontab(project, made["crontab"])
        click.echo("the crontab has the line; what tick says goes to .hpo/schedule.log")
    else:
        for path, text in made.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, encoding="utf-8")
            click.echo(f"written: {path}")
        click.echo(_next(kind, project))


@verb("uninstall", "python -m hpo.schedule uninstall --systemd")
@_kinds
def uninstall(kind: Kind | None) -> None:
    """Take away what `install` has written for this folder."""
    project = Project(str(Path.cwd()), sys.executable, (), {})
    if kind == "cron":
        _crontab(project, "")
        click.echo("the crontab has no line for this folder any more")
    elif kind == "k8s":
        click.echo("kubectl delete cronjobs -l app.kubernetes.io/name=hpo-schedule")
    elif kind is None:
        raise InputError(Problem("there is no default", hint="--systemd, --cron, --k8s or --github"))
    else:
        paths = [WORKFLOW] if kind == "github" else [_units() / f"hpo-schedule-{project.slug}.{s}" for s in _SUFFIXES]
        ours = [path for path in paths if path.exists() and path.read_text(encoding="utf-8").startswith(HEADER)]
        for path in ours:
            path.unlink()
            click.echo(f"removed: {path}")
        if kind == "systemd" and ours:
            click.echo(f"now:  systemctl --user disable --now {ours[-1].name}; systemctl --user daemon-reload")
        if not ours:
            click.echo("there was nothing of ours")


_SUFFIXES = ("service", "timer")


def _project(files: tuple[str, ...]) -> Project:
    found = {one.name: (one.recurrence, os.path.relpath(one.file)) for one in schedules(files)}
    named = {slug(name): name for name in found}
    if lost := {*found} - {*named.values()}:
        name = lost.pop()
        raise InputError(Problem(f"{name!r} and {named[slug(name)]!r} would both be called {slug(name)}"))
    return Project(str(Path.cwd()), sys.executable, files, found)


def _made(kind: Kind, project: Project, files: tuple[str, ...]) -> dict[str, str]:
    """Text by path."""
    if kind == "cron":
        return {"crontab": cron(project)}
    if kind == "github":
        workflow = github(project, files, version("hpo"), time.time())
        return {str(WORKFLOW): f"{HEADER}\n{_yaml(workflow)}"}
    return {str(_units() / name): text for name, text in systemd(project, time.time()).items()}


def _next(kind: Kind, project: Project) -> str:
    if kind == "github":
        return (
            "now:  commit it; the secrets HPO_LEDGER (PostgreSQL) and MLFLOW_TRACKING_URI are read from the repository"
        )
    timer = f"hpo-schedule-{project.slug}.timer"
    return (
        f"now:  systemctl --user daemon-reload && systemctl --user enable --now {timer}\n"
        f"      loginctl enable-linger    (so that it runs while nobody is logged in)\n"
        f"      environment (HPO_LEDGER, MLFLOW_TRACKING_URI, webhooks) comes from .hpo/schedule.env"
    )


def _units() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _crontab(project: Project, block: str) -> None:
    """Our block replaced, all other lines as they were."""
    if shutil.which("crontab") is None:
        raise InputError(Problem("there is no crontab on this machine", hint="install cron, or use --print"))
    listed = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    kept = without(listed.stdout if listed.returncode == 0 else "", marks(project))
    subprocess.run(["crontab", "-"], input=kept + block, text=True, check=True)


def without(text: str, marks: tuple[str, str]) -> str:
    """The lines that are not between the marks."""
    begin, end = marks
    lines, ours = [], False
    for line in text.splitlines():
        ours = ours or line == begin
        if not ours:
            lines.append(line)
        ours = ours and line != end
    return "".join(f"{line}\n" for line in lines)


def _yaml(*documents: dict[str, Any]) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import walk_tree

    writer, out = YAML(), io.StringIO()
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.width = 120
    for document in documents:
        walk_tree(document)  # text of several lines is written as it is read
    writer.dump_all(documents, out)
    return out.getvalue()
