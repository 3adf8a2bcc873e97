"""What goes with the drift on ten-bit strings, and the law of the offset, on networks whose drift is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.associations import left_out_r_squared, rank_correlation
from analyses.counter import common, drift_traces, offset_law
from models import planted
from models.tasks import bit_strings
from probe.evidence.measurements import one, only
from probe.subjects.computed.ends import ends_of

DRIFTS = {"ones": 0.0, "drift-0.25": 0.25, "drift-0.5": 0.5, "drift-0.8": 0.8, "zeros": 1.0}


@cache
def table(module: str) -> pd.DataFrame:
    """What a question measures of the planted counters with a drift, and of the delay line."""
    asked = {"drift_traces": drift_traces, "offset_law": offset_law}[module]
    return asked.measure(common.planted_networks((*DRIFTS, "delay-line")))


def value(module: str, name: str, metric: str) -> float:
    """The one value of a metric in a planted network."""
    return one(table(module), network=f"planted/{name}", metric=metric)


@pytest.mark.parametrize(("name", "wanted"), DRIFTS.items())
def test_interchange_between_steps_gives_the_planted_drift(name: str, wanted: float) -> None:
    """Its slope is the drift that was built in, and rule 24a holds; the target explains the answers."""
    assert value("drift_traces", name, "cross_step_drift") == pytest.approx(wanted, abs=0.035)
    assert value("drift_traces", name, "cross_step_error") in drift_traces.RULES[0].established_if
    assert value("drift_traces", name, "cross_step_explained") > 0.95


def test_a_spliced_run_is_the_run_on_a_string_of_another_length() -> None:
    """Why interchange between steps sees the drift: the answers are those of the whole network to source + base."""
    model = planted.battery()["drift-0.25"]
    (subject,) = common.subjects(common.planted_networks(("drift-0.25",)))
    fewer, ones, y = drift_traces.crossed(ends_of(subject).machine)
    assert set(fewer) == {-4, -3, -2, -1, 1, 2, 3, 4}
    for length in (7, 13):
        x = bit_strings(length)
        with torch.no_grad():
            wanted = common.expected_answer(model(x)).numpy()
        counts = x.sum((1, 2)).numpy()
        # Of a counter in one cell the answer depends on the ones alone.
        by_count = {count: wanted[counts == count].mean() for count in np.unique(counts)}
        rows = fewer == 10 - length
        assert np.abs(y[rows] - [by_count[count] for count in ones[rows]]).max() < 1e-3
    ten_ones_ten_zeros = (ones <= 10) & (10 - fewer - ones <= 10)
    assert ten_ones_ten_zeros.all()


def test_the_law_is_no_theorem() -> None:
    """Planted counters with any drift have the same forget gates: the law gives all of them one drift."""
    predicted = {round(value("drift_traces", name, "law_drift"), 6) for name in DRIFTS}
    assert len(predicted) == 1
    contrast = only(drift_traces.measure(common.planted_networks(("ones-alone",))), metric="kept_contrast")
    assert contrast["value"].abs().max() == 0
    # What lies far from the median would gain by any line, so that only trained networks are judged.
    assert not table("drift_traces")["metric"].str.startswith("law_gain").any()


def test_the_law_is_not_judged_on_the_networks_that_it_was_found_on() -> None:
    """Their gain has another name; that of all other counters is the rule's."""
    metrics = [
        set(only(drift_traces.measure(common.group("counter", seed)), role="trained")["metric"]) for seed in (3, 1000)
    ]
    assert "law_gain" in metrics[0] - metrics[1]
    assert "law_gain_where_found" in metrics[1] - metrics[0]
    assert drift_traces.RULES[1].metric == "law_gain"


def test_a_network_of_another_code_or_cell_has_a_contrast() -> None:
    """With the bits swapped the contrast is on the other side; a GRU keeps with its update gate."""
    networks = [common.group(recipe, 1000)[0] for recipe in ("counter", "code-reversed", "gru")]
    contrasts = only(drift_traces.measure(networks), metric="kept_contrast")
    last = contrasts[contrasts["step"] == 9].set_index("network")["value"]
    assert last["counter/seed-1000"] > 0.1
    assert last["code-reversed/seed-1000"] < -0.1
    assert np.isfinite(last["gru/seed-1000"])


