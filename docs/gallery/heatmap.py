import probe
from models import zoo
from models.tasks import parse_bits

string = "0110101101"
counter = zoo.networks(seeds=[0])[0].model
recording = probe.record(counter, parse_bits(string))
figure = recording.plot.heatmap(tokens=string, noun="bit")
figure.savefig("heatmap.png", dpi=120)
