"""The page of the networks that open: its rows are read, renewed, and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

COLUMNS = ("network", "package", "class", "state, and its shape", "largest difference", "date")
HEAD = """# Which networks open

`probe.record`, `watch`, `intervene` and `sweep` open these recurrent layers of other packages as they open
`nn.LSTM`: the library has an adapter for each, and a layer that calls its cell once a step, as those of
torchrecurrent do, needs none. `python -m benchmarks.opens --install` runs
`probe.testing.check_step` on a small module of each with random weights, and writes this page.

The *largest difference*, relative to max(1, |value|), is that of three: of outputs and last states to the module's
own run, of a run into which other rows' whole states are patched to the module's run on the spliced input, and of
gradients through the steps to those by autograd.

The layers of xlstm and RWKV-4 keep their memory divided by exp(m). Here `cell_state` and `normaliser`, or
`numerator` and `denominator`, are the memory itself: patch these. An edit of `stabiliser` or `maximum` alone leaves
the memory as it is. Where m passes 88 in float32, a recording is refused.

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
