"""`python -m hpo.schedule`, the same as `hpo schedule`.

The verb is a package, which Python runs by this file; everything is in `hpo.schedule.command`. It imports no more than
the group of commands, so that help is instant.
"""

from __future__ import annotations

from hpo.schedule.command import command

if __name__ == "__main__":
    command(prog_name="python -m hpo.schedule")
