import probe
from models import zoo
from models.tasks import bit_strings, running_count

bits = bit_strings(10)
counter = zoo.networks(seeds=[0])[0].model
recording = probe.record(counter, bits)
ones_in_all = running_count(bits)[:, -1]
ax = recording.plot.traces(by=ones_in_all, units=8, name="ones in all", noun="bit")
ax.figure.savefig("traces.png", dpi=120)
