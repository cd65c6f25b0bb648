"""The programs: flags, one library call, one printed result each."""

import os
import signal
import sys


def interrupted_while_importing(*_) -> None:
    """Ctrl-C where nothing is to be lost yet: leave at once, in one line.

    Not by an exception: raised inside the import of a compiled module it can end in a crash.
    """
    os.write(2, b"interrupted\n")
    os._exit(130)


# Only where one of the programs is being started: `-m` stands in argv while Python looks for it.
if (
    sys.argv[:1] == ["-m"] or "".join(sys.argv[:1]).rpartition("/")[2].startswith("mlstm-")
) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, interrupted_while_importing)
