"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Something that a person gave is wrong: a file, a flag, a field, a name.

    The message is one line written for the person at the keyboard: what is wrong, where, and what
    would be right. The programs of `launch` print it and exit with code 2, without a traceback.
    """


class NotNow(InputError):
    """Wrong here and now, and perhaps right the next time: a lock that is held, a file system that
    does not answer. launch.node tries again."""


class TextError(InputError):
    """Wrong in one of several texts: its number from 0, and what is wrong."""

    def __init__(self, number: int, why: str):
        super().__init__(f"texts[{number}]: {why}")
        self.number, self.why = number, why


def check_one(model: object) -> None:
    """Raise InputError for a list of models, which is what `mlstm.load` gives of a population."""
    if isinstance(model, list):
        raise InputError(
            f"one model is needed, not a list of {len(model)}; mlstm.load(run, seed=N) is one of a "
            "population"
        )
