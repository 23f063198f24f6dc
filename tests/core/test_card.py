import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fewshot.core.card import FORMAT, ClassLabel, ModelCard
from napari_fewshot.core.errors import ModelError

TEXT = st.text(max_size=20)
CARDS = st.builds(
    ModelCard,
    name=TEXT,
    task=TEXT,
    net=st.dictionaries(TEXT, st.integers() | TEXT),
    parent=st.none() | TEXT,
    classes=st.lists(st.builds(ClassLabel, TEXT, TEXT), max_size=3).map(tuple),
    scores=st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False)),
    losses=st.lists(st.floats(0, 1e6), max_size=5).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(CARDS)
def test_a_card_survives_the_way_through_json(card):
    assert ModelCard.from_json(card.to_json()) == card


def test_a_card_with_fields_of_the_future_is_read_without_them():
    text = json.dumps({**json.loads(ModelCard("a", "denoise", {}).to_json()), "colour": "blue"})
    assert ModelCard.from_json(text) == ModelCard("a", "denoise", {})


def test_a_card_that_calls_painted_pixels_strokes_is_read():
    raw = json.loads(ModelCard("a", "segment", {}).to_json())
    del raw["n_painted_px"]
    assert ModelCard.from_json(json.dumps({**raw, "n_strokes": 80})).n_painted_px == 80


def test_errors_and_losses_are_no_scores():
    scores = {"diffused image L2": 0.02, "contrast": 4.1, "hidden L1": 0.05, "diffused mask IoU": 0.7}
    assert ModelCard("a", "segment", {}, scores=scores).score == ("diffused mask IoU", 0.7)
    del scores["diffused mask IoU"]
    assert ModelCard("a", "segment", {}, scores=scores).score is None


@settings(max_examples=100, deadline=None)
@given(
    st.text()
    | st.recursive(st.none() | st.integers() | TEXT, lambda s: st.lists(s) | st.dictionaries(TEXT, s)).map(json.dumps)
)
def test_what_is_no_card_raises_a_model_error_and_nothing_else(text):
    with pytest.raises(ModelError):
        ModelCard.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"format": FORMAT + 1},
        {"format": "1"},
        {"classes": 3},
        {"classes": [{"hue": 1}]},
        {"losses": ["x"]},
        {"zooms": [None]},
    ],
)
def test_a_card_of_a_newer_version_or_with_wrong_fields_is_refused(change):
    text = json.dumps({**json.loads(ModelCard("a", "denoise", {}).to_json()), **change})
    with pytest.raises(ModelError, match=r"update|export"):
        ModelCard.from_json(text, "card.json")


@pytest.mark.parametrize(
    "change",
    [{"created": None}, {"scores": None}, {"zooms": []}, {"factor": 0}, {"net": "deep"}, {"scores": {"IoU": "good"}}],
)
def test_a_field_of_the_wrong_kind_is_told(change):
    raw = {**json.loads(ModelCard("toy", "denoise", {"name": "none"}).to_json()), **change}
    with pytest.raises(ModelError, match="export the model again"):
        ModelCard.from_json(json.dumps(raw))
