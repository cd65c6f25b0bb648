"""The machine that pickles are written for: a stack, a memo, and what an opcode does to them.

It has the opcodes of data. What may be called is listed, nothing is imported, and no attribute of
anything is set.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mlstm.errors import InputError
from mlstm.formats.pickle_values import Object, Pending, key, one_line, shown, weight

BUILT = 4
"""Bytes that calls may be given and may build, for each byte of the file."""
SPARE = 1 << 20

_MARK = object()
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class Machine:
    """The stack, the memo, and what an opcode does to them."""

    def __init__(self, allowed: Mapping, where: str, persistent: Callable | None, size: int):
        self.allowed, self.where, self.persistent, self.size = allowed, where, persistent, size
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.given: dict[int, tuple[str, Any]] = {}
        self.built = 0

    def do(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        else:
            method = getattr(self, "op_" + name.lower(), None)
            if method is None:
                raise InputError(f"{self.where}: its pickle has the opcode {name}: no model's has")
            method(argument)

    def result(self) -> Any:
        """What lies on top when the pickle ends."""
        return self._pop()

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value is due")
        return value

    def _items(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def op_proto(self, argument: int) -> None:
        if argument > 5:
            raise ValueError(f"protocol {argument}")

    def op_frame(self, argument: int) -> None:
        if argument > self.size:
            raise ValueError(f"a frame of {argument} bytes in a file of {self.size}")

    def op_pop(self, _: Any) -> None:
        self.stack.pop()

    def op_mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def op_pop_mark(self, _: Any) -> None:
        self._items()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def op_put(self, argument: int) -> None:
        if not 0 <= argument < 1 << 31:
            raise ValueError("a memo that is too large")
        self.memo[argument] = self.stack[-1]

    op_binput = op_long_binput = op_put

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_get(self, argument: int) -> None:
        found = self.memo[argument]
        if isinstance(found, Pending) and found.value is not None:
            found = found.value
        self.stack.append(found)

    op_binget = op_long_binget = op_get

    def op_empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._items()))

    def op_tuple1(self, _: Any) -> None:
        self._short_tuple(1)

    def op_tuple2(self, _: Any) -> None:
        self._short_tuple(2)

    def op_tuple3(self, _: Any) -> None:
        self._short_tuple(3)

    def _short_tuple(self, count: int) -> None:
        self.stack.append(tuple(self._pop() for _ in range(count))[::-1])

    def op_empty_list(self, _: Any) -> None:
        self.stack.append([])

    def op_list(self, _: Any) -> None:
        self.stack.append(self._items())

    def op_append(self, _: Any) -> None:
        self._extend([self._pop()])

    def op_appends(self, _: Any) -> None:
        self._extend(self._items())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("items for what is no list")
        self.stack[-1].extend(items)

    def op_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def op_dict(self, _: Any) -> None:
        items = self._items()
        self.stack.append({})
        self._update(items)

    def op_setitem(self, _: Any) -> None:
        value, name = self._pop(), self._pop()
        self._update([name, value])

    def op_setitems(self, _: Any) -> None:
        self._update(self._items())

    def _update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise ValueError("items for what is no dict")
        for name, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][key(name)] = value

    def op_empty_set(self, _: Any) -> None:
        self.stack.append(set())

    def op_additems(self, _: Any) -> None:
        items = self._items()
        if type(self.stack[-1]) is not set:
            raise ValueError("items for what is no set")
        self.stack[-1].update(map(key, items))

    def op_frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(map(key, self._items())))

    def op_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._give(module, name)

    def op_stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("a global without a name")
        self._give(module, name)

    def _give(self, module: str, name: str) -> None:
        asked = f"{module}.{name}"
        try:
            found = self.allowed[module, name]
        except KeyError:
            raise InputError(
                f"{self.where}: its pickle asks for {shown(asked)}, which is no part of this "
                "format; nothing was run"
            ) from None
        self.given[id(found)] = (asked, found)
        self.stack.append(found)

    def op_reduce(self, _: Any) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    op_newobj = op_reduce

    def op_inst(self, argument: str) -> None:
        items = tuple(self._items())
        self.op_global(argument)
        self._call(self._pop(), items)

    def op_obj(self, _: Any) -> None:
        called, *items = self._items()
        self._call(called, tuple(items))

    def _call(self, called: Any, arguments: Any) -> None:
        name, function = self.given.get(id(called), ("", None))
        if function is None or not callable(function) or type(arguments) is not tuple:
            raise InputError(f"{self.where}: its pickle calls what is no part of this format")
        self._charge(arguments)
        for argument in arguments:
            self._charge(argument)
        self.stack.append(self._bounded(name, lambda: function(*arguments)))

    def _bounded(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, counted."""
        try:
            value = make()
        except InputError:
            raise
        except Exception as error:  # of a file's own arguments: whatever they can bring about
            raise InputError(
                f"{self.where}: {shown(name)} in its pickle: {one_line(error)}"
            ) from error
        self._charge(value)
        return value

    def _charge(self, value: Any) -> None:
        self.built += weight(value)
        if self.built > BUILT * self.size + SPARE:
            raise InputError(f"{self.where}: its pickle builds more than the file could hold")

    def op_build(self, _: Any) -> None:
        state, built = self._pop(), self._pop()
        if isinstance(built, Pending):
            built.value = self._bounded(type(built).__name__, lambda: built.build(state))
            built = built.value
        elif isinstance(built, Object):
            # Of (attributes, slots) the first; of a state that is no dict, whatever it is.
            built.state = state[0] if type(state) is tuple and len(state) == 2 else state
        elif type(built) is not dict:  # an OrderedDict's attributes are not kept
            raise InputError(f"{self.where}: its pickle sets the state of what has none")
        self.stack.append(built)

    def op_persid(self, argument: Any) -> None:
        persistent = self.persistent
        if persistent is None:
            raise InputError(f"{self.where}: its pickle refers to something outside the file")
        self.stack.append(self._bounded("persistent id", lambda: persistent(argument)))

    def op_binpersid(self, _: Any) -> None:
        self.op_persid(self._pop())
