"""Which estimator's direction the answer follows: readings are held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analyses.counter import common, estimators
from probe.methods.causal.class_means import classes_at
from probe.subjects.answers import task_of
from probe.subjects.ends import machine_of


def test_readings_are_held_out() -> None:
    """A value that the states do not hold is not read, though least squares would fit some of it."""
    (subject,) = common.subjects(common.with_controls("counter", 2000)[:1])
    classes = classes_at(machine_of(subject), task_of(subject), estimators.STEP)
    noise = np.random.default_rng(0).normal(size=classes.concept.shape)
    shuffled = replace(classes, concept=noise, values=np.zeros(1), member=0 * classes.member)
    readings = estimators.held_out_readings(shuffled, seed=0)
    assert max(readings.values()) < 0
    assert "logistic" not in readings  # one class has no direction
