"""The team's MLflow server: `python -m hpo.server` starts it safely, `check` probes one, `account` lets people in.

`settings.py` says what it is, `launch.py` turns that into `mlflow server`'s environment, `guard.py` runs inside the
server, `check.py` and `accounts.py` talk to one from outside. `hpo.ui` starts the local preset. Nothing of a sweep
needs this package: a sweep needs an address.
"""

PROMOTER = "promoter"  # the role whose members may move an alias
CHALLENGER = "challenger"  # the alias that anybody may move who may register a version: nothing is served by it
GUARD_HEADER = "X-Hpo-Guard"  # in the guard's refusals: `check` knows it by that
