"""The classifier against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from dnw.engines.native.classifier import classify


@pytest.mark.parametrize("turns", [(0, 11, 1), (1, 11, 2), (3, 4, 1)])
def test_computes_its_classes_of_its_images(turns: tuple[int, int, int]) -> None:
    generator = np.random.default_rng(0)
    features_BN, weight_KN = (generator.normal(size=(rows, 7)).astype(np.float32) for rows in (11, 5))
    bias_K = generator.normal(size=5).astype(np.float32)
    logits_BK = np.zeros((11, 5), np.float32)
    classify(features_BN, turns, weight_KN, bias_K, (1, 4), logits_BK)
    expected_BK = np.zeros_like(logits_BK)
    own = slice(*turns)
    expected_BK[own, 1:4] = (features_BN @ weight_KN.T + bias_K)[own, 1:4]
    np.testing.assert_allclose(logits_BK, expected_BK, rtol=1e-5, atol=1e-5)
