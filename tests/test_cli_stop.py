"""A signal ends a training with what it has learned; a second one ends it at once."""

import signal
from types import SimpleNamespace

import pytest

from napari_fewshot import cli_stop
from napari_fewshot.cli_stop import stoppable

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def at_once():
    """Ends by what would otherwise end the tests."""

    def end(*_):
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@BOTH
def test_a_second_signal_ends_at_once(number, monkeypatch):
    monkeypatch.setattr(cli_stop, "time", SimpleNamespace(monotonic=iter([0.0, 5.0]).__next__))
    with pytest.raises(KeyboardInterrupt), stoppable() as listener:
        signal.raise_signal(number)
        assert listener.stopped()
        signal.raise_signal(number)


@BOTH
def test_what_a_launcher_hands_on_is_no_second_signal(number, monkeypatch):
    monkeypatch.setattr(cli_stop, "time", SimpleNamespace(monotonic=iter([0.0, 0.1]).__next__))
    with stoppable() as listener:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(number)
        assert listener.stopped()
