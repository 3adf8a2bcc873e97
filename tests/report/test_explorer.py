"""The explorer as a block: what a page carries of a network, what it says where it cannot, hostile names inert."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe.explorer import Explorer, ExplorerNetwork
from probe.explorer.networks import LIMIT, LOOKS
from probe.plots.style import ROLE_STYLE
from probe.recurrent import CustomLSTM
from probe.report import Details, Page, Section, Text

BITS = {"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 0.5], "c": [1.0, 1.0, 1.0]}
HOSTILE = "</script><img src=x onerror=alert(1)><!-- \u2028 \ud800 & \x00"


def explorer(*models: nn.Module, **options: Any) -> Explorer:
    """Return an explorer of models that read three features."""
    chosen = [ExplorerNetwork(f"network {place}", model) for place, model in enumerate(models)]
    return Explorer(chosen, options.pop("example", "abca"), options.pop("alphabet", BITS), **options)


def page(block: Any, **options: Any) -> Page:
    """Return a page with one block."""
    return Page("t", "l", [Section("s", [block], "s")], **options)


def data(block: Explorer) -> dict[str, Any]:
    """Return what the script reads, as the page carries it."""
    text = page(block).render().split('id="explorer-data">')[1].split("</script>")[0]
    assert "<" not in text
    return json.loads(text)


def weights(network: dict[str, Any]) -> Tensor:
    """Return a network's numbers as the page carries them."""
    raw = bytearray(base64.b64decode(network["weights"]))
    return torch.frombuffer(raw, dtype=getattr(torch, network["dtype"])).double()


def test_a_page_carries_every_weight_exactly(make_tagger: Callable[..., nn.Module]) -> None:
    """Float32 where it holds them, float64 where not; in torch's order, the head last."""
    single, double = make_tagger(), make_tagger(torch.float64)
    with torch.no_grad():
        for parameter in double.parameters():
            _ = parameter.div_(3)
    for model, written in ((single, "float32"), (double, "float64")):
        (network,) = data(explorer(model))["networks"]
        assert network["dtype"] == written
        assert torch.equal(weights(network), nn.utils.parameters_to_vector(model.parameters()).double())
        assert network["layers"] == [
            {"name": "lstm[0]", "family": "lstm", "relu": False, "units": 5, "inputs": 3, "bias": True}
        ]
        assert (network["scores"], network["softmax"], network["head_bias"]) == (3, True, True)


def test_the_weights_are_those_of_the_moment(tagger: nn.Module) -> None:
    """A module that is trained on changes no explorer that was made of it, and an explorer changes no module."""
    tagger.train()
    before = {name: value.clone() for name, value in tagger.state_dict().items()}
    made = explorer(tagger)
    assert tagger.training
    assert all(torch.equal(value, before[name]) for name, value in tagger.state_dict().items())
    first = made.data
    with torch.no_grad():
        for parameter in tagger.parameters():
            _ = parameter.zero_()
    assert made.data == first
    assert not torch.equal(weights(data(explorer(tagger))["networks"][0]), weights(data(made)["networks"][0]))


def test_stacks_and_networks_without_a_head_are_described() -> None:
    """Each layer with its name; a relu and missing biases are said; a bare module has no scores."""
    stack = nn.RNN(3, 4, num_layers=2, nonlinearity="relu", bias=False)
    (network,) = data(explorer(stack))["networks"]
    assert [layer["name"] for layer in network["layers"]] == ["[0]", "[1]"]
    assert [layer["inputs"] for layer in network["layers"]] == [3, 4]
    assert all(layer["relu"] and not layer["bias"] for layer in network["layers"])
    assert (network["scores"], network["softmax"]) == (0, False)


def test_what_a_network_reads_may_be_its_own(tagger: nn.Module) -> None:
    """An alphabet and lengths of a network take the place of the explorer's."""
    own = ExplorerNetwork(
        "own", tagger, alphabet={letter: [2.0, 2.0, 2.0] for letter in "abc"}, trained_lengths=[3, 1]
    )
    made = Explorer([ExplorerNetwork("plain", tagger), own], "abca", BITS, trained_lengths=(4,))
    plain, other = data(made)["networks"]
    assert (plain["alphabet"], plain["trained_lengths"]) == (BITS, [4])
    assert (other["alphabet"]["a"], other["trained_lengths"]) == ([2.0, 2.0, 2.0], [1, 3])


def test_before_the_script_runs_the_example_can_be_read(tagger: nn.Module) -> None:
    """The table holds what `probe.record` gives in float64, a row a unit, and stands in the page."""
    made = explorer(tagger)
    x = torch.tensor([[BITS[letter] for letter in "abca"]], dtype=torch.float64)
    recording = probe.record(tagger.double(), x)
    rows = {str(row[0]): list(row[1:]) for row in made.table.rows}
    assert len(rows) == 6 * 5
    for letter, signal in (("i", "input_gate"), ("g", "cell_candidate"), ("c", "cell_state"), ("h", "hidden_state")):
        for unit in range(5):
            expected = recording[signal][0, :, unit].tolist()
            assert rows[f"{letter} {unit}"] == pytest.approx(expected, abs=0.0051)
    text = page(made).render()
    assert text.count('<th scope="row">') == 30
    assert text.index("explorer-live") < text.index("<caption") < text.index("explorer-data")


