"""How many networks with random weights stand beside a network: in a call, in a question, on a page.

A score is compared with the best of them, so few leave the verdict to the draw, and many take long. In a study of
several trained networks each has one: a rule compares every trained network with one control.
"""

from __future__ import annotations

#: In a call of `probe.random_weights`, half of each kind. Beside eight a linear probe gave none of 200 networks that
#: nobody trained a verdict (docs/concepts/probing.md, "The verdict").
IN_A_CALL = 8
#: In a question about single units, and in that about gates: as many. Beside one alone a page named a unit that
#: follows the concept at .93, and the best unit of eight follows it at .98.
IN_A_QUESTION = IN_A_CALL
#: On the page of one network: up to how many operations it takes, and how many there then are. Of eight, another seed
#: has another best one by far, so there are 32 where that is quick.
ON_A_PAGE: tuple[tuple[float, int], ...] = ((1e9, 32), (2e10, 8), (float("inf"), 4))
