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
