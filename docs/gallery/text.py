from pathlib import Path

import torch

import probe

rnn = torch.nn.RNN(1, 1, batch_first=True)
with torch.no_grad():  # an opening bracket sets the unit, a closing one sets it back
    for parameter, value in zip(rnn.parameters(), (6.0, 3.0, 0.0, 0.0), strict=True):
        parameter.fill_(value)
text = "States (of any layer) are recorded (and checked) & shown."
inputs = torch.tensor([[{"(": 1.0, ")": -1.0}.get(letter, 0.0) for letter in text]])[:, :, None]
coloured = probe.record(rnn, inputs).plot.text(text, unit=0)
Path("text.html").write_text(coloured.html, encoding="utf-8")
