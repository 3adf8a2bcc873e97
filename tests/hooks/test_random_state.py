"""The first call of each public function in a process leaves the random state where it was."""

from __future__ import annotations

import os
from pathlib import Path

import policies_by_hand
import pytest
from commands import started

import probe

SET_UP = """
import os, random, sys, tempfile
import numpy as np, torch
sys.path.insert(0, {helpers!r})
from policies_by_hand import Policy, Walk
torch.set_num_threads(1)
lstm, policy = torch.nn.LSTM(1, 3, batch_first=True), Policy(1)
x = torch.randn(12, 6, 1)
ones = x[:, :, 0].cumsum(1)
def state():
    return torch.get_rng_state().tolist(), [*map(str, np.random.get_state())], random.getstate()
def left_alone(call):
    import probe
    before = state()
    with tempfile.TemporaryDirectory() as folder:
        call(probe, folder)
    return state() == before
"""
#: How each name is used first in a process, given `probe` and an empty folder `at`.
FIRST = {
    "Checkpoint": "probe.Checkpoint",
    "Concept": "probe.Concept(ones)",
    "Edit": "probe.Edit.from_json(probe.ablate('cell_state').to_json())",
    "Finding": "probe.Finding",
    "ProbeError": "probe.ProbeError('said')",
    "Readout": "probe.Readout('answer', function=torch.sum)",
    "Recording": "probe.Recording",
    "Signal": "probe.Signal.CELL_STATE",
    "Site": "probe.Site('cell_state')",
    "Step": "probe.Step",
    "Study": "probe.Study(lstm, x, {'sum': ones}).run(at + '/report')",
    "ablate": "probe.ablate('cell_state')",
    "clamp": "probe.clamp('cell_state', 1.0)",
    "contributions": "probe.contributions(lstm, x, output=lambda out: out[0][:, -1, 0])",
    "edit": "probe.edit('cell_state', torch.neg)",
    "inspect": "probe.inspect(lstm)",
    "intervene": "probe.intervene(lstm, probe.ablate('cell_state')).__enter__()",
    "linear_probe": "probe.linear_probe(probe.record(lstm, x), ones)",
    "load": "(torch.save(lstm.state_dict(), at + '/lstm.pt'), probe.load(at + '/lstm.pt'))",
    "load_recording": "(probe.record(lstm, x).save(at + '/run'), probe.load_recording(at + '/run'))",
    "memory": "probe.memory(lstm, x)",
    "patch": "probe.patch('cell_state', probe.record(lstm, x))",
    "random_weights": "probe.random_weights(lstm, x)",
    "record": "probe.record(lstm, x)",
    "register": "probe.register(torch.nn.Bilinear, state='input2')",
    "rollout": "probe.rollout(policy, lambda: Walk(1), 1, act=policy.act)",
    "single_units": "probe.single_units(probe.record(lstm, x), ones)",
    "steer": "probe.steer('cell_state', [1.0, 0.0, 0.0])",
    "sweep": "probe.sweep(lstm, x, edits=[probe.ablate('cell_state')])",
    "watch": "probe.watch(lstm).__enter__()",
}
EACH = """
for name, used in {!r}.items():
    child = os.fork()
    if not child:
        try:
            os._exit(not left_alone(lambda probe, at: eval(used)))
        except BaseException as error:
            print(name, repr(error), flush=True)
            os._exit(2)
    if os.waitpid(child, 0)[1]:
        print(name, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each call needs a process of its own, by fork")
def test_the_first_call_in_a_process_moves_no_random_state() -> None:
    """A seeded script that records before it trains gets the weights that it gets without; a draw is seen."""
    assert sorted(FIRST) == sorted(probe.__all__)
    draw = {"record, and a draw": "(probe.record(lstm, x), torch.randn(1))"}
    set_up = SET_UP.format(helpers=str(Path(policies_by_hand.__file__).parent))
    said, _ = started("-c", set_up + EACH.format(FIRST | draw))
    assert said.splitlines() == [*draw]
