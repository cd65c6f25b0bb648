import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from probing.tasks import c_lexer
from probing.tasks.source_code import C_CLASSES, C_NUMBERS, Unreadable, c_labels, source_code

GOLDEN = Path(__file__).parents[1] / "golden"
MARKS = dict(zip(c_lexer.KINDS, "sc#pkno0", strict=True))


def marks(data: bytes) -> str:
    """One character for each byte."""
    out = []
    for row in c_labels(data).classes[:, : len(c_lexer.KINDS)]:
        names = [name for name, on in zip(c_lexer.KINDS, row, strict=True) if on]
        assert len(names) < 2
        out.append(MARKS[names[0]] if names else ".")
    return "".join(out)


def numbers(data: bytes, name: str) -> str:
    values = c_labels(data).numbers[:, C_NUMBERS.index(name)]
    return "".join(str(int(value)) for value in values)


def test_every_byte_of_the_golden_file_has_the_label_written_beside_it():
    data = (GOLDEN / "sample.c.txt").read_bytes()
    kinds, braces, parentheses = (GOLDEN / "sample.c.labels").read_text().split("\n\n")
    assert marks(data) == kinds.replace("\n", "")
    assert numbers(data, "brace depth") == braces.replace("\n", "")
    assert numbers(data, "parenthesis depth") == parentheses.replace("\n", "")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('L"a" U\'b\' u8"c" R"d"', "ssss.cccc.sssss.nsss"),
        ('"a\\\nb" "\\""', "ssssss.ssss"),
        ("// a\\\nb\nc", "#######.n"),
        ("1'000.5e+3f .5 0x1p-2+1", "00000000000.00.000000o0"),
        ("a/*b*/c/ *d", "n#####no.on"),
        ("# /*a*/ define A\nb", "pp#####ppppppppp.n"),
        ("  #if A // b\n", "..pppppp####."),
        ("a # b", "n.o.n"),
        ('#define A "//" \'"\' //', "ppppppppppppppppppp##"),
        ("#error don't\nint x", "pppppppppppp.kkk.n"),
        ("#if 0\nit's\n#endif\n'a'", "ppppp.nn.n.pppppp.ccc"),
        ("\ufeffint é", "...kkk.nn"),
        ("x=1;\r\n#y \\\r\nz\r\n", "no0o..ppppppp.."),
        ("_Bool bool boolean", "kkkkk.kkkk.nnnnnnn"),
        ("a \\\nb", "n...n"),
        ("/* never closed", "#" * 15),
        ('"never closed', "s" * 13),
        ("'\\", "cc"),
    ],
)
def test_a_construct_is_labelled_as_the_standard_says(code, expected):
    assert marks(code.encode()) == expected


@pytest.mark.parametrize(
    ("code", "braces", "parentheses"),
    [
        ("{(a){b}}c", "111122210", "011100000"),
        ("f(({ g(; }))", "000111111100", "012222333321"),
        ("))}a(b", "000000", "000011"),
        ("'{' \"(\" /*{*/ a", "0" * 15, "0" * 15),
        ("#define A {(\nb", "0" * 14, "0" * 14),
    ],
)
def test_depths_count_the_brackets_that_are_code(code, braces, parentheses):
    assert numbers(code.encode(), "brace depth") == braces
    assert numbers(code.encode(), "parenthesis depth") == parentheses


def test_each_branch_of_a_condition_begins_with_the_brackets_that_were_open_before_it():
    code = b"#if A\nf(a) {\n#else\nf(b) {\n#endif\n}c"
    braces = "0" * 11 + "11" + "11111" + "0" * 6 + "11" + "1" * 6 + "1" + "10"
    assert numbers(code, "brace depth") == braces


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'x\n"abc\n', "line 2: a string is never closed"),
        (b"'ab\n", "line 1: a character constant is never closed"),
        (b"a @ b", "line 1: invalid character '@'"),
        (b"a\n\x00", "line 2: invalid character"),
        (b"a \\ b", "line 1: invalid character"),
    ],
)
def test_a_text_that_is_not_c_is_refused_with_the_reason(data, says):
    with pytest.raises(Unreadable, match=re.escape(says)):
        c_labels(data)


