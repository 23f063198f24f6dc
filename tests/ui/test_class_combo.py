"""The class that objects are made of, or that is never to be missed, is the user's choice or none of the program's."""

import numpy as np
import pytest

from napari_fewshot.core.card import ClassLabel
from napari_fewshot.core.judge import HeldOut
from napari_fewshot.ui.docks.class_combo import ClassCombo
from napari_fewshot.ui.docks.never_miss import NeverMissForm

TWO, ONE_AND_SEVEN = {1: "background", 2: "object"}, {1: "background", 7: "class 7"}


@pytest.fixture
def combo(qtbot):
    made = ClassCombo("any", "Any", "")
    qtbot.addWidget(made)
    return made


def test_the_first_class_that_is_not_background_is_offered_whatever_its_number(combo):
    combo.show_classes(ONE_AND_SEVEN)
    assert combo.number == 7
    combo.show_classes(TWO)
    assert combo.number == 2
    combo.show_classes({1: "background"})
    assert combo.number == 1
    combo.show_classes({})
    assert combo.number is None
    combo.show_classes(TWO)
    assert combo.number == 2


def test_what_the_user_chose_comes_back_with_its_class(combo):
    combo.show_classes(ONE_AND_SEVEN)
    combo.setCurrentIndex(0)
    combo.show_classes(TWO)
    assert combo.number == 1
    combo.setCurrentIndex(1)
    combo.show_classes(ONE_AND_SEVEN)
    assert combo.number == 7
    combo.show_classes(TWO)
    assert combo.number == 2


def test_the_name_of_a_class_never_to_be_missed_is_not_cut_off(qtbot):
    form = NeverMissForm()
    qtbot.addWidget(form)
    truth = np.array([1, 7, 1, 7])
    form.judge(HeldOut((1, 7), truth, np.eye(2)[[0, 1, 0, 1]]), [ClassLabel("background", "#000000")], True)
    assert form.of_class.currentText() == "class 7" and form.point.class_number == 7
    form.resize(330, 200)
    form.show()
    qtbot.waitUntil(lambda: form.of_class.width() > 0)
    needed = form.of_class.fontMetrics().horizontalAdvance("background mm") + 30
    assert form.of_class.width() >= needed
