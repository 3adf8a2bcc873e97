"""What values promise in a notebook: they show themselves, inert and small whatever they hold, and do not change."""

from __future__ import annotations

import html
import os
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Finding, Signal
from probe.evidence import DataFigure, Range, Rule, judge
from probe.explorer import Explorer, ExplorerNetwork
from probe.notebook.fragments import described
from probe.recording.recording import LayerRecording, Recording
from probe.report import Figure, Page, Section

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "x" * 10_000,
    "nul \x00 lone \ud800 {{ 7 * 7 }}",
]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="5" height="5"/></svg>'
RULE = Rule("1", "It counts.", "share", "share", "a test", Range.at_least(0.5), Range.at_most(0.2), needs=6)
TABLE = pd.DataFrame(
    {
        "metric": "share",
        "role": "trained",
        "network": list("abcdefgh"),
        "pair": list("01234567"),
        "signal": "",
        "value": 0.9,
    }
)


class Reader(HTMLParser):
    """Collects the tags of a text with their attributes, and the words between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag with its attributes."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep words."""
        self.words += data


def shape(text: str) -> list[tuple[str, list[str]]]:
    """Return the tags of a text with the names of their attributes; a class depends on how long a text is."""
    return [(tag, sorted(set(attributes) - {"class"})) for tag, attributes in Reader(text).tags]


def inner(text: str) -> str:
    """Return the page inside a frame, the only element of a text."""
    ((tag, attributes),) = Reader(text).tags
    assert tag == "iframe"
    return attributes["srcdoc"] or ""


def recorded(values: dict[str, Tensor], **changes: Any) -> Recording:
    """Return a recording of one layer that holds these values."""
    part = LayerRecording("rnn[0]", 0, {Signal(name): value for name, value in values.items()}, {})
    given = {"output": None, "parts": (part,), "steps": None, "not_called": (), "max_error": 0.0} | changes
    return Recording(**given)


def finding(**changes: Any) -> Finding:
    """Return a finding with a claim, a figure and a note."""
    figure = DataFigure("line", "A line", "It rises by 2.", "How it rises.", pd.DataFrame({"x": [0, 1]}), SVG)
    given = {
        "question": "counting",
        "title": "Does it count?",
        "measurements": TABLE,
        "claims": judge(TABLE, [RULE]),
        "figures": (figure,),
        "provenance": {"code": "abc"},
        "notes": {"first": "It does."},
    }
    return Finding(**(given | changes))


def test_a_recording_tells_what_it_holds(pair: nn.Module) -> None:
    """Output, error, layers, calls, shapes, signals, their range, and what was not called."""
    recording = probe.record(pair, torch.randn(4, 7, 3))
    reader = Reader(recording._repr_html_())
    for words in (
        "Recording of 3 calls",
        "Tensor 4 x 7 x 5 float32",
        f"{recording.max_error:.3g}",
        "relative to max(1, |value|)",
        "low[0]: 4 x 7 x 5 (batch, time, unit)",
        "high[0], call 1: 4 x 7 x 5",
        "Not called: idle[0]",
        "forget_gate",
    ):
        assert words in reader.words
    largest = recording["low[0]", "forget_gate"].max()
    assert f"{largest:.3g}" in reader.words
    assert [attributes for tag, attributes in reader.tags if tag == "details"].count({"open": None}) == 1


def test_a_recording_tells_lengths_steps_gradients_and_that_nothing_was_compared() -> None:
    """Each where it applies, and the sizes of a projected state beside the others."""
    model = nn.LSTM(3, 5, proj_size=2, batch_first=True)
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(2, 6, 3), torch.tensor([6, 4]), batch_first=True)
    words = Reader(probe.record(model, packed)._repr_html_()).words
    assert "rows of 4 to 6 steps" in words
    assert "PackedSequence of Tensor 10 x 2 float32" in words
    assert "2 x 6 x 2" in words
    words = Reader(probe.record(nn.GRU(3, 5), torch.randn(6, 1, 3), steps=[0, -1], check=False)._repr_html_()).words
    assert "Steps kept: 0, -1" in words
    assert "Nothing was compared with the module (check=False)." in words
    gradient = probe.record(nn.GRU(3, 5), torch.randn(6, 1, 3), gradient_of=lambda output: output[0].sum())
    assert "recording.gradient[layer, signal]" in Reader(gradient._repr_html_()).words
    assert "recording.gradient" not in words