def test_the_language_is_that_of_the_files_and_the_rest_is_left_out(tmp_path):
    (tmp_path / "a.c").write_text("int a;\n")
    (tmp_path / "b.h").write_text("@\n")
    (tmp_path / "notes.txt").write_text("it's\n")
    data = source_code(tmp_path)
    assert [d.name for d in data.documents] == ["a.c"]
    assert data.skipped == (("b.h", "line 1: invalid character '@'"),)
    assert data.classes == C_CLASSES
    assert set(data.meaning) >= set(data.numbers) | set(c_lexer.KINDS)
    data.check_labels()
    (tmp_path / "c.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="both Python and C source"):
        source_code(tmp_path)
    assert "docstring" in source_code(tmp_path, "python").classes
    assert [d.name for d in source_code(tmp_path, "c").documents] == ["a.c"]
    with pytest.raises(InputError, match="language 'rust': there are python, c"):
        source_code(tmp_path, "rust")


def test_documents_named_for_another_language_are_skipped_with_the_reason():
    class Split:
        names = ("a.c", "b.py", "c")
        corpus = SimpleNamespace(cleaning="none")

        def document(self, number):
            return b"x = 1"

    data = source_code(Split(), "c")
    assert [d.name for d in data.documents] == ["a.c", "c"]
    assert data.skipped == (("b.py", "its name is one of Python"),)


PIECES = {
    "string": ['"a{"', 'L"\\""', '"/*"', '"\\\n"', 'u8"\'"'],
    "char literal": ["'('", "'\\''", "'\"'", "u'\\\\'"],
    "comment": ['/* " */', "/**/", "// '{\n", "/* \n# */", "//\\\n}\n"],
    "keyword": ["int", "_Bool", "return", "typeof"],
    "name": ["x", "_a1", "integer", "é", "u8", "L"],
    "operator": ["{", "}", "(", ")", "+", "->", "<<=", "[", ";"],
    "number": ["0", "1.5e-3", ".5", "0x1F", "1'0"],
    "preprocessor": ["#if x > '1'", "#include <a.h>", "#define a \\\n {"],
    "": [" ", "\n", "\t", "\r\n", "\\\n"],
}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([(kind, text) for kind, texts in PIECES.items() for text in texts]),
        max_size=12,
    )
)
def test_a_text_of_known_tokens_is_labelled_as_they_are(pieces):
    text, expected = b"", ""
    for kind, piece in pieces:
        around = ("\n", "\n") if kind == "preprocessor" else (" ", " ")
        encoded = piece.encode()
        text += around[0].encode() + encoded + around[1].encode()
        mark = MARKS.get(kind, ".")
        here = mark * len(encoded)
        if kind == "comment" and piece.endswith("\n"):
            here = here[:-1] + "."
        expected += "." + here + "."
    assert marks(text) == expected


@settings(max_examples=300, deadline=None)
@given(st.text("ab0 '\"/*\\\n\r#{}()<.é@", max_size=40))
def test_any_text_is_refused_or_each_byte_has_one_class_and_only_space_has_none(text):
    data = text.encode()
    try:
        found = c_labels(data)
    except Unreadable:
        return
    assert len(found.classes) == len(data)
    kinds = found.classes[:, : len(c_lexer.KINDS)].sum(1)
    assert (kinds <= 1).all()
    bare = {data[i] for i in np.flatnonzero(kinds == 0)}
    assert bare <= set(b" \n\r\\") or b"#" in data  # what #if 0 leaves out need not be C


@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")
@pytest.mark.parametrize("name", ["sample.c.txt"])
def test_the_compiler_takes_the_same_comments_out(name):
    """-fpreprocessed -dD -E of GCC removes comments and leaves the rest."""
    data = (GOLDEN / name).read_bytes()
    command = ["gcc", "-fpreprocessed", "-dD", "-E", "-P", "-x", "c", "-"]
    theirs = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    comment = c_labels(data).classes[:, c_lexer.KINDS.index("comment")]
    ours = bytes(byte for byte, on in zip(data, comment, strict=True) if not on)
    assert re.sub(rb"\s|\\\n", b"", theirs) == re.sub(rb"\s|\\\n", b"", ours)


def test_the_kernel_is_labelled_whole_and_its_functions_begin_at_depth_0(mlstm_data):
    data = source_code(mlstm_data / "text" / "linux_kernel_2mb.c.txt")
    assert data.classes == C_CLASSES
    text, labels = data.documents[0].data, data.labels(0)
    kinds = labels.classes[:, : len(c_lexer.KINDS)]
    assert (kinds.sum(1) <= 1).all()
    bare = {text[i] for i in np.flatnonzero(~kinds.any(1))}
    assert bare <= set(b" \t\n\f\\")
    starts = [match.start() for match in re.finditer(rb"^static [^\n;]*\(", text, re.MULTILINE)]
    assert len(starts) > 1000
    assert not labels.numbers[starts, :2].any()
