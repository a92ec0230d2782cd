"""`python -m hpo.space check FILE`: what is in a search space, and what is odd about it.

A command for whoever has just written one; reached through `hpo.space`, whose name it has. It shows what the searchers
will see: each parameter with its range, its size, the library's default and its condition, and the line that `search`
begins with. All mistakes of the file are said at once, as by every command.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hpo.command import verb
from hpo.space import Choice, Parameter
from hpo.trial import Params

if TYPE_CHECKING:
    from hpo.sweep import Sweep

WIDE = 1000.0  # times its lowest value, from which on a range is better walked on a log scale
MANY = 50  # values of a choice that no budget tries
LOG_NEEDS = "most of its values are of one size; log: true gives small ones the same chance"


@click.group(
    "space",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: python -m hpo.space check xgb.yaml",
)
def command() -> None:
    """Look at a search space."""


@verb("check", "python -m hpo.space check xgb.yaml")
@click.argument("file")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override any key, as for hpo.search.")
@click.option("--allow-import", multiple=True, metavar="PACKAGE", help="Trust the code of this installed package, too.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def check(file: str, overrides: tuple[str, ...], allow_import: tuple[str, ...], as_object: bool) -> None:
    """Show what is in the space of FILE: size, defaults, conditions, and what is odd.

    Exit codes: 0 it can be searched, 2 it cannot, with all that is wrong.
    """
    from hpo import searchers
    from hpo.loader import load

    sweep = load(file, overrides, allow_import=allow_import)
    searchers.build(sweep)  # an engine may have something to say against it
    defaults, odd = searchers.defaults(sweep), list(warnings(sweep))
    if as_object:
        rows = [_as_json(parameter, defaults) for parameter in sweep.space.parameters]
        count = sweep.space.count()
        size = None if math.isinf(count) else count
        click.echo(json.dumps({"parameters": rows, "size": size, "begins": searchers.note(sweep), "warnings": odd}))
        return
    for line in _lines(sweep, defaults):
        click.echo(line)
    if begins := searchers.note(sweep):
        click.echo(f"begins with  {begins}")
    for warning in odd:
        click.echo(click.style("warning: ", fg="yellow", bold=True) + warning)


def warnings(sweep: Sweep) -> Iterator[str]:
    """What is allowed, and most likely not meant."""
    space, trials = sweep.space, sweep.search.trials
    for name in space.unreachable:
        yield f"{name} is never active: its conditions contradict each other"
    for parameter in space.parameters:
        name = parameter.name
        if parameter.size == 1:
            yield f"{name} has one value: it belongs into fixed"
        if isinstance(parameter, Choice):
            if parameter.size > MANY:
                yield f"{name} has {len(parameter.values)} values, which {trials} trials do not learn to tell apart"
        elif not parameter.log and parameter.low > 0 and parameter.high / parameter.low >= WIDE:
            yield f"{name} goes from {parameter.low:g} to {parameter.high:g}: {LOG_NEEDS}"
    if space.count() < trials:
        yield f"there are {int(space.count())} different configurations, and {trials} trials"


def _lines(sweep: Sweep, defaults: Params | None) -> Iterator[str]:
    space = sweep.space
    conditional = sum(bool(parameter.when) for parameter in space.parameters)
    count = space.count()
    size = "more configurations than can be counted" if math.isinf(count) else f"{int(count):,} configurations"
    about = f", {conditional} under a condition" if conditional else ""
    yield f"{len(space)} parameters{about}; {size}; {sweep.search.trials} trials"
    rows = [(p.name, *_range(p), _default(p, defaults), _when(p)) for p in space.parameters]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield f"  {'  '.join([*cells, row[4]])}".rstrip()


def _range(parameter: Parameter) -> tuple[str, str]:
    if isinstance(parameter, Choice):
        return "choice", ", ".join(map(str, parameter.values))
    step = f", step {parameter.step:g}" if parameter.step not in (None, 1) else ""
    kind = type(parameter).__name__.lower()
    return kind, f"{parameter.low:g} to {parameter.high:g}{', log' if parameter.log else ''}{step}"


def _default(parameter: Parameter, defaults: Params | None) -> str:
    if not defaults or parameter.name not in defaults:
        return ""
    value = defaults[parameter.name]
    return f"default {value:g}" if isinstance(value, float) else f"default {value}"


def _when(parameter: Parameter) -> str:
    told = [f"{parent} is {' or '.join(map(str, values))}" for parent, values in parameter.when.items()]
    return f"when {' and '.join(told)}" if told else ""


def _as_json(parameter: Parameter, defaults: Params | None) -> dict[str, Any]:
    from hpo.sweep import describe

    size = None if math.isinf(parameter.size) else parameter.size
    default = (defaults or {}).get(parameter.name)
    return {"name": parameter.name, **describe(parameter), "size": size, "default": default}


command.add_command(check)

if __name__ == "__main__":
    command(prog_name="python -m hpo.space")
