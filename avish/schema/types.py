"""Leaf types: each parses what is typed, formats what is shown, checks what comes over REST, describes itself.

Values have the vendor's REST shapes: an address is ``{"addr": "10.0.0.1", "type": "V4"}``, a prefix
``{"ip_addr": {...}, "mask": 24}``, an enumeration its upper-case word, everything else plain JSON. ``parse`` and
``check`` raise ValueError with a text that says what is wrong and what was expected.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

NAME = re.compile(r"[A-Za-z0-9 .@+_-]{1,255}")
MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
DNS_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
DECIMAL = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
TRUE_WORDS = frozenset({"true", "1", "yes", "on"})
FALSE_WORDS = frozenset({"false", "0", "no", "off"})
SENSITIVE = "<sensitive>"


class Type:
    """Any text. The base of all leaf types; ``name`` is the word of the published schema."""

    __slots__ = ()
    name = "string"
    label = "WORD"

    def parse(self, text: str) -> Any:
        """The value of a typed token."""
        return text

    def format(self, value: Any) -> str:
        """The text a table shows."""
        return str(value)

    def check(self, value: Any) -> Any:
        """The canonical form of a REST value."""
        if not isinstance(value, str):
            raise ValueError(f"{shown(value)} is not a text")
        return self.parse(value)

    def describe(self) -> str:
        """What a person may type, in a few words."""
        return "text; quote it when it has blanks"

    def words(self) -> tuple[str, ...]:
        """The words to choose from, where they are known beforehand."""
        return ()


class Text(Type):
    """Free text."""

    __slots__ = ()


class Name(Type):
    """An object's name (characters and length as the vendor documents them)."""

    __slots__ = ()
    label = "NAME"

    def parse(self, text: str) -> str:
        """The name itself."""
        if not text:
            raise ValueError("a name cannot be empty")
        if len(text) > 255:
            raise ValueError(f"a name of {len(text)} characters is too long: at most 255")
        if not NAME.fullmatch(text) or text != text.strip():
            bad = next((c for c in text if not NAME.fullmatch(c)), "a blank at its end")
            raise ValueError(f"a name cannot hold {bad!r}: letters, digits, blanks and . @ + - _ are allowed")
        return text

    def describe(self) -> str:
        """Which characters."""
        return "name, up to 255 letters, digits, blanks and . @ + - _"


class Secret(Type):
    """Text that is never shown."""

    __slots__ = ()

    def format(self, value: Any) -> str:
        """A placeholder."""
        return SENSITIVE if value else ""

    def check(self, value: Any) -> Any:
        """A text; what is none is not repeated."""
        if not isinstance(value, str):
            raise ValueError("this is not a text")
        return self.parse(value)


class Mac(Type):
    """An Ethernet address."""

    __slots__ = ()
    label = "aa:bb:cc:dd:ee:ff"

    def parse(self, text: str) -> str:
        """Lower case."""
        if not MAC.fullmatch(text):
            raise ValueError(f"{shown(text)} is not an Ethernet address aa:bb:cc:dd:ee:ff")
        return text.lower()

    def describe(self) -> str:
        """The form."""
        return "Ethernet address aa:bb:cc:dd:ee:ff"


class Bool(Type):
    """True or False."""

    __slots__ = ()
    name = "bool"
    label = "True|False"

    def parse(self, text: str) -> bool:
        """Any of the usual words, in any case."""
        word = text.lower()
        if word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
        raise ValueError(f"{shown(text)} is neither True nor False")

    def check(self, value: Any) -> bool:
        """A JSON boolean."""
        if not isinstance(value, bool):
            raise ValueError(f"{shown(value)} is neither true nor false")
        return value

    def describe(self) -> str:
        """How to set and unset."""
        return "the word alone sets True, 'no' before it False"


