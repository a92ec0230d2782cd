from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

import pytest

from hpo.errors import InputError
from hpo.recurrence import Recurrence
from hpo.schedule.units import YEARS, Project, Times, cron, github, kubernetes, slug, systemd, times

BEGIN = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
BERLIN = "Europe/Berlin"


def project(folder: str = "/srv/100% ours", schedules: dict[str, Recurrence] | None = None) -> Project:
    given = schedules or {"Flight delays": Recurrence("0 3 * * 1", BERLIN)}
    files = tuple(f"{slug(name)}.yaml" for name in given)
    made = {name: (one, file) for (name, one), file in zip(given.items(), files, strict=True)}
    return Project(folder, "/usr/bin/python3", files, made)


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("0 3 * * 1", BERLIN), ("30 2 * * *", BERLIN), ("@hourly", BERLIN), ("0 0 1 * *", "America/New_York"),
        ("15,45 22 * * 1-5", "Australia/Lord_Howe"), ("@yearly", "Asia/Kolkata"), ("0 3 * * 1#1", BERLIN),
    ],
)  # fmt: skip
def test_the_moments_in_utc_miss_no_slot(expression: str, zone: str) -> None:
    """Also not in the years after those that were looked at."""
    recurrence = Recurrence(expression, zone)
    moments = times([recurrence], BEGIN)
    for planned in takewhile(lambda planned: planned < BEGIN + 2 * YEARS * 366 * 86400, recurrence.after(BEGIN)):
        at = datetime.fromtimestamp(planned, UTC)
        assert any(
            at.minute in m.minutes and at.hour in m.hours and (not m.days or at.weekday() in m.days) for m in moments
        )


def test_a_weekly_slot_wakes_twice_a_week_at_most() -> None:
    assert times([Recurrence("0 3 * * 1", BERLIN)], BEGIN) == [Times((0,), (1, 2), (0,))]
    assert times([Recurrence("@hourly")], BEGIN) == [Times((0,), tuple(range(24)), ())]


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    both = {"weekly": Recurrence("0 3 * * 1", BERLIN), "hourly": Recurrence("@hourly", BERLIN)}
    for made in (systemd(project(), BEGIN), systemd(project(str(tmp_path), both), BEGIN)):
        service, timer = sorted(made)
        assert (Path(service).suffix, Path(timer).suffix) == (".service", ".timer")
        assert "Persistent=true" in made[timer]
        assert "Type=oneshot" in made[service]
        for name, text in made.items():
            (tmp_path / name).write_text(text)
        if (analyze := shutil.which("systemd-analyze")) is not None:
            calendars = re.findall("OnCalendar=(.*)", made[timer])
            subprocess.run([analyze, "calendar", *calendars], check=True, stdout=subprocess.DEVNULL)
            done = subprocess.run(
                [analyze, "verify", "--man=no", str(tmp_path / timer)], capture_output=True, text=True,
                env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
            )  # fmt: skip
            ours = [line for line in done.stderr.splitlines() if "hpo-schedule" in line]
            assert not ours


def test_a_command_line_of_systemd_takes_every_folder() -> None:
    made = systemd(Project('/srv/a "b" $HOME 100%', "/opt/my python", ("x y.yaml",), project().schedules), BEGIN)
    service = next(text for name, text in made.items() if name.endswith(".service"))
    assert 'WorkingDirectory=/srv/a "b" $HOME 100%%\n' in service
    assert 'ExecStart="/opt/my python" -m hpo.schedule tick "x y.yaml"\n' in service


def test_a_crontab_line_does_what_it_says(tmp_path: Path) -> None:
    """Run by the shell as cron would, with cron's own escape undone."""
    folder = tmp_path / "50% off; it's"
    folder.mkdir()
    echo = tmp_path / "my python"
    echo.write_text('#!/bin/sh\necho "$@"\n')
    echo.chmod(0o755)
    text = cron(Project(str(folder), str(echo), ("x y.yaml",), {}))
    begin, line, end = text.splitlines()
    assert (begin[:14], end[:14]) == ("# hpo.schedule", "# hpo.schedule")
    assert line.startswith("*/5 * * * * ")
    assert not re.search(r"(?<!\\)%", line)
    subprocess.run(["sh", "-c", line.removeprefix("*/5 * * * * ").replace(r"\%", "%")], check=True)
    assert (folder / ".hpo" / "schedule.log").read_text() == "-m hpo.schedule tick x y.yaml\n"


def test_a_cronjob_is_one_that_kubernetes_takes() -> None:
    """The rules of batch/v1 that such files break: names, time zone, deadlines, and what a failure policy needs."""
    two = {"Flight delays": Recurrence("0 3 * * 5-7", BERLIN), "b": Recurrence("@daily")}
    jobs = kubernetes(project(schedules=two), "registry.example/hpo:1")
    assert [job["metadata"]["name"] for job in jobs] == ["hpo-flight-delays", "hpo-b"]
    assert [job["spec"]["schedule"] for job in jobs] == ["0 3 * * 5-6,0", "0 0 * * *"]
    for job in jobs:
        spec = job["spec"]
        assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
        assert len(job["metadata"]["name"]) <= 52  # eleven more are added for a job's own
        assert spec["timeZone"] in (BERLIN, "UTC")
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["startingDeadlineSeconds"] >= 10  # less is never met: it is looked every ten seconds
        inner = spec["jobTemplate"]["spec"]
        pod = inner["template"]["spec"]
        assert pod["restartPolicy"] == "Never"  # what podFailurePolicy asks for
        (rule,) = inner["podFailurePolicy"]["rules"]
        assert rule["onExitCodes"]["values"] == sorted({*rule["onExitCodes"]["values"]} - {0})
        mounts = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("expression", ["0 3 L * *", "0 3 * * 1#1", "0 3 * * 1-7/2"])
def test_what_kubernetes_cannot_read_is_refused(expression: str) -> None:
    with pytest.raises(InputError, match="Kubernetes cannot read"):
        kubernetes(project(schedules={"a": Recurrence(expression)}), "x")
    assert kubernetes(project(schedules={"a": Recurrence("0 3 * JUL WED")}), "x")


def test_a_workflow_wakes_at_the_moments_and_asks_again_after_75(tmp_path: Path) -> None:
    made = github(project(), ["flights.yaml"], "1.0", BEGIN)
    assert made["on"]["schedule"] == [{"cron": "0 1,2 * * 1"}]
    script = made["jobs"]["tick"]["steps"][-1]["run"].replace('sleep "$pause"', 'echo "$pause"')
    for codes, code, pauses in (("75 75 0", 0, 3), ("3", 3, 1), ("75 75 75 75", 75, 4)):
        (tmp_path / "codes").write_text("\n".join(codes.split()) + "\n")
        (tmp_path / "python").write_text(
            "#!/bin/sh\nread -r code < codes\ntail -n +2 codes > rest; mv rest codes\nexit $code\n"
        )
        (tmp_path / "python").chmod(0o755)
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True
        )
        assert (done.returncode, len(done.stdout.splitlines())) == (code, pauses)


def test_a_name_is_one_that_everybody_takes() -> None:
    assert slug("Flight delays (2026)") == "flight-delays-2026"
    assert slug("…") == "sweeps"
    assert len(slug("x" * 300)) <= 40
