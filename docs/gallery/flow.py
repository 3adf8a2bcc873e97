import torch

import probe
from probe.methods.dynamics import StackDynamics
from probe.methods.fixed_points import find_points, step

torch.manual_seed(0)
rnn = torch.nn.RNN(1, 2, batch_first=True).double()
with torch.no_grad():  # each unit keeps its sign, and pulls the other one along
    rnn.weight_hh_l0.copy_(torch.tensor([[1.4, 0.2], [0.2, 1.4]]))
    rnn.weight_ih_l0.copy_(torch.tensor([[1.0], [-0.5]]))
    rnn.bias_hh_l0.zero_()
    rnn.bias_ih_l0.zero_()
dynamics, silence = StackDynamics(rnn), torch.zeros(1).double()
grid = torch.cartesian_prod(*[torch.linspace(-1, 1, 9).double()] * 2)
points = find_points(dynamics, silence, grid)
recording = probe.record(rnn, 0.6 * torch.randn(12, 10, 1).double())
ax = recording.plot.trajectories(points=points, flow=lambda states: step(dynamics, torch.tensor(states), silence))
ax.figure.savefig("flow.png", dpi=100)
