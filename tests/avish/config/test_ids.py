from avish.config.ids import Ids, rule_key, rule_of


def test_numbers_count_per_kind_and_stay():
    ids = Ids().with_keys([("service", "a")]).with_keys([("service", "b")]).with_keys([("nat_rule", "p/1")])
    assert (ids.get("service", "a"), ids.get("service", "b"), ids.get("nat_rule", "p/1")) == (1, 2, 1)
    assert ids.with_keys([("service", "a"), ("nat_rule", "p/1")]) is ids
    assert ids.get("service", "c") is None
    assert (ids.key_of("nat_rule", 1), ids.key_of("nat_rule", 2)) == ("p/1", None)


def test_keys_of_rules():
    assert rule_of(rule_key("natpolicy-1", 7)) == ("natpolicy-1", 7)


def test_older_values_stay():
    old = Ids().with_keys([("service", "a")])
    new = old.with_keys([("service", "b"), ("engine", "e")])
    assert old.get("service", "b") is None
    assert new.beyond(old) == [("service", "b", 2), ("engine", "e", 1)]
