"""`Recipe`: every number that decides how a network is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from jaxtyping import Float, Int64
from torch import Tensor

from probe.errors import ProbeError, unknown

from .tasks import QUESTIONS, TEMPLATE, encode


@dataclass(frozen=True)
class Recipe:
    """All choices of one training, except the seed.

    Attributes:
        name: what the recipe is called in `RECIPES`.
        hidden_size: units of the LSTM.
        length: bits a string; the network learns from the 2^length strings of this length.
        train_size: strings that are trained on; the others are the test.
        batch_size: strings a step; must divide train_size, since the batches never change.
        epochs: passes over the training strings.
        learning_rate: Adam's step size.
        beta1: decay of Adam's first moment.
        beta2: decay of Adam's second moment.
        epsilon: Adam's epsilon in TensorFlow's form, see `models.learning.Adam`.
        smallest_probability: what the softmax is clipped to before the logarithm.
        forget_bias: what the forget gate's bias starts at.
        head_bias: what the head's bias starts at.
        cell: `"lstm"` or `"gru"`; the bias of a GRU's update gate, which keeps the state, starts at forget_bias.
        question: what the label is, a key of `models.tasks.QUESTIONS`.
        every_step: whether the loss is summed over the answers after every step, and not taken after the last.
        truncated: whether each training string is cut to a length from 1 to `length`, drawn from the seed.
        shorter: how many training strings, drawn from the seed, are replaced by strings one bit shorter.
        zero: what the network reads for a 0.
        one: what the network reads for a 1.
        p_one: how likely a symbol of a training string is a 1, each drawn by itself, so that strings recur; None
            where the training strings differ and are drawn from all alike.
        start: the count k that is likeliest before training, by the head's bias of head_bias - (k - start)² / 8, a
            normal distribution of sd 2; None where all counts have the same bias.
        other: what the network reads for a third symbol, which is not counted; None where there are two symbols.
        p_other: how likely a symbol of a training string is the third one; the rest is zeros.
    """

    name: str
    hidden_size: int = 12
    length: int = 10
    train_size: int = 500
    batch_size: int = 100
    epochs: int = 2000
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    smallest_probability: float = 1e-10
    forget_bias: float = 1.0
    head_bias: float = 0.1
    cell: str = "lstm"
    question: str = "ones"
    every_step: bool = False
    truncated: bool = False
    shorter: int = 0
    zero: float = 0.0
    one: float = 1.0
    p_one: float | None = None
    start: float | None = None
    other: float | None = None
    p_other: float = 0.0

    def __post_init__(self) -> None:
        for field in ("hidden_size", "length", "train_size", "batch_size", "epochs"):
            if getattr(self, field) < 1:
                raise ProbeError(
                    f"The recipe {self.name!r} has {field} = {getattr(self, field)}; it must be at least 1."
                )
        if self.train_size >= self.n_strings or self.train_size % self.batch_size:
            raise ProbeError(
                f"The recipe {self.name!r} trains on {self.train_size} of {self.n_strings} strings in batches of "
                f"{self.batch_size}; some must be left for the test, and the batch size must divide their number."
            )
        for kind, name, known in (("cell", self.cell, ("lstm", "gru")), ("question", self.question, QUESTIONS)):
            if name not in known:
                raise ProbeError(unknown(kind, name, known))
        if fault := self._fault_of_strings() or self._fault_of_third():
            raise ProbeError(f"The recipe {self.name!r} {fault}.")

    def _fault_of_strings(self) -> str:
        """Return what is wrong with the strings of bits."""
        most = min(self.train_size, 2 ** (self.length - 1) if self.length > 1 else 0)
        if not 0 <= self.shorter <= most or (self.truncated and self.shorter):
            return (
                f"replaces {self.shorter} of its strings by shorter ones; give 0 to {most}, and 0 where it truncates"
            )
        if self.question == "template" and self.length != len(TEMPLATE):
            return f"has strings of {self.length} bits; the template has {len(TEMPLATE)}, so give that length"
        if self.zero == self.one:
            return f"writes 0 and 1 both as {self.one:g}; they must differ"
        if self.p_one is not None and not 0 < self.p_one < 1:
            return f"has p_one = {self.p_one}; give a number between 0 and 1, or None"
        return ""

    def _fault_of_third(self) -> str:
        """Return what is wrong with the third symbol."""
        if self.other is None:
            return "has p_other, but no number for a third symbol; give `other`" if self.p_other else ""
        if self.other in (self.zero, self.one):
            return f"reads {self.other:g} for a third symbol, which is another's; give a number of its own"
        if self.p_one is None or not 0 < self.p_other < 1 - self.p_one:
            return f"has p_one = {self.p_one} and p_other = {self.p_other:g}; both and the rest must be above 0"
        if self.question != "ones" or self.truncated or self.shorter:
            return "has a third symbol; count the ones of whole strings there"
        return ""

    @property
    def symbols(self) -> int:
        """How many symbols the strings are made of: 0 and 1, and maybe 2, which is not counted."""
        return 2 if self.other is None else 3

    @property
    def n_strings(self) -> int:
        """All strings of the recipe's length."""
        return self.symbols**self.length

    @property
    def n_classes(self) -> int:
        """Possible answers: 0 to length."""
        return self.length + 1

    @property
    def batches(self) -> int:
        """Steps an epoch."""
        return self.train_size // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.batches

    def labels(self, x: Float[Tensor, "batch time 1"]) -> Int64[Tensor, "batch time"]:
        """Return what should be answered after each step of strings of symbols."""
        return QUESTIONS[self.question](x)

    def encode(self, x: Float[Tensor, "batch time 1"]) -> Float[Tensor, "batch time 1"]:
        """Return strings of symbols in the code that the network reads."""
        return encode(x, zero=self.zero, one=self.one, other=self.other)

    def to_dict(self) -> dict[str, str | int | float | None]:
        """Return all fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, str | int | float | None]) -> Recipe:
        """Return the recipe that `to_dict` wrote.

        Raises:
            ProbeError: a field is missing, or one is unknown; a silent default would be another recipe.
        """
        expected, found = {field.name for field in fields(cls)}, set(values)
        if expected != found:
            raise ProbeError(
                f"The recipe's fields do not fit: missing {sorted(expected - found)}, "
                f"unknown {sorted(found - expected)}. Train the network again."
            )
        return cls(**values)  # pyright: ignore[reportArgumentType]  # JSON values, checked by name


#: How bits can be written, by name: what the network reads for a 0 and for a 1. The first is the notebook's.
CODES = {
    "": (0.0, 1.0),
    "reversed": (1.0, 0.0),
    "signed": (-1.0, 1.0),
    "half-signed": (-0.5, 0.5),
    "shifted": (1.0, 2.0),
}
#: Per cent of the 500 training strings that are one bit shorter.
DOSES = (0, 1, 4, 10)


def experiment_recipe(code: str = "", percent: int = 0) -> Recipe:
    """Return a cell of the experiment, such as `code-reversed-shorter-1-percent`; without a change, `counter`.

    Raises:
        ProbeError: there is no such code or dose.
    """
    if code not in CODES or percent not in DOSES:
        raise ProbeError(f"No cell has the code {code!r} and {percent} %; give one of {list(CODES)} and of {DOSES}.")
    changed = [f"code-{code}"] * bool(code) + [f"shorter-{percent}-percent"] * bool(percent)
    zero, one = CODES[code]
    return Recipe("-".join(changed) or "counter", shorter=500 * percent // 100, zero=zero, one=one)


#: After how many steps trainings of the counter stop, to see what they pass through; its own has 10,000.
STOPS = (100, 200, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000)
#: The recipe of each stop. The same seed gives the same weights on the way: the batches never change.
TRAJECTORY = tuple(Recipe(f"after-{steps}-steps", epochs=steps // 5) for steps in STOPS)

#: So many units have networks beside those of the notebook, which has twelve.
WIDTHS = (1, 2, 3, 4, 6, 8, 16, 24, 32, 48)
#: How likely a 1 is in the training strings of a population, and at which of `STOPS` its beginning is kept.
BASE_RATES, EARLY = (0.2, 0.3, 0.5, 0.7, 0.8), 200


def base_rate_recipe(p_one: float, *, early: bool = False) -> Recipe:
    """Return the recipe of a base rate, such as `ones-20-percent`, or that of its beginning."""
    name, stop = f"ones-{p_one:.0%}".replace("%", "-percent"), f"-after-{EARLY}-steps" if early else ""
    return Recipe(name + stop, p_one=p_one, epochs=EARLY // 5 if early else Recipe.epochs)


#: The recipes of each base rate, trained and at their beginning.
RATED = tuple(base_rate_recipe(p_one, early=early) for early in (False, True) for p_one in BASE_RATES)

#: What the crossed counters are crossed in: how likely a 1 is, the mean number that a network reads of its training
#: strings, and the count that is likeliest before training.
CROSSED = tuple(
    (p_one, mean, start) for p_one in (0.2, 0.5, 0.8) for mean in (-0.5, 0.0, 0.5) for start in (0, 5, 10)
)
#: How likely a third symbol is beside a 1 of chance .2, mean number read and start being 0 and 5.
THIRD = (0.5, 0.7)


def crossed_recipe(p_one: float, mean: float, start: int, p_other: float = 0.0) -> Recipe:
    """Return a cell of the crossed counters, such as `ones-20-mean-0-start-5`.

    A 1 is read as one more than a 0, and a third symbol as one less.

    Args:
        p_one: how likely a 1 is.
        mean: what the network reads on average.
        start: the count that is likeliest before training.
        p_other: how likely the third symbol is.
    """
    read = f"{mean:g}".replace("-", "minus-")
    name = f"ones-{100 * p_one:g}-mean-{read}-start-{start}" + f"-third-{100 * p_other:g}" * bool(p_other)
    zero = round(mean - p_one + p_other, 6)
    other = zero - 1 if p_other else None
    return Recipe(name, zero=zero, one=zero + 1, p_one=p_one, start=start, other=other, p_other=p_other)


#: The recipes of each crossed cell, and those with a third symbol.
CROSSED_CELLS = (
    *(crossed_recipe(*cell) for cell in CROSSED),
    *(crossed_recipe(0.2, 0.0, 5, p_other) for p_other in THIRD),
)

#: The experiment's cells, input code x dose, docs/science.md "The experiment": `counter` first, code by code.
EXPERIMENT = tuple(experiment_recipe(code, percent) for code in CODES for percent in DOSES)

# The recipe of the notebook (TensorFlow 1), line by line in docs/science.md. Then one thing changed at a time, and
# the experiment's two at a time.
_LISTED = (
    Recipe("counter"),
    Recipe("every-step", every_step=True),
    Recipe("truncated", truncated=True),
    Recipe("forget-bias-0", forget_bias=0.0),
    Recipe("forget-bias-3", forget_bias=3.0),
    *(Recipe(f"hidden-{units}", hidden_size=units) for units in WIDTHS),
    Recipe("gru", cell="gru"),
    Recipe("template", question="template"),
    *(experiment_recipe(code) for code in CODES if code),
    *EXPERIMENT[1:],
    *TRAJECTORY,
    *RATED,
    *CROSSED_CELLS,
)
RECIPES = {listed.name: listed for listed in _LISTED}


def recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        ProbeError: there is no such recipe; the message names the nearest.
    """
    if name not in RECIPES:
        raise ProbeError(unknown("recipe", name, RECIPES))
    return RECIPES[name]
