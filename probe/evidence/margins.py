"""How large a difference must be to count, and how large beside a control that leaves little room."""

from __future__ import annotations

#: A difference of shares, scores or answers that is no larger counts as none; and the least that a score must exceed
#: a control's by, however near that is to the end of the scale.
MARGIN, LEAST_MARGIN = 0.05, 0.01


def margin_beside(control: float, margin: float = MARGIN, limit: float = 1.0) -> float:
    """Return by how much a value must differ from a control's, where no value lies beyond a limit.

    Beside a control of .95 there is no room for 0.05. Half of what the control leaves counts where that is less: no
    margin is larger than the room that there is.

    Args:
        control: the control's value.
        margin: what is asked where there is room.
        limit: the end of the scale: 1 of a score that should be high, 0 of an error that should be low.
    """
    return min(margin, abs(limit - control) / 2)
