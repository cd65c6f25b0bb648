"""Files as torch.save writes them, for the tests: opcodes and containers by hand, from torch's own
layout, and nothing of the readers that they test."""

import dataclasses
import io
import struct
import zipfile

import numpy as np

KINDS = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "u1": "Byte", "u2": "BFloat16"}


@dataclasses.dataclass
class Module:
    """An instance of a class; `state` is its __dict__."""

    where: str
    name: str
    state: dict

    @staticmethod
    def of(where, name, parameters=None, modules=None, **attributes):
        state = {"_parameters": Ordered(parameters or {}), "_buffers": Ordered({})}
        state |= {"_modules": Ordered(modules or {}), "training": True, **attributes}
        return Module(where, name, state)


class Ordered(dict):
    """A collections.OrderedDict."""


@dataclasses.dataclass
class Parameter:
    array: np.ndarray
    old: bool = False


@dataclasses.dataclass
class Strided:
    """A tensor over the numbers of `base`, as it says."""

    base: np.ndarray
    offset: int
    shape: tuple
    strides: tuple
    count: int | None = None


class Writer:
    def __init__(self, legacy: bool, device: str = "cpu"):
        self.legacy, self.device = legacy, device
        self.storages: dict[int, tuple[str, np.ndarray]] = {}
        self.out = io.BytesIO()

    def value(self, value) -> bytes:
        if value is None or isinstance(value, bool):
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value) if abs(value) < 1 << 31 else self.long(value)
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str):
            raw = value.encode()
            return b"X" + struct.pack("<I", len(raw)) + raw
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.value, value)) + b"t"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.value, value)) + b"e"
        if isinstance(value, dict):
            start = b"ccollections\nOrderedDict\n)R" if isinstance(value, Ordered) else b"}"
            items = b"".join(self.value(k) + self.value(v) for k, v in value.items())
            return start + b"(" + items + b"u"
        if isinstance(value, Module):
            cls = f"c{value.where}\n{value.name}\n".encode()
            if self.legacy:  # classes of modules come with their source
                cls = b"(" + self.value("module") + cls + self.value("model.py")
                cls += self.value("class X: pass") + b"tQ"
            return cls + b")\x81" + self.value(value.state) + b"b"
        if isinstance(value, Parameter):
            tensor = self.value(value.array)
            if value.old:
                state = self.value((True, False, None))
                return b"ctorch.nn.parameter\nParameter\n" + tensor + b"\x85R" + state + b"b"
            hooks = b"\x88ccollections\nOrderedDict\n)R"
            return b"ctorch._utils\n_rebuild_parameter\n(" + tensor + hooks + b"tR"
        return self.tensor(value)

    def long(self, value: int) -> bytes:
        return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)

    def tensor(self, value) -> bytes:
        if isinstance(value, np.ndarray):
            value = np.ascontiguousarray(value)
            strides = tuple(n // value.itemsize for n in value.strides)
            value = Strided(value, 0, value.shape, strides)
        base = value.base
        key, _ = self.storages.setdefault(id(base), (str(len(self.storages)), base))
        kind = KINDS[base.dtype.str[1:]]
        where = "torch.cuda" if self.device.startswith("cuda") else "torch"
        storage = b"(" + self.value("storage") + f"c{where}\n{kind}Storage\n".encode()
        count = base.size if value.count is None else value.count
        storage += self.value(key) + self.value(self.device) + self.value(count)
        storage += (b"N" if self.legacy else b"") + b"tQ"
        rest = self.value(value.offset) + self.value(value.shape) + self.value(value.strides)
        if self.legacy:
            return b"ctorch._utils\n_rebuild_tensor\n(" + storage + rest + b"tR"
        hooks = b"\x89ccollections\nOrderedDict\n)R"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + hooks + b"tR"


def save_zip(path, value, device="cpu", byteorder="little", change=None):
    """change: a function of the entries' dict, for damage."""
    writer = Writer(legacy=False, device=device)
    entries = {"model/data.pkl": b"\x80\x02" + writer.value(value) + b"."}
    entries["model/byteorder"] = byteorder.encode()
    for key, base in writer.storages.values():
        numbers = base.astype(base.dtype.newbyteorder(">")) if byteorder == "big" else base
        entries[f"model/data/{key}"] = numbers.tobytes()
    entries["model/version"] = b"3\n"
    if change:
        change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def save_legacy(path, value, device="cpu"):
    writer = Writer(legacy=True, device=device)
    head = b"\x80\x02" + writer.long(0x1950A86A20F9469CFC6C) + b"."
    head += b"\x80\x02" + writer.value(1001) + b"."
    sizes = {"short": 2, "int": 4, "long": 4}
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    head += b"\x80\x02" + writer.value(machine) + b"."
    body = b"\x80\x02" + writer.value(value) + b"."
    body += b"\x80\x02" + writer.value([key for key, _ in writer.storages.values()]) + b"."
    for _, base in writer.storages.values():
        body += struct.pack("<q", base.size) + base.tobytes()
    path.write_bytes(head + body)


SAVE = {"zip": save_zip, "legacy": save_legacy}
