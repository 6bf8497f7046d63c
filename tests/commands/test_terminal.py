"""How far a long run has come: a bar in a terminal, lines elsewhere; Ctrl-C."""

import io
import signal
import sys
import threading
import time

import pytest

from vlm.commands import terminal
from vlm.commands.terminal import Meter, interrupt_sets


class Screen(io.StringIO):
    """A terminal that remembers what it was sent."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so: clock.append(2.0)."""
    passed = [100.0]
    for module in (time, terminal.time):
        monkeypatch.setattr(module, "perf_counter", lambda: sum(passed))
    monkeypatch.setattr(time, "time", lambda: sum(passed))
    return passed


def test_a_line_for_each_step(clock, capsys):
    meter = Meter(10, 3, "en")
    clock.append(2.0)
    meter.step()
    clock.append(4.0)
    meter.hide()
    meter.step(2)
    meter.close()
    ran = capsys.readouterr()
    assert ran.out == ""
    assert ran.err.splitlines() == [
        "4 of 10 images, 2.00s/image, 00:12 left",
        "6 of 10 images, 2.00s/image, 00:08 left",
    ]


def test_in_chinese(clock, capsys):
    meter = Meter(2, 0, "zh")
    clock.append(70.0)
    meter.step()
    assert capsys.readouterr().err == "2 张图片中的 1 张，70.00s/张，还需 01:10\n"


def test_a_bar_in_a_terminal(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    meter = Meter(4, 1, "en")
    assert "\r1 of 4 images" in screen.getvalue()
    meter.hide()
    hidden = len(screen.getvalue())
    assert screen.getvalue().endswith("\r")  # an empty line, at its beginning
    assert screen.getvalue().rstrip(" \r").count("4 images") == 1
    meter.step(2)
    drawn = screen.getvalue()[hidden:]
    assert drawn.lstrip("\r").startswith("3 of 4 images")
    assert "█" in drawn
    assert "\n" not in screen.getvalue()
    meter.close()
    assert screen.getvalue().endswith("\n")


def test_ctrl_c_sets_the_flag_and_only_inside():
    cancel = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    with interrupt_sets(cancel):
        signal.raise_signal(signal.SIGINT)
    assert cancel.is_set()
    assert signal.getsignal(signal.SIGINT) is before
