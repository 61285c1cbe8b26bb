"""What the driver scripts share: their arguments, and saying what is wrong."""

import sys

BASE_URL, KEY, TOKEN, SECONDS_PER_REQUEST = sys.argv[1:]


def equal(seen, wanted):
    assert seen == wanted, f"{seen!r} is not {wanted!r}"


def close(seen, wanted, within):
    assert abs(seen - wanted) <= within, f"{seen!r} is not {wanted!r}, give or take {within!r}"


def refused(text, function, *args, **kwargs):
    """Calls what raises an exception that says so."""
    try:
        answer = function(*args, **kwargs)
    except Exception as error:  # Each client has its own.
        assert text in str(error), f"{error!r} does not say {text!r}"
    else:
        raise AssertionError(f"{answer!r} instead of a refusal with {text!r}")
