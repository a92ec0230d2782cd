"""A search that is steered from MLflow: the tag `hpo.command` on its run, and the answer."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from hpo.status import status
from tests.chaos.harness import Driver, finished, the_journal
from tests.test_control import NAPS, SWEEP
from tests.tracking.sweeps import until


def test_a_tag_is_an_order(tmp_path: Path, uri: str) -> None:
    (tmp_path / "naps.py").write_text(NAPS)
    (tmp_path / "sweep.yaml").write_text(SWEEP + "tracking: {commands: true}\n")
    driver = Driver(tmp_path, "--space", "sweep.yaml", "--tracking-uri", uri)
    until(lambda: the_journal(tmp_path) and finished(tmp_path) > 1, 120)
    path = the_journal(tmp_path)
    assert path is not None
    client = MlflowClient(uri, uri)

    def parent() -> str | None:
        experiment = client.get_experiment_by_name("toy")
        runs = client.search_runs([experiment.experiment_id], "tags.`hpo.engine` = 'random'") if experiment else []
        return str(runs[0].info.run_id) if runs else None

    until(lambda: parent() is not None, 120)
    run = parent()
    assert run is not None

    def ask(words: str) -> str:
        """Until the tag is gone; what stands in the other one then."""
        client.set_tag(run, "hpo.command", words)
        until(lambda: "hpo.command" not in client.get_run(run).data.tags, 120)
        return str(client.get_run(run).data.tags["hpo.command.done"])

    assert "no trial is started" in ask("pause")
    assert status(path)["state"] == "paused"
    until(lambda: client.get_run(run).data.tags["hpo.state"] == "paused", 60)
    assert ask("extend 20") == "extend 20: the budget is 520 trials now"
    assert ask("extend 20") == "extend 20: the budget is 540 trials now"  # once more, and once each
    assert "refused: " in ask("flie")
    assert "outside [-5, 5]" in ask('enqueue {"x": 7}')
    assert "it is tried next" in ask('enqueue {"x": 1.5, "kind": "a"}')
    assert "it goes on" in ask("resume")
    assert "the search ends here" in ask("stop")
    driver.finish()
    assert status(path)["budget"] == 540
    assert client.get_run(run).info.status == "FINISHED"
