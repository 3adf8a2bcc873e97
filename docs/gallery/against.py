import probe
from models import zoo
from models.tasks import bit_strings, running_count

bits = bit_strings(10)  # all 1,024 strings of ten bits
counter = zoo.networks(seeds=[0])[0].model
recording = probe.record(counter, bits)
ax = recording.plot.against(running_count(bits), units=8, name="ones read so far", noun="bit")
ax.figure.savefig("against.png", dpi=120)
