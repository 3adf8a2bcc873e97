import probe
from models import zoo
from models.tasks import bit_strings, running_count

bits = bit_strings(10)
counter = zoo.networks(seeds=[0])[0].model
recording = probe.record(counter, bits)
figure = recording.plot.against(running_count(bits), units=range(6), name="ones read so far", noun="bit")
figure.savefig("cells.png", dpi=85)