class Number(Type):
    """An integer or a float within ``low``..``high`` or among ``extra`` (special values) or only among ``allowed``.

    A special value may be a word (``MAX``); it is stored as that word.
    """

    __slots__ = ("allowed", "extra", "high", "low", "real", "unit")

    def __init__(
        self,
        *,
        real: bool = False,
        low: float | None = None,
        high: float | None = None,
        extra: tuple[float | str, ...] = (),
        allowed: tuple[float, ...] = (),
        unit: str = "",
    ) -> None:
        self.real, self.low, self.high = real, low, high
        self.extra, self.allowed, self.unit = extra, allowed, unit

    @property
    def name(self) -> str:  # type: ignore[override]
        """Int or float."""
        return "float" if self.real else "int"

    @property
    def label(self) -> str:  # type: ignore[override]
        """The range, as a word."""
        return f"<{self._range()}>" if self._range() else "<number>"

    def parse(self, text: str) -> float | str:
        """A number in decimal digits, or the word of a special value."""
        if text.upper() in self.extra:
            return text.upper()
        if not (DECIMAL if self.real else INTEGER).fullmatch(text):
            raise ValueError(f"{shown(text)} is not a {'' if self.real else 'whole '}number{self._hint()}")
        return self._within(float(text) if self.real else int(text))

    def check(self, value: Any) -> float | str:
        """A JSON number (a text of digits is taken as well, as the vendor does)."""
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, bool) or not isinstance(value, (int, float) if self.real else int):
            raise ValueError(f"{shown(value)} is not a {'' if self.real else 'whole '}number{self._hint()}")
        return self._within(value)

    def _within(self, value: float) -> float:
        if value in self.extra:
            return value
        if self.allowed and value not in self.allowed:
            raise ValueError(f"{value} is not one of {', '.join(map(str, self.allowed))}")
        if not (self._low() <= value <= self._high()) or abs(value) == float("inf"):
            raise ValueError(f"{value} is out of range{self._hint()}")
        return value

    def _low(self) -> float:
        return float("-inf") if self.low is None else self.low

    def _high(self) -> float:
        return float("inf") if self.high is None else self.high

    def format(self, value: Any) -> str:
        """The number and its unit: ``5 sec``."""
        text = str(float(value)) if self.real and not isinstance(value, str) else str(value)
        return f"{text} {self.unit}" if self.unit else text

    def _range(self) -> str:
        if self.allowed:
            return "|".join(map(str, self.allowed))
        if self.low is None or self.high is None:
            return ""
        return f"{self.low}-{self.high}" if self.low >= 0 else f"{self.low}..{self.high}"

    def _hint(self) -> str:
        parts = [self._range()] if self._range() else []
        parts += [f"or {value}" for value in self.extra]
        return f" ({' '.join(parts)})" if parts else ""

    def describe(self) -> str:
        """Range, special values, unit."""
        text = "number" if self.real else "whole number"
        return f"{text}{self._hint()}{', in ' + self.unit if self.unit else ''}"


class Enum(Type):
    """One of ``values``: typed in any case, shown and stored in upper case."""

    __slots__ = ("_by_lower", "values")
    name = "enum"

    def __init__(self, values: tuple[str, ...]) -> None:
        self.values = values
        self._by_lower = {value.lower(): value for value in values}

    def parse(self, text: str) -> str:
        """The word in upper case."""
        value = self._by_lower.get(text) or self._by_lower.get(text.lower())
        if value is None:
            raise ValueError(f"{shown(text)} is not one of its values")
        return value

    def describe(self) -> str:
        """How many there are."""
        return "one of " + ", ".join(self.words()[:4]) + (", ..." if len(self.values) > 4 else "")

    def words(self) -> tuple[str, ...]:
        """All values, as typed."""
        return tuple(self._by_lower)


class Ip(Type):
    """An IPv4 or IPv6 address."""

    __slots__ = ()
    name = "ip"
    label = "<x.x.x.x>"

    def parse(self, text: str) -> dict[str, str]:
        """``{"addr": canonical text, "type": "V4"|"V6"}``."""
        return parse_address(text)

    def format(self, value: Any) -> str:
        """The address."""
        return str(value["addr"]) if isinstance(value, dict) else str(value)

    def check(self, value: Any) -> dict[str, str]:
        """The vendor's object, or a text."""
        if isinstance(value, dict) and isinstance(value.get("addr"), str):
            return parse_address(value["addr"])
        if isinstance(value, str):
            return parse_address(value)
        raise ValueError(f"{shown(value)} is not an address such as {{'addr': '10.0.0.1', 'type': 'V4'}}")

    def describe(self) -> str:
        """The form."""
        return "IP4 address x.x.x.x or IP6 address x:x::x"


