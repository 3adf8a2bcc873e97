"""The explorer as a block: what a page carries of networks, programs and experiments, and what it refuses."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bodies import Model
from pages_read import BITS, HOSTILE, Reader, carried, page_of
from refusing import refused
from torch import Tensor, nn

import probe
from probe.explorer import Explorer, ExplorerBits, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram
from probe.explorer.networks import LIMIT
from probe.methods.abstraction.programs import run_program
from probe.plots.style import ROLE_STYLE
from probe.recurrent import CustomLSTM
from probe.report import Details


def explorer(*models: nn.Module, **options: Any) -> Explorer:
    """Return an explorer of models that read three features."""
    chosen = [ExplorerNetwork(f"network {place}", model) for place, model in enumerate(models)]
    return Explorer(chosen, options.pop("example", "abca"), options.pop("alphabet", BITS), **options)


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
    layer = {"name": "lstm[0]", "family": "lstm", "relu": False, "units": 5, "inputs": 3, "bias": True}
    for model, written in ((single, "float32"), (double, "float64")):
        (network,) = carried(explorer(model))["networks"]
        assert (network["dtype"], network["layers"]) == (written, [layer])
        assert torch.equal(weights(network), nn.utils.parameters_to_vector(model.parameters()).double())
        assert (network["scores"], network["softmax"], network["head_bias"]) == (3, True, True)
    (stack,) = carried(explorer(nn.RNN(3, 4, num_layers=2, nonlinearity="relu", bias=False)))["networks"]
    layer = {"family": "rnn", "relu": True, "units": 4, "bias": False}
    assert stack["layers"] == [layer | {"name": "[0]", "inputs": 3}, layer | {"name": "[1]", "inputs": 4}]
    assert (stack["scores"], stack["softmax"]) == (0, False)


def test_units_are_sorted_by_how_far_they_move_the_answer(make_tagger: Callable[..., nn.Module]) -> None:
    """By weight and deviation over given sequences, without their padding, or the example; else by deviation."""
    model, rows = (
        make_tagger(torch.float64),
        torch.randn(6, 7, 3, generator=torch.Generator().manual_seed(0)).double(),
    )
    given = [row[:length] for row, length in zip(rows.double(), (7, 2, 5, 1, 7, 3), strict=True)]
    (network,) = carried(Explorer([ExplorerNetwork("n", model, sequences=given)], "abca", BITS))["networks"]
    states = torch.cat([probe.record(model, one[None])["hidden_state"][0] for one in given]).numpy()
    weight: Any = dict(model.named_parameters())["head.weight"].detach().numpy()
    # The same for all classes moves no answer.
    far = states.std(0) * ((weight - weight.mean(0)) ** 2).sum(0) ** 0.5
    assert (network["over"], network["moves"][0]) == (6, pytest.approx(far / far.max(), abs=5e-5))
    (alone,) = carried(explorer(model))["networks"]
    assert (alone["over"], alone["moves"] == network["moves"], max(alone["moves"][0])) == (0, False, 1)
    # A number's weight is no difference, and the layers below no head reads.
    stack = nn.RNN(3, 4, num_layers=2)
    (bare,) = carried(explorer(stack))["networks"]
    run = probe.record(stack.double(), torch.tensor([BITS[one] for one in "abca"]).double()[:, None])
    for layer, moved in zip(("[0]", "[1]"), bare["moves"], strict=True):
        spread = run[layer, "hidden_state"][0].std(0, correction=0)
        assert moved == pytest.approx((spread / spread.max()).tolist(), abs=5e-5)
    number = Model(lambda m, x: m.head(m.gru(x)[0][:, -1]), gru=nn.GRU(3, 5, batch_first=True), head=nn.Linear(5, 1))
    assert len(set(carried(explorer(number))["networks"][0]["moves"][0])) == 5


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
    assert made.data == first != explorer(tagger).data


def test_what_a_network_reads_may_be_its_own(tagger: nn.Module) -> None:
    """An alphabet and lengths take the place of the explorer's; arrays and tensors are what lists are."""
    twos = {letter: [2.0, 2.0, 2.0] for letter in "abc"}
    own = ExplorerNetwork("own", tagger, alphabet=twos, trained_lengths=[3, 1])
    made = Explorer([ExplorerNetwork("plain", tagger), own], "abca", BITS, trained_lengths=(4,))
    found = [(network["alphabet"], network["trained_lengths"]) for network in carried(made)["networks"]]
    assert found == [(BITS, [4]), (twos, [1, 3])]
    features = {symbol: torch.tensor(row) for symbol, row in BITS.items()}
    assert explorer(tagger, alphabet=features).data == explorer(tagger).data


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
    page = page_of(ExplorerBits(made, "#s"), made).render()
    assert page.count('<th scope="row">') == 30
    assert page.count(f"answers <strong>class {int(recording.output.argmax())}</strong>") == 2


