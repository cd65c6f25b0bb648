"""Files of torch.save, read without torch: the zip container, and the one before torch 1.6.

    zip      NAME/data.pkl        a pickle of protocol 2; tensors refer to storages by a key
             NAME/data/KEY        the storage's numbers, not compressed
             NAME/byteorder       "little" or "big"; "little" where there is none
             NAME/version         not looked at
    legacy   5 pickles            a magic number, the protocol 1001, facts of the machine, the
                                  object, the keys of its storages in their order
             for each storage     int64 how many numbers, then the numbers

Tensors stay in the file until `Tensor.array` reads them. Modules are read as what was in them:
`pickles.Object`, none of their code. The tar files of torch's first
versions are not read.
"""

import mmap
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlstm.errors import InputError
from mlstm.formats import pickles
from mlstm.formats.pickles import Object, one_line, shown
from mlstm.formats.torch_tensors import Budget, Storage, StorageType, Tensor, tensor_globals

_HEAD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DIRECTORY = 4 << 20
"""Bytes of a zip container's list of files: some tens of thousands."""
NAMES = 10_000
"""Tensors, and modules, that are looked at in one file."""
DEPTH = 30
LONGEST = 1000
"""Characters of a name."""
NEAR = 1 << 20


def recognises(path: Path) -> bool:
    """Whether a file looks like one of torch.save, of any age."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(512)
        if head[:4] == b"PK\x03\x04":
            return b"data.pkl" in head[:512]
        return head[:15] == _HEAD or _is_tar(head)


def mentions(path: Path, *words: bytes) -> bool:
    """Whether a file of torch.save has these names near its beginning, where its pickle lies."""
    if not recognises(path):
        return False
    with path.open("rb") as file:
        head = file.read(NEAR)
    return all(word in head for word in words)


def read(path: Path, classes: Iterable[tuple[str, str]] = ()) -> Any:
    """What was saved: tensors as `Tensor`, torch's own modules, and those of the (module, name) in
    `classes`, as `Object`. Raises InputError."""
    where = str(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{where}: is not a file")
    try:
        with path.open("rb") as file:
            if not file.read(1):  # which cannot be mapped
                raise InputError(f"{where}: an empty file")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None
    if data[:4] == b"PK\x03\x04":
        return _read_zip(data, where, classes)
    if _is_tar(data[:512]):
        raise InputError(
            f"{where}: a tar file of torch's first versions, which is not read; load it with torch "
            "and save its state_dict again"
        )
    if data[:2] != b"\x80\x02":
        raise InputError(f"{where}: no file of torch.save")
    return _read_legacy(data, where, classes)


def named_tensors(found: Any, where: str) -> dict[str, Tensor]:
    """The tensors of a state dict, of dicts in one another, or of a module, by their names with
    dots between, as torch's own state_dict has them."""
    names: dict[str, Tensor] = {}
    waiting: list[tuple[str, Any, int]] = [("", found, 0)]
    seen = 0
    while waiting:
        prefix, value, depth = waiting.pop()
        value = value.arguments[0] if _is_parameter(value) else value
        seen += 1
        if seen > NAMES or depth > DEPTH or len(prefix) > LONGEST:
            raise InputError(f"{where}: more parts in one another than a model has")
        if isinstance(value, Tensor):
            names[prefix] = value
            continue
        if isinstance(value, Object):
            parts: Any = [value.get(kind) for kind in ("_parameters", "_buffers", "_modules")]
        else:
            parts = [value]
        for part in parts:
            if isinstance(part, dict):
                if len(waiting) + len(part) > NAMES:
                    raise InputError(f"{where}: more parts than a model has")
                waiting += [
                    (f"{prefix}.{name}" if prefix else name, value, depth + 1)
                    for name, value in part.items()
                    if isinstance(name, str)
                    and len(name) < LONGEST
                    and isinstance(value, Tensor | Object | dict)
                ]
    return names


def _is_parameter(value: Any) -> bool:
    return (
        isinstance(value, Object)
        and value.kind in ("torch.nn.parameter.Parameter", "torch.autograd.variable.Variable")
        and len(value.arguments) > 0
    )


class _Allowed(dict):
    """What a file of torch may name. Classes of torch.nn stand for themselves as `Object`."""

    def __missing__(self, key: tuple[str, str]) -> Any:
        module, name = key
        if (
            len(self) > NAMES
            or not module.startswith(("torch.nn.", "torch.backends."))
            or not name.isidentifier()
        ):
            raise KeyError(key)
        self[key] = found = pickles.stand_in(f"{module}.{name}")
        return found


def _allowed(classes: Iterable[tuple[str, str]]) -> _Allowed:
    return _Allowed(
        {
            **pickles.numpy_globals(),
            **tensor_globals(),
            **{key: pickles.stand_in(".".join(key)) for key in classes},
        }
    )


