import io
import sys

import pytest


def test_a_prompt_is_continued_by_the_length_asked_for(launch, trained_run):
    result = launch("sample", f"--model={trained_run}", "--prompt=café ", "--length=70")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("café ".encode())
    assert len(result.stdout) == len("café ".encode()) + 70 + 1
    assert result.stderr == b""


def test_an_edit_changes_the_text(launch, trained_run):
    flags = [f"--model={trained_run}", "--length=30", "--seed=4"]
    plain = launch("sample", *flags).stdout
    assert launch("sample", *flags, "--edit=0.c[2]=9", "--edit=0.h[1]*=0").stdout != plain


def test_a_model_of_a_population_is_chosen_by_its_seed(launch, trained_population):
    texts = {
        launch("sample", f"--model={trained_population}", f"--model_seed={seed}").stdout
        for seed in (5, 6)
    }
    assert {len(text) for text in texts} == {401}
    assert len(texts) == 2


def test_several_samples_are_told_apart(launch, trained_run):
    result = launch("sample", f"--model={trained_run}", "--num_samples=2", "--length=5")
    assert b"--- 1 of 2" in result.stdout
    assert b"--- 2 of 2" in result.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model=no/such/run"], "no such folder"),
        (["--model=~nosuch/run"], "~nosuch is nobody's home"),
        ([], "--model is needed"),
        (["--model=RUN", "--edit=0.z[1]=1"], "0.c"),
        (["--model=RUN", "--step=77"], "there are 1, 2"),
        (["--model=SEVERAL"], "one is needed: its seeds are 5 to 6; choose with --model_seed=N"),
        (["--model=SEVERAL", "--model_seed=7"], "no model of seed 7; its seeds are 5 to 6"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    launch, trained_run, trained_population, flags, words
):
    runs = {"RUN": str(trained_run), "SEVERAL": str(trained_population)}
    for name, path in runs.items():
        flags = [flag.replace(name, path) for flag in flags]
    result = launch("sample", *flags)
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr.count(b"\n") == 1
    assert result.stderr.startswith(b"sample: error: ")
    assert words in result.stderr.decode()


def test_a_character_that_two_blocks_share_is_written_whole(monkeypatch):
    from launch import sample

    class Terminal(io.BytesIO):
        def __init__(self):
            super().__init__()
            self.shown = []

        def write(self, data):
            self.shown.append(bytes(data))
            return super().write(data)

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", type("Stdout", (), {"buffer": terminal}))
    sample.write_characters(iter([b"a\xc3", b"\xa9b\xff", b"c\xe2\x82"]))
    assert terminal.getvalue() == b"a\xc3\xa9b\xffc\xe2\x82"
    assert terminal.shown[:2] == [b"a", b"\xc3\xa9b\xff"]


def test_half_a_character_is_never_written(monkeypatch):
    from launch import sample

    def written(rest: bool) -> list[bytes]:
        out = io.BytesIO()
        flushed: list[bytes] = []
        monkeypatch.setattr(sample, "write", lambda data: flushed.append(data) or out.write(data))
        sample.write_characters(iter([b"a\xc3", b"\xa9\xe6\x97", b"\xa5b\xe6\x97"]), rest)
        return flushed

    pieces = written(rest=False)
    assert b"".join(pieces).decode() == "aé日b"
    for piece in pieces:
        piece.decode()
    assert b"".join(written(rest=True)) == "aé日b".encode() + b"\xe6\x97"
