"""The shape of a sweep file: which keys there are, which types and limits their values have.

Read by the loader to validate and by `python -m hpo.schema` for editors (`search_spaces/schema.json`). Both come
from one set of types, and limits come from the dataclasses of `hpo.sweep`, so that neither can drift from the
other. What a shape cannot say (low <= high, names that must exist) stands in `hpo.sweepfile.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from hpo.metric import Direction
from hpo.sweep import (
    Budget,
    Data,
    Execution,
    Limits,
    Named,
    Promote,
    Recheck,
    Resources,
    Search,
    Slice,
    Stop,
    Tls,
    Tracking,
    Validation,
)
from hpo.sweepfile.recurring import Schedule
from hpo.sweepfile.written import Bytes, Form, OneOrMore, OrFalse, Seconds, Text, Written, whole

METRIC = r"^[A-Za-z0-9_][A-Za-z0-9_. \-]{0,199}$"
EXACT = 2**53  # whole numbers up to here are the same as a float, which engines turn them into


def _scalar(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise PydanticCustomError("text", "{expected}", {"expected": "one value: text, a number, true, false or null"})
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("finite_number", "not finite")
    return value


Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema({"type": ["null", "boolean", "number", "string"]})]
Whole = Annotated[int, Ge(-EXACT), Le(EXACT), BeforeValidator(whole)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")]
Column = Annotated[str, MinLen(1)]
NonEmpty = Annotated[str, MinLen(1), MaxLen(100_000)]
# MLflow refuses "/" and ":" in the name of a registered model; a dot in front would hide the sweep's folder.
Title = Annotated[str, StringConstraints(pattern=r"^[^\s/:.\x00-\x1f\x7f][^/:\x00-\x1f\x7f]*$", max_length=250)]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]+$", max_length=250)]
CLUSTER = r"^(local|auto|ssh|[a-z]+://[^/\s@?#]+/?|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+)$"
Dotted = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)"


class NamedForm(BaseModel):
    """A name with options."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    name: Annotated[str, MinLen(1)] = Field(description="Its name; the other keys are its options")


NamedText = (
    Annotated[
        NamedForm,
        AfterValidator(lambda form: Named(form.name, form.model_extra or {})),
        Text(".", lambda text: {"name": text}, "a name, or {name: …, option: value}"),
    ]
    | None
)


class MetricForm(Form):
    """A metric with its direction."""

    name: Annotated[str, StringConstraints(pattern=METRIC)] = Field(
        description="A scorer's name (roc_auc), a plain loss (rmse, log_loss), or what a function returns"
    )
    direction: Direction | None = Field(None, description="Which way is better; known for scikit-learn's names")


MetricText = Annotated[MetricForm, Text(METRIC, lambda text: {"name": text}, "a metric's name")]
When = dict[str, Annotated[list[Scalar], MinLen(1), OneOrMore()]]


class ParameterForm(Form):
    log: bool = Field(False, description="Search on a log scale; low must be above 0")
    when: When = Field({}, description="Only used when another parameter has one of these values")


class FloatForm(ParameterForm):
    """A real number."""

    range: Annotated[list[float], MinLen(2), MaxLen(2)] = Field(alias="float", description="[low, high], both included")
    step: Annotated[float, Gt(0)] | None = Field(None, description="Only low, low + step, low + 2 step, …")


class IntForm(ParameterForm):
    """A whole number."""

    range: Annotated[list[Whole], MinLen(2), MaxLen(2)] = Field(alias="int", description="[low, high], both included")
    step: Annotated[int, Ge(1), BeforeValidator(whole)] = Field(1, description="Only every step-th value")


class ChoiceForm(Form):
    """One of some values, without an order."""

    values: Annotated[list[Scalar], MinLen(1), MaxLen(1000)] = Field(alias="choice", description="The values")
    when: When = Field({}, description="Only used when another parameter has one of these values")


SliceText = Annotated[
    Slice,
    Written(
        by="Column whose values make the slices; numbers are cut into quarters",
        tolerance="By how much it may be worse there",
        rows="Fewest rows of a slice that is looked at",
    ),
    Text(".", lambda text: {"by": text}, "a column, or {by: column, tolerance: …}"),
]


def _kind(value: Any) -> str | None:
    kinds = [kind for kind in ("float", "int", "choice") if isinstance(value, Mapping) and kind in value]
    return f"<{kinds[0]}>" if len(kinds) == 1 else None


ParameterText = Annotated[
    Annotated[FloatForm, Tag("<float>")] | Annotated[IntForm, Tag("<int>")] | Annotated[ChoiceForm, Tag("<choice>")],
    Discriminator(
        _kind,
        custom_error_type="text",
        custom_error_message="{expected}",
        custom_error_context={"expected": "{float: [low, high]}, {int: [low, high]} or {choice: [values]}"},
    ),
]


