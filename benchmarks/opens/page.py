"""The page of the networks that open: its rows are read, renewed, and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

COLUMNS = (
    "network",
    "package",
    "class",
    "state, and its shape",
    "largest difference",
    "spliced",
    "gradient",
    "memory",
    "date",
)
HEAD = """# Which networks open

`probe.record`, `watch`, `intervene` and `sweep` open these recurrent layers of other packages as they open `nn.LSTM`.
The library comes with an adapter for each. A layer that calls its cell once a step, as those of torchrecurrent do,
needs none. `python -m benchmarks.opens --install` writes this page. It installs each package, builds a small module
with random weights, and runs `probe.testing.check_step` on it, on the CPU. Without an adapter it measures the same. A
row is as old as its date.

- **largest difference**: between the adapter's steps and the module's own run. We compare the outputs, and the last
  state if the module hands it on. Like the next two it is relative to max(1, |value|). Without an adapter it is
  between recorded states and outputs, and those of the cell called by hand.
- **spliced**: we patch other rows' whole states into a run, after step 4 and after the last step, and compare all
  that is returned with the module's own run on the spliced input. Without an adapter, one row's after step 4.
- **gradient**: between gradients through the steps, and the module's own by autograd; and between those through a
  recorded state, and autograd's through a loop of steps. Without an adapter, the latter.
- **memory**: the peak of a recording of 2,048 steps, over that of 1,024.

The layers of xlstm and RWKV-4 keep their memory divided by exp(m), so that exponentials stay small. Here `cell_state`
and `normaliser`, or `numerator` and `denominator`, are the memory itself, whatever m is: patch these. An edit of
`stabiliser` or `maximum` alone leaves the memory as it is. Where m passes 88 in float32, a recording is refused.

Another version of a package may compute something else. A recording would notice: it compares values with the
module's own at each call, and a difference above the tolerance is an error.

"""


def read(page: Path) -> dict[str, list[str]]:
    """Return the rows of a page by the network's name; none where there is no page yet."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.is_file() else []
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return {row[0]: row for row in table[1:]}


def written(rows: Mapping[str, Sequence[str]], order: Sequence[str]) -> str:
    """Return the page.

    Args:
        rows: by the network's name.
        order: the names; one without a row is left out.
    """
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [f"| {' | '.join(rows[name])} |" for name in order if name in rows]
    return HEAD + "\n".join(lines) + "\n"
