"""Units for other schedulers: systemd, cron, Kubernetes and GitHub, each of which only has to wake `tick`. Pure text.

Written by `hpo.schedule.install`. Whether a slot is due is the ledger's to say, so a unit may wake too often and never
too seldom: where a scheduler knows neither our zone nor cron's way with daylight saving, it gets the moments in UTC
that slots have in two years, under every offset of the zone. Exit code 75 asks to be woken again soon.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, NamedTuple

from hpo.errors import InputError, Problem
from hpo.recurrence import Recurrence

HEADER = "# Written by `python -m hpo.schedule install`; `uninstall` takes it away again."
FINAL = (1, 2, 3)  # the exit codes of `tick` after which trying again soon is of no use
PAUSE = 300  # seconds until a tick that left something is woken again
YEARS = 2
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Project:
    """Where and how `tick` is called. `arguments` follow it; `schedules` are those of its files, by name."""

    folder: str
    python: str
    arguments: tuple[str, ...]
    schedules: Mapping[str, tuple[Recurrence, str]]

    @property
    def slug(self) -> str:
        return slug(self.folder.rstrip("/").rpartition("/")[2])

    @property
    def command(self) -> list[str]:
        return [self.python, "-m", "hpo.schedule", "tick", *self.arguments]


class Times(NamedTuple):
    """Every combination of these, in UTC. `days` from 0, Monday; empty: every day."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]


def slug(text: str) -> str:
    """A name as DNS and systemd allow it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "sweeps"


def times(recurrences: Collection[Recurrence], begin: float) -> list[Times]:
    """All slots of the years to come, and some moments more. Days of the week only where nothing else restricts the
    day: next year a date is on another one."""
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    end = begin + YEARS * 366 * 86400
    for recurrence in recurrences:
        by_day = recurrence.expression.split()[2:4] == ["*", "*"] and not re.search("[L#]", recurrence.expression)
        for planned in takewhile(lambda planned: planned < end, recurrence.after(begin)):
            moment = datetime.fromtimestamp(planned, UTC)
            found[moment.hour, moment.minute] |= {moment.weekday()} if by_day else {*range(7)}
    hours: dict[tuple[int, frozenset[int]], list[int]] = defaultdict(list)
    for (hour, minute), days in sorted(found.items()):
        hours[minute, frozenset(days)].append(hour)
    minutes: dict[tuple[tuple[int, ...], frozenset[int]], list[int]] = defaultdict(list)
    for (minute, days_of), of_minute in sorted(hours.items(), key=lambda item: item[0][0]):
        minutes[tuple(of_minute), days_of].append(minute)
    return [Times(tuple(m), h, () if len(d) == 7 else tuple(sorted(d))) for (h, d), m in minutes.items()]


def systemd(project: Project, begin: float) -> dict[str, str]:
    """A timer and the service that it starts, by file name. `Persistent`: what came while the machine was off is made
    up for; `Restart`: a slot that failed is tried again when its time has come."""
    name = f"hpo-schedule-{project.slug}"
    recurrences = [recurrence for recurrence, _ in project.schedules.values()]
    moments = "\n".join(f"OnCalendar={_on_calendar(moment)}" for moment in times(recurrences, begin))
    service = f"""{HEADER}
[Unit]
Description=Scheduled sweeps in {_percent(project.folder)}

[Service]
Type=oneshot
WorkingDirectory={_percent(project.folder)}
EnvironmentFile=-{_percent(project.folder)}/.hpo/schedule.env
ExecStart={" ".join(_quoted(word) for word in project.command)}
TimeoutStartSec=infinity
KillMode=mixed
TimeoutStopSec=60
Restart=on-failure
RestartSec={PAUSE}
RestartPreventExitStatus={" ".join(map(str, FINAL))}
Nice=10
"""
    timer = f"""{HEADER}
[Unit]
Description=Wakes the scheduled sweeps in {_percent(project.folder)}

[Timer]
{moments}
Persistent=true
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
    return {f"{name}.service": service, f"{name}.timer": timer}


def cron(project: Project) -> str:
    """Every five minutes, whatever zone the machine is in; a tick that is still at work holds the lock."""
    tick = shlex.join(project.command)
    line = f"cd {shlex.quote(project.folder)} && mkdir -p .hpo && flock -n .hpo/cron.lock {tick}"
    begin, end = marks(project)
    escaped = f"{line} >> .hpo/schedule.log 2>&1".replace("%", r"\%")
    return f"{begin}\n*/5 * * * * {escaped}\n{end}\n"


def marks(project: Project) -> tuple[str, str]:
    """The lines around ours in a crontab that belongs to others as well."""
    return f"# hpo.schedule {project.folder}: begin", f"# hpo.schedule {project.folder}: end"


