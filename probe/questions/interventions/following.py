"""How closely each unit of some layers follows the concept that the readout answers, within steps."""

from __future__ import annotations

import numpy as np

from ...recurrent.layers import OpenLayer
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
        by_state = {
            signal: target.follows(states[target.picked])
            for (own, signal), states in states_of(subject).states.items()
            if own == layer.name
        }
        if not by_state:
            by_layer.append(np.zeros(layer.units))
        elif isinstance(layer, OpenLayer):  # each number of the state is a unit
            by_layer += [by_state[signal] for signal in layer.states]
        else:
            by_layer.append(np.max(list(by_state.values()), axis=0))
    return np.concatenate(by_layer)
