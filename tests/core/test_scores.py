import numpy as np
import pytest

from napari_fewshot.core.scores import mean_iou, psnr


def test_mean_iou_averages_classes_and_leaves_unknown_pixels_out():
    truth = np.array([[1, 1, 2, 0]])
    assert mean_iou(truth, truth) == 1
    assert mean_iou(np.array([[1, 2, 2, 2]]), truth) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_psnr_is_that_of_its_definition():
    assert psnr(np.full((4, 4), 0.1), np.zeros((4, 4))) == pytest.approx(20)
    assert psnr(np.zeros((4, 4)), np.zeros((4, 4))) == float("inf")
