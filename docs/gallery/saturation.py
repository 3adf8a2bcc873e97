import probe
from models import zoo
from models.tasks import bit_strings

counter = zoo.networks(seeds=[0])[0].model
recording = probe.record(counter, bit_strings(10))
figure = recording.plot.saturation()
figure.savefig("saturation.png", dpi=120)
