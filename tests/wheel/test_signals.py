"""What names and indices promise: exact names, no silent wrap, and messages that list what exists."""

from __future__ import annotations

import pytest

from probe import ProbeError, Signal
from probe.errors import unknown
from probe.recurrent.signals import as_indices, as_signal, within


def test_a_member_and_its_value_are_the_same_name() -> None:
    """The member, its text, and nothing else."""
    assert as_signal("forget_gate") is Signal.FORGET_GATE
    assert as_signal(Signal.FORGET_GATE) is Signal.FORGET_GATE
    for wrong in ("FORGET_GATE", "forget gate", "f", ""):
        with pytest.raises(ProbeError, match="There is no signal"):
            _ = as_signal(wrong)


def test_only_allowed_signals_are_found() -> None:
    """A signal that exists elsewhere is refused where it is not allowed."""
    with pytest.raises(ProbeError, match=r"no signal 'forget_gate'; there is 'cell_state'\.$"):
        _ = as_signal("forget_gate", [Signal.CELL_STATE])


def test_the_message_names_the_nearest() -> None:
    """Given, existing and nearest names are all said; without a near one nothing is guessed."""
    assert unknown("unit", "bat", ["cat", "dog"]) == (
        "There is no unit 'bat'; there is 'cat', 'dog'. Did you mean 'cat'?"
    )
    assert unknown("unit", "xyz", ["cat"]) == "There is no unit 'xyz'; there is 'cat'."
    assert unknown("unit", "xyz", []) == "There is no unit 'xyz'; there is none."


def test_one_index_and_several_become_a_tuple() -> None:
    """One number, a range, a list; None stays None."""
    assert as_indices("steps", None) is None
    assert as_indices("steps", 3) == (3,)
    assert as_indices("steps", range(3)) == (0, 1, 2)
    assert as_indices("steps", [2, 0]) == (2, 0)
    with pytest.raises(ProbeError, match=r"steps=\[\] must name at least one"):
        _ = as_indices("steps", [])
    with pytest.raises(ProbeError, match=r"none of them twice"):
        _ = as_indices("steps", [1, 2, 1])


def test_indices_count_from_either_end_and_never_wrap() -> None:
    """-1 is the last; size and -size-1 lie outside; two names of one place are refused."""
    assert within("steps", None, 3, "it") == [0, 1, 2]
    assert within("steps", (-1, 0), 3, "it") == [2, 0]
    for wrong in (3, -4):
        with pytest.raises(ProbeError, match=rf"steps={wrong} lies outside it, which has 3 \(-3 to 2\)"):
            _ = within("steps", (wrong,), 3, "it")
    with pytest.raises(ProbeError, match="names one place of it twice"):
        _ = within("steps", (-1, 2), 3, "it")