class File(Form):
    """A sweep: what is searched, on what, how it is judged and for how long."""

    name: Title = Field(description="MLflow experiment, and the registered model unless promote.model says otherwise")
    data: (
        Annotated[
            Data,
            Written(
                path=("CSV or Parquet file, relative to the folder of this file's project; or an address", Column),
                query=("A SELECT, when path is the address of a database (SQLAlchemy)", NonEmpty | None),
                rev=("Read the table as it was at this Git revision (DVC)", NonEmpty | None),
                repo=(
                    "Repository that holds path, a folder or an address; left out: this project's",
                    NonEmpty | None,
                ),
                remote=("DVC remote to read from; its repository's own when left out", NonEmpty | None),
                digest=(
                    "SHA-256 that the file must have; a remote one is then not fetched again",
                    Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")],
                ),
                target="Column to predict",
                holdout="Share of the rows that no trial sees; judges the promotion",
                task="What is predicted; inferred from the target when left out",
                drop="Columns that are not features",
                categorical="Columns to treat as categories although they look like numbers",
            ),
        ]
        | None
    ) = Field(None, description="The table that the model learns from")
    model: Annotated[str, StringConstraints(pattern=f"^{Dotted}+$", max_length=500)] | None = Field(
        None, description="An estimator by its dotted path, such as xgboost.XGBClassifier"
    )
    objective: (
        Annotated[str, StringConstraints(pattern=f"^{Dotted}*:[A-Za-z_][A-Za-z0-9_]*$", max_length=500)] | None
    ) = Field(None, description="Instead of a model: package.module:function, a function of (params, trial)")
    fixed: dict[Identifier, Any] = Field({}, description="Parameters that every trial gets")
    metric: Annotated[list[MetricText], MinLen(1), MaxLen(8), OneOrMore()] = Field(
        description="What is optimised: a metric, or a list of them (multi-objective)"
    )
    metrics: Annotated[list[MetricText], MaxLen(50)] = Field([], description="More metrics, logged and not optimised")
    validation: Annotated[
        Validation,
        Written(
            folds="Number of cross-validation folds",
            groups="Column whose equal values stay in one fold (and on one side of the hold-out)",
            time="Column to order by: each fold is validated on later rows than it learns from",
        ),
    ] = Field(default_factory=Validation, description="How a trial is scored")
    space: Annotated[dict[Identifier, ParameterText], MinLen(1), MaxLen(500)] = Field(
        description="The parameters to search"
    )
    search: Annotated[
        Search,
        Written(
            engine="Who proposes the parameters",
            sampler=(
                "optuna: auto tpe random gp cmaes qmc nsgaii grid brute_force; hyperopt: tpe anneal rand",
                NamedText,
            ),
            portfolio=(
                "How many configurations that were good on other data go first, beside the library's defaults; or off",
                Annotated[
                    Annotated[int, Ge(0), Le(100)] | None,
                    BeforeValidator(whole),
                    Text("^off$", lambda text: 0, "off, or how many"),
                ],
            ),
            enqueue=(
                "Guesses of your own, tried first; what one leaves open has its default, or the middle of its range",
                Annotated[list[dict[Identifier, Scalar]], MaxLen(1000)],
            ),
            warm_start=(
                "An earlier sweep (its id, or last), or a registered model or experiment in MLflow: its best "
                "configurations are tried first, and with the same space and data its results count",
                Annotated[str, MinLen(1)] | None,
            ),
            pruner=(
                "race (the default for a model) median percentile halving hyperband wilcoxon patience none",
                NamedText,
            ),
            trials="How many trials in all",
            timeout=("Longest time for the whole search: seconds or 30m, 1h30m", Seconds),
            budget=(
                "What the search may use, whichever is used up first",
                Annotated[
                    Budget,
                    Written(
                        trials="As search.trials",
                        timeout=("As search.timeout", Seconds),
                        cpu_hours="Hours that the trials may hold their threads for, all together",
                    ),
                ],
            ),
            stop=(
                "When to stop before the budget is used up",
                Annotated[
                    Stop,
                    Written(
                        patience="After so many trials without a better one",
                        regret="Once so little of the metric is left to gain, estimated at 95 % confidence",
                        noise="Once less is left to gain than so many standard errors of the best score over its folds",
                    ),
                ],
            ),
            seed="Same seed, same splits and same proposals",
            workers=(
                "Trials at a time; when left out, or auto: one per free core, or as many as the cluster has room for",
                Annotated[
                    Annotated[int, Ge(1), Le(1024)] | None,
                    BeforeValidator(whole),
                    Text("^auto$", lambda text: None, "auto, or how many"),
                ],
            ),
            threads="Threads of each trial",
        ),
    ] = Field(default_factory=Search, description="Who searches and for how long")
    limits: Annotated[
        Limits,
        Written(
            trial_timeout=("Longest time for one trial: seconds or 90s, 5m", Seconds),
            memory=("Memory of one trial: bytes or 512M, 4G", Bytes),
            retries="How often a trial is tried again that was lost through no fault of its parameters",
            failures="Stop after so many failed trials in a row",
            failure_share="Stop when a larger share of the trials has failed, once 20 have ended; 1: never",
        ),
    ] = Field(default_factory=Limits, description="What one trial may cost")
    resources: Annotated[
        Resources,
        Written(
            cpus="Cores of one trial; its threads unless search.threads says otherwise",
            gpus="Graphics processors of one trial; 0.25: four trials share one",
            memory=("Memory of one trial, and its cap unless limits.memory says otherwise: bytes or 512M, 4G", Bytes),
        ),
    ] = Field(default_factory=Resources, description="What one trial needs; so many trials run at a time as fit")
    executor: Annotated[
        Execution,
        Written(
            engine="Where trials run: this machine, or a cluster of Dask or Ray",
            cluster=(
                "local, or an address: tls://host:8786, ray://host:10001. Dask: ssh, or the dotted path of a class that"
                " makes a cluster, such as dask_jobqueue.SLURMCluster. Ray: auto, the one that this machine belongs to",
                Annotated[str, StringConstraints(pattern=CLUSTER, max_length=500)],
            ),
            tls=(
                "Certificates; when left out, those of Dask's own configuration, or none on Ray, which has a token",
                Annotated[
                    Tls,
                    Written(
                        ca="PEM file with the authority that signed the scheduler's and the workers' certificates",
                        cert="PEM file with our certificate",
                        key="PEM file with its private key",
                    ),
                ]
                | None,
            ),
            store="Folder or address (s3://…) from which each host fetches prepared data once",
            options=("Arguments of the class of Dask's that makes the cluster", dict[Identifier, Any]),
        ),
    ] = Field(default_factory=Execution, description="Where trials run")
    recheck: Annotated[
        Annotated[
            Recheck,
            Written(
                top="How many of the best trials are scored again, on fresh folds and seeds",
                rounds="How often; those that cannot win any more are left out",
            ),
        ]
        | None,
        OrFalse(),
    ] = Field(default_factory=Recheck, description="How the best trial is chosen and what it is worth; false: not")
    promote: Annotated[
        Annotated[
            Promote,
            Written(
                model=("Name of the registered model; this file's name when left out", Title | None),
                alias=("Alias that the best version carries", Alias),
                min_gain="How much better than the champion a model must be on the hold-out",
                confidence="How sure that gain must be, and each bound of a gate",
                floor="Least hold-out score, or greatest for a loss",
                metrics=(
                    "Metrics that must not get worse, each with what is tolerated",
                    dict[str, Annotated[float, Gt(0)]],
                ),
                slices=(
                    "Columns; where rows share a value of one, the model must not be shown to be worse",
                    Annotated[list[SliceText], MaxLen(20), OneOrMore()],
                ),
                latency="Longest time to predict one row, in seconds",
                size=("Largest model: bytes or 20M", Bytes),
                missing="Largest share of missing values in a column of the hold-out",
                unseen="Largest share of values in a column of the hold-out that training has not seen",
                approve="manual: never move the alias, leave a challenger for `hpo promote`",
                when_unscorable="What if the champion cannot be scored: keep it, or floor: be content with the floor",
            ),
        ]
        | None,
        OrFalse(),
    ] = Field(default_factory=Promote, description="How the best model is registered; false: not at all")
    tracking: Annotated[
        Tracking,
        Written(commands="Steer the search by the tag hpo.command on its run, set by whoever may edit runs in MLflow"),
    ] = Field(default_factory=Tracking, description="What MLflow is to the search beside a record")
    schedule: Schedule | None = Field(None, description="When python -m hpo.schedule runs this sweep again")


def read(data: Mapping[str, Any]) -> tuple[File, list[ErrorDetails]]:
    """The file's content as values, and what is wrong with its shape.

    Where something is wrong the values hold what is right, so that the rules can be asked about the rest: a
    parameter or a section with an error is left out.
    """
    try:
        return File.model_validate(data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    bad = {error["loc"][:2] if error["loc"][0] == "space" else error["loc"][:1] for error in errors}
    part = File.model_construct(name="", metric=[], space={})
    for key, value in data.items():
        if key not in File.model_fields or (key,) in bad:
            continue
        if key == "space":
            value = {name: shape for name, shape in value.items() if ("space", name) not in bad}
        if key != "space" or value:
            File.__pydantic_validator__.validate_assignment(part, key, value)
    return part, errors


class _Plain(GenerateJsonSchema):
    """No titles, which editors show instead of descriptions; and keys that fit no pattern are refused."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a sweep file."""
    schema = File.model_json_schema(schema_generator=_Plain)
    for form in schema["$defs"].values():
        form.pop("title")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
