"""What the runs of this folder share."""

import pytest


@pytest.fixture(scope="module")
def few_strengths():
    """Two strengths of regression in place of seven: each costs three fits in every run of a classifier."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textcl.classifier.linear_probe.STRENGTHS", (3.0, 30.0))
        yield
