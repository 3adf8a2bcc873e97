"""Plots of one sequence: maps of its signals, and tokens coloured by a unit, of every kind of network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from recorded import KINDS, LENGTHS, recorded
from test_report_figures import contrast

from probe import ProbeError
from probe.plots import heatmap, text
from probe.plots.sequences import ink_on


class Spans(HTMLParser):
    """The tokens of a coloured text, as a browser reads them: (text, title, background, colour) each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str, str]] = []
        self.tags: set[str] = set()
        self._open: dict[str, str | None] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the attributes of a span."""
        self.tags.add(tag)
        self._open = dict(attrs) if tag == "span" else None

    def handle_data(self, data: str) -> None:
        """Keep what a span holds."""
        if self._open is not None:
            back, ink = re.findall(r"#[0-9a-f]{6}", str(self._open["style"]))
            self.found.append((data, str(self._open["title"]), back, ink))
            self._open = None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [0, 1])
def test_a_map_holds_the_recorded_values_of_one_sequence(kind: str, row: int) -> None:
    """Units down, steps across; what lies after the end of a sequence is not there."""
    own = recorded(kind)
    ax = own.recording.plot.heatmap(row=row, signals=own.signal, layer=own.layer)
    assert isinstance(ax, Axes)
    shown = np.asarray(ax.images[0].get_array())
    assert np.array_equal(shown, own.values[row, : own.lengths[row]].T)
    assert ax.get_title("left") == own.signal.replace("_", " ")
    assert [one.get_text() for one in ax.get_xticklabels()] == [str(1 + step) for step in range(own.lengths[row])]
    assert ax.get_xlabel() == ("step (read from the last to the first)" if kind == "bidirectional" else "step")


@pytest.mark.parametrize("kind", KINDS)
def test_every_signal_has_a_map_and_a_scale_of_its_own(kind: str) -> None:
    """Gates from 0 to 1, all others as far to both sides of 0 as their largest magnitude."""
    own = recorded(kind)
    figure = own.recording.plot.heatmap(layer=own.layer)
    assert isinstance(figure, Figure)
    part = next(one for one in own.recording.parts if own.layer in (None, one.layer))
    panels = [ax for ax in figure.axes if ax.get_title("left")]
    assert [ax.get_title("left").replace(" ", "_") for ax in panels] == [str(signal) for signal in part.signals]
    assert len(figure.axes) == 2 * len(panels)
    for ax, (signal, value) in zip(panels, part.signals.items(), strict=True):
        (image,) = ax.images
        if signal.endswith("_gate"):
            assert (image.norm.vmin, image.norm.vmax) == (0, 1)
            assert image.get_cmap().name == "Greys"
        else:
            largest = value[0].abs().max().item()
            assert (image.norm.vmin, image.norm.vmax) == pytest.approx((-largest, largest))
            assert image.get_cmap().name == "signs"


def test_tokens_stand_below_as_texts() -> None:
    """Of a padded sequence as many as it has steps; a dollar sign is no formula."""
    own = recorded("packed")
    ax = heatmap(own.recording, row=2, signals="cell_state", tokens=["$a", "b$", "<", "&", "$\\frac$"], noun="word")
    assert isinstance(ax, Axes)
    ax.figure.canvas.draw()
    assert [one.get_text() for one in ax.get_xticklabels()] == ["$a", "b$", "<", "&", "$\\frac$"]
    assert ax.get_xlabel() == "words read"


def test_names_below_many_steps_are_thinned() -> None:
    """So that they do not run into each other; the first stands there."""
    own = recorded("lstm")
    ax = heatmap(own.recording, signals="cell_state", tokens=["a rather long token"] * 7)
    assert isinstance(ax, Axes)
    assert ax.get_xticks().tolist() == [0, 3, 6]


def test_units_are_chosen_and_named() -> None:
    """Those of a matrix state by index tuples."""
    own = recorded("state space")
    ax = heatmap(own.recording, signals="ssm_state", units=[(2, 1), (0, 0)])
    assert isinstance(ax, Axes)
    assert np.array_equal(np.asarray(ax.images[0].get_array()), own.values[0].T[[5, 0]])
    assert [one.get_text() for one in ax.get_yticklabels()] == ["(2, 1)", "(0, 0)"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_the_recorded_value_of_each_token(kind: str) -> None:
    """As a number, in the title of the token, and as its colour; the tokens come out as they went in."""
    own = recorded(kind)
    tokens = ["<b>", "a&b", '"', "'", "</p><script>x</script>", " ", "\n"][: own.lengths[2]]
    unit = (0, 1) if kind == "state space" else 1
    coloured = own.recording.plot.text(tokens, unit, row=2, layer=own.layer)
    assert np.array_equal(coloured.values, own.values[2, : len(tokens), 1])
    page = Spans(coloured._repr_html_())
    assert page.tags == {"div", "p", "span"}
    key, spans = page.found[:2], page.found[2:]
    assert [span[0] for span in spans] == tokens
    for step, (value, (_, title, back, ink)) in enumerate(zip(coloured.values, spans, strict=True), start=1):
        when = f"at step {step}" if kind == "bidirectional" else f"after {step} step{'s' * (step > 1)}"
        assert title == f"{when}: {value:.3g}"
        red, _, blue = (int(back[at : at + 2], 16) for at in (1, 3, 5))
        assert (red > blue) == (value > 0), "teal is below 0, gold above"
        assert contrast(back, ink) >= 4.5
    assert key[0][0].startswith("from -")
    assert repr(coloured).startswith(f"{len(tokens)} tokens coloured by {own.signal.replace('_', ' ')}")


def test_the_ink_on_a_colour_is_the_one_that_is_seen_better() -> None:
    """On every grey, of both."""
    for shade in range(256):
        colour = f"#{shade:02x}{shade:02x}{shade:02x}"
        other = {"#000000": "#ffffff", "#ffffff": "#000000"}[ink_on(colour)]
        assert contrast(colour, ink_on(colour)) >= contrast(colour, other)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"row": 6}, r"row=6 lies outside the batch, which has 6"),
        ({"row": [0, 1]}, r"row=\[0, 1\] was asked for; one sequence is drawn"),
        ({"signals": "cell"}, r"There is no recorded signal 'cell'; there is 'input_gate', .*'cell_state'"),
        ({"signals": []}, r"signals=\[\] names no signal; name one of 'input_gate'"),
        ({"layer": "[1]"}, r"There is no recorded layer '\[1\]'; there is '\[0\]'"),
        ({"units": [4]}, r"units=4 lies outside the signal 'input_gate', which has 4"),
        ({"tokens": "ab"}, r"tokens= holds 2 tokens, and 7 steps of the sequence were recorded"),
    ],
)
def test_what_is_not_there_is_refused(asked: dict, message: str) -> None:
    """With what was given and what there is."""
    with pytest.raises(ProbeError, match=message):
        _ = heatmap(recorded("lstm").recording, **asked)


def test_padding_has_no_token() -> None:
    """As many tokens as the batch is long are refused for a shorter sequence."""
    with pytest.raises(ProbeError, match=r"tokens= holds 7 tokens, and 3 steps.*without padding"):
        _ = text(recorded("packed").recording, "abcdefg", 0, row=1)
    assert LENGTHS[1] == 3


def test_a_text_is_coloured_by_one_unit() -> None:
    """Several units are refused, and so are several signals in one panel of the caller."""
    with pytest.raises(ProbeError, match=r"unit=\[0, 1\] names 2 units; a text is coloured by one"):
        _ = text(recorded("lstm").recording, "abcdefg", [0, 1])
    own = Figure().subplots()
    with pytest.raises(ProbeError, match=r"ax= holds one panel, and 6 panels were asked for"):
        _ = heatmap(recorded("lstm").recording, ax=own)
    assert heatmap(recorded("lstm").recording, signals="input_gate", ax=own) is own
