"""The programs: flags, one library call, one printed result each."""

import sys


def _interrupted_early(kind, value, traceback) -> None:
    """Ctrl-C before a program has begun, while Python still imports: one line, as afterwards."""
    if issubclass(kind, KeyboardInterrupt):
        import os

        os.write(2, b"interrupted\n")
        os._exit(130)
    sys.__excepthook__(kind, value, traceback)


# `-m` stands there while Python looks for the module to run; nobody else's interrupts are touched.
if sys.argv[:1] == ["-m"] or "".join(sys.argv[:1]).rpartition("/")[2].startswith("mlstm-"):
    sys.excepthook = _interrupted_early
