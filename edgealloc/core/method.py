"""Methods: how a problem can be solved, what each proves, and a registry that users can add to."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgealloc.core.kinds import KINDS, problem_class
from edgealloc.core.links import resolve
from edgealloc.core.status import Termination
from edgealloc.errors import DataError, MissingDependencyError, nearest

if TYPE_CHECKING:
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.core.run import Run

__all__ = ["Method", "Outcome", "find_method", "methods_of", "register_method"]


@dataclass(frozen=True)
class Outcome:
    """What a method hands back; the base class re-checks it and makes a Solution of it.

    Attributes
    ----------
    allocation : object or None
        The best allocation found.
    bound : float or None
        A proven lower bound on the optimum, valid in floating point; None where nothing is proven.
    termination : Termination
    converged : bool
        An iterative method settled at a stationary point (makes the status LOCALLY_SOLVED where nothing is proven).
    diagnosis : Diagnosis or None
        Set if and only if the problem is *proven* infeasible.
    bound_prices : mapping
        The multipliers that prove the bound, by constraint name.
    attempts : tuple of str
        What was tried and what came of it, fallbacks included.
    """

    allocation: Any = None
    bound: float | None = None
    termination: Termination = Termination.CONVERGED
    converged: bool = False
    diagnosis: Diagnosis | None = None
    bound_prices: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """One way to solve a kind of problem.

    Attributes
    ----------
    name : str
        What ``solve(method=...)`` is given.
    summary : str
        One line for tables.
    proves : bool
        It returns a lower bound.
    slow : bool
        It is left out of ``compare`` unless named.
    needs : tuple of str
        Packages that must be importable, beyond the core dependencies.
    reference : str
        Where the method is from.
    cites : tuple of str
        Keys into the table of `edgealloc.core.citations`: what ``edgealloc cite METHOD`` prints.
    run : callable or "module:function"
        ``run(problem, run) -> Outcome``; a text is imported when the method is first used.
    """

    name: str
    summary: str
    proves: bool = False
    slow: bool = False
    needs: tuple[str, ...] = ()
    reference: str = ""
    cites: tuple[str, ...] = ()
    run: str | Callable[[Any, Run], Outcome] = ""

    def __call__(self, problem: Any, run: Run) -> Outcome:
        for package in self.needs:
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(package)
        function = resolve(self.run) if isinstance(self.run, str) else self.run
        outcome = function(problem, run)
        if not isinstance(outcome, Outcome):
            raise TypeError(f"method '{self.name}' returned {type(outcome).__name__}, not an edgealloc.Outcome")
        return outcome


_REGISTERED: dict[str, dict[str, Method]] = {}


def register_method(kind: str, method: Method) -> None:
    """Add a user's own method to a kind of problem; it then appears in `methods`, `compare` and the command line.

    Parameters
    ----------
    kind : str
        "split-training", ...
    method : Method
        A name that is taken already is replaced only if a user registered it.

    Raises
    ------
    DataError
        Unknown kind, a name that a built-in method bears, or a `run` that cannot be called.
    """
    if kind not in KINDS:
        raise DataError(f"register_method: '{kind}' is no kind of problem; {nearest(kind, KINDS)}")
    if method.name in {one.name for one in problem_class(kind).METHODS}:
        raise DataError(f"register_method: '{method.name}' is a built-in method of {kind}; choose another name")
    if not method.name or not (":" in method.run if isinstance(method.run, str) else callable(method.run)):
        raise DataError("register_method: a method needs a name and a `run` (a function or 'module:function')")
    _REGISTERED.setdefault(kind, {})[method.name] = method


def methods_of(kind: str, built_in: tuple[Method, ...]) -> Mapping[str, Method]:
    """All methods of a kind by name, built-in ones first.

    Parameters
    ----------
    kind : str
        Kind of problem: "split-training", ...
    built_in : tuple of Method
        The methods of its class.
    """
    table = {method.name: method for method in built_in}
    table.update(_REGISTERED.get(kind, {}))
    return MappingProxyType(table)


def find_method(kind: str, built_in: tuple[Method, ...], name: str) -> Method:
    """The method called `name`, or a DataError that says which name was probably meant.

    Parameters
    ----------
    kind : str
        Kind of problem: "split-training", ...
    built_in : tuple of Method
        The methods of its class.
    name : str
        As given to `solve`.
    """
    table = methods_of(kind, built_in)
    if not isinstance(name, str):
        raise DataError(f"method: is {name!r}; give the name of a method of {kind}: {', '.join(table)}")
    if name not in table:
        raise DataError(f"no method '{name}' for {kind}; {nearest(name, table)}")
    return table[name]