def test_hostile_names_stay_text(tagger: nn.Module) -> None:
    """Names of networks, roles, modules, classes, programs and experiments end no script and turn no text."""
    alphabet = dict.fromkeys("</>& abc", BITS["a"])
    for hostile in HOSTILE:
        model = nn.ModuleDict({hostile.replace(".", ""): nn.GRU(3, 2)})
        program = ExplorerProgram(hostile, 0, dict.fromkeys(alphabet, 0), hostile)
        networks = [
            ExplorerNetwork("tagger", tagger, programs=[program]),
            ExplorerNetwork(hostile, next(iter(model.values())), hostile),
            ExplorerNetwork(f"large {hostile}", nn.GRU(3, 200)),
        ]
        classes = [f"{hostile} {number}" for number in range(3)]
        made = Explorer(networks, "</>& ", alphabet, classes, experiments=[ExplorerExperiment(hostile)])
        tags = Reader(page_of(made).render().encode().decode())
        assert "img" not in [tag for tag, _ in tags.tags]
        assert len(tags.named("script")) == 2
        found = carried(made)
        told = [
            found["networks"][1]["role"],
            found["experiments"][0]["label"],
            found["classes"][0].removesuffix(" 0"),
        ]
        assert told == [re.sub("[\u202e\u2066]", "\ufffd", hostile)] * 3
        assert found["example"] == "</>& "


def test_a_network_that_a_page_cannot_run_is_named_with_the_reason(tagger: nn.Module) -> None:
    """And the table of the example stands there; alone it has no script, and it takes the others nothing."""
    reasons: dict[nn.Module, str] = {
        nn.LSTM(3, 157): rf"network 0 has 101,\d\d\d parameters, and a page carries networks of up to {LIMIT:,}",
        nn.GRU(3, 4, bidirectional=True): "reads its input in both directions",
        nn.LSTM(3, 4, proj_size=2): "projects its hidden state",
        CustomLSTM(3, 4, peepholes=True): "is a CustomLSTM",
        nn.LSTM(3, 155): "",
    }
    for model, reason in reasons.items():
        made, beside = explorer(model), explorer(model, tagger)
        text = page_of(made).render()
        assert (made.data is None, len(made.refused), "<script>" in text) == (bool(reason), bool(reason), not reason)
        assert '<th scope="row">' in text
        names = ["network 0", "network 1"][bool(reason) :]
        assert [network["name"] for network in carried(beside)["networks"]] == names
        for page in (text, page_of(beside).render()):
            assert re.search(reason, html.unescape(page))


def test_networks_stand_beside_each_other_and_look_as_in_figures(tagger: nn.Module) -> None:
    """Up to three; of more the first alone, or those that are named; what cannot run is left out."""
    assert [carried(explorer(*[tagger] * count))["beside"] for count in (1, 3, 4)] == [[0], [0, 1, 2], [0]]
    assert carried(explorer(*[tagger] * 4, beside=["network 2", "network 0"]))["beside"] == [2, 0]
    assert carried(explorer(nn.LSTM(3, 157), tagger, beside=["network 0", "network 1"]))["beside"] == [0]
    for look in ROLE_STYLE:
        assert data(ExplorerNetwork("a", tagger, look=look))["networks"][0]["look"] == look


