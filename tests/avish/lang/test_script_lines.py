"""A bad value in a document is marked in its line, whatever ends a line there."""

from __future__ import annotations

import pytest

from avish.errors import ParseError
from avish.lang import script
from avish.schema.load import schema


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_lines_are_those_of_yaml(ending):
    with pytest.raises(ParseError) as caught:
        script.parse(schema().object("pool"), ending.join(["name: p", "description: d", "enabled: maybe", ""]))
    error = caught.value
    assert error.line[error.start : error.end] == "maybe"
