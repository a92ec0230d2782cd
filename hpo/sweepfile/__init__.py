"""A sweep file in steps: text -> document -> shape -> rules -> what it names on disk.

`hpo.loader` walks the steps, everybody else calls the loader. `document` reads text into plain data with places,
`shape` (with `written`) says what keys and types there are, `rules` what must hold beyond that, `lookup` finds data
and code, `explain` puts errors of the shape into words.
"""
