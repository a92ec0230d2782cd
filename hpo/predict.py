"""`python -m hpo.predict MODEL --data rows.parquet --out predictions.parquet`: a registered model on a whole file.

A command for batches. The model's files are compared with what was registered before one of them is opened; rows are
read and written a piece at a time, in their order, and the output has its name only once it is whole.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from hpo.command import run, verb


@verb("predict", "python -m hpo.predict flight-delays@champion --data rows.parquet --out predictions.parquet")
@click.argument("model")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="CSV or Parquet with the model's columns.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV or Parquet to write.")
@click.option(
    "--output", type=click.Choice(["label", "probability", "both"]), default="label", show_default=True,
    help="Of a classifier: labels, a probability per class, or both.",
)  # fmt: skip
@click.option("--keep", multiple=True, metavar="COLUMN", help="Copy this column of the data, such as an id.")
@click.option("--rows", default=50_000, type=click.IntRange(1), help="Rows at a time.", show_default=True)
@click.option("--tracking-uri", metavar="URI", help="MLflow's address, if it is not the usual one.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def command(
    model: str, data: Path, out: Path, output: str, keep: tuple[str, ...], rows: int, tracking_uri: str | None,
    as_object: bool,
) -> int | None:  # fmt: skip
    """Predict with MODEL: NAME (its champion), NAME@alias, NAME/version, or the same behind models:/."""
    from hpo.data.stream import Writer, columns_of, pieces
    from hpo.errors import InputError, Problem
    from hpo.tracking import default_uri, settle_environment

    columns = columns_of(data)
    if missing := [name for name in keep if name not in columns]:
        raise InputError(Problem(f"there is no column {missing[0]!r} in {data}", "--keep"))
    settle_environment()
    from hpo import registry
    from hpo.tracking.server import answered, connect

    client = connect(tracking_uri or default_uri())
    with tempfile.TemporaryDirectory() as folder, Writer(out) as writer:
        with answered():
            version = registry.find(client, model)
            try:
                registry.fetch_version(client, version, Path(folder))
                loaded = registry.load(Path(folder), tuple(columns))
            except registry.UnusableError as error:
                raise InputError(Problem(f"version {registry.id_of(version)} of {version.name!r}: {error}")) from None
        for piece in pieces(data, rows):
            writer.write(_predict(loaded, piece, output, keep))
    said = {"model": version.name, "version": registry.id_of(version), "rows": writer.rows, "out": str(out)}
    click.echo(
        json.dumps(said) if as_object else f"{writer.rows} rows by {version.name} version {said['version']}: {out}"
    )
    return None


def _predict(model: Any, rows: Any, output: str, keep: tuple[str, ...]) -> Any:
    """A data frame: `prediction`, and `probability_<class>` where asked for, after the columns that are kept."""
    found = rows[list(keep)].reset_index(drop=True)
    rows = rows[model.metadata.get_input_schema().input_names()]  # MLflow warns of others, piece by piece
    if output in ("label", "both"):
        found["prediction"] = model.predict(rows)
    if output in ("probability", "both"):
        shares = model.predict(rows, params={"output": "probability"})
        for name in shares.columns:
            found[f"probability_{name}"] = shares[name].to_numpy()
    return found


if __name__ == "__main__":
    run(command)