def read(
    change: Callable[[Tensor], Tensor] = lambda x: x,
    begin: float = 0.0,
    end: Callable[[Tensor], Tensor] = lambda h: h[:, -1],
    **more: nn.Module,
) -> Model:
    """Return a model that gives a head's scores of what it makes of its input and states."""
    parts = {"gru": nn.GRU(3, 5, batch_first=True), "head": nn.Linear(5, 3)} | more
    first = lambda x: x.new_full((1, len(x), 5), begin)  # noqa: E731
    return Model(lambda m, x: m.head(end(m.gru(change(x), first(x))[0])), **parts)


def headed(head: str) -> Explorer:
    """Return an explorer of a model with two linear modules, one of which is said to be its head."""
    return Explorer([ExplorerNetwork("two", read(other=nn.Linear(5, 2)), head=head)], "ab", BITS)


def broken() -> nn.Module:
    """Return a model with a weight that is no number."""
    model: Any = read()
    _ = nn.init.constant_(model.head.weight, float("nan"))
    return model


NO_MODULE: Any = Tensor()
WRONG: list[Callable[[], object]] = [
    lambda: explorer(read(), example="abx"),
    lambda: explorer(read(), example=[[1.0, 2.0, 3.0]]),
    lambda: explorer(read(), alphabet=None, example=[[1.0, 2.0]]),
    lambda: explorer(read(), alphabet={"a": 1.0}),
    lambda: explorer(read(), alphabet={**BITS, "ab": BITS["a"]}),
    lambda: explorer(read(), alphabet={**BITS, "d": [0.0, float("nan"), 1.0]}),
    lambda: explorer(read(), example="a" * 2001),
    lambda: explorer(read(), classes=["yes", "no"]),
    lambda: explorer(read(), truth="count"),
    lambda: explorer(read(), beside=["network 1"]),
    lambda: explorer(read(), classes=["yes", "no", " "]),
    lambda: explorer(read(other=nn.Linear(5, 2))),
    lambda: headed("other"),
    lambda: headed("haed"),
    lambda: Explorer([ExplorerNetwork("a", read()), ExplorerNetwork("a", read())], "ab", BITS),
    lambda: Explorer([], "ab", BITS),
    lambda: ExplorerNetwork(" ", read()),
    lambda: ExplorerNetwork("a", read(), look="blue"),
    lambda: ExplorerNetwork("a", NO_MODULE),
    lambda: explorer(read(end=lambda h: h.mean(1))),
    lambda: explorer(read(lambda x: 3 * x)),
    lambda: explorer(read(lambda x: x.flip(1))),
    lambda: explorer(read(lambda x: x[:, 1:])),
    lambda: explorer(read(begin=0.5)),
    lambda: explorer(broken()),
    lambda: page_of(Details("two", [explorer(read())] * 2)),
]


FLAT = dict.fromkeys("abc", 0)
BS = ExplorerProgram("bs", 0, {"a": 0, "b": 1, "c": 0}, "count each b")
SPACED = {**BITS, " ": BITS["c"]}


def answering() -> Model:
    """Return an LSTM with a head on its last hidden state."""
    parts = {"lstm": nn.LSTM(3, 5, batch_first=True), "head": nn.Linear(5, 3)}
    return Model(lambda m, x: m.head(m.lstm(x)[0][:, -1]), **parts)


def data(*networks: ExplorerNetwork, **options: Any) -> dict[str, Any]:
    """Return what the script reads of an explorer over three symbols, by default of one LSTM."""
    given = networks or (ExplorerNetwork("n", answering()),)
    return carried(Explorer(given, options.pop("example", "abca"), options.pop("alphabet", BITS), **options))


