"""What values promise in a notebook: they show themselves, inert and small whatever they hold, and do not change."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bodies import Model
from pages_read import HOSTILE, SVG, Reader, page_of, shape, square
from torch import Tensor, nn

import probe
from probe import Finding, Signal
from probe.evidence import DataFigure, Range, Rule, judge
from probe.explorer import Explorer, ExplorerNetwork
from probe.notebook.fragments import described
from probe.recording.recording import LayerRecording, Recording
from probe.showing import SHOWN_BY

RULE = Rule("1", "It counts.", "share", "share", "a test", Range.at_least(0.5), Range.at_most(0.2), needs=6)
TABLE = pd.DataFrame(
    {"metric": "share", "role": "trained", "network": list("abcdefgh"), "pair": list("01234567")}
    | {"signal": "", "value": 0.9}
)
#: More than fits into 100 kB.
DEEP = [[{str(k): torch.ones(1) for k in range(99)}] * 99] * 99
NAMES = tuple(f"idle.{place}" for place in range(1000))


def recorded(values: dict[str, Tensor], **changes: Any) -> Recording:
    """Return a recording of one layer that holds these values."""
    part = LayerRecording("rnn[0]", 0, {Signal(name): value for name, value in values.items()}, {})
    given = {"output": None, "parts": (part,), "steps": None, "not_called": (), "max_error": 0.0} | changes
    return Recording(**given)


def named(name: str) -> Any:
    """Return what has a name, such as `probe.report.page.Page`."""
    module, _, inside = name.rpartition(".")
    return getattr(import_module(module), inside)


def finding(**changes: Any) -> Finding:
    """Return a finding with a claim, a figure and a note."""
    figure = DataFigure("line", "A line", "It rises by 2.", "How it rises.", pd.DataFrame({"x": [0, 1]}), SVG)
    given: dict[str, Any] = {"question": "counting", "title": "Does it count?", "measurements": TABLE}
    given |= {"claims": judge(TABLE, [RULE]), "figures": (figure,)}
    given |= {"provenance": {"code": "abc"}, "notes": {"first": "It does."}}
    return Finding(**(given | changes))


def calls() -> Recording:
    """Return a recording of two layers one of which is called twice, and of one that is not called."""
    layers = {"low": nn.LSTM(3, 5), "high": nn.LSTM(5, 5), "idle": nn.LSTM(3, 5)}
    return probe.record(Model(lambda m, x: m.high(*m.high(m.low(x)[0]))[0], **layers), torch.randn(7, 4, 3))


def many() -> Recording:
    """Return a recording of more layers, steps and values than anybody reads."""
    noise = {signal: torch.randn(3, 200, 80) for signal in tuple(Signal)[:13]}
    layers = tuple(LayerRecording(f"{'deep.' * 99}{place}", 0, noise, {}) for place in range(200))
    return recorded({}, parts=layers, steps=tuple(range(1000)), not_called=NAMES, output=DEEP)


def projected() -> Recording:
    """Return a recording of packed rows by an LSTM with a projection, which keeps few steps and compares nothing."""
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(2, 6, 3), torch.tensor([6, 4]), batch_first=True)
    return probe.record(nn.LSTM(3, 5, proj_size=2, batch_first=True), packed, steps=[0, -1], check=False)


ONES = torch.ones(2, 7, 3)
#: No numbers, none that is finite, half precision, values on a graph.
ODD = (ONES[:0], ONES[:, :, :0], ONES * torch.nan, ONES.bfloat16(), ONES.clone().requires_grad_() * 2)
#: What shows itself, and what stands there.
SHOWN: list[tuple[Callable[[], Any], str]] = [
    (calls, "Recording of 3 calls|relative to max(1, |low[0]: 4 x 7 x 5 (batch, time, unit)"),
    (calls, "high[0], call 1: 4 x 7 x 5|Tensor 7 x 4 x 5 float32|Not called: idle[0]|forget_gate"),
    (projected, "rows of 4 to 6 steps|PackedSequence of Tensor 10 x 2 float32|2 x 2 x 2|Steps kept: 0, -1"),
    (projected, "Nothing was compared with the module (check=False)."),
    (
        lambda: probe.record(nn.GRU(3, 5), torch.randn(6, 1, 3), gradient_of=lambda output: output[0].sum()),
        "recording.gradient[layer, signal]",
    ),
    (lambda: probe.inspect(nn.LSTM(3, 5, proj_size=2)), "projected to"),
    (lambda: probe.inspect(nn.GRU(3, 5, num_layers=2)), "2 recurrent layers with 330 parameters in all|reset_gate"),
    (lambda: probe.inspect(nn.ModuleList(nn.LSTM(1, 1) for _ in range(300))), "The first 60 of 300 rows."),
    (finding, "Does it count?|Of 1 claim: 1 established.|It counts.|8 measurements, 1 figure|It does."),
    (lambda: finding(claims=(), figures=(), notes={}, title=" "), "Of 0 claims: none was judged.|counting"),
    (lambda: recorded({}, parts=()), "Recording of 0 calls"),
    (many, "The first 8 calls are shown|and 994 more"),
    (
        lambda: recorded({"hidden_state": torch.zeros(1).expand(2**20, 64, 5)}),
        "335,544,320 numbers were kept, too many to be summarised here.",
    ),
    *((lambda value=value: recorded({"hidden_state": value}), "hidden_state") for value in ODD),
]


def test_a_value_tells_what_it_holds() -> None:
    """In 100 kB and at once, whatever its size; a second look shows the same, and no random number is drawn."""
    for value, there in SHOWN:
        shown = value()
        state, generator = torch.get_rng_state(), str(np.random.get_state())
        text = shown._repr_html_()
        words = Reader(text).words
        assert [part for part in there.split("|") if part not in words] == []
        assert ("gradient[" in words) == ("gradient[" in there)
        assert ("Nothing was compared" in words) <= (value is projected)
        assert len(text) < 100_000
        assert shown._repr_html_() == text
        assert torch.equal(state, torch.get_rng_state())
        assert generator == str(np.random.get_state())


def test_a_recording_tells_its_range_and_keeps_its_values() -> None:
    """The largest value and the error stand there, one layer is unfolded, and no value changes."""
    recording = calls()
    before = [value.clone() for part in recording.parts for value in part.signals.values()]
    reader = Reader(recording._repr_html_())
    largest = recording["low[0]", "forget_gate"].max()
    assert f"{largest:.3g}" in reader.words
    assert f"{recording.max_error:.3g}" in reader.words
    assert reader.named("details").count({"open": None}) == 1
    after = [value for part in recording.parts for value in part.signals.values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_hostile_names_in_a_notebook_add_no_tag() -> None:
    """Nor an attribute: in a layer's name, in keys of the output, and in every text of a finding."""

    def fragments(word: str) -> list[str]:
        model = nn.Sequential()
        model.add_module(word.replace(".", ""), nn.LSTM(3, 5))
        recording = probe.record(model, torch.randn(4, 2, 3))
        other = recorded({"hidden_state": torch.ones(1, 2, 3)}, output={word: word}, not_called=(word,) * 9)
        frame = pd.DataFrame({word: [word, word]})
        figure = DataFigure(word, word, word, word, frame, SVG)
        broken = DataFigure(word, word, word, word, frame, word)
        claims = judge(TABLE, [Rule(word, word, "share", word, word, Range.at_least(1.0), Range.at_most(0.0))])
        about = {"measurements": frame, "claims": claims, "figures": (figure, figure, broken)}
        told = finding(title=word, notes={word: word}, provenance={word: word}, **about)
        return [one._repr_html_() for one in (recording, probe.inspect(model), other, told)]

    calm = list(map(shape, fragments("calm")))
    for text in HOSTILE:
        found = fragments(text)
        assert list(map(shape, found)) == calm
        assert max(len(each.encode()) for each in found) < 200_000


