"""Values of the right shape out of a YAML file, with every problem noted as ``FILE: path.to.key: reason``."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dataplane.errors import LabError

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""What a name of the user's choice may be: part of the names of namespaces and files."""

_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def nearest(word: str, known: tuple[str, ...]) -> str:
    """What to add to a complaint about ``word``: " (did you mean WORD?)", or "" if no known word is close."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


class _Loader(yaml.BaseLoader):
    """Scalars stay text (a host may be called ``on`` or ``1``); a key given twice is remembered instead of lost."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.twice: list[tuple[int, str]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        keys = Counter(str(key.value) for key, _ in node.value)
        lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
        self.twice += [(lines[key], key) for key, count in keys.items() if count > 1]
        return super().construct_mapping(node, deep=deep)


class Reader:
    """Takes values of the right shape out of the document and notes what is wrong on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def problem(self, where: str, reason: str) -> None:
        self.problems.append(f"{self.path}: {where}: {reason}" if where else f"{self.path}: {reason}")

    def finish(self) -> None:
        if self.problems:
            raise LabError("\n".join(self.problems))

    def document(self) -> Any:
        """The file's YAML; unreadable YAML ends the reading at once, for nothing else can be said then."""
        try:
            loader = _Loader(self.path.read_text(encoding="utf-8"))
            document = loader.get_single_data()
        except OSError as error:
            raise LabError(f"{self.path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise LabError(f"{self.path}: is not UTF-8 text") from None
        except RecursionError:
            raise LabError(f"{self.path}: is nested too deeply") from None
        except yaml.YAMLError as error:
            raise LabError(f"{self.path}: {_yaml_reason(error)}") from None
        for line, key in loader.twice:
            self.problem(f"line {line}", f"{key!r} is given twice")
        return document

    def mapping(self, value: Any, where: str, known: tuple[str, ...]) -> dict[str, Any]:
        """``value`` as a mapping of ``known`` keys; what is not one is a problem and left out."""
        if not isinstance(value, dict):
            if value not in (None, ""):
                self.problem(where, f"must be a mapping with {', '.join(known)}")
            return {}
        for key in value:
            if key not in known:
                self.problem(_join(where, key), f"unknown key{nearest(str(key), known)}; known: {', '.join(known)}")
        return {key: value[key] for key in known if key in value}

    def named(self, value: Any, where: str) -> Iterator[tuple[str, str, Any]]:
        """Name, place and value of each entry whose key is a name of the user's choice."""
        if value not in (None, "") and not isinstance(value, dict):
            self.problem(where, "must be a mapping of names")
            return
        for name, entry in (value or {}).items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                reason = "is not a name (at most 63 letters, digits, '-', '_', '.', the first a letter or digit)"
                self.problem(where, f"{name!r} {reason}")
            else:
                yield name, f"{where}.{name}", entry

    def text(self, entry: dict[str, Any], key: str, where: str, default: str = "") -> str:
        """The text under ``key``; "" and a problem when it is missing and there is no default."""
        value = entry.get(key, default)
        if isinstance(value, str) and value:
            return value
        self.problem(_join(where, key), "must be text" if value else "is missing")
        return ""

    def texts(self, entry: dict[str, Any], key: str, where: str) -> list[str]:
        """The text or list of texts under ``key``, at least one."""
        value = entry.get(key) or []
        values = value if isinstance(value, list) else [value]
        if values and all(isinstance(text, str) and text for text in values):
            return values
        self.problem(_join(where, key), "must be text or a list of texts" if values else "is missing")
        return []

    def switch(self, entry: dict[str, Any], key: str, where: str) -> bool:
        value = entry.get(key, "false")
        if isinstance(value, str) and value.lower() in _SWITCH:
            return _SWITCH[value.lower()]
        self.problem(_join(where, key), f"{value!r} is neither true nor false")
        return False

    def address(self, text: str, where: str) -> IpAddress | None:
        if "/" in text:
            self.problem(where, f"{text!r} must be an address without a prefix length")
            return None
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            self.problem(where, f"{text!r} is not an IP address")
            return None
        if "%" in text:
            self.problem(where, f"{text!r} must not name a zone")
            return None
        return address

    def prefix(self, text: str, where: str) -> IpNetwork | None:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            self.problem(where, f"{text!r} is not an IP prefix (10.0.0.0/24)")
            return None
        if ipaddress.ip_interface(text).ip != network.network_address:
            self.problem(where, f"{text} has bits set behind its prefix length; did you mean {network}?")
            return None
        return network


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)


def _yaml_reason(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    return f"line {mark.line + 1}, column {mark.column + 1}: {reason}" if mark else f"not YAML: {reason}"
