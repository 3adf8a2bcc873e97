"""How closely each unit of some layers follows the concept that the readout answers, within steps."""

from __future__ import annotations

import numpy as np

from ...subjects.computed.ends import Ends
from ...subjects.computed.sampled import states_of
from ...subjects.subject import LEAST_SEQUENCES, Subject
from ..states.targets import Target


def following(subject: Subject, end: Ends) -> np.ndarray | None:
    """Return how closely each unit of the stack follows the concept, by the state that follows it more closely.

    Args:
        subject: the network under study.
        end: the ends of the sequences, with the stack.

    Returns:
        One number from 0 to 1 for each unit, (unit,), 0 in layers that are not studied; None if the concept does not
        vary, or is defined in too few sequences.
    """
    name = subject.answered.name
    target = Target.of(subject, name)
    if len(np.unique(target.values)) < 2 or len(np.unique(target.sequence)) < LEAST_SEQUENCES:
        return None
    by_layer = []
    for layer in end.stack:
        by_state = [
            target.follows(states[target.picked])
            for (own, _), states in states_of(subject).states.items()
            if own == layer.name
        ]
        by_layer.append(np.max(by_state, axis=0) if by_state else np.zeros(layer.units))
    return np.concatenate(by_layer)
