"""Scheduled sweeps: `python -m hpo.schedule run|tick|list|history|install|uninstall`.

When is in the sweep file (`schedule`), what became of each slot in a ledger that any number of schedulers share. Read
`slots` for what is due, `ledger` for who may run it, `scheduler` for the loop, `job` for what one slot does.
"""
