"""Data: from the user's file to memory-mapped arrays, once per content and split.

The verbs call `prepare` and `holdout_frame`, objectives call `load`. No engine is imported here: a resumed
sweep reads one small JSON file.
"""

from hpo.data.dataset import Column, Dataset
from hpo.data.fetch import Source, here, publish
from hpo.data.store import Arrays, holdout_frame, load, prepare

__all__ = ["Arrays", "Column", "Dataset", "Source", "here", "holdout_frame", "load", "prepare", "publish"]