def tried(model: nn.Module | None = None, **changed: Any) -> dict[str, Any]:
    """Return what a page holds of one experiment."""
    network = ExplorerNetwork("n", model or answering())
    options = {name: changed.pop(name) for name in ("alphabet", "example") if name in changed}
    given: dict[str, Any] = {"label": "try"} | changed
    return data(network, experiments=[ExplorerExperiment(**given)], **options)["experiments"][0]["state"]


def test_a_program_is_a_number_that_each_symbol_changes() -> None:
    """An offset alone adds; a pair multiplies first; what it was made of may change, and it does not."""
    cases: list[tuple[float, Any, dict[str, float]]] = [
        (2, {"0": 0, "1": 1}, {"": 2, "0": 2, "0110": 4}),
        (0, {"0": 0, "1": (-1, 1)}, {"1": 1, "11": 0, "111": 1, "1111": 0}),
        (1, {"x": (3, 0.5), "y": (0, 7)}, {"xx": 11, "xyx": 21.5}),
    ]
    for start, steps, answers in cases:
        made, same = ExplorerProgram("p", start, steps), ExplorerProgram("p", float(start), dict(steps))
        assert (made, hash(made)) == (same, hash(same))
        steps.clear()
        assert {text: made(text) for text in answers} == answers
    # Of whole numbers it gives what it gives of the symbols that write them.
    counted, x = ExplorerProgram("c", 0, {"0": 0, "1": 1}), torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert run_program("counted", counted, x).tolist() == [2.0, 1.0]


def test_a_network_has_the_explorers_programs_and_its_own(tagger: nn.Module) -> None:
    """One of the same name takes the other's place among them, further ones come after them."""
    fitted = ExplorerProgram("bs", 0.5, {"a": -0.25, "b": 1, "c": 0}, "with a drift")
    further, last = (ExplorerProgram(name, 0, FLAT) for name in ("further", "last"))
    networks = [ExplorerNetwork("plain", tagger), ExplorerNetwork("own", tagger, programs=[further, fitted])]
    plain, own = (network["programs"] for network in data(*networks, programs=[BS, last])["networks"])
    assert [program["name"] for program in plain] == ["bs", "last"]
    assert [program["name"] for program in own] == ["bs", "last", "further"]
    assert plain[0]["steps"] == {"a": [1, 0], "b": [1, 1], "c": [1, 0]}
    steps = {"a": [1, -0.25], "b": [1, 1], "c": [1, 0]}
    assert own[0] == {"name": "bs", "role": "with a drift", "start": 0.5, "steps": steps}


def patch(signal: str, steps: Any = (1,), units: Any = None) -> ExplorerEdit:
    """Return a patch, after the second step."""
    return ExplorerEdit("patch", signal, steps=steps, units=units)


def test_what_the_handle_cannot_say_stays_an_edit() -> None:
    """The rest of what is put in at one step stands in it, from the step that a shorter sequence has there."""
    cases: list[list[ExplorerEdit]] = [
        [patch("cell_state", steps=[0, 1])],
        [patch("cell_state", units=[0, 1])],
        [patch("hidden_state", units=[0])],
        [patch("cell_state"), patch("hidden_state", steps=[2])],
        [patch("cell_state"), ExplorerEdit("clamp", "hidden_state", steps=[1])],
    ]
    found = [tried(second=["bbc"], edits=edits) for edits in cases]
    found.append(tried(nn.GRU(3, 4, num_layers=2), second=["bbc"], edits=[patch("hidden_state")]))
    assert [(len(one["edits"]), "put" in one) for one in found] == [(1, False)] * 3 + [(2, False)] * 2 + [(1, False)]
    put = tried(nn.GRU(3, 4), second=["bbc"], edits=[patch("hidden_state", steps=[-1])])
    assert (put["edits"], put["put"], put["from"], put["at"]) == ([], "all", 2, 3)


