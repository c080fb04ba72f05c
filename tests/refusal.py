"""What every refusal of bad input must look like."""

import re

import pytest


def refused(call, *words, error=ValueError):
    """The message of the error that `call` raises: one sentence that holds the words."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith("."), message
    assert not re.search(r"[a-z)]\. [A-Z]", message), message
    assert all(str(word) in message for word in words), message
    return message