def kubernetes(project: Project, image: str) -> list[dict[str, Any]]:
    """A CronJob for each schedule. Ledger and journals outlive the pod: the secret `hpo` holds the environment
    (HPO_LEDGER, MLFLOW_TRACKING_URI), the claim `hpo` the folder .hpo."""
    return [
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": f"hpo-{slug(name)}", "labels": {"app.kubernetes.io/name": "hpo-schedule"}},
            "spec": {
                "schedule": _plain(recurrence.expression),
                "timeZone": recurrence.timezone,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": 3600,
                "successfulJobsHistoryLimit": 3,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {"spec": _job(file, image)},
            },
        }
        for name, (recurrence, file) in project.schedules.items()
    ]


def _job(file: str, image: str) -> dict[str, Any]:
    """Its own back-off asks again while the slot waits for its next try; what failed for good is not asked again."""
    container = {
        "name": "tick",
        "image": image,
        "workingDir": "/work",
        "command": ["python", "-m", "hpo.schedule", "tick", file],
        "envFrom": [{"secretRef": {"name": "hpo"}}],
        "volumeMounts": [{"name": "state", "mountPath": "/work/.hpo"}],
        "resources": {"requests": {"cpu": "2", "memory": "4Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "backoffLimit": 12,
        "podFailurePolicy": {
            "rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [*FINAL]}}],
        },
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 60,
                "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
                "containers": [container],
                "volumes": [{"name": "state", "persistentVolumeClaim": {"claimName": "hpo"}}],
            },
        },
    }


def github(project: Project, files: Sequence[str], version: str, begin: float) -> dict[str, Any]:
    """A workflow. The ledger is PostgreSQL: nothing of a runner outlives its run."""
    wake = "\n".join([
        "for pause in 0 300 600 1200; do",
        '  sleep "$pause"',
        f"  python -m hpo.schedule tick {shlex.join(files)} && exit 0",
        "  code=$?",
        '  [ "$code" = 75 ] || exit "$code"',
        "done",
        "exit 75",
    ])  # fmt: skip
    secrets = ("HPO_LEDGER", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    moments = times([recurrence for recurrence, _ in project.schedules.values()], begin)
    return {
        "name": "hpo schedule",
        "on": {"schedule": [{"cron": _cron(moment)} for moment in moments], "workflow_dispatch": {}},
        "concurrency": {"group": "hpo-schedule", "cancel-in-progress": False},
        "permissions": {"contents": "read"},
        "jobs": {
            "tick": {
                "runs-on": "ubuntu-latest",
                "timeout-minutes": 355,
                "env": {name: f"${{{{ secrets.{name} }}}}" for name in secrets},
                "steps": [
                    {"uses": "actions/checkout@v4"},
                    {"uses": "actions/setup-python@v5", "with": {"python-version": "3.12"}},
                    {"run": f"pip install 'hpo[server]=={version}'"},
                    {"run": wake},
                ],
            }
        },
    }


def _on_calendar(moment: Times) -> str:
    days = f"{','.join(_DAYS[day] for day in moment.days)} " if moment.days else ""
    hours = "*" if len(moment.hours) == 24 else ",".join(f"{hour:02}" for hour in moment.hours)
    minutes = "*" if len(moment.minutes) == 60 else ",".join(f"{minute:02}" for minute in moment.minutes)
    return f"{days}*-*-* {hours}:{minutes}:00 UTC"


def _cron(moment: Times) -> str:
    minutes = "*" if len(moment.minutes) == 60 else ",".join(map(str, moment.minutes))
    hours = "*" if len(moment.hours) == 24 else ",".join(map(str, moment.hours))
    days = ",".join(str((day + 1) % 7) for day in moment.days) or "*"
    return f"{minutes} {hours} * * {days}"


def _plain(expression: str) -> str:
    """As Kubernetes reads it: there, Sunday is 0 and not 7."""
    *fields, days = expression.split()
    if re.search(r"[L#W]", expression.upper().replace("WED", "").replace("JUL", "")) or re.search(r"-7/", days):
        hint = "write the days out, or use another scheduler"
        raise InputError(Problem(f"Kubernetes cannot read {expression!r}", "schedule.cron", hint))
    parts = [re.sub(r"-7$", "-6,0", part) if part != "7" else "0" for part in days.split(",")]
    return " ".join([*fields, ",".join(dict.fromkeys(",".join(parts).split(",")))])


def _quoted(word: str) -> str:
    """A word of a systemd command line: neither a specifier nor a variable."""
    escaped = _percent(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./$-]+", escaped) else f'"{escaped}"'


def _percent(text: str) -> str:
    return text.replace("%", "%%")