def test_sequences_may_be_numbers_or_stand_apart_by_what_is_no_symbol() -> None:
    """A comma where the space is a symbol; where both are, one can be given; a layer is found by its name."""
    edit = ExplorerEdit("patch", "hidden_state", steps=[0], layer="[1]")
    rows = {"alphabet": None, "example": [[0.0, 0.0]], "sequence": [[0.5, 1.0], [2.0, 3.0]], "second": [[[1.0, 2.0]]]}
    found = tried(nn.RNN(2, 3, num_layers=2), edits=[edit], **rows)
    assert (found["x"], found["y"], found["edits"][0]["layer"]) == ("0.5 1.0;2.0 3.0", "1.0 2.0", 1)
    assert tried(alphabet=SPACED, second=["a a", "b b"])["y"] == "a a,b b"
    assert tried(alphabet={**SPACED, ",": BITS["c"]}, second="a a")["y"] == "a a"


def program(**changed: Any) -> ExplorerProgram:
    """Return a program that is right but for what is given."""
    return ExplorerProgram(**({"name": "p", "start": 0, "steps": {"a": 1}} | changed))


def edited(*given: Any, **options: Any) -> dict[str, Any]:
    """Return what the page holds of an experiment with one edit."""
    return tried(edits=[ExplorerEdit(*given, **options)])


WRONG += [
    lambda: BS("abd"),
    lambda: program(name=" "),
    lambda: program(steps={}),
    lambda: program(start=float("nan")),
    lambda: program(steps={"a": float("inf")}),
    lambda: program(steps={"a": (1, 2, 3)}),
    lambda: data(ExplorerNetwork("n", nn.GRU(3, 4)), programs=[BS]),
    lambda: data(ExplorerNetwork("n", answering(), softmax=False), programs=[BS]),
    lambda: data(programs=[BS], alphabet=None, example=[[0.0, 1.0, 2.0]]),
    lambda: data(programs=[BS, BS]),
    lambda: data(programs=[ExplorerProgram("p", 0, {"a": 0, "b": 0})]),
    lambda: data(programs=[ExplorerProgram("p", 0, FLAT | {"d": 0})]),
    lambda: data(ExplorerNetwork("n", answering(), programs=[ExplorerProgram("p", 0, {"a": 0, "b": 0})])),
    lambda: tried(label=" "),
    lambda: tried(sequence=""),
    lambda: tried(second=["ab", ""]),
    lambda: tried(sequence="abd"),
    lambda: tried(second=["ab", "abc"]),
    lambda: tried(network="m"),
    lambda: tried(alphabet={**SPACED, ",": BITS["c"]}, second=["a a", "b b"]),
    lambda: edited("clamp", "forgotten_gate"),
    lambda: edited("clamp", "forget_gate", units=[5]),
    lambda: edited("clamp", "forget_gate", steps=[4]),
    lambda: edited("clamp", "forget_gate", layer="gru"),
    lambda: edited("patch", "cell_state"),
    lambda: edited("zero", "cell_state"),
    lambda: edited("clamp", "cell_state", float("nan")),
    lambda: edited("resample", "cell_state", 0.5),
    lambda: page_of(ExplorerBits(explorer(read()), "#key"), explorer(read())),
    lambda: ExplorerBits(explorer(nn.LSTM(3, 157)), "#key"),
    lambda: Explorer([ExplorerNetwork("a", read(), sequences=torch.zeros(2, 4, 2))], "ab", BITS),
    lambda: Explorer([ExplorerNetwork("a", read(), sequences=[torch.zeros(4, 3), torch.zeros(0, 3)])], "ab", BITS),
]


def test_what_a_page_would_run_otherwise_or_not_at_all_is_refused() -> None:
    """It is run when the explorer is made: no button of a page leads to an error, or to other numbers."""
    for make in WRONG:
        with refused():
            _ = make()
    assert carried(headed("head"))["networks"][0]["scores"] == 3
    assert explorer(read()).data is not None
