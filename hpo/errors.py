"""What can go wrong, and the exit code each kind has.

Raised by every part, turned into words by `hpo.command`. Bad input is an `InputError` (exit code 2, no
traceback); anything that is not an `HpoError` is a bug and keeps its traceback.

    HpoError
    ├── InputError      2   the user's file, flag or data; says what, where and what to do
    ├── NoModelError    3   the sweep ended without one usable trial
    ├── HeldError       4   another driver holds the sweep
    ├── JournalError   74   the journal could not be written or read: stop, loudly
    └── ClusterError   75   the cluster is out of reach; the sweep can be resumed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


class HpoError(Exception):
    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the input: `where` is "file:line:column" or a flag, when known."""

    message: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        said = not self.where or self.message.startswith(f"{self.where}:")  # a sweep from Python has no places but keys
        head = self.message if said else f"{self.where}: {self.message}"
        return f"{head}\n    {self.hint}" if self.hint else head


class InputError(HpoError):
    """Every problem found in one input, all at once."""

    exit_code = 2

    def placed(self, places: Mapping[str, str]) -> InputError:
        """The same, with dotted keys ("space.max_depth") replaced by where they stand in the file."""
        return InputError(*(replace(p, where=_place(p.where, places)) for p in self.problems))

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(Problem(p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class NoModelError(HpoError):
    exit_code = 3


class HeldError(HpoError):
    exit_code = 4


class JournalError(HpoError):
    exit_code = 74


class ClusterError(HpoError):
    exit_code = 75


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'did you mean "max_depth"?', or the whole short list, or nothing."""
    import difflib

    names = [str(name) for name in known]
    close = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"one of: {', '.join(names)}" if 0 < len(names) <= 12 else ""


def _place(where: str, places: Mapping[str, str]) -> str:
    """A parameter may be searched or fixed; a key that is not written stands where its section does."""
    for key in (where, where.replace("space.", "fixed.", 1), where.rpartition(".")[0]):
        if key in places:
            return places[key]
    return where
