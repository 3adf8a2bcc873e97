"""How a network is trained, as a value: every number that shapes the result, and nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from probe.errors import ProbeError, unknown


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
        epsilon: Adam's epsilon in TensorFlow's form, see `models.learning.take_step`.
        smallest_probability: what the softmax is clipped to before the logarithm.
        forget_bias: what the forget gate's bias starts at.
        head_bias: what the head's bias starts at.
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

    def __post_init__(self) -> None:
        for field in ("hidden_size", "length", "train_size", "batch_size", "epochs"):
            if getattr(self, field) < 1:
                raise ProbeError(
                    f"The recipe {self.name!r} has {field} = {getattr(self, field)}; it must be at least 1."
                )
        if self.train_size >= self.n_strings:
            raise ProbeError(
                f"The recipe {self.name!r} trains on {self.train_size} strings, but there are only "
                f"{self.n_strings} of {self.length} bits and one at least must be left for the test."
            )
        if self.train_size % self.batch_size:
            raise ProbeError(
                f"The recipe {self.name!r} has {self.train_size} training strings in batches of "
                f"{self.batch_size}; the batch size must divide the number of strings."
            )

    @property
    def n_strings(self) -> int:
        """All strings of the recipe's length."""
        return 2**self.length

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

    def to_dict(self) -> dict[str, str | int | float]:
        """Return all fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, str | int | float]) -> Recipe:
        """Return the recipe that `to_dict` wrote.

        Raises:
            ProbeError: a field is missing or unknown; a default put in silently would be another recipe.
        """
        expected, found = {field.name for field in fields(cls)}, set(values)
        if expected != found:
            raise ProbeError(
                f"The recipe's fields do not fit: missing {sorted(expected - found)}, "
                f"unknown {sorted(found - expected)}. Train the network again."
            )
        return cls(**values)  # pyright: ignore[reportArgumentType]  # JSON values, checked by name


# The seed's recipe: a blog notebook in TensorFlow 1, line by line in docs/science.md.
RECIPES = {"counter": Recipe("counter")}


def recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        ProbeError: there is no such recipe; the message names the nearest.
    """
    if name not in RECIPES:
        raise ProbeError(unknown("recipe", name, RECIPES))
    return RECIPES[name]
