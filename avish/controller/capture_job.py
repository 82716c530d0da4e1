"""One capture: a thread per engine reads its tap, the packets go to the files and, lossy with a count, to who looks."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from avish.controller.capture_files import Rotation, encoder
from avish.controller.decode import Names, Sighting, comment, end_text, ends_text, message_of_engines, server_end
from avish.controller.limits import Limits
from avish.controller.subscription import Event, Export, Subscription
from avish.controller.wanted import SERVICE, Wanted
from dataplane.driver import Capture
from dataplane.errors import DataplaneError, UnreachableError
from dataplane.pcapng import Entry, each_packet, outbound
from dataplane.taps import Batch, Blocks, Packet, Port

_LOG = logging.getLogger(__name__)

STOP_SECONDS = 8.0
"""More than a tap may be silent: with the tap of an engine that has frozen, the capture ends too."""
QUIET_SECONDS = 10.0
"""Without any packet so long after the start, the capture says so."""
MERGE_NS = 500_000_000
"""Packets of several engines are shown so much later, for older ones of another may still come."""
_DISK_CHECK_BYTES = 4_000_000
_CHECK_SECONDS = 1.0

SHOWN_LATER = 10_000
"""No more packets of several engines wait to be shown."""

Numbered = tuple[int, int, str, Packet, Names]
"""ns, a number that decides between equal times, engine, packet, its names."""


class Describe(Protocol):
    """Names of a conntrack mark and of a server ("address", port), None where there is none."""

    def __call__(self, mark: int, server: tuple[str, int] | None) -> Names: ...


class CaptureJob:
    """A capture, running or ended; the attributes are its record.

    ``state`` "running" or "ended" (then with ``reason`` and ``ended``), ``started`` and ``ended`` in seconds since the
    epoch, ``lost``: packets the kernels dropped, ``notes``: what else there is to say. It runs from ``start`` on.
    """

    def __init__(
        self,
        wanted: Wanted,
        *,
        user: str,
        limits: Limits,
        taps: Mapping[str, Capture],
        files: Rotation,
        describe: Describe,
        full: Callable[[], str],
        clock: Callable[[], float],
        on_turn: Callable[[CaptureJob], None],
    ) -> None:
        self.wanted = wanted
        self.user = user
        self.limits = limits
        self.files = files
        self.state = "running"
        self.reason = ""
        self.notes: list[str] = []
        self.started = clock()
        self.ended: float | None = None
        self._taps = taps
        self._describe = describe
        self._full = full
        self._clock = clock
        self._on_turn = on_turn
        self._known: dict[tuple[Any, ...], tuple[Names, str]] = {}
        self._waiting: list[Numbered] = []
        self._number = 0
        self._newest = 0
        self._disordered = False
        self._quiet_said = False
        self._why = ""
        self._trouble = ""
        self._checked = (self.started, 0)
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self._closed = False
        self._readers: list[Subscription] = []
        self._exports: list[Export] = []
        self._threads = [
            threading.Thread(target=self._run, args=(engine, tap), name=f"capture-{engine}", daemon=True)
            for engine, tap in taps.items()
        ]
        self._left = len(self._threads)

    def start(self) -> None:
        """Begin to read the taps; once."""
        for thread in self._threads:
            thread.start()

    @property
    def packets(self) -> int:
        """Captured so far."""
        return self.files.packets

    @property
    def lost(self) -> int:
        """What the kernels dropped."""
        return sum(tap.lost for tap in self._taps.values())

    def figures(self) -> Event:
        """Keys: seen, kept (in files that are there), lost, bytes, file, left (until a limit, in words), state."""
        return {
            "seen": self.packets + self.lost,
            "kept": self.files.kept,
            "lost": self.lost,
            "bytes": self.files.size,
            "file": str(self.files.file),
            "left": self.limits.left(self.packets, self._clock() - self.started),
            "state": self.state,
        }

    def record(self) -> dict[str, Any]:
        """Keys: job, subject, engine, user, state, reason, notes, title, file, files, packets, bytes, lost, started,
        ended, left, limits.
        """
        return {
            "job": "capture",
            "subject": self.wanted.subject,
            "engine": ", ".join(self.wanted.engines),
            "user": self.user,
            "state": self.state,
            "reason": self.reason,
            "notes": list(self.notes),
            "title": self.wanted.title,
            "file": str(self.files.file),
            "files": [str(path) for path in self.files.paths],
            "packets": self.packets,
            "bytes": self.files.size,
            "lost": self.lost,
            "started": self.started,
            "ended": self.ended,
            "left": self.limits.left(self.packets, self._clock() - self.started) if self.state == "running" else "",
            "limits": self.limits.as_dict(),
        }

    def subscribe(self, interface: str = "") -> Subscription:
        """Follow the job, or what of it passes one interface; of one that has ended, its start and its end."""
        reader = Subscription(self._forget, self.figures, interface)
        reader.offer(
            {
                "event": "started",
                "engine": ", ".join(self.wanted.engines),
                "title": self.wanted.title,
                "file": str(self.files.file),
                "limits": str(self.limits),
            }
        )
        with self._lock:
            for note in self.notes:
                reader.offer({"event": "note", "text": note})
            if self.state == "ended":
                reader.finish(self._ended_event())
            else:
                self._readers.append(reader)
        return reader

    def export(self) -> Export:
        """The packets from now on as a pcapng file."""
        made = Export(encoder(Limits(snaplen=self.limits.snaplen), self.wanted.title), self._forget)
        with self._lock:
            if self.state == "ended":
                made.finish()
            else:
                self._exports.append(made)
        return made

    def stop(self, reason: str) -> None:
        """End the capture, with the packets tapped so far in the file; waits for that at most a few seconds."""
        self._ends_for(reason)
        self._close_taps()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def note(self, text: str) -> None:
        """Tell everybody who looks."""
        with self._lock:
            self.notes.append(text)
            for reader in self._readers:
                reader.offer({"event": "note", "text": text})

    # --- in the threads

    def _run(self, engine: str, tap: Capture) -> None:
        reason = "an internal error, see the log of the controller"
        try:
            reason = self._record(engine, tap)
        except (DataplaneError, OSError) as error:
            reason = f"the capture failed: {error}"
        finally:
            alone = self._departed(engine, reason)
            if alone:
                self._ends_for(reason)
                self._close_taps()
                self._end()

    def _departed(self, engine: str, reason: str) -> bool:
        """A reader has ended; True for the last one. An engine that goes does not end the capture of the others."""
        with self._lock:
            self._left -= 1
            last, why = self._left == 0, self._why
        if not last and not why:
            self.note(f"no more packets from {engine}: {reason}")
        return last

    def _record(self, engine: str, tap: Capture) -> str:
        """Write packets until something ends the capture; says what."""
        for batch in tap:
            if batch is not None:
                self._take(engine, batch)
            self._flush()
            reason = self._over(idle=batch is None)
            if reason:
                self._ends_for(reason)
                self._close_taps()
                return reason
        return f"the tap on {engine} ended"

    def _take(self, engine: str, batch: Batch) -> None:
        with self._lock:
            if batch.packets:
                self._write(engine, self._within(batch.packets))
            if batch.blocks is not None:
                self._write_blocks(engine, batch.blocks)

    def _flush(self, *, last: bool = False) -> None:
        """Show what no older packet of another engine can come before any more."""
        with self._lock:
            until = None if last else round(self._clock() * 1e9) - MERGE_NS
            while self._waiting and (until is None or self._waiting[0][0] <= until):
                _, _, engine, packet, names = heapq.heappop(self._waiting)
                self._show(engine, [(packet, names)])

    def _within(self, packets: list[Packet]) -> list[Packet]:
        return packets[: self.limits.room(self.packets)]

    def _write(self, engine: str, packets: list[Packet]) -> None:
        """Into the file at once, as they come; it is put in order at the end."""
        several = len(self._taps) > 1
        source = f"service engine {engine}"
        described = [(packet, *self._described(packet)) for packet in packets]
        entries = [
            Entry(
                Port(f"{engine}:{packet.interface}" if several else packet.interface, packet.link),
                source,
                packet.ns,
                packet.data,
                packet.length,
                text,
                packet.point in ("after", "sent", "forward"),
            )
            for packet, _, text in described
        ]
        for entry in entries:
            if entry.ns < self._newest:
                self._disordered = True
            else:
                self._newest = entry.ns
        self._append(lambda encoder: encoder.packets(entries), len(entries))
        for export in self._exports:
            export.packets(entries, len(entries))
        if not self._readers:
            return
        seen = [(packet, names) for packet, names, _ in described]
        if several:
            self._wait(engine, seen[: SHOWN_LATER - len(self._waiting)])
        else:
            self._show(engine, seen)

    def _wait(self, engine: str, seen: list[tuple[Packet, Names]]) -> None:
        for packet, names in seen:
            self._number += 1
            heapq.heappush(self._waiting, (packet.ns, self._number, engine, packet, names))

    def _show(self, engine: str, seen: list[tuple[Packet, Names]]) -> None:
        """What a reader has no room for costs nothing more."""
        for reader in self._readers:
            own = [one for one in seen if reader.interface == one[0].interface] if reader.interface else seen
            for packet, names in own[: reader.room(len(own))]:
                reader.offer(Sighting(engine, packet, names))

    def _write_blocks(self, engine: str, blocks: Blocks) -> None:
        most = self.limits.room(self.packets)
        if most is not None and blocks.count > most:
            blocks = _first(blocks, most)
        self._disordered = self._disordered or self._newest > 0
        source = f"service engine {engine}"
        self._append(lambda encoder: encoder.blocks(blocks, source, ""), blocks.count)
        for export in self._exports:
            export.blocks(blocks, source, "")
        for reader in self._readers:
            shown = reader.room(blocks.count)
            for packet in _packets(blocks, shown):
                if reader.interface in ("", packet.interface):
                    reader.offer(Sighting(engine, packet, Names()))

    def _append(self, make: Any, count: int) -> None:
        if count and self.files.append(make, count):
            self._on_turn(self)

    def _described(self, packet: Packet) -> tuple[Names, str]:
        """Names and comment; names are asked for again every second, for the configuration may change."""
        end = server_end(packet)
        reason = packet.reason or (message_of_engines(packet) if self._says_messages(packet) else "")
        key = (packet.mark, packet.point, packet.direction, end, reason)
        known = self._known.get(key)
        if known is None:
            names = self._names(packet, end)
            text = comment(packet._replace(reason=reason, other=b""), names)
            known = self._known[key] = (names, text)
        names, text = known
        return (names, f'{text} other="{ends_text(packet.other)}"') if packet.other else known

    def _names(self, packet: Packet, end: bytes) -> Names:
        text = end_text(end) if end else ""
        server = (text.rpartition(":")[0].strip("[]"), int.from_bytes(end[-2:], "big")) if end else None
        names = self._describe(packet.mark, server)
        if names.virtualservice or self.wanted.key[0] != SERVICE:
            return names
        untranslated = packet.mark == 0 and packet.point in ("before", "after")  # active FTP data
        return replace(names, virtualservice=self.wanted.name, rule="no NAT rule" if untranslated else names.rule)

    def _says_messages(self, packet: Packet) -> bool:
        return packet.link == 1 and "ipc" in self.wanted.spec.kinds

    # --- the end

    def _over(self, *, idle: bool) -> str:
        if idle and self._why:
            return self._why
        now, size = self._clock(), self.files.size
        checked_at, checked_size = self._checked
        if now - checked_at >= _CHECK_SECONDS or abs(size - checked_size) >= _DISK_CHECK_BYTES:
            self._checked = (now, size)
            with self._lock:
                self._known.clear()
            self._say_quiet(now)
            if full := self._full():
                return full
        return self.limits.reached(self.packets, self.files.last_size, now - self.started)

    def _say_quiet(self, now: float) -> None:
        if self._quiet_said or self.packets or now - self.started < QUIET_SECONDS:
            return
        self._quiet_said = True
        chosen = self.wanted.spec.matches or self.wanted.spec.clients or self.wanted.spec.interface
        what = "no packet has matched the filter" if chosen else "there was no packet of that kind"
        hint = "; debug_ip, capture_filters and capture_pkt_filter say what is captured" if chosen else ""
        self.note(f"{QUIET_SECONDS:.0f} s and {what} so far{hint}")

    def _ends_for(self, reason: str) -> None:
        """Remember why the capture ends; the first reason is the one."""
        with self._lock:
            self._why = self._why or reason

    def _close_taps(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
        for engine, tap in self._taps.items():
            try:
                tap.close()
            except UnreachableError as error:
                _LOG.info("capture on %s: %s", engine, error)
            except (DataplaneError, OSError) as error:
                with self._lock:
                    self._trouble = f" (the tap on {engine} could not be removed: {error})"

    def _end(self) -> None:
        self._flush(last=True)
        self._close_files()
        with self._lock:
            self.reason = self._why + self._trouble
            self.ended = self._clock()
            self.state = "ended"
            for reader in self._readers:
                reader.finish(self._ended_event())
            for export in self._exports:
                export.finish()
            self._readers.clear()
            self._exports.clear()

    def _close_files(self) -> None:
        """A disk that refuses now has what was written so far."""
        try:
            self.files.close()
            if self._disordered:
                self.files.sort()
        except (OSError, ValueError) as error:
            _LOG.warning("capture file %s: %s", self.files.file, error)

    def _ended_event(self) -> Event:
        return {
            "event": "ended",
            "reason": self.reason,
            "packets": self.packets,
            "lost": self.lost,
            "file": str(self.files.file),
            "files": [str(path) for path in self.files.paths],
        }

    def _forget(self, reader: Subscription | Export) -> None:
        with self._lock:
            if isinstance(reader, Export) and reader in self._exports:
                self._exports.remove(reader)
            elif isinstance(reader, Subscription) and reader in self._readers:
                self._readers.remove(reader)


def _first(blocks: Blocks, count: int) -> Blocks:
    """The first ``count`` packets of blocks."""
    end = 0
    for number, one in enumerate(each_packet(blocks.data)):
        if number == count:
            break
        end = one.offset + one.size
    return Blocks(blocks.data[:end], count, blocks.ports) if count > 0 else Blocks(b"", 0, blocks.ports)


def _packets(blocks: Blocks, count: int) -> Iterable[Packet]:
    """The first packets of blocks, as packets."""
    if count <= 0:
        return
    for number, one in enumerate(each_packet(blocks.data), 1):
        port = blocks.ports[one.number]
        point = "sent" if outbound(one.options) else "received"
        yield Packet(one.ns, point, "original", 0, port.name, one.length, one.data, link=port.link)  # type: ignore[arg-type]
        if number == count:
            return