class Host(Ip):
    """An address, or the DNS name that leads to one."""

    __slots__ = ()
    label = "<x.x.x.x|name>"

    def parse(self, text: str) -> dict[str, str]:
        """``{"addr": text, "type": "V4"|"V6"|"DNS"}``."""
        try:
            return parse_address(text)
        except ValueError:
            labels = text.removesuffix(".").split(".")
            if len(text) > 253 or labels[-1].isdigit() or not all(DNS_LABEL.fullmatch(label) for label in labels):
                raise ValueError(f"{shown(text)} is neither an IP address nor a host name") from None
            return {"addr": text, "type": "DNS"}

    def check(self, value: Any) -> dict[str, str]:
        """The vendor's object, or a text."""
        if isinstance(value, dict) and isinstance(value.get("addr"), str):
            return self.parse(value["addr"])
        if isinstance(value, str):
            return self.parse(value)
        raise ValueError(f"{shown(value)} is not an address such as {{'addr': 'ntp.example.com', 'type': 'DNS'}}")

    def describe(self) -> str:
        """The form."""
        return "IP address or host name"


class Prefix(Type):
    """An address with a mask length; host bits are cleared."""

    __slots__ = ()
    name = "prefix"
    label = "<x.x.x.x/x>"

    def parse(self, text: str) -> dict[str, Any]:
        """``{"ip_addr": {...}, "mask": 24}``."""
        address, slash, mask = text.partition("/")
        if not slash:
            raise ValueError(f"{shown(text)} is not a prefix: the mask length is missing (10.0.0.0/24)")
        return _prefix(address, mask, text)

    def format(self, value: Any) -> str:
        """Address/length."""
        if not isinstance(value, dict):
            return str(value)
        return f"{value['ip_addr']['addr']}/{value['mask']}"

    def check(self, value: Any) -> dict[str, Any]:
        """The vendor's object, or a text."""
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, dict) and isinstance(value.get("ip_addr"), dict):
            return _prefix(str(value["ip_addr"].get("addr")), str(value.get("mask")), str(value))
        raise ValueError(f"{shown(value)} is not a prefix such as {{'ip_addr': {{...}}, 'mask': 24}}")

    def describe(self) -> str:
        """The form."""
        return "IP4 prefix x.x.x.x/x or IP6 prefix x:x::/x"


class HostPrefix(Prefix):
    """The address of an interface with the mask length of its network: a prefix whose host bits stay."""

    __slots__ = ()

    def parse(self, text: str) -> dict[str, Any]:
        """``{"ip_addr": {...}, "mask": 24}``."""
        return {**super().parse(text), "ip_addr": parse_address(text.partition("/")[0])}

    def check(self, value: Any) -> dict[str, Any]:
        """The vendor's object, or a text."""
        if isinstance(value, str):
            return self.parse(value)
        return {**super().check(value), "ip_addr": parse_address(str(value["ip_addr"].get("addr")))}


class Ref(Type):
    """The name of an object of type ``to``; ``loose``: kept by name, the type is not part of this product."""

    __slots__ = ("loose", "to")
    name = "ref"
    label = "NAME"

    def __init__(self, to: str, *, loose: bool = False) -> None:
        self.to, self.loose = to, loose

    def parse(self, text: str) -> str:
        """The name; whether such an object exists is the controller's question."""
        return text if "/" in text else Name().parse(text)

    def format(self, value: Any) -> str:
        """The name behind ``#``, else the last part of the reference."""
        return ref_name(str(value))

    def describe(self) -> str:
        """Of what."""
        return f"name of a {self.to}"


def ref_name(ref: str) -> str:
    """The name a reference shows: behind ``#`` or ``?name=``, else its last part.

    >>> ref_name("https://c/api/pool/pool-1#p1"), ref_name("/api/pool/?name=p1"), ref_name("p1")
    ('p1', 'p1', 'p1')
    """
    for mark in ("#", "?name="):
        if mark in ref:
            return ref.rsplit(mark, 1)[1]
    return ref.rsplit("/", 1)[-1]


def parse_address(text: str) -> dict[str, str]:
    """``{"addr", "type"}`` of an address in canonical text; ValueError when it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not an IP address") from None
    if "%" in text:
        raise ValueError(f"{shown(text)}: an address is given without a zone")
    return {"addr": str(address), "type": f"V{address.version}"}


def _prefix(address: str, mask: str, given: str) -> dict[str, Any]:
    parsed = parse_address(address)
    bits = 32 if parsed["type"] == "V4" else 128
    if not re.fullmatch(r"[0-9]{1,3}", mask) or int(mask) > bits:
        raise ValueError(f"{shown(given)} is not a prefix: the mask length must be 0-{bits}")
    network = ipaddress.ip_network((parsed["addr"], int(mask)), strict=False)
    return {"ip_addr": {"addr": str(network.network_address), "type": parsed["type"]}, "mask": int(mask)}


def shown(value: Any) -> str:
    """A value as an error text quotes it: cut short, nothing in it acts on a terminal."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "...'"
