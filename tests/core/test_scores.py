import numpy as np
import pytest

from napari_fewshot.core.scores import calibration_error, mean_iou, psnr


def test_mean_iou_averages_classes_and_leaves_unknown_pixels_out():
    truth = np.array([[1, 1, 2, 0]])
    assert mean_iou(truth, truth) == 1
    assert mean_iou(np.array([[1, 2, 2, 2]]), truth) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_psnr_is_that_of_its_definition():
    assert psnr(np.full((4, 4), 0.1), np.zeros((4, 4))) == pytest.approx(20)
    assert psnr(np.zeros((4, 4)), np.zeros((4, 4))) == float("inf")


def test_the_calibration_error_is_how_far_confidence_is_from_what_is_right():
    sure = np.repeat([0.95, 0.55], 1000)
    right = np.concatenate([np.arange(1000) < 950, np.arange(1000) < 550])
    assert calibration_error(sure, right) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure, np.zeros(2000, bool)) == pytest.approx(0.75)
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0
