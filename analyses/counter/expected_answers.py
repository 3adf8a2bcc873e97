"""What the rules about answers, by length and bit by bit, must give on each planted network, and why."""

from __future__ import annotations

from analyses.counter.expected_rows import CURVED, DELAYS, NEAR, Given, Row

_ROUNDS = "n1 + d (10 - t), which a sharp head rounds to whole counts; computed over all strings"
_LEAKS = "late ones weigh more than early ones, and a head rounds; computed over all strings"
_FORGETS = "of twelve bits the last ten are counted; computed over all strings"
_BENT = "tanh bends the two cells a little, so that a half is no tie; computed over all strings"
_ZEROS = f"zeros {CURVED}"
_SAME = "a bit moves the answer by as much in every context"
_LAW = "the answer is the nearest count to n1 + d (10 - t), for some d"


def _by_bit(quarter: float, half: float, most: float, two: tuple[float, float], leaky: float) -> dict[str, Given]:
    """Return what is computed on networks with a drift between 0 and 1.

    Args:
        quarter: of drift-0.25.
        half: of drift-0.5.
        most: of drift-0.8.
        two: of balance and beside-clock.
        leaky: of leaky.
    """
    return {
        "drift-0.25": Given(quarter, _ROUNDS, NEAR),
        "drift-0.5": Given(half, _ROUNDS, NEAR),
        "drift-0.8": Given(most, _ROUNDS, NEAR),
        "balance": Given(two[0], _BENT, NEAR),
        "beside-clock": Given(two[1], _BENT, NEAR),
        "leaky": Given(leaky, _LEAKS, NEAR),
    }


ANSWERED = (
    Row(
        "16",
        "bit_effects",
        "largest_effect_sd",
        Given(0.0, _SAME, NEAR),
        _by_bit(0.2474, 0.01909, 0.35895, (0.0302, 0.03374), 0.02916),
    ),
    Row(
        "16b",
        "offset_law",
        "zero_error",
        Given(0.0, f"{_SAME}, -d on a 0", NEAR),
        _by_bit(0.24372, 0.0162, 0.19479, (0.02348, 0.02264), 0.00868),
    ),
    Row(
        "16c",
        "offset_law",
        "one_error",
        Given(0.0, f"{_SAME}, 1 - d on a 1", NEAR),
        _by_bit(0.24049, 0.0162, 0.19654, (0.02348, 0.02512), 0.00813),
    ),
    Row(
        "17a",
        "other_lengths",
        "absolute_drift",
        Given(0.0, "a 0 moves nothing that is read", NEAR),
        {
            **_by_bit(0.26615, 0.5, 0.76903, (0.5, 0.50075), 0.0431),
            _ZEROS: Given(1.0, "a 1 moves nothing that is read, and a 0 takes a count off", NEAR),
            DELAYS: Given(0.25, "each bit beyond ten is lost: g(L) = -(L - 10) / 2 there, and 0 below", NEAR),
        },
    ),
    Row(
        "17b",
        "other_lengths",
        "near_none",
        Given(0.0, "its drift is within .1 of 0, 1 / 2 or 1"),
        {f"drift-0.25 drift-0.8 {DELAYS}": Given(1.0, "its drift is none of 0, 1 / 2 and 1")},
    ),
    Row(
        "17c",
        "other_lengths",
        "least_explained",
        Given(1.0, "the answer depends on the ones and the length alone", NEAR),
        {
            DELAYS: Given(0.82566, _FORGETS, NEAR),
            "leaky": Given(0.98242, _LEAKS, NEAR),
        },
    ),
    Row(
        "19",
        "dynamics",
        "silent_speed",
        Given(0.0, "a 0 moves nothing that is read", NEAR),
        {
            **_by_bit(0.20171, 0.50283, 0.80087, (0.5036, 0.50541), 0.00775),
            _ZEROS: Given(1.0, "a 0 takes a count off", NEAR),
        },
    ),
    Row(
        "19b",
        "dynamics",
        "driven_speed",
        Given(1.0, "a 1 adds a count", NEAR),
        {
            **_by_bit(0.80149, 0.50283, 0.20087, (0.5036, 0.50192), 1.00258),
            _ZEROS: Given(0.0, "a 1 moves nothing that is read", NEAR),
        },
    ),
    Row(
        "20",
        "reduced_models",
        "law_r_squared",
        Given(1.0, _LAW, 5e-4),
        {DELAYS: Given(0.37605, _FORGETS, NEAR), "leaky": Given(0.97969, _LEAKS, NEAR)},
    ),
    Row(
        "20b",
        "offset_law",
        "law_answers",
        Given(1.0, _LAW),
        {
            "drift-0.25": Given(
                0.92973, f"a half at 12 bits, where d of 8 to 10 bits is off a little: {_ROUNDS}", NEAR
            ),
            DELAYS: Given(0.24889, _FORGETS, NEAR),
            "leaky": Given(0.92678, _LEAKS, NEAR),
        },
    ),
    Row(
        "20c",
        "offset_law",
        "offset_error",
        Given(0.0, _LAW, NEAR),
        {
            "drift-0.25": Given(0.02456, _ROUNDS, NEAR),
            "drift-0.8": Given(0.00065, _ROUNDS, NEAR),
            DELAYS: Given(1.0, "d is 0, and of two more bits one is a one that is lost"),
            "beside-clock": Given(0.00192, _BENT, NEAR),
            "leaky": Given(0.07825, _LEAKS, NEAR),
        },
    ),
    Row(
        "24a",
        "drift_traces",
        "cross_step_error",
        Given(0.0, "a state after t' bits in a run after t is a run on a string of 10 - t + t' bits", 0.003),
        {
            "drift-0.25": Given(0.0072, _ROUNDS, 0.003),
            "drift-0.8": Given(0.0326, _ROUNDS, 0.003),
            DELAYS: Given(0.0036, "g is no line, and lengths weigh otherwise; computed over all strings", 0.003),
            "leaky": Given(0.0071, _LEAKS, 0.003),
        },
    ),
)
