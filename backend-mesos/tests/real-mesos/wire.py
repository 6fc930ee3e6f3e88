#!/usr/bin/env python3
"""Message codec driven by the descriptors inside the real library.

Every protobuf file that was compiled into the Mesos library left its
descriptor there.  This module finds those descriptors, and with them turns
Python dictionaries (shaped like the JSON form of the v1 API) into protobuf
bytes and back.  No dependency besides the standard library.

    wire.py names                      messages and enums known
    wire.py show mesos.v1.scheduler.Call
    wire.py dump                       all of it, as JSON
"""

import base64
import json
import os
import struct
import sys
from pathlib import Path

FILES = (
    "mesos/v1/mesos.proto", "mesos/v1/scheduler/scheduler.proto",
    "mesos/v1/executor/executor.proto", "mesos/v1/agent/agent.proto",
    "mesos/v1/master/master.proto", "mesos/v1/quota/quota.proto",
    "mesos/v1/maintenance/maintenance.proto",
    "mesos/v1/allocator/allocator.proto",
)

# kinds of a field, as numbered in descriptors
DOUBLE, FLOAT, INT64, UINT64, INT32, FIXED64, FIXED32, BOOL, STRING = range(
    1, 10)
MESSAGE, BYTES, UINT32, ENUM = 11, 12, 13, 14
NAMES = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32",
         6: "fixed64", 7: "fixed32", 8: "bool", 9: "string", 11: "message",
         12: "bytes", 13: "uint32", 14: "enum"}
LABELS = {1: "optional", 2: "required", 3: "repeated"}


