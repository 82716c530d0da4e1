"""Two people's changes of one object brought together."""

from __future__ import annotations

import pytest

from avish.schema.load import schema
from avish.shell.merge import rebase, told

POOL = schema().object("pool")


def servers(*last, **more):
    return {"servers": [{"ip": {"addr": f"10.1.1.{n}", "type": "V4"}, "port": 80, **more} for n in last]}


def last(body):
    return [int(one["ip"]["addr"].rpartition(".")[2]) for one in body["servers"]]


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "after", "clashes"),
    [
        ((1, 2, 3), (3, 2, 1), (1, 2, 3), (3, 2, 1), []),
        ((1, 2, 3), (3, 2, 1), (1, 2, 3, 4), (3, 2, 1, 4), []),
        ((1, 2, 3), (3, 2, 1, 5), (1, 4, 2, 3), (3, 4, 2, 1, 5), []),
        ((1, 2, 3), (1, 2, 3, 5), (3, 2, 1), (3, 2, 1, 5), []),
        ((1, 2, 3), (3, 2, 1), (3, 2, 1, 4), (3, 2, 1, 4), []),
        ((1, 2, 3), (3, 2, 1), (2, 1, 3), (3, 2, 1), [("servers (order)", [2, 1, 3], [3, 2, 1])]),
        ((1, 2, 3), (3, 1), (1, 2, 3, 4), (3, 1, 4), []),
    ],
    ids=["mine", "theirs added", "both added", "theirs", "the same", "both", "one less"],
)  # fmt: skip
def test_order(base, mine, theirs, after, clashes):
    body, found = rebase(POOL, servers(*base), servers(*mine), servers(*theirs))
    assert (last(body), found) == (list(after), clashes)


def test_the_order_of_plain_values():
    base, mine, theirs = ({"domain_name": names.split()} for names in ("a b c", "c b a", "a b c d"))
    assert rebase(POOL, base, mine, theirs) == ({"domain_name": ["c", "b", "a", "d"]}, [])


def test_the_same_value_twice_is_two_elements():
    base, mine, theirs = ({"domain_name": names.split()} for names in ("a a", "a a b", "a a c"))
    assert rebase(POOL, base, mine, theirs)[0] == {"domain_name": ["a", "a", "c", "b"]}


class TestSecrets:
    MONITOR = schema().object("healthmonitor")

    def clash(self, base, mine, theirs):
        wrapped = [{"authentication": one} if one else {} for one in (base, mine, theirs)]
        return rebase(self.MONITOR, *wrapped)[1]

    def test_a_clash_does_not_tell_mine(self):
        found = self.clash({"password": "<sensitive>"}, {"password": "hunter2"}, {"password": "changed"})
        assert found == [("authentication.password", "<sensitive>", "<sensitive>")]
        assert "hunter2" not in "".join(told(found))

    def test_nor_what_stands_in_a_whole_message(self):
        found = self.clash({"username": "u"}, {"username": "v", "password": "hunter2"}, None)
        assert found == [("authentication", None, {"username": "v", "password": "<sensitive>"})]

    def test_the_words_name_the_object(self):
        assert list(told([("a", 1, 2)], "pool p")) == ["pool p: a was changed to 1 meanwhile; your 2 is taken"]
