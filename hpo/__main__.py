"""`hpo <verb>`, the same as `python -m hpo.<verb>`.

One door to all commands, for people at a terminal; it imports only the verb that is called, so that help is instant.
"""

from __future__ import annotations

from hpo.command import lazy_group

VERBS = {
    "init": ("hpo.init:command", "Write a sweep file for a table."),
    "import": ("hpo.import:command", "Write a sweep file from an Optuna study or a W&B sweep."),
    "space": ("hpo.spaces:command", "Look at a search space: size, defaults, conditions, what is odd."),
    "search": ("hpo.search:command", "Search, track every trial, promote the best model."),
    "plan": ("hpo.plan:command", "Check everything and estimate what the sweep will cost."),
    "status": ("hpo.status:command", "Show how sweeps stand."),
    "compare": ("hpo.compare:command", "Compare two sweeps: what one gained over the other."),
    "control": ("hpo.control:command", "Pause, extend, stop a running search, or have it try something."),
    "report": ("hpo.report:command", "Write a sweep as one HTML file that opens anywhere."),
    "schedule": ("hpo.schedule.command:command", "Run sweeps again as their files say, each slot once."),
    "sync": ("hpo.sync:command", "Publish to MLflow what is not there yet."),
    "ui": ("hpo.ui:command", "Look at the runs in MLflow's UI."),
    "server": ("hpo.server.__main__:command", "Start an MLflow server safely, check one, give accounts."),
    "promote": ("hpo.promote:command", "Make a version the champion, by hand."),
    "rollback": ("hpo.rollback:command", "Make the previous champion champion again."),
    "history": ("hpo.history:command", "Show who was champion from when to when, and why."),
    "predict": ("hpo.predict:command", "Predict a file of any size with a registered model."),
    "reproduce": ("hpo.reproduce:command", "Run a trial again: does the same come out?"),
    "completion": ("hpo.completion:command", "Print a script that has the shell complete these commands."),
    "schema": ("hpo.schema:command", "Print the JSON Schema of the sweep file."),
}
main = lazy_group(
    VERBS,
    name="hpo",
    help="Hyperparameter optimization for people who answer for their models.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

if __name__ == "__main__":
    main(prog_name="hpo")
