"""The chains of the NAT rules. Pure.

``nat`` tries the rules in order, each in a chain of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane import intervals
from dataplane.model import NAT_MARK, AddressMatch, NatRule, PortMatch, nat_counters
from dataplane.nft import Chain
from dataplane.rulewords import PROTOCOLS, SEED, counted, mark


def nat_chain(rules: Iterable[NatRule]) -> Chain:
    """The chain that tries ``rules`` in order."""
    tried = sorted((rule for rule in rules if rule.enabled), key=lambda rule: (rule.order, rule.id))
    return Chain(tuple(f"jump nat_{rule.id}" for rule in tried))


def rule_chains(rule: NatRule) -> dict[str, Chain]:
    """The chain of a NAT rule and, for a pool of several entries, one for the choice among them.

    Every condition is a line of its own that leaves the chain unless it holds: nft 1.0.6 merges neighbouring
    comparisons of header fields into one of raw bytes, which is wrong for two that are negated.
    """
    name = f"nat_{rule.id}"
    evaluated, hits = map(counted, nat_counters(rule.id))
    guards = _guards(rule)
    if guards is None or not rule.pool:
        return {name: Chain((evaluated,))}
    hit = (evaluated, *guards, hits, f"ct mark set {mark(NAT_MARK | rule.id)}")
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


def _guards(rule: NatRule) -> list[str] | None:
    """The lines that let only matching packets through; None: none can match."""
    parts = [
        _address_guards("ip saddr", rule.source),
        _address_guards("ip daddr", rule.destination),
        _protocol_guards(rule),
        _port_guards("th sport", rule.source_port),
        _port_guards("th dport", rule.destination_port),
    ]
    found = [part for part in parts if part is not None]
    return [line for part in found for line in part] if len(found) == len(parts) else None


def _address_guards(selector: str, match: AddressMatch | None) -> list[str] | None:
    if match is None:
        return []
    found = intervals.merged(match.elements)
    if found == [intervals.EVERYTHING]:
        return None if match.negate else []
    return _guard(selector, [intervals.text(part) for part in found], negate=match.negate)


def _port_guards(selector: str, match: PortMatch | None) -> list[str] | None:
    if match is None:
        return []
    return _guard(selector, [str(port) for port in sorted(set(match.ports))], negate=match.negate)


def _protocol_guards(rule: NatRule) -> list[str] | None:
    """Where ports are asked for, only TCP and UDP can match."""
    match = rule.protocol
    if rule.source_port is None and rule.destination_port is None:
        return [] if match is None else _guard("meta l4proto", [str(PROTOCOLS[match.protocol])], negate=match.negate)
    allowed = [name for name in ("tcp", "udp") if match is None or (match.protocol == name) != match.negate]
    return _guard("meta l4proto", [str(PROTOCOLS[name]) for name in allowed], negate=False)


def _guard(selector: str, values: list[str], *, negate: bool) -> list[str] | None:
    """Leave unless the selector is (``negate``: is not) one of ``values``; None: that can never be."""
    if not values:
        return [] if negate else None
    operator = "" if negate else "!= "
    value = values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"
    return [f"{selector} {operator}{value} return"]
