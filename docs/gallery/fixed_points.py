import torch

import probe
from models.flipflop import stored, task
from probe.methods.dynamics import StackDynamics
from probe.methods.fixed_points import find_points

network = stored.networks("gru", seeds=[3000])[0].model.double()
pulses = task.pulses(24, 40, 0.2, torch.Generator().manual_seed(0)).double()
recording = probe.record(network, pulses)
visited = recording["hidden_state"].flatten(0, 1)[::4]
starts = torch.cat([visited, (visited[1:] + visited[:-1]) / 2])
points = find_points(StackDynamics(network.layer), torch.zeros(3).double(), starts)
ax = recording.plot.trajectories(points=points, directions=3, noun="pulse")
ax.figure.savefig("fixed_points.png", dpi=100)
