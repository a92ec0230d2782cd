"""The text of a report: verdict, figures at a glance, parameters, failures, data, and how to make it again.

Called by `hpo.pages`. Everything that came from a person, a file or an exception is escaped here, where it becomes
HTML; what was secret in it was taken out before it came into the journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from hpo.metric import Metric
from hpo.pages.view import View, said, value
from hpo.phrase import between, duration
from hpo.redact import redact
from hpo.trial import Failure, Trial
from hpo.verdict import Evidence

KINDS = 8  # of failures that are shown
COLUMNS = 60
LOG = 6000  # bytes of a log, its end


def e(words: object) -> str:
    return escape(str(words))


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), kind: str = "") -> str:
    """Cells are HTML already."""
    top = f"<thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>'


def verdict(view: View) -> str:
    """What became of it, in one line, with the evidence under it."""
    promotion = view.facts.get("promotion") or {}
    kind, said = headline(view)
    reasons = "".join(f"<li>{e(reason)}</li>" for reason in promotion.get("reasons") or ())
    if stopped := view.facts.get("stopped"):
        reasons += f"<li>the search ended early: {e(stopped)}</li>"
    lines = ""
    if found := promotion.get("evidence"):
        evidence = Evidence.from_json(found)
        lines = f"<pre>{e(chr(10).join(evidence.lines()))}</pre>" if evidence.lines() else ""
    return f'<section class="verdict {kind}" id="verdict"><h2>{e(said)}</h2><ul>{reasons}</ul>{lines}</section>'


def headline(view: View) -> tuple[str, str]:
    """(good, warn, bad or plain; the verdict in a line)."""
    promotion = view.facts.get("promotion") or {}
    if promotion.get("error"):
        return "bad", f"Not promoted: {e(redact(str(promotion['error'])))}"
    if promotion:
        name = f"{promotion['model']} version {promotion['version']}"
        if promotion["promoted"]:
            return "good", f"Promoted: {name} is the {promotion['alias']}"
        return "warn", f"Not promoted: {name} stays a challenger"
    if view.best is None:
        return "bad", "No trial has completed" if view.state != "running" else "No trial has completed yet"
    if view.state != "finished":
        return "warn", f"{view.state.capitalize()}: the best so far is trial {view.best.number}"
    if len(view.metrics) > 1:
        numbers = ", ".join(str(trial.number) for trial in view.front[:12]) + (", …" if len(view.front) > 12 else "")
        return "plain", f"On the Pareto front: trial{'s' if len(view.front) > 1 else ''} {numbers}"
    return "plain", f"Trial {view.best.number} is the best; no model was to be promoted"


def tiles(view: View) -> str:
    cells = "".join(
        f'<div class="tile"><span>{e(name)}</span><b>{e(number)}</b><small>{e(note)}</small></div>'
        for name, number, note in figures(view)
    )
    return f'<section class="tiles">{cells}</section>'


def figures(view: View) -> list[tuple[str, str, str]]:
    """(name, number, note) of the few numbers that everybody asks for."""
    found: list[tuple[str, str, str]] = []
    if (best := view.best) is not None:
        for index, metric in enumerate(view.metrics):
            leader = best if index == 0 else view.leader(index) or best
            number = value(leader, index)
            where = "in the search" if len(view.metrics) == 1 else f"trial {leader.number}"
            found.append((f"{metric.name}, {where}", f"{number:.5g}", _gain(view, metric, index, number)))
    if estimate := view.facts.get("estimate"):
        sure = between(estimate, 5)
        found.append((f"{estimate['metric']}, fresh folds", f"{estimate['value']:.5g}", sure))
    promotion = view.facts.get("promotion") or {}
    theirs = promotion.get("champion_scores") or {}
    for name, score in (promotion.get("scores") or {}).items():
        beside = f"champion {theirs[name]:.5g}" if theirs.get(name) is not None else "rows that no trial has seen"
        found.append((f"{name}, hold-out", f"{score:.5g}", beside))
    counts = {
        state: sum(t.state == state for t in view.trials) for state in ("complete", "pruned", "failed", "running")
    }
    found.append(("trials", str(len(view.trials)), ", ".join(f"{n} {state}" for state, n in counts.items() if n)))
    busy = sum(trial.seconds for trial in view.trials)
    found.append(("time of the search", duration(view.facts.get("seconds") or 0.0), f"{duration(busy)} in trials"))
    return found


def _gain(view: View, metric: Metric, index: int, number: float) -> str:
    if view.baseline is None or number == value(view.baseline, index):
        return "higher is better" if metric.direction == "maximize" else "lower is better"
    first = value(view.baseline, index)
    return f"{number - first:+.3g} against {view.baseline_name} ({first:.5g})"


def parameters(view: View, best: Trial) -> str:
    """Of the chosen trial, beside those of the first."""
    first = view.baseline if view.baseline is not best else None
    head = ["parameter", f"trial {best.number}", *([e(view.baseline_name)] if first else []), "searched in"]
    rows = []
    for parameter in view.space.parameters:
        name = parameter.name
        cells = [e(name), f"<b>{_shown(best, name)}</b>", *([_shown(first, name)] if first else [])]
        rows.append([*cells, e(_range(parameter))])
    fixed = view.facts["document"].get("fixed") or {}
    rows += [[e(name), e(said(v)), *([e(said(v))] if first else []), "fixed"] for name, v in fixed.items()]
    return table(rows, head, "params")


def _shown(trial: Trial, name: str) -> str:
    return e(said(trial.params[name])) if name in trial.params else '<span class="off">off</span>'


def _range(parameter: Any) -> str:
    if hasattr(parameter, "values"):
        return " | ".join(said(v) for v in parameter.values)
    return f"{said(parameter.low)} to {said(parameter.high)}{', logarithmic' if parameter.log else ''}"


def failures(view: View) -> str:
    """By class, the most frequent first, each with what the last of them said; empty without any."""
    kinds: dict[tuple[str, str], list[tuple[Trial, Failure]]] = {}
    for trial in view.trials:
        if (failure := trial.failure) is not None:
            what = failure.headline.partition(":")[0] if failure.cause == "exception" else ""
            kinds.setdefault((failure.cause, what), []).append((trial, failure))
    parts = []
    ranked = sorted(kinds.items(), key=lambda item: -len(item[1]))
    for (cause, _), some in ranked[:KINDS]:
        last, failure = some[-1]
        others = len({failure.headline for _, failure in some}) - 1
        more = f" <small>and {others} other message{'s' * (others > 1)}</small>" if others else ""
        numbers = ", ".join(str(trial.number) for trial, _ in some[:20]) + (", …" if len(some) > 20 else "")
        said = failure.traceback or failure.message
        log = _log(view, last)
        printed = f"<p>what trial {last.number} printed</p><pre>{e(log)}</pre>" if log else ""
        parts.append(
            f"<details><summary><b>{len(some)} &times; {e(cause)}</b> {e(failure.headline)}{more}</summary>"
            f"<p>trial{'s' * (len(some) > 1)} {numbers}</p><pre>{e(said[-6000:])}</pre>{printed}</details>"
        )
    if rest := ranked[KINDS:]:
        parts.append(f"<p>and {sum(len(some) for _, some in rest)} failures of {len(rest)} other kinds</p>")
    return "".join(parts)


def _log(view: View, trial: Trial) -> str:
    """The end of what a trial printed; empty if it was silent, or its files are elsewhere."""
    file = view.folder and view.folder / "trials" / f"{trial.number:04d}" / "log.txt"
    if file is None or not file.is_file():
        return ""
    with file.open("rb") as log:
        log.seek(-min(LOG, file.stat().st_size), os.SEEK_END)
        return log.read().decode(errors="replace")


def usage(view: View) -> str:
    """Time and memory of the trials."""
    done = sorted(trial.seconds for trial in view.trials if trial.finished)
    if not done:
        return ""
    rows = [["seconds of a trial", f"{done[len(done) // 2]:.3g} median, {done[-1]:.3g} longest"]]
    lost = sum(trial.seconds for trial in view.trials if trial.state == "failed")
    spared = sum(trial.seconds for trial in view.trials if trial.state == "pruned")
    rows.append(["in trials that were pruned, that failed", f"{duration(spared)}, {duration(lost)}"])
    if cpu := [t.metrics["system/cpu_seconds"] for t in view.trials if "system/cpu_seconds" in t.metrics]:
        rows.append(["processor time", duration(sum(cpu))])
    if memory := [t.metrics["system/peak_memory_mb"] for t in view.trials if "system/peak_memory_mb" in t.metrics]:
        rows.append(["peak memory of a trial", f"{max(memory):.0f} MB at most"])
    if joules := [t.metrics["system/gpu_joules"] for t in view.trials if "system/gpu_joules" in t.metrics]:
        rows.append(["energy of GPUs", f"{sum(joules) / 3600:.3g} Wh"])
    return table([[e(name), e(said_)] for name, said_ in rows])


def importance(found: Mapping[str, Any]) -> str:
    how = {
        "SHAP": "SHAP values: by how much each column moves the answer for a row, from the mean answer",
        "permutation": "permutation: by how much the metric falls when one column's values are shuffled",
    }
    return f"<p>{how[found['method']]}, on {found['rows']:,} held-out rows</p>"


def calibration(found: Sequence[Mapping[str, Any]], rows: int) -> str:
    worst = max(part["off"] for part in found)
    return f"<p>on {rows:,} held-out rows, off by {worst:.2%} in the mean{' at worst' if len(found) > 1 else ''}</p>"


def residuals(found: Mapping[str, Any], rows: int) -> str:
    spread = ", ".join(f"{share} of them by less than {number:.4g}" for share, number in found["spread"].items())
    return f"<p>on {rows:,} held-out rows, off by {found['mean']:+.3g} in the mean; {spread}</p>"


def confusion(found: Mapping[str, Any]) -> str:
    """A row a class, a column an answer; the stronger its color, the more of the row are there."""
    names, rows = found["classes"], []
    for name, counts in zip(names, found["counts"], strict=True):
        whole = sum(counts) or 1
        cells = [
            f'<span class="{"hit" if other == name else "miss"}" style="--share:{count / whole:.3f}">{count:,}</span>'
            for other, count in zip(names, counts, strict=True)
        ]
        rows.append([f"is {e(name)}", *cells])
    more = f"<p>the {len(names)} most frequent of {found['of']} classes</p>" if found["of"] > len(names) else ""
    return table(rows, ["", *(f"said {e(name)}" for name in names)], "confusion") + more


def data(view: View) -> str:
    """What the table was; empty for a function without one."""
    dataset = view.facts.get("dataset")
    if not dataset:
        return ""
    source = (view.facts.get("origin") or {}).get("source") or (view.facts["document"].get("data") or {}).get(
        "path", ""
    )
    balance = dataset.get("balance") or {}
    facts = [
        ["from", f"<code>{e(redact(str(source)))}</code>"],
        ["SHA-256", f"<code>{e(dataset.get('file_digest') or '')}</code>"],
        ["target", f"{e(dataset['target'])} ({e(dataset['task'])})"],
        ["rows", f"{dataset['rows']:,} for training, {dataset['holdout_rows']:,} held out"],
    ]
    if balance:
        facts.append(["balance", e(", ".join(f"{k}: {_share(v)}" for k, v in [*balance.items()][:20]))])
    if change := view.facts.get("change"):
        facts.append(["changed since the last sweep", e("; ".join(change))])
    if skipped := view.facts.get("skipped"):
        facts.append(["skipped since then", e(skipped)])
    columns = dataset["columns"]
    rows = [
        [e(c["name"]), e(c["kind"]), e(c.get("distinct") or ""), e(c.get("missing") or ""), e(_extent(c))]
        for c in columns[:COLUMNS]
    ]
    more = f"<p>and {len(columns) - COLUMNS} more columns</p>" if len(columns) > COLUMNS else ""
    inner = table(rows, ["column", "kind", "different", "missing", "values"])
    return f"{table(facts)}<details><summary>{len(columns)} columns</summary>{inner}{more}</details>"


def _share(number: Any) -> str:
    return f"{number:.1%}" if isinstance(number, float) and 0 <= number <= 1 else said(number)


def _extent(column: Mapping[str, Any]) -> str:
    if column.get("low") is not None and column.get("high") is not None:
        return f"{said(column['low'])} to {said(column['high'])}"
    names = [str(name) for name in column.get("categories") or ()]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def again(view: View) -> str:
    """Commands to paste, and what the numbers were made with."""
    facts = view.facts
    made, sweep = facts.get("provenance") or {}, facts["id"]
    packages = made.get("packages") or {}
    known = [
        n
        for n in ("hpo", "optuna", "hyperopt", "scikit-learn", "xgboost", "numpy", "pandas", "mlflow")
        if n in packages
    ]
    rows = [
        [
            "search",
            e(f"{facts.get('engine')}, seed {(facts['document'].get('search') or {}).get('seed', 'not given')}"),
        ],
        ["machine", e(f"{made.get('host', '?')}, {made.get('cpus', '?')} CPUs, Python {made.get('python', '?')}")],
        ["packages", e(", ".join(f"{name} {packages[name]}" for name in known))],
        ["journal", f"<code>.hpo/{e(sweep)}.journal</code>"],
    ]
    source = facts.get("source") or ""
    file = f"<details><summary>the sweep file</summary><pre>{e(source)}</pre></details>" if source else ""
    return f"<pre>{e(commands(view))}</pre>{table(rows)}{file}"


def commands(view: View) -> str:
    """To paste: the same search, the same model, and a look at the runs."""
    facts = view.facts
    made, promotion = facts.get("provenance") or {}, facts.get("promotion") or {}
    git = made.get("git") or {}
    lines = []
    if git.get("commit"):
        dirty = "    # with uncommitted changes then" if git.get("dirty") else ""
        lines.append(f"git checkout {git['commit']}{dirty}")
    if made.get("command"):
        lines.append(str(made["command"]))
    if view.best is not None and promotion.get("version"):
        lines.append(f"python -m hpo.reproduce {promotion['model']}/{promotion['version']}")
    return redact("\n".join([*lines, f"python -m hpo.ui {facts['id']}"]))


def masthead(view: View) -> str:
    facts = view.facts
    begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(facts.get("created") or 0))
    what = (facts["document"].get("model") or facts["document"].get("objective") or "a function") or ""
    return (
        f'<header><h1>{e(facts["name"])}</h1><p><span class="chip {e(view.state)}">{e(view.state)}</span> '
        f"{e(what)} &middot; begun {begun} &middot; <code>{e(facts['id'])}</code></p></header>"
    )
