"""Thresholds, quick start, and several tests of one server."""

from dataplane.health_model import Probe, Watch
from dataplane.health_state import QUICK_SECONDS, QUICK_TESTS, Health, Test
from dataplane.probes import Verdict

GOOD = Verdict(up=True, milliseconds=2.0)
BAD = Verdict(up=False, milliseconds=0.0, code="CONNECTION_REFUSED", reason="connection refused")
WATCH = Watch((("10.0.0.1", 80),), ("a", "b"))


def test(**settings):
    return Test(Probe("t", "tcp", **settings), 80)


test.__test__ = False
Test.__test__ = False


def feed(one, text):
    """The state after each verdict: + good, - bad."""
    return [(one.take(GOOD if sign == "+" else BAD, number), one.up)[1] for number, sign in enumerate(text, 1)]


def test_the_first_good_answer_makes_a_new_server_up():
    assert feed(test(rise=3), "+") == [True]


def test_without_quick_start_it_has_to_pass_as_often_as_any_other():
    assert feed(test(rise=3, quick=False), "+++") == [None, None, True]


def test_failures_in_a_row_make_it_down_and_good_answers_in_a_row_up_again():
    assert feed(test(rise=2, fall=3), "+--+---+-++") == [
        True, True, True, True, True, True, False, False, False, False, True,
    ]  # fmt: skip


def test_a_new_server_that_fails_is_down_at_once():
    assert feed(test(fall=3), "-") == [False]


def test_the_next_test_comes_soon_while_it_recovers():
    one = test(rise=2, interval=10.0)
    feed(one, "+--")
    assert one.wait == 10.0
    feed(one, "+")
    assert one.wait == QUICK_SECONDS
    feed(one, "+")
    assert one.wait == 10.0


def test_a_new_server_that_fails_is_tested_soon_for_a_while():
    one = test(interval=10.0)
    feed(one, "-" * (QUICK_TESTS - 1))
    assert one.wait == QUICK_SECONDS
    feed(one, "-")
    assert one.wait == 10.0
    assert test(interval=10.0, quick=False).wait == 10.0


def test_times_and_counts():
    one = test(fall=1)
    feed(one, "++-")
    row = one.row("m")
    assert (row["checks"], row["failed"], row["failures"]) == (3, 1, {"CONNECTION_REFUSED": 1})
    assert (row["rise"], row["fall"], row["average"], row["transitions"]) == (0, 1, 2.0, [1, 3])


def two(*states):
    made = [test(), test()]
    for one, up in zip(made, states, strict=True):
        one.up = up
        one.reason = "" if up else "connection refused"
    return made


def test_all_monitors_have_to_pass():
    health = Health()
    assert health.judge(WATCH, two(True, True), 1.0)
    assert health.up
    assert health.judge(WATCH, two(True, False), 2.0)
    assert (health.up, health.reason, health.since) == (False, "t: connection refused", 2.0)
    assert not health.judge(WATCH, two(False, False), 3.0)


def test_or_as_many_as_are_asked_for():
    health = Health()
    health.judge(Watch(WATCH.servers, WATCH.probes, needed=1), two(False, True), 1.0)
    assert health.up


def test_nothing_is_decided_before_the_first_verdict():
    health = Health()
    assert not health.judge(WATCH, two(True, None), 1.0)
    assert health.up is None
