"""The rules of the flip-flop's study, committed before the networks that they judge were trained (seeds from 4000).

All but F7, which supersedes F5. They were written while looking at networks of seeds below 100 and from 3000 to 3009.
The same rules are judged for each cell by itself.
"""

from __future__ import annotations

from functools import partial

from probe.evidence import Control, Range, Rule
from probe.evidence.margins import MARGIN
from probe.questions.rules import above, rule

#: Networks of each cell.
NETWORKS = 10
#: The bar of the fixed points, beside rule F2: in so many of the ten networks of each cell.
LEAST = 9
BOUND, WRONG = 0.95, 0.01

SEARCHED = (
    "Fixed points have q below 1e-24 and lie where states can be; from 400 visited states, as many moved by noise of "
    "standard deviation 0.5, and the middles between points that were found."
)

#: A rule that is not judged any more, and the one that is in its place.
SUPERSEDED = {"F5": "F7"}

#: A rule about all networks of a cell.
fixed = partial(rule, needs=NETWORKS)
of_one_bit = partial(fixed, at_least=BOUND, controls=(Control("fitted head", MARGIN),))
#: A rule about more than half of them.
most = partial(
    Rule,
    established_if=Range.above(0.5),
    refuted_if=Range.at_most(0.5),
    controls=(Control("own initialisation", MARGIN),),
    needs=NETWORKS,
    statistic="share",
)
RULES = (
    fixed(
        key="F1",
        statement="The network holds three bits: it answers the sign of each channel's last pulse at every step.",
        metric="worst_step_error",
        definition="Share of the wrong answers over 256 sequences of 24 steps with a pulse in one of ten steps, that "
        "no training saw; of the three bits the worst.",
        source="Sussillo & Barak 2013, Opening the black box, section 3.1",
        at_most=WRONG,
        controls=(Control("fitted head", MARGIN, lower=True),),
        sentence="After every step the networks get all three bits right (share wrong).",
    ),
    most(
        key="F2",
        statement="Most networks hold each of the eight combinations of bits in one stable fixed point, and have no "
        "other.",
        metric="one_stable_each",
        definition="1 where under zero input each sign pattern of the three readouts is answered at exactly one "
        f"stable fixed point (all eigenvalues inside the unit circle), else 0. {SEARCHED}",
        source="Sussillo & Barak 2013, section 3.1; Golub & Sussillo 2018, FixedPointFinder",
        sentence="In most networks eight stable fixed points hold the three bits, one for each combination.",
    ),
    most(
        key="F6",
        statement="Most networks have the fixed points of a cube and no others: a stable one at each corner, one on "
        "each edge and face, unstable in one and two directions, and one inside, unstable in three.",
        metric="cube",
        definition="1 where under zero input 8, 12, 6 and 1 fixed points have 0, 1, 2 and 3 eigenvalues outside the "
        f"unit circle, and none has more, else 0. {SEARCHED}",
        source="Sussillo & Barak 2013, section 3.1",
        sentence="In most networks there are as many fixed points of each kind as on a cube: corners, edges, faces.",
    ),
    of_one_bit(
        key="F3",
        statement="One direction of the state carries one bit: where it alone is interchanged, that bit's later "
        "answers are the source's until its next pulse.",
        metric="worst_followed",
        definition="Share of right answers to the spliced sequence after steps at which it has another right answer "
        "than the base, the source's coordinate of one bit put into the base's state after 4, 8 and 12 steps; of the "
        "three bits the worst, on sequences that the directions were not found on.",
        source="Geiger et al. 2024; Sussillo & Barak 2013",
        sentence="One direction of the state carries one bit until its next pulse.",
    ),
    of_one_bit(
        key="F4",
        statement="Along that direction the answers follow as far as the network's own answers to the spliced "
        "sequence do.",
        metric="worst_score",
        definition="(followed - followed with nothing put in) / (followed with the whole state - followed with "
        "nothing put in), pairs and answers as of F3; of the three bits the worst.",
        source="Geiger et al. 2021, Causal abstractions of neural networks",
        sentence="One bit's direction moves the answers as far as the whole state does.",
    ),
    fixed(
        key="F7",
        statement="The other two bits are left as they were.",
        metric="worst_kept",
        definition="Share of the other bits' later answers that are the base's own, pairs as of F3 that differ in "
        "the bit; of the three bits the worst.",
        source="Geiger et al. 2024",
        at_least=BOUND,
        # F5 asked for .05 more than the control, which leaves no more than that.
        controls=(above("fitted head"),),
        sentence="Moving along one bit's direction leaves the other two bits.",
    ),
)
