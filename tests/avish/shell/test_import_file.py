"""Files that are no configuration: refused before the controller is asked."""

import pytest

from avish.errors import ValidationError
from avish.shell.verbs.configuration import document


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "f is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"Pool": [{"name": "p"', "f is no JSON: Expecting ',' delimiter"),
        ("[" * 100_000 + "]" * 100_000, "f is nested too deeply to be a configuration"),
        ('{"a": 1' + "0" * 5000 + "}", "f is no JSON: a number has more than 4,300 digits"),
        ('{"Pool": [], "VsVip": [], "Pool": []}', "f is no JSON: 'Pool' stands twice in one object"),
    ],
)
def test_what_is_no_configuration(text, reason):
    with pytest.raises(ValidationError) as refused:
        document("f", text)
    assert str(refused.value).startswith(reason)


def test_what_is_one():
    assert document("f", '{"Pool": [{"name": "p"}]}') == {"Pool": [{"name": "p"}]}