def test_a_models_layers_stand_in_a_table() -> None:
    """Names, cells, sizes, parameters and signals; the projection only where there is one."""
    words = Reader(probe.inspect(nn.LSTM(3, 5, proj_size=2))._repr_html_()).words
    assert "projected to" in words
    words = Reader(probe.inspect(nn.GRU(3, 5, num_layers=2))._repr_html_()).words
    assert "2 recurrent layers with 330 parameters in all" in words
    assert "reset_gate" in words
    assert "projected to" not in words


def test_a_finding_tells_what_was_judged() -> None:
    """Title, claims with their verdicts, notes, and how much else there is; pictures that it drew show themselves."""
    shown = finding()._repr_html_()
    words = Reader(shown).words
    for expected in (
        "Does it count?",
        "Of 1 claim: 1 established.",
        "It counts.",
        "8 measurements, 1 figure",
        "It does.",
    ):
        assert expected in words
    assert 'class="verdict good"' in shown
    few = Reader(finding(claims=(), figures=(), notes={}, title=" ")._repr_html_()).words
    assert "Of 0 claims: none was judged." in few
    assert "counting" in few
    assert finding().figures[0]._repr_png_() is None


def test_an_explorer_alone_is_a_page_that_may_run_its_script() -> None:
    """It needs no page around it."""
    shown = Explorer([ExplorerNetwork("one", nn.LSTM(1, 3))], "01", {"0": 0.0, "1": 1.0})._repr_html_()
    assert shown.startswith('<iframe sandbox="allow-scripts" title="Live explorer"')
    assert "explorer-live" in inner(shown)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_add_no_tag_and_no_attribute(text: str) -> None:
    """In a layer's name, in keys of the output, and in every text of a finding."""

    def fragments(word: str) -> list[str]:
        model = nn.Sequential()
        model.add_module(word.replace(".", ""), nn.LSTM(3, 5))
        recording = probe.record(model, torch.randn(4, 2, 3))
        other = recorded({"hidden_state": torch.ones(1, 2, 3)}, output={word: word}, not_called=(word,) * 9)
        return [recording._repr_html_(), probe.inspect(model)._repr_html_(), other._repr_html_()]

    def findings(word: str) -> str:
        frame = pd.DataFrame({word: [word, word]})
        figure = DataFigure(word, word, word, word, frame, SVG)
        broken = DataFigure(word, word, word, word, frame, word)
        claims = judge(TABLE, [Rule(word, word, "share", word, word, Range.at_least(1.0), Range.at_most(0.0))])
        return finding(
            title=word,
            measurements=frame,
            claims=claims,
            figures=(figure, figure, broken),
            notes={word: word},
            provenance={word: word},
        )._repr_html_()

    assert list(map(shape, fragments(text))) == list(map(shape, fragments("calm")))
    assert shape(findings(text)) == shape(findings("calm"))
    for each in (*fragments(text), findings(text)):
        assert each.encode()
        assert len(each) < 100_000


