"""How many networks with random weights stand beside a network.

A score is compared with the best of them, so few leave the verdict to the draw, and many take long. In a study of
several trained networks each has one: a rule compares every trained network with one control.
"""

from __future__ import annotations

#: In a call of `probe.random_weights` and beside the one network of a study, half of each kind. Beside eight a linear
#: probe gave none of 200 networks that nobody trained a verdict (docs/concepts/probing.md, "The verdict"). Beside one
#: alone a page named a unit that follows the concept at .93, and the best unit of eight follows it at .98.
RANDOM_NETWORKS = 8
