"""The `--config` flag: where a config is found, and what is said when something in it is wrong."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from mlstm.errors import InputError

# Beside this package, wherever both are installed: never the working directory's `configs`.
FOLDER = Path(__file__).resolve().parent.parent / "configs"


def names() -> list[str]:
    """The shipped configs, by name."""
    return sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))


def find(name: str) -> Path:
    """The file that `name` means: a path that exists, else a shipped config, which may be called
    NAME, NAME.py or configs/NAME.py. Any other path means its own file alone.

    Raises InputError where there is neither.
    """
    path = Path(name)
    if os.path.isfile(path):
        return path
    stem = path.name.removesuffix(".py")
    shipped = (Path(stem), Path(f"{stem}.py"), Path("configs", f"{stem}.py"))
    if path in shipped and stem in names():
        return FOLDER / f"{stem}.py"
    close = difflib.get_close_matches(stem, names(), 1, 0.5)
    advice = f"did you mean {close[0]!r}?" if close else f"shipped configs: {', '.join(names())}"
    raise InputError(f"no config file {name!r} here and no shipped config of that name; {advice}")


def load(argument: str) -> ConfigDict:
    """`NAME` or `NAME:argument` -> what the file's get_config(argument) returns.

    Raises InputError for a file that is missing, that does not run, or has no get_config.
    """
    name, colon, variant = argument.partition(":")
    path = find(name)
    try:
        spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise InputError(f"{path}: not a Python file (a config's name ends in .py)")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        get_config = getattr(module, "get_config", None)
        if get_config is None:
            raise InputError(f"{path}: no function get_config() in it")
        if colon and not inspect.signature(get_config).parameters:
            raise InputError(f"{path}: its get_config() takes no argument, {variant!r} was given")
        config = get_config(variant) if colon else get_config()
    except InputError:
        raise
    except SyntaxError as error:
        raise InputError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f for f in frames if Path(f.filename).resolve() == path.resolve()]
        line = where[-1].lineno if where else 1
        raise InputError(f"{path}:{line}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"{path}: get_config() returned {type(config).__name__}, not a ConfigDict")
    return config.lock()


def define_config_flag(flag_values: flags.FlagValues, required: bool) -> flags.FlagHolder:
    """`--config` on `flag_values`; see launch.program.config_flag."""
    holder = config_flags.DEFINE_config_file(
        "config",
        help_string=f"path of a config file, or one of: {', '.join(names())}; "
        "NAME:ARGUMENT gives its get_config an argument, --config.FIELD=VALUE sets a field",
        flag_values=flag_values,
    )
    flag_values["config"].parser = _Parser()
    if required:
        flags.register_validator(
            holder,
            lambda config: config is not None,
            message=f"it is needed: a path, or one of {', '.join(names())}",
            flag_values=flag_values,
        )
    return holder


class _Parser(flags.ArgumentParser):
    """Loads the config and looks at the overrides before ml_collections does: its answers to a
    wrong key are exceptions of three kinds."""

    def parse(self, argument: Any) -> Any:
        config = load(argument)
        for override in _overrides(sys.argv):
            _check_key(config, override)
        return config

    def flag_type(self) -> str:
        return "config"


def _overrides(argv: list[str]) -> list[str]:
    """The dotted paths that `--config.a.b=value` and `--noconfig.a.b` set."""
    found = []
    for argument in argv:
        word = argument.lstrip("-").partition("=")[0]
        word = word.removeprefix("no") if word.startswith("noconfig.") else word
        if argument.startswith("-") and word.startswith("config."):
            found.append(word.removeprefix("config."))
    return found


def _check_key(config: ConfigDict, path: str) -> None:
    section: Any = config
    done: list[str] = ["config"]
    for key in path.split("."):
        at = ".".join(done)
        if not isinstance(section, ConfigDict):
            raise InputError(f"{at} is a value ({section!r}), it has no field {key!r}")
        if key not in section:
            close = difflib.get_close_matches(key, list(section), 1, 0.5)
            advice = f"did you mean {close[0]!r}?" if close else f"fields: {', '.join(section)}"
            raise InputError(f"{at} has no field {key!r}; {advice}")
        section = section[key]
        done.append(key)
    if isinstance(section, ConfigDict):
        raise InputError(f"{'.'.join(done)} is a section; set one of: {', '.join(section)}")