def library():
    cache = os.environ.get("REAL_MESOS_CACHE")
    base = Path(cache) if cache else Path.home() / ".cache" / "real-mesos"
    return base / "lib" / "_scheduler.so"


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def write_varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(data):
    """(number, wire type, value) of each field of a serialised message."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = read_varint(data, at)
        elif wire == 1:
            value, at = data[at:at + 8], at + 8
        elif wire == 2:
            size, at = read_varint(data, at)
            value, at = bytes(data[at:at + size]), at + size
            if len(value) != size:
                raise ValueError("truncated")
        elif wire == 5:
            value, at = data[at:at + 4], at + 4
        else:
            raise ValueError("bad wire type %d" % wire)
        yield number, wire, value


class Field:
    def __init__(self, raw):
        self.name, self.number, self.label, self.kind = "", 0, 1, 0
        self.type, self.default = "", None
        for n, _, v in fields(raw):
            if n == 1:
                self.name = v.decode()
            elif n == 3:
                self.number = v
            elif n == 4:
                self.label = v
            elif n == 5:
                self.kind = v
            elif n == 6:
                self.type = v.decode().lstrip(".")
            elif n == 7:
                self.default = v.decode()


class Schema:
    def __init__(self, path=None):
        self.messages, self.enums, self.maps = {}, {}, set()
        blob = Path(path or library()).read_bytes()
        for name in FILES:
            key = b"\x0a" + write_varint(len(name)) + name.encode() + b"\x12"
            at = blob.find(key)
            if at >= 0:
                self._file(blob, at)

    def _file(self, blob, at):
        package, bodies = "", []
        while blob[at] != 0:  # a literal in the library ends with a zero
            tag, after = read_varint(blob, at)
            if tag & 7 != 2 or tag >> 3 not in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12):
                break
            size, after = read_varint(blob, after)
            value = blob[after:after + size]
            at = after + size
            if tag >> 3 == 2:
                package = value.decode()
            elif tag >> 3 in (4, 5):
                bodies.append((tag >> 3, value))
        for kind, value in bodies:
            (self._message if kind == 4 else self._enum)(value, package)

    def _message(self, raw, scope):
        parts = list(fields(raw))
        name = scope + "." + next(v for n, _, v in parts if n == 1).decode()
        self.messages[name] = {}
        for n, _, v in parts:
            if n == 2:
                f = Field(v)
                self.messages[name][f.name] = f
            elif n == 3:
                self._message(v, name)
            elif n == 4:
                self._enum(v, name)
            elif n == 7 and any(k == 7 and x for k, _, x in fields(v)):
                self.maps.add(name)

    def _enum(self, raw, scope):
        parts = list(fields(raw))
        name = scope + "." + next(v for n, _, v in parts if n == 1).decode()
        values = {}
        for n, _, v in parts:
            if n == 2:
                item = {k: x for k, _, x in fields(v)}
                values[item[1].decode()] = item.get(2, 0)
        self.enums[name] = values

    # ---- dictionary -> bytes
    def encode(self, name, value):
        out = bytearray()
        table = self.messages[name]
        unknown = set(value) - set(table)
        if unknown:
            raise KeyError("%s has no %s" % (name, sorted(unknown)))
        for f in sorted(table.values(), key=lambda f: f.number):
            if f.name not in value:
                continue
            v = value[f.name]
            if f.type in self.maps:
                v = [{"key": k, "value": x} for k, x in v.items()]
            for item in (v if f.label == 3 else [v]):
                out += self._one(f, item)
        return bytes(out)

    def _one(self, f, v):
        def tag(wire):
            return write_varint(f.number << 3 | wire)
        if f.kind == DOUBLE:
            return tag(1) + struct.pack("<d", v)
        if f.kind == FLOAT:
            return tag(5) + struct.pack("<f", v)
        if f.kind in (INT64, UINT64, INT32, UINT32):
            return tag(0) + write_varint(int(v))
        if f.kind == BOOL:
            return tag(0) + (b"\1" if v else b"\0")
        if f.kind == ENUM:
            return tag(0) + write_varint(self.enums[f.type][v])
        if f.kind == STRING:
            body = v.encode()
        elif f.kind == BYTES:
            body = base64.b64decode(v)
        else:
            body = self.encode(f.type, v)
        return tag(2) + write_varint(len(body)) + body

    # ---- bytes -> dictionary
    def decode(self, name, data):
        table = {f.number: f for f in self.messages[name].values()}
        out = {}
        for number, wire, raw in fields(data):
            f = table.get(number)
            if f is None:
                out.setdefault("?", []).append(number)
                continue
            v = self._value(f, raw)
            if f.type in self.maps:
                out.setdefault(f.name, {})[v["key"]] = v.get("value")
            elif f.label == 3:
                out.setdefault(f.name, []).append(v)
            else:
                out[f.name] = v
        return out

    def _value(self, f, raw):
        if f.kind == DOUBLE:
            return struct.unpack("<d", raw)[0]
        if f.kind == FLOAT:
            return struct.unpack("<f", raw)[0]
        if f.kind in (INT64, INT32):
            return raw - (1 << 64) if raw >> 63 else raw
        if f.kind in (UINT64, UINT32):
            return raw
        if f.kind == BOOL:
            return bool(raw)
        if f.kind == ENUM:
            for text, number in self.enums[f.type].items():
                if number == raw:
                    return text
            return raw
        if f.kind == STRING:
            return raw.decode()
        if f.kind == BYTES:
            return base64.b64encode(raw).decode()
        return self.decode(f.type, raw)


def main():
    schema = Schema()
    if sys.argv[1:2] == ["names"]:
        for n in sorted(schema.messages):
            print("message", n)
        for n in sorted(schema.enums):
            print("enum", n)
    elif sys.argv[1:] == ["dump"]:
        json.dump({
            "messages": {
                name: {f.name: {
                    "number": f.number, "label": LABELS[f.label],
                    "type": f.type or NAMES.get(f.kind, str(f.kind)),
                    "default": f.default} for f in table.values()}
                for name, table in schema.messages.items()},
            "enums": schema.enums}, sys.stdout)
    elif sys.argv[1:2] == ["show"] and len(sys.argv) == 3:
        name = sys.argv[2]
        for f in schema.messages.get(name, {}).values():
            extra = " = " + f.default if f.default is not None else ""
            print(f.number, LABELS[f.label], f.type or NAMES.get(
                f.kind, f.kind), f.name + extra)
        for text, number in schema.enums.get(name, {}).items():
            print(number, text)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