class Rude:
    """Raises whenever somebody wants to print it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_what_a_model_returned_is_told_by_kinds_and_shapes() -> None:
    """No value is printed, none is asked for its own words, and a list that holds itself comes to an end."""
    endless: list[Any] = []
    endless.append(endless)
    assert (described(Rude()), described(endless)) == ("Rude", "list (list (list (list)))")
    assert described((torch.ones(()), {"a": None})) == "tuple (Tensor one number float32, dict {a: NoneType})"
    assert len(described([[torch.ones(2, 3)] * 9] * 9)) <= 200


def test_pages_stand_in_a_frame_and_print_short() -> None:
    """An explorer alone may run its script; of a page that cannot be rendered the reason stands there."""
    shown = Explorer([ExplorerNetwork("one", nn.LSTM(1, 3))], "01", {"0": 0.0, "1": 1.0})._repr_html_()
    ((tag, attributes),) = Reader(shown).tags
    assert (tag, attributes["sandbox"], attributes["title"]) == ("iframe", "allow-scripts", "Live explorer")
    assert "explorer-live" in str(attributes["srcdoc"])
    assert "The figure is no SVG" in page_of(square(svg="<p>"))._repr_html_()
    assert finding().figures[0]._repr_png_() is None
    assert repr(finding()).splitlines() == [
        "Finding 'counting': Does it count?",
        "  1: established, It counts.",
        "  DataFigure 'line': A line (2 rows behind it)",
        "  8 measurements",
    ]


@pytest.mark.parametrize(("kind", "method"), SHOWN_BY)
def test_a_value_has_the_method_that_is_registered_for_it(kind: str, method: str) -> None:
    """And whoever does it exists: both are named as texts, which nothing else would miss."""
    assert method in vars(named(kind))
    assert callable(named(SHOWN_BY[kind, method]))


def test_a_value_of_a_kind_of_its_own_shows_itself_as_what_it_is() -> None:
    """A class below `Recording` needs no line of its own."""

    class Mine(Recording):
        pass

    own = Mine(None, (), None, (), 0.0)
    assert own._repr_html_() == recorded({}, parts=())._repr_html_()
    assert "heatmap" in repr(own.plot)
