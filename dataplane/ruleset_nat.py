"""The chains of the NAT rules. Pure.

``nat`` tries the rules in order, each in a chain of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane import intervals
from dataplane.model import NAT_MARK, NatRule, nat_counters
from dataplane.nft import Chain
from dataplane.ruleset_match import Conditions, guards
from dataplane.rulewords import IPV4, SEED, counted, mark


def nat_chain(rules: Iterable[NatRule]) -> Chain:
    """The chain that tries ``rules`` in order."""
    tried = sorted((rule for rule in rules if rule.enabled), key=lambda rule: (rule.order, rule.id))
    return Chain(tuple(f"jump nat_{rule.id}" for rule in tried))


def rule_chains(rule: NatRule) -> dict[str, Chain]:
    """The chain of a NAT rule and, for a pool of several entries, one for the choice among them."""
    name = f"nat_{rule.id}"
    evaluated, hits = map(counted, nat_counters(rule.id))
    wanted = Conditions(rule.source, rule.destination, rule.source_port, rule.destination_port, rule.protocol)
    lines = guards(wanted, IPV4)
    if lines is None or not rule.pool:
        return {name: Chain((evaluated,))}
    hit = (evaluated, *lines, hits, f"ct mark set {mark(NAT_MARK | rule.id)}")
    targets = [_snat(entry) for entry in rule.pool]
    if len(targets) == 1:
        return {name: Chain((*hit, targets[0]))}
    choice = (f"meta mark set jhash ip saddr mod {len(targets)} {SEED}", f"goto {name}_pool")
    pool = Chain(tuple(f"meta mark {mark(number)} {target}" for number, target in enumerate(targets)))
    return {name: Chain((*hit, *choice)), f"{name}_pool": pool}


def _snat(entry: str) -> str:
    """``persistent`` makes the choice in a range depend on the source address only."""
    first, last = addresses = intervals.interval(entry)
    return f"snat to {intervals.text(addresses)}{'' if first == last else ' persistent'}"