def test_a_recording_of_any_size_is_shown_in_100_kb_and_at_once() -> None:
    """Two hundred calls of every signal in noise; and more numbers than can be summed up while somebody waits."""
    values = {signal: torch.randn(3, 200, 80) for signal in tuple(Signal)[:13]}
    parts = tuple(LayerRecording(f"{'deep.' * 99}{place}", 0, values, {}) for place in range(200))
    names = tuple(f"idle.{place}" for place in range(1000))
    output = [[{str(k): torch.ones(1) for k in range(99)}] * 99] * 99
    shown = recorded({}, parts=parts, steps=tuple(range(1000)), not_called=names, output=output)._repr_html_()
    assert len(shown) < 100_000
    assert "The first 8 calls are shown" in shown
    assert "and 994 more" in shown
    many = torch.zeros(1).expand(2**20, 64, 5)
    assert "335,544,320 numbers were kept, too many to be summarised here." in html.unescape(
        recorded({"hidden_state": many})._repr_html_()
    )
    layers = nn.ModuleList(nn.LSTM(1, 1) for _ in range(300))
    shown = probe.inspect(layers)._repr_html_()
    assert "The first 60 of 300 rows." in shown
    assert len(shown) < 100_000


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(0, 7, 3),
        torch.zeros(2, 0, 3),
        torch.zeros(2, 7, 0),
        torch.full((2, 7, 3), torch.nan),
        torch.full((2, 7, 3), torch.inf),
        torch.tensor([[[torch.nan], [-torch.inf], [2.0]]]),
        torch.ones(2, 7, 3, dtype=torch.bfloat16),
        torch.ones(2, 7, 3, dtype=torch.float16),
        torch.ones(2, 7, 3, requires_grad=True) * 2,
        torch.zeros(2, 7, 3),
    ],
    ids=str,
)
def test_odd_values_are_shown(value: Tensor) -> None:
    """No numbers, none that is finite, half precision, values on a graph: a table all the same."""
    shown = recorded({"hidden_state": value})._repr_html_()
    assert "hidden_state" in shown
    assert "<table" in shown
    assert "Recording of 0 calls" in recorded({}, parts=())._repr_html_()


class Rude:
    """Raises whenever somebody wants to print it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_what_a_model_returned_is_told_by_kinds_and_shapes() -> None:
    """No value is printed, none is asked for its own words, and a list that holds itself comes to an end."""
    endless: list[Any] = []
    endless.append(endless)
    assert described(Rude()) == "Rude"
    assert described(endless) == "list (list (list (list)))"
    assert described((torch.ones(()), {"a": None})) == "tuple (Tensor one number float32, dict {a: NoneType})"
    assert len(described([[torch.ones(2, 3)] * 9] * 9)) <= 200


def test_a_page_that_cannot_be_rendered_says_why() -> None:
    """A notebook shows the sentence in its place, and rendering it still raises."""
    page = Page("T", "l", [Section("S", [Figure("<p>", "A square 5 wide.", "c")], "s")])
    assert "The figure is no SVG" in page._repr_html_()
    with refused():
        _ = page.render()


def test_showing_changes_nothing(pair: nn.Module) -> None:
    """Neither values, nor the state of the random numbers, nor a second look."""
    recording = probe.record(pair, torch.randn(4, 7, 3))
    before = [value.clone() for part in recording.parts for value in part.signals.values()]
    state, generator = torch.get_rng_state(), str(np.random.get_state())
    assert recording._repr_html_() == recording._repr_html_()
    answer = finding()
    text = answer.measurements.to_csv()
    assert answer._repr_html_() == answer._repr_html_()
    assert answer.measurements.to_csv() == text
    after = [value for part in recording.parts for value in part.signals.values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert generator == str(np.random.get_state())


def test_printed_values_stay_short() -> None:
    """A finding and a page print what they are, and not the pictures that they hold."""
    assert repr(finding()).splitlines() == [
        "Finding 'counting': Does it count?",
        "  1: established, It counts.",
        "  DataFigure 'line': A line (2 rows behind it)",
        "  8 measurements",
    ]
    page = Page("The counter", "l", [Section("S", [Figure(SVG, "A square 5 wide.", "c")], "s")])
    assert repr(page) == "Page 'The counter': 1 section, 1 figure"
    assert repr(Page("Empty", "l", [])) == "Page 'Empty': nothing below its lead"


def test_nothing_is_loaded_before_something_is_shown() -> None:
    """Recording needs no templates; only a notebook that shows a recording pays for them."""
    code = (
        "import sys, torch, probe; recording = probe.record(torch.nn.GRU(1, 2), torch.ones(3, 1, 1)); "
        "before = 'probe.report' in sys.modules; recording._repr_html_(); print(before, 'probe.report' in "
        "sys.modules, 'matplotlib' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=os.sep, timeout=60)
    assert done.stdout.split() == ["False", "True", "False"]
