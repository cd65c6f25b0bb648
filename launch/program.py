"""How every program of `launch` starts and ends: its flags, its config, its errors, its exit code.

Only the standard library is imported here at the top, and absl when a program begins: an
interrupt is then answered in one line from the first moment on.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from launch import interrupted_while_importing
from launch.supervised import SUPERVISOR
from mlstm.errors import InputError, NotNow

if TYPE_CHECKING:
    from absl import flags

BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
TRY_AGAIN = 1  # what launch.node starts again
NOT_SAVED, NOT_FINITE = 1, 3  # how a training ends that does not end well

# What a person can mend without reading a traceback: rights, a read-only or a full disk, a name.
_DISK_TROUBLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
}


def run(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Parse the flags, call `main`, and leave with its exit code (None is 0).

    An InputError, a wrong flag or a disk that cannot be written is one line on stderr and exit
    code 2; Ctrl-C is one line and 130; a reader that went away (`| head`) is silent and 141. What
    the standard output cannot show becomes "?".
    """
    name = Path(sys.argv[0]).stem
    if isinstance(sys.stdout, io.TextIOWrapper):  # that of stderr is never strict
        sys.stdout.reconfigure(errors="replace")

    def whole(arguments: list[str]) -> int | None:
        code = main(arguments)
        _flush()  # here, where a full disk or a closed pipe is still answered
        return code

    # XLA reads this once, when jaxlib is loaded: warnings about its own passes are not the user's.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, interrupted_while_importing):
        signal.signal(signal.SIGINT, _on_interrupt)
    try:
        from absl import app

        if {"-h", "-help", "--help"} & set(sys.argv[1:]):
            _help(main, name)
        app.run(whole, flags_parser=_parse)
    except NotNow as error:
        _fail(name, str(error), TRY_AGAIN if SUPERVISOR in os.environ else BAD_INPUT)
    except InputError as error:
        _fail(name, str(error))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _say(f"{name}: interrupted")
        # At once: threads of XLA may be in the middle of the work that was interrupted, and what
        # Python does at its end would take away what they stand on.
        _remove_temporary()
        os._exit(INTERRUPTED)
    except BrokenPipeError:
        _leave(BROKEN_PIPE)
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise
        _fail(name, f"{error.filename or 'the output'}: {error.strerror}")
    raise AssertionError("absl's app.run always ends in SystemExit")


def config_flag(required: bool = True) -> flags.FlagHolder:
    """Define `--config`: a path, or the name of a shipped config, with overrides.

    `quickstart`, `quickstart:tiny`, `configs/quickstart.py:tiny` and `my/own.py:argument` are all
    good; a file that is there goes before a shipped one. `--config.model.hidden=1024` behind it
    sets a field. The value is a locked ml_collections.ConfigDict.
    """
    from absl import flags

    from launch import shipped

    holder = shipped.define_config_flag(flags.FLAGS, required)
    caller = sys._getframe(1).f_globals["__name__"]
    flags.FLAGS.register_key_flag_for_module(
        sys.argv[0] if caller == "__main__" else caller, flags.FLAGS["config"]
    )
    return holder


def _parse(argv: list[str]) -> list[str]:
    """absl's parsing, but with one line for whatever is wrong."""
    from absl import flags, logging

    try:
        rest = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        if error.flagname.startswith("config.") and "config" in flags.FLAGS:
            raise InputError(
                f"--{error.flagname} changes a field of a config, and none is given: "
                "put --config=NAME before it"
            ) from None
        raise InputError(str(error).splitlines()[0].replace(" ?", "?")) from None
    except flags.Error as error:
        raise InputError(_one_line(error)) from None
    if len(rest) > 1:
        raise InputError(f"unexpected argument {rest[1]!r} (flags begin with --)")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)
    return rest


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    """KeyboardInterrupt, but during an import leave at once; see `interrupted_while_importing`."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _remove_temporary()
            interrupted_while_importing()
        frame = frame.f_back
    raise KeyboardInterrupt


def _remove_temporary() -> None:
    """What `os._exit` would leave on the disk. A module that is not imported, or only in part, has
    made nothing."""
    remove_all = getattr(sys.modules.get("mlstm.corpus.temporary"), "remove_all", None)
    if remove_all:
        remove_all()


def _one_line(error: flags.Error) -> str:
    text = " ".join(str(error).split()).removeprefix("flag ")
    for python_says, we_say in _WRONG_TYPE.items():
        text = re.sub(python_says, we_say, text)
    return text


_WRONG_TYPE = {
    r"=None: Flag --\S+ must have a value other than None\.": " is needed",
    r"--config=None: ": "--config: ",
    r": invalid literal for int\(\) with base 10: .*": " is not a whole number",
    r": could not convert string to float: .*": " is not a number",
    r": \('Non-boolean argument to boolean flag', .*": " is neither true nor false",
}


def _help(main: Callable[[list[str]], int | None], name: str) -> NoReturn:
    """What the program says of itself, and its own flags: not the hundred of the libraries."""
    from absl import flags

    # absl files the flags of a program under the name of its file when it is the main module.
    module = sys.argv[0] if main.__module__ == "__main__" else main.__module__
    print((sys.modules[main.__module__].__doc__ or name).strip(), end="\n\n")
    print(flags.FLAGS.module_help(module).partition("\n")[2])
    sys.exit(0)


def _fail(name: str, message: str, code: int = BAD_INPUT) -> NoReturn:
    _say(f"{name}: error: {message}")
    _leave(code)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        _flush()
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _flush() -> None:
    if sys.stdout is not None:  # it is None where the shell closed it
        sys.stdout.flush()


def _leave(code: int) -> NoReturn:
    """Exit; what is still in a pipe that nobody reads is dropped without a word."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
