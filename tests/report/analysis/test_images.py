"""The image term by hand, and against the variance that it estimates."""

import numpy as np
import pytest

from report.analysis.images import image_profile, image_variances, residual_mean_square


def test_the_residual_mean_square_by_hand() -> None:
    """Residuals ∓1/6, ±1/3, ∓1/6: a sum of squares of 1/3 with (2 - 1)(3 - 1) degrees of freedom."""
    assert residual_mean_square(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])) == pytest.approx(1 / 6)


def test_the_image_term_by_hand() -> None:
    """Differences 0, 1/2 - 1, 0 have the variance 1/12; the first method's units explain (1/6)/2 of it."""
    first = image_profile(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    second = image_profile(np.array([[1.0, 1.0, 0.0]]))
    assert image_variances([first, second])[0, 1] == pytest.approx(0.0, abs=1e-15)
    third = image_profile(np.array([[0.0, 1.0, 0.0]]))  # differences 1, -1/2, 0: variance 7/12
    assert image_variances([first, third])[0, 1] == pytest.approx((7 / 12 - 1 / 12) / 3)
    assert image_variances([first, first])[0, 1] == 0.0  # the noise of its units is no negative variance
    assert image_variances([third, first])[1, 0] == pytest.approx((7 / 12 - 1 / 12) / 3)


def test_a_method_that_is_right_on_the_same_images_adds_nothing() -> None:
    profile = image_profile(np.array([[1.0, 1.0, 0.0]] * 3))
    assert image_variances([profile, profile])[0, 1] == 0.0


def test_units_and_images_together_estimate_the_variance_of_a_difference() -> None:
    """Over new units and new test sets; two methods that fail on different images."""
    random = np.random.default_rng(0)
    units, images = 3, 60
    found, estimated = [], []
    for _ in range(1200):
        difficulty = random.normal(1.0, 1.0, images)
        means, square, profiles = [], 0.0, []
        for _method in range(2):
            own = difficulty + random.normal(0, 1.0, images)
            noise = random.normal(0, 0.7, (units, images)) + random.normal(0, 0.3, (units, 1))
            rates = (own + noise > 0).astype(float)
            means.append(rates.mean())
            square += rates.mean(axis=1).var(ddof=1) / units
            profiles.append(image_profile(rates))
        found.append(means[0] - means[1])
        estimated.append(square + image_variances(profiles)[0, 1])
    assert np.mean(estimated) == pytest.approx(np.var(found), rel=0.1)
