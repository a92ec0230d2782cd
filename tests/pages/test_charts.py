"""Axes and places of the charts: logarithms, categories of any type, what is switched off, and outliers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpo.pages import charts
from hpo.pages.course import curves, timeline
from hpo.pages.surface import contour
from hpo.pages.view import View
from hpo.trial import Failure, Params, Report, Trial

MEANING = {
    "space": "rate kind drop",
    "space.rate": '{"float": [0.0001, 1.0], "log": true}',
    "space.kind": '{"choice": ["a", "b", null, true]}',
    "space.drop": '{"float": [0.0, 0.5], "when": {"kind": ["b"]}}',
}


def view(*trials: Trial, **facts: Any) -> View:
    known = {"id": "s", "name": "s", "metrics": [["score", "maximize"]], "document": {}, "meaning": MEANING}
    return View({**known, **facts}, trials, "finished")


def trial(number: int, value: float, **params: Any) -> Trial:
    given: Params = {"rate": 0.01, "kind": "a", **params}
    return Trial(number, given, started=float(number), finished=number + 1.5, values=(value,))


def test_parallel_coordinates_know_categories_and_what_is_off() -> None:
    trials = [trial(0, 0.1), trial(1, 0.2, kind="b", drop=0.5), trial(2, 0.3, kind=None), trial(3, 0.4, kind=True)]
    figure = charts.parallel(view(*trials))
    lines = [trace["y"][:4] for trace in figure["data"] if trace["y"]]
    assert [line[0] for line in lines] == [0.5] * 4
    assert [line[1] for line in lines] == [0.125, 0.375, 0.625, 0.875]
    assert [line[2] for line in lines] == [-0.1, 1.0, -0.1, -0.1]
    assert [line[3] for line in lines] == [pytest.approx(k / 3, abs=1e-5) for k in range(4)]
    words = [note["text"] for note in figure["layout"]["annotations"]]
    assert words == ["0.0001", "1", "a", "b", "None", "True", "0", "0.5", "off", "0.1", "0.4"]


def test_a_carpet_of_lines_is_thinned_and_keeps_the_best() -> None:
    many = view(*(trial(k, k / 1000) for k in range(1000)))
    figure = charts.parallel(many)
    ends = [y for trace in figure["data"] for y in trace["y"][3::5]]
    assert len(ends) <= charts.LINES + 1
    assert ends[-100:] == sorted(ends)[-100:]
    assert ends[-1] == 1


def test_a_slice_shows_all_that_was_searched() -> None:
    some = view(trial(0, 0.1), trial(1, 0.2, rate=0.9))
    axis = charts.slice_of(some, some.space["rate"])["layout"]["xaxis"]
    assert axis["type"] == "log"
    assert axis["ticktext"] == ["0.0001", "0.001", "0.01", "0.1", "1"]
    assert axis["range"] == pytest.approx([-4.2, 0.2])


def test_one_terrible_result_does_not_press_the_others_flat() -> None:
    values = [0.5 + k / 100 for k in range(12)]
    assert "range" not in charts.history(view(*(trial(k, v) for k, v in enumerate(values))), 0)["layout"]["yaxis"]
    low, high = charts.history(view(*(trial(k, v) for k, v in enumerate([*values, -1e9]))), 0)["layout"]["yaxis"][
        "range"
    ]
    assert -1 < low < 0.5
    assert high > max(values)
    weak = [trial(0, 0.2, rate=0.3), *(trial(k, v) for k, v in enumerate([*values, -1e9], 1))]
    known = charts.history(view(*weak, defaults={"rate": 0.3, "kind": "a"}), 0)["layout"]["yaxis"]["range"]
    assert low - 0.5 < known[0] < 0.2, "what is compared with is seen"


def test_a_journal_that_does_not_describe_its_space() -> None:
    old = view(trial(0, 0.1), trial(1, 0.2, rate=0.5, kind=None), meaning={})
    assert (old.space["rate"].size, old.space["kind"].size) == (float("inf"), 2)


def test_trials_at_the_same_time_have_rows_of_their_own() -> None:
    figure = timeline(view(trial(0, 0.1), trial(1, 0.1), trial(2, 0.1)))  # each lasts 1.5, one begins each second
    assert figure is not None
    assert figure["data"][0]["y"] == [1, 2, 1]


def test_the_timeline_has_a_row_a_worker_in_their_order() -> None:
    ran = [replace(trial(k, 0.1), worker=f"tcp://host:1 {n}") for k, n in enumerate((10, 2, 10))]
    figure = timeline(view(*ran, Trial(3, {}, started=9.0)))
    assert figure is not None
    assert figure["layout"]["yaxis"]["ticktext"] == ["tcp://host:1 2", "tcp://host:1 10"]
    assert [trace["y"] for trace in figure["data"]] == [[2, 1, 2], [1]], "one that runs is where there is room"


def test_the_defaults_of_the_library_are_known_by_what_they_are() -> None:
    trials = trial(0, 0.1), trial(1, 0.2, rate=0.3), trial(2, 0.3, rate=0.5)
    evolved = view(*trials, defaults={"rate": 0.3, "kind": "a"})
    assert evolved.baseline is not None
    assert (evolved.baseline.number, evolved.baseline_name) == (1, "the library's defaults")
    without = view(*trials, defaults={"rate": 0.31, "kind": "a"})
    assert without.baseline is not None
    assert (without.baseline.number, without.baseline_name) == (0, "first trial")


def test_curves_end_where_a_trial_was_pruned() -> None:
    reports = tuple(Report(step, step / 10, fold) for fold in (0, 1) for step in range(5))
    pruned = Trial(0, {"rate": 0.1}, started=1.0, finished=2.0, pruned=True, reports=reports)
    failed = Trial(1, {"rate": 0.1}, started=1.0, reports=reports[:3]).failed(Failure("timeout", "long"), 3.0)
    figure = curves(view(pruned, failed))
    assert figure is not None
    by_name = {trace["name"]: trace for trace in figure["data"]}
    assert by_name["stopped here"]["x"] == [4]
    assert by_name["failed"]["y"] == [0.0, 0.1, 0.2, None]
    assert curves(view(trial(0, 0.5))) is None


def test_a_contour_is_drawn_where_trials_were_and_nowhere_else() -> None:
    corner = [trial(k, 0.5 + k / 100, rate=10.0 ** (-4 + k / 8), kind="a") for k in range(8)]
    some = view(*corner, trial(8, 0.9, rate=1.0, kind=True))
    figure = contour(some, some.space["rate"], some.space["kind"])
    assert figure is not None
    field, dots, star = figure["data"]
    assert field["type"] == "heatmap"
    first, _, _, last = field["z"]
    assert first[0] == pytest.approx(0.51, abs=0.015), "a mean of the first few"
    assert first[-1] is None
    assert (last[0], last[-1]) == (None, pytest.approx(0.9))
    assert (len(dots["x"]), star["x"], star["y"]) == (8, [1.0], [3.0])
    numbers = view(*(trial(k, k / 9, kind="b", rate=0.1 + k / 10, drop=k / 20) for k in range(9)))
    both = contour(numbers, numbers.space["rate"], numbers.space["drop"])
    assert both is not None
    assert both["data"][0]["type"] == "contour"
    assert contour(view(trial(0, 0.1)), some.space["rate"], some.space["drop"]) is None
