"""What every `python -m hpo.<verb>` has in common: errors become words and exit codes, help shows an example.

Used by the verbs. Bad input ends with its problems on stderr and exit code 2; a bug keeps its traceback.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import click

from hpo.errors import HpoError
from hpo.redact import redact

P = ParamSpec("P")


def verb(name: str, example: str) -> Callable[[Callable[P, int | None]], click.Command]:
    """A click command called `hpo.<name>`; the function returns its exit code."""

    def wrap(function: Callable[P, int | None]) -> click.Command:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                code = function(*args, **kwargs)
            except HpoError as error:
                click.echo(click.style("error: ", fg="red", bold=True) + redact(str(error)), err=True)
                sys.exit(error.exit_code)
            except KeyboardInterrupt:  # before or after a search; while it lasts, `hpo.interrupts` listens
                sys.exit(130)
            except BrokenPipeError:  # `… | head`: nobody reads on, nothing to tell
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.exit(0)
            sys.exit(code or 0)

        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        return click.command(name, context_settings=settings, epilog=f"Example: {example}")(call)

    return wrap


def sweeps(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """For the shell's Tab: the sweeps in the folder that the command looks into, and `last`."""
    folder = Path(str(context.params.get("folder") or ".hpo"))
    return [
        name for name in ("last", *sorted(path.stem for path in folder.glob("*.journal"))) if name.startswith(begun)
    ]


def columns() -> int | None:
    """The terminal's columns; None where there is none: whoever pipes it wants whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def run(command: click.Command) -> None:
    """What `python -m hpo.<verb>` calls."""
    command.main(prog_name=f"python -m hpo.{command.name}")


def lazy_group(verbs: dict[str, tuple[str, str]], **attributes: Any) -> click.Group:
    """`hpo <verb>`: each verb ("module:attribute", help) is imported only when it is called."""

    class Verbs(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(verbs)

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            if name not in verbs:
                return None
            import importlib

            module, _, attribute = verbs[name][0].partition(":")
            found: click.Command = getattr(importlib.import_module(module), attribute)
            return found

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, help) for name, (_, help) in verbs.items()])

    return Verbs(**attributes)
