"""Names of results."""

import pytest
from absl import flags

from launch.naming import named


@pytest.fixture
def asked(monkeypatch):
    """Names of results by flags: name -> the given value."""
    values = flags.FlagValues()
    flags.DEFINE_string("data", None, "", flag_values=values)
    flags.DEFINE_list("doses", ["0.5"], "", flag_values=values)
    flags.DEFINE_integer("seed", 0, "", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)

    def name(*given: str) -> str:
        values.unparse_flags()
        for flag in values:
            values[flag].unparse()
        values(["program", *given])
        return named(["steer", "a/b", "0.c[3]"], ("doses", "seed", "data"))

    return name


def test_what_is_given_is_in_the_name_and_defaults_are_not(asked):
    assert asked() == "steer-a%2Fb-0.c[3]"
    assert asked("--seed=3", "--doses=0.1,0.9") == "steer-a%2Fb-0.c[3]-doses0.1,0.9-seed3"


def test_equal_ends_of_paths_and_long_values_have_names_of_their_own(asked):
    names = {asked(f"--data={path}") for path in ("/x/test", "/y/test", "/x/test/", "test")}
    assert len(names) == 4
    doses = ",".join(["0.125"] * 200)
    first, second = asked(f"--doses={doses}"), asked(f"--doses={doses},1")
    assert first != second
    assert max(map(len, (*names, first, second))) < 200