def test_the_policy_names_the_one_script_and_the_style(tagger: nn.Module) -> None:
    """Both hashes are those of what stands in the page, and a page without an explorer has neither."""
    text = page(Details("more", [explorer(tagger)])).render()
    policy = html.unescape(text)

    def source(found: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()}'"

    assert f"script-src {source(text.rsplit('<script>', 1)[1].split('</script>')[0])}" in policy
    assert f"style-src {source(text.split('<style>')[1].split('</style>')[0])}" in policy
    assert ".explorer" in text
    plain = page(Text("x")).render()
    assert "<script" not in plain
    assert ".explorer" not in plain
    assert 'sandbox="allow-scripts"' in page(explorer(tagger))._repr_html_()


def test_a_page_is_the_same_twice(tagger: nn.Module) -> None:
    """Two explorers of one network give the same bytes."""
    assert page(explorer(tagger)).render() == page(explorer(tagger)).render()


class Tags(HTMLParser):
    """Collects the names of the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag's name."""
        self.found.append(tag)


def test_hostile_names_stay_text(tagger: nn.Module) -> None:
    """Names of networks, roles, modules, classes and symbols end no script and make no element."""
    model = nn.ModuleDict({HOSTILE.replace(".", ""): nn.GRU(3, 2)})
    alphabet = dict.fromkeys("</>& abc", BITS["a"])
    networks = [
        ExplorerNetwork(HOSTILE, next(iter(model.values())), HOSTILE),
        ExplorerNetwork(f"large {HOSTILE}", nn.GRU(3, 200)),
        ExplorerNetwork("tagger", tagger),
    ]
    made = Explorer(networks, "</>& ", alphabet, classes=[HOSTILE] * 3)
    text = page(made).render()
    _ = text.encode()
    tags = Tags()
    tags.feed(text)
    assert "img" not in tags.found
    assert tags.found.count("script") == 2
    found = json.loads(text.split('id="explorer-data">')[1].split("</script>")[0])
    assert found["networks"][0]["role"].startswith("</script><img")
    assert found["example"] == "</>& "


def too_large() -> nn.Module:
    """Return a stack just above the limit."""
    return nn.LSTM(3, 157)


REASONS: list[tuple[Callable[[], nn.Module], str]] = [
    (too_large, rf"network 0 has 101,\d\d\d parameters, and a page carries networks of up to {LIMIT:,}"),
    (lambda: nn.GRU(3, 4, bidirectional=True), "reads its input in both directions"),
    (lambda: nn.LSTM(3, 4, proj_size=2), "projects its hidden state"),
    (lambda: CustomLSTM(3, 4, peepholes=True), "is a CustomLSTM"),
    (lambda: nn.ModuleList([nn.GRU(3, 4), nn.GRU(3, 4)])[0], ""),
]


@pytest.mark.parametrize(("make", "reason"), REASONS)
def test_a_network_that_a_page_cannot_run_is_named_with_the_reason(
    make: Callable[[], nn.Module], reason: str
) -> None:
    """The sentence stands on the page, and the table of the example too; without a network to run, no script."""
    made = explorer(make())
    text = page(made).render()
    assert (made.data is None) == bool(reason)
    assert len(made.refused) == bool(reason)
    assert re.search(reason, html.unescape(text))
    assert ("<script>" in text) == (not reason)
    assert '<th scope="row">' in text


def test_those_that_can_be_run_are(tagger: nn.Module) -> None:
    """One network above the limit takes the others nothing; just below it one is carried."""
    made = explorer(too_large(), tagger, nn.LSTM(3, 155))
    assert [network["name"] for network in data(made)["networks"]] == ["network 1", "network 2"]
    assert "network 0 has" in page(made).render()


class Twice(nn.Module):
    """A model whose output is no linear head's of the last hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's scores of the mean hidden state."""
        return self.head(self.lstm(x)[0].mean(1))


class Two(nn.Module):
    """A model with two linear modules, the second of which is its head."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(5, 2)
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities."""
        return self.head(self.lstm(x)[0][:, -1]).softmax(-1)


def test_a_head_among_several_is_named() -> None:
    """Without its name nobody knows which it is; a wrong one gives another output, which is seen."""
    with refused():
        _ = explorer(Two())
    (network,) = data(Explorer([ExplorerNetwork("two", Two(), head="head")], "ab", BITS))["networks"]
    assert network["scores"] == 3
    with refused():
        _ = Explorer([ExplorerNetwork("two", Two(), head="other")], "ab", BITS)
    with refused():
        _ = Explorer([ExplorerNetwork("two", Two(), head="haed")], "ab", BITS)


