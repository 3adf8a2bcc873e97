import probe
from models import zoo
from models.tasks import bit_strings, running_count

bits = bit_strings(10)
counter = zoo.networks(seeds=[0])[0].model
recording = probe.record(counter, bits)
ax = recording.plot.trajectories(by=running_count(bits), name="ones read so far", noun="bit")
ax.figure.savefig("trajectories.png", dpi=100)