def test_traces_rank_what_goes_with_the_drift_first() -> None:
    """Made-up networks: one quantity is the drift turned round, one is noise, and one never varies."""
    noise = np.random.default_rng(0)
    rows = []
    for number, drift in enumerate(np.linspace(0, 1, 30)):
        made = {"drift": ("", drift), "gate_share": ("forget_gate", 1 - 2 * drift)}
        made |= {"route_share": ("cell_state", noise.normal()), "constant_gates_accuracy": ("", 0.5)}
        rows += [
            {"network": f"n/{number}", "metric": metric, "signal": signal, "step": pd.NA, "value": number_}
            for metric, (signal, number_) in made.items()
        ]
    ranked = drift_traces.traces(pd.DataFrame(rows)).set_index("quantity")
    assert list(ranked.index) == ["share of the forget gate, all bits", "share of the route: c through f · c"]
    best, worst = ranked.iloc[0], ranked.iloc[1]
    assert best["left_out_r_squared"] == pytest.approx(1)
    assert (best["rank_correlation"], best["low"], best["high"]) == pytest.approx((-1, -1, -1))
    assert worst["low"] < 0 < worst["high"]
    assert worst["left_out_r_squared"] < 0.1


def test_a_line_is_tried_on_networks_left_out_of_its_fit() -> None:
    """1 where it is exact, no more than 0 in the mean of noise, and the value of fitting again without each."""
    draws = np.random.default_rng(1)
    x = draws.normal(size=40)
    assert left_out_r_squared(x, 0.5 + 0.7 * x) == pytest.approx(1)
    assert np.mean([left_out_r_squared(draws.normal(size=40), draws.normal(size=40)) for _ in range(200)]) <= 0
    y = x + draws.normal(size=40)
    missed, from_mean = [], []
    for left in range(40):
        rest = np.arange(40) != left
        beta, alpha = np.polyfit(x[rest], y[rest], 1)
        missed.append(y[left] - alpha - beta * x[left])
        from_mean.append(y[left] - y[rest].mean())
    again = 1 - np.square(missed).sum() / np.square(from_mean).sum()
    assert left_out_r_squared(x, y) == pytest.approx(again)


def test_the_rank_correlation_ignores_the_scale_and_its_interval_covers_it() -> None:
    """A monotone curve has 1; the interval is that of the same seed each time."""
    draws = np.random.default_rng(2)
    x = draws.normal(size=60)
    assert rank_correlation(x, np.exp(x)) == pytest.approx((1, 1, 1))
    rho, low, high = rank_correlation(x, x + draws.normal(size=60))
    assert -1 < low < rho < high < 1
    assert rank_correlation(x, -x)[0] == pytest.approx(-1)


def test_the_law_is_the_line_through_made_up_networks() -> None:
    """alpha, beta and the median drift."""
    contrast = np.linspace(-1, 1, 21)
    assert drift_traces.fitted_law(contrast, 0.5 + 0.75 * contrast) == pytest.approx((0.5, 0.75, 0.5))


@pytest.mark.parametrize("name", ["ones", "zeros"])
def test_the_offset_law_is_exact_where_the_drift_is_a_whole_number(name: str) -> None:
    """Answers, offset, and the change on a 0 and on a 1."""
    assert value("offset_law", name, "law_answers") == 1
    for metric in ("offset_error", "zero_error", "one_error"):
        assert value("offset_law", name, metric) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", DRIFTS)
def test_every_planted_drift_follows_the_law(name: str) -> None:
    """Rules 20b, 20c, 16b and 16c hold in each; a half counts both neighbours as nearest."""
    for rule in offset_law.RULES:
        assert value("offset_law", name, rule.metric) in rule.established_if


def test_a_delay_line_does_not_follow_the_law() -> None:
    """Right at ten bits and less, it forgets beyond: most answers to 12 bits and the mean offset are others."""
    assert value("offset_law", "delay-line", "drift") == pytest.approx(0, abs=1e-3)
    assert value("offset_law", "delay-line", "law_answers") in offset_law.RULES[0].refuted_if
    assert value("offset_law", "delay-line", "offset_error") == pytest.approx(1, abs=1e-3)
