"""How large a difference must be to count, and how large beside a control that leaves little room."""

from __future__ import annotations

#: A difference of shares, scores or answers that is no larger counts as none; and the least that a score must exceed
#: a control's by, however near that is to the end of the scale.
MARGIN, LEAST_MARGIN = 0.05, 0.01


def margin_beside(room: float, margin: float = MARGIN) -> float:
    """Return by how much a value must differ from a control's, where a scale ends.

    A score of .95 leaves no room for one that is 0.05 above it. Half of the room counts where that is less.

    Args:
        room: how far the control lies from the end of the scale; none where it lies beyond.
        margin: what is asked where there is room.
    """
    return min(margin, max(room, 0.0) / 2)
