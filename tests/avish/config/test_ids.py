from avish.config.ids import Ids


def test_numbers_count_per_kind_and_stay():
    ids, first = Ids().allocate("service", "a")
    ids, second = ids.allocate("service", "b")
    ids, rule = ids.allocate("nat_rule", "p/1")
    assert (first, second, rule) == (1, 2, 1)
    assert ids.allocate("service", "a") == (ids, 1)
    assert ids.with_keys([("service", "a"), ("nat_rule", "p/1")]) is ids
    assert (ids.get("service", "b"), ids.get("service", "c")) == (2, None)
    assert (ids.key_of("nat_rule", 1), ids.key_of("nat_rule", 2)) == ("p/1", None)


def test_older_values_stay():
    old = Ids().with_keys([("service", "a")])
    new = old.with_keys([("service", "b"), ("engine", "e")])
    assert old.get("service", "b") is None
    assert new.beyond(old) == [("service", "b", 2), ("engine", "e", 1)]
