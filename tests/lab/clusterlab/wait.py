"""Waiting for conditions with a deadline. Nothing in the lab sleeps for a result."""

import time

POLL_INTERVAL = 0.05


class TooLate(Exception):
    """The condition did not come true in time; the text says which, and what was seen last."""


def wait_until(condition, deadline, what=None, interval=POLL_INTERVAL):
    """Calls `condition()` until it returns something true; returns the seconds that took.

    `deadline` is in seconds from now. Raises TooLate with `what` and the last value seen. An
    exception of `condition` passes through: a condition that may fail for a while catches that
    itself.
    """
    begin = time.monotonic()
    while True:
        seen = condition()
        waited = time.monotonic() - begin
        if seen:
            return waited
        if waited > deadline:
            what = what or getattr(condition, "__doc__", None) or "condition"
            raise TooLate(f"{what}: not within {deadline:g} s (last seen: {seen!r})")
        time.sleep(interval)


def holds_for(condition, seconds, what=None, interval=POLL_INTERVAL):
    """The opposite of wait_until: `condition()` must stay true for `seconds`, else TooLate."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        seen = condition()
        if not seen:
            raise TooLate(
                f"{what or 'condition'}: broken after {time.monotonic() - begin:.1f} s"
                f" (saw {seen!r})"
            )
        time.sleep(interval)