def _read_zip(data: mmap.mmap, where: str, classes: Iterable[tuple[str, str]]) -> Any:
    bounded: Any = _Bounded(data)
    try:
        # zipfile reads the directory alone; what that says is compared with the file.
        with zipfile.ZipFile(bounded) as archive:
            entries = archive.infolist()
    except Exception as error:  # zipfile raises half a dozen kinds for damaged directories
        raise InputError(f"{where}: a damaged zip file ({one_line(error)})") from error
    root = next((e.filename[:-8] for e in entries if e.filename.endswith("/data.pkl")), None)
    if root is None:
        raise InputError(f"{where}: no data.pkl in the zip file: not of torch.save")
    inside = {e.filename.removeprefix(root): e for e in entries if e.filename.startswith(root)}
    budget = Budget(len(data), where)
    contents: dict[str, memoryview] = {}

    def content(name: str) -> memoryview:
        if name not in contents:
            if name not in inside:
                raise InputError(f"{where}: {shown(name)} is not in the file")
            contents[name] = _content(data, inside[name], budget)
        return contents[name]

    order = bytes(content("byteorder")) if "byteorder" in inside else b"little"
    if order not in (b"little", b"big"):
        raise InputError(f"{where}: byteorder is neither little nor big")

    def storage(persistent: Any) -> Storage:
        kind, key, count, _ = _storage_id(persistent)
        raw = content(f"data/{key}")
        if len(raw) != count * kind.size:
            raise InputError(
                f"{where}: the storage {shown(key)} has {len(raw)} bytes, not the "
                f"{count * kind.size} of {count} numbers"
            )
        return Storage(kind, count, budget, raw, swapped=order == b"big")

    pickle = bytes(content("data.pkl"))
    return pickles.restricted(pickle, _allowed(classes), where, storage)


class _Bounded:
    """A mapped file of which no large piece is read at once, as zipfile would of a directory."""

    def __init__(self, data: mmap.mmap):
        self.data, self.seek, self.tell = data, data.seek, data.tell

    def read(self, count: int = -1) -> bytes:
        if count > DIRECTORY or (count < 0 and len(self.data) - self.tell() > DIRECTORY):
            raise ValueError(f"a directory of more than {DIRECTORY:,} bytes")
        return self.data.read(count)


def _content(data: mmap.mmap, entry: zipfile.ZipInfo, budget: Budget) -> memoryview:
    """An entry's bytes in the file, their check sum compared."""
    name, where, start = shown(entry.filename), budget.where, entry.header_offset
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise InputError(f"{where}: {name} is compressed, which torch.save does not do")
    head = data[start : start + 30] if start >= 0 else b""
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise InputError(f"{where}: {name} does not begin where the file says")
    start += 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    if not 0 <= entry.file_size <= len(data) - start:
        raise InputError(f"{where}: {name} is cut short")
    budget.spend(entry.file_size)
    raw = memoryview(data)[start : start + entry.file_size]
    if zlib.crc32(raw) != entry.CRC:
        raise InputError(f"{where}: {name} is damaged: its check sum is another")
    return raw


def _read_legacy(data: mmap.mmap, where: str, classes: Iterable[tuple[str, str]]) -> Any:
    if pickles.restricted(data, {}, where) != MAGIC:
        raise InputError(f"{where}: no file of torch.save: the magic number is another")
    if pickles.restricted(data, {}, where) != PROTOCOL:
        raise InputError(f"{where}: another protocol of torch.save than {PROTOCOL}")
    machine = pickles.restricted(data, {}, where)
    swapped = isinstance(machine, dict) and machine.get("little_endian") is False
    budget = Budget(len(data), where)
    storages: dict[str, Storage] = {}

    def persistent(found: Any) -> Any:
        if type(found) is tuple and len(found) == 4 and found[0] == "module":
            return found[1]  # the class; its source, which follows, is not looked at
        kind, key, count, view = _storage_id(found)
        root = storages.setdefault(key, Storage(kind, count, budget, swapped=swapped))
        if (root.kind, root.count) != (kind, count):
            raise ValueError("one storage, of two kinds")
        if view is None:
            return root
        _, start, length = view
        if not all(type(n) is int and 0 <= n < 1 << 50 for n in (start, length)):
            raise ValueError("a view of no size")
        return Storage(kind, length, budget, root=(root, start))

    found = pickles.restricted(data, _allowed(classes), where, persistent)
    keys = pickles.restricted(data, {}, where)
    for key in keys if isinstance(keys, list) else [None]:
        if not isinstance(key, str) or key not in storages:
            raise InputError(f"{where}: its list of storages is damaged")
        storage = storages[key]
        count = int.from_bytes(data.read(8), "little")
        size = count * storage.kind.size
        if count != storage.count or size > len(data) - data.tell():
            raise InputError(f"{where}: the storage {shown(key)} is cut short or damaged")
        storage.raw = memoryview(data)[data.tell() : data.tell() + size]
        data.seek(size, 1)
    return found


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _storage_id(persistent: Any) -> tuple[StorageType, str, int, Any]:
    """Type, key, how many numbers, and of a legacy file the view, of a storage's persistent id."""
    if type(persistent) is not tuple or len(persistent) < 5 or persistent[0] != "storage":
        raise ValueError("refers to what is no storage")
    _, kind, key, _, count, *view = persistent
    if not isinstance(kind, StorageType) or not isinstance(key, str):
        raise ValueError("a storage of no type")
    if type(count) is not int or not 0 <= count < 1 << 50:
        raise ValueError("a storage of no size")
    return kind, key, count, view[0] if view else None
