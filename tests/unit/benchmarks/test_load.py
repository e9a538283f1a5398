import pytest

from benchmarks import load
from benchmarks.load import Response


@pytest.mark.parametrize("rate", [0.7, 3.3, 17, 59.4, 150, 1234])
def test_an_open_loop_offers_what_was_asked_for(rate):
    count, period = load.arrivals(rate)
    assert count * 1000 / period == pytest.approx(rate, rel=0.011)
    # Not in bursts: a few at once at most.
    assert count <= max(1, rate / 50)


def test_a_log_of_h2load_is_read():
    log = "1795000000000000\t200\t2500\n1795000000100000\t503\t40\n1795000000200000\t-1\t60000000\n"
    assert load.parsed(log) == [
        Response(1795000000.0, 200, 0.0025),
        Response(1795000000.1, 503, 0.00004),
        Response(1795000000.2, -1, 60.0),
    ]


def test_only_what_ends_within_the_window_counts():
    answers = [Response(begin, 200, 1.0) for begin in (0.0, 1.5, 2.5, 3.5)]
    found = load.summarized([*answers, Response(2, 503, 0.01), Response(2, 503, 0.03)], 2, 4)
    assert (found["rate"], found["statuses"]) == (1.0, {"200": 2, "503": 2})
    assert (found["refused_p50"], found["refused_p99"]) == (0.01, 0.03)


def test_an_answer_beyond_the_bound_is_not_in_time():
    found = load.summarized([Response(0, 200, 3.0), Response(0, 200, load.BOUND + 1)], 0, 20)
    assert (found["rate"], found["in_time"]) == (0.1, 0.05)


def test_percentiles_are_values_that_were_seen():
    values = [5.0, 1.0, 2.0, 3.0, 4.0]
    assert [load.percentile(values, share) for share in (50, 95, 99)] == [3.0, 5.0, 5.0]
    assert load.percentile([], 50) is None
