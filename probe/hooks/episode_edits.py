"""Edits whose steps and rows are those of episodes, as edits of the environments that play these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import wraps

from torch import Tensor

from ..edits.constructors import clamp
from ..edits.kinds import Ablate, Edit, FunctionEdit, Patch
from ..edits.resolve import check_made
from ..errors import ProbeError
from ..recurrent.signals import Site, within
from .episodes import Game


def of_episodes(edits: Sequence[Edit], episodes: int) -> tuple[Edit, ...]:
    """Return edits whose rows are episodes, counted from 0.

    Args:
        edits: what the caller gave.
        episodes: how many there are.

    Raises:
        ProbeError: one names an episode that there is not, has not as many rows, or counts steps from an episode's
            end.
    """
    check_made(edits)
    for edit in edits:
        if any(step < 0 for step in edit.site.steps or ()):
            raise ProbeError(
                f"{edit!r} counts steps from the end of an episode, which is not known before it comes. Count them "
                "from the first one, 0."
            )
    rows = [within("rows", edit.site.rows, episodes, "the rollout") for edit in edits]
    for edit, chosen in zip(edits, rows, strict=True):
        edit.fit(episodes, chosen)
    return tuple(
        replace(edit, site=replace(edit.site, rows=None if edit.site.rows is None else tuple(chosen)))
        for edit, chosen in zip(edits, rows, strict=True)
    )


def acting(edit: Edit, game: Game) -> list[Edit]:
    """Return what an edit of episodes does to the environments at the step that each of them is at.

    Raises:
        ProbeError: the edit holds no value for an episode or a step of it, or draws rows.
    """
    rows = []
    for row, (one, step) in enumerate(zip(game.playing, game.steps, strict=True)):
        inside = edit.site.steps is None or step in edit.site.steps
        if one is not None and inside and (edit.site.rows is None or one[0] in edit.site.rows):
            rows.append((row, one[0], step or 0))
    if not rows:
        return []
    if isinstance(edit, FunctionEdit):
        return [_called(edit, *one) for one in rows]
    if edit.steps_held is None:
        return [replace(edit, site=replace(edit.site, steps=None, rows=tuple(row for row, *_ in rows)))]
    return [_clamped(edit, *one) for one in rows]


def _called(edit: FunctionEdit, row: int, episode: int, step: int) -> Edit:
    """Return a function's edit of one environment, which tells the function the step and the row of its episode."""

    @wraps(edit.function)
    def function(value: Tensor, site: Site) -> Tensor:
        rows = None if edit.site.rows is None else (episode,)
        return edit.function(value, replace(site, steps=(step,), rows=rows))

    return replace(edit, site=replace(edit.site, steps=None, rows=(row,)), function=function)


def _clamped(edit: Edit, row: int, episode: int, step: int) -> Edit:
    """Return the values that an edit holds for one step of one episode, as a clamp of one environment."""
    if not (isinstance(edit, Patch) or (isinstance(edit, Ablate) and edit.kind == "mean")) or edit.values is None:
        raise ProbeError(f"{edit!r} draws rows, which a rollout does not have; clamp, steer, patch or take a mean.")
    position = step if edit.site.steps is None else edit.site.steps.index(step)
    if position >= edit.values.shape[1]:
        raise ProbeError(f"{edit!r} holds {edit.values.shape[1]} steps; episode {episode} came to step {step}.")
    source = 0 if isinstance(edit, Ablate) else episode
    if isinstance(edit, Patch) and edit.source_rows is not None:
        rows = range(len(edit.source_rows)) if edit.site.rows is None else edit.site.rows
        source = edit.source_rows[list(rows).index(episode)]
    if source >= len(edit.values) or bool(edit.values[source, position].isnan().any()):
        raise ProbeError(f"{edit!r}: its source holds nothing for step {step} of episode {episode}.")
    site = edit.site
    return clamp(
        site.signal, edit.values[source, position], layer=site.layer, units=site.units, rows=row, call=site.call
    )
