r"""Every agent picks one option, capacities couple: bounds by prices, choices, and an exact search.

.. math::

    \min \sum_i c_{o_i} \quad \text{s.t.} \quad \sum_i u_{o_i k} \le 1 \;\; \forall k,
    \qquad o_i \in \text{options of agent } i.

Small example, free of networks: three students in two seminars of two hours a day, or at home.

>>> from edgealloc.core.run import Run
>>> hours = [[1.5, 1.0], [1.0, 1.5], [1.0, 1.0]]  # of a teacher's two, in either seminar
>>> seminars = Choices(
...     start=[0, 3, 6, 9],
...     cost=[1.0, 2.0, 9.0, 1.0, 3.0, 9.0, 2.0, 1.0, 9.0],
...     use=[[h / 2.0] for one in hours for h in (*one, 0.0)],
...     capacity=[[0], [1], [0]] * 3,
...     capacities=2,
... )
>>> answer = solve_choices(seminars, Run(gap=0.0))
>>> answer.choice.tolist(), answer.objective, round(answer.bound, 6)
([1, 3, 7], 4.0, 4.0)
"""

from __future__ import annotations

from edgealloc.solvers.choices.certified import greedy_choices, search_choices, solve_choices, warm_up
from edgealloc.solvers.choices.data import Choices, ChoicesAnswer
from edgealloc.solvers.choices.milp import choices_milp, milp_choices
from edgealloc.solvers.choices.part import reduced

__all__ = [
    "Choices", "ChoicesAnswer", "choices_milp", "greedy_choices", "milp_choices", "reduced", "search_choices",
    "solve_choices", "warm_up",
]