WRONG: list[dict[str, Any]] = [
    {"example": ""},
    {"example": "abx"},
    {"example": [[1.0, 2.0, 3.0]]},
    {"alphabet": None},
    {"alphabet": None, "example": [[1.0, 2.0]]},
    {"alphabet": {"a": 1.0}},
    {"alphabet": {**BITS, "ab": BITS["a"]}},
    {"alphabet": {**BITS, "\n": BITS["a"]}},
    {"alphabet": {**BITS, "d": [0.0, float("nan"), 1.0]}},
    {"example": "a" * 2001},
    {"classes": ["yes", "no"]},
    {"truth": "count"},
    {"beside": ["network 1"]},
    {"classes": ["yes", "no", " "]},
]


@pytest.mark.parametrize("options", WRONG)
def test_what_fits_no_network_is_refused(tagger: nn.Module, options: dict[str, Any]) -> None:
    """The message says what was given, and what would fit."""
    with refused():
        _ = explorer(tagger, **options)


def test_up_to_three_networks_are_drawn_beside_each_other(tagger: nn.Module) -> None:
    """Of more the first alone, or those that are named, in that order; one that a page cannot run is left out."""
    assert [data(explorer(*[tagger] * count))["beside"] for count in (1, 3, 4)] == [[0], [0, 1, 2], [0]]
    assert data(explorer(*[tagger] * 4, beside=["network 2", "network 0"]))["beside"] == [2, 0]
    assert data(explorer(too_large(), tagger, beside=["network 0", "network 1"]))["beside"] == [0]


def test_a_look_is_a_role_of_the_figures(tagger: nn.Module) -> None:
    """Each has the colour in a page that it has in a figure; another one is refused."""
    assert set(LOOKS) == set(ROLE_STYLE)
    for look, style in ROLE_STYLE.items():
        assert f".explorer .{look.replace(' ', '-')} {{ --role: {style.color}; }}" in Explorer.style
        assert data(Explorer([ExplorerNetwork("a", tagger, look=look)], "abca", BITS))["networks"][0]["look"] == look
    with refused():
        _ = ExplorerNetwork("a", tagger, look="blue")


def test_networks_need_names_of_their_own(tagger: nn.Module) -> None:
    """The reader chooses by the name; and a model that computes something else than its head is refused."""
    with refused():
        _ = Explorer([ExplorerNetwork("a", tagger), ExplorerNetwork("a", tagger)], "ab", BITS)
    with refused():
        _ = Explorer([], "ab", BITS)
    with refused():
        _ = ExplorerNetwork(" ", tagger)
    with refused():
        _ = ExplorerNetwork("a", Tensor())  # pyright: ignore[reportArgumentType]
    with refused():
        _ = explorer(Twice())


def test_a_page_runs_one_script(tagger: nn.Module) -> None:
    """Two explorers would share the page's one address and its one hash."""
    made = explorer(tagger)
    with refused():
        _ = page(Details("two", [made, made]))


class Changed(nn.Module):
    """A model with a head on its last hidden state, which reads something else than its input."""

    def __init__(self, change: Callable[[Tensor], Tensor], begin: float = 0.0) -> None:
        super().__init__()
        self.change, self.begin = change, begin
        self.gru, self.head = nn.GRU(3, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's scores of the last hidden state."""
        begin = torch.full((1, len(x), 5), self.begin, dtype=x.dtype)
        return self.head(self.gru(self.change(x), begin)[0][:, -1])


@pytest.mark.parametrize(
    "model",
    [
        Changed(lambda x: 3 * x),
        Changed(lambda x: x.flip(1)),
        Changed(lambda x: x[:, 1:]),
        Changed(lambda x: x, begin=0.5),
    ],
)
def test_a_model_that_the_page_would_run_otherwise_is_refused(model: nn.Module) -> None:
    """What it reads is changed, turned round or cut, or it begins elsewhere: the page knows the layers alone."""
    with refused():
        _ = explorer(model)
    assert explorer(Changed(lambda x: x)).data is not None


def test_weights_that_are_no_numbers_are_not_explored(tagger: nn.Module) -> None:
    """The message names the network, and not what came of it."""
    with torch.no_grad():
        next(tagger.parameters())[0, 0] = float("nan")
    with refused():
        _ = explorer(tagger)


def test_arrays_are_taken_for_rows_of_numbers(tagger: nn.Module) -> None:
    """An example as a tensor or an array, and symbols' features as arrays, are what the lists are."""
    rows = [[0.0, 1.0, 2.0], [1.0, 0.0, 0.5]]
    listed = explorer(tagger, alphabet=None, example=rows).data
    made = Explorer([ExplorerNetwork("network 0", tagger)], torch.tensor(rows).numpy(), None)
    assert made.data == listed
    features = {symbol: torch.tensor(row) for symbol, row in BITS.items()}
    assert explorer(tagger, alphabet=features).data == explorer(tagger).data


def test_a_name_cannot_turn_the_text_beside_it(tagger: nn.Module) -> None:
    """A character that turns the direction of writing would have 0.41 read 14.0."""
    found = data(explorer(tagger, classes=["\u202eno", "b", "c"]))
    assert found["classes"] == ["\ufffdno", "b", "c"]
