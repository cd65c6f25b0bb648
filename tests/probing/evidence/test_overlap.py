import numpy as np

from probing.evidence.overlap import overlap, pieces

TEXT = " ".join(f"word{k}" for k in range(4000)).encode()


def in_pieces(text: bytes, size: int):
    ids = np.frombuffer(text, np.uint8)
    return pieces(len(ids), lambda start, stop: ids[start:stop], size)


def test_a_document_counts_where_thirteen_of_its_words_in_a_row_are_in_the_text():
    words = TEXT.decode().split()
    inside = " ".join(["new", *words[100:113], "new"]).encode()
    twelve = " ".join(["new", *words[100:112], "new"]).encode()
    shuffled = " ".join(reversed(words[100:120])).encode()
    found = overlap([inside, twelve, shuffled], in_pieces(TEXT, 1000))
    assert (found.documents, found.shared) == (3, 1)


def test_a_short_document_counts_whole_and_case_and_white_space_do_not():
    found = overlap([b"WORD7\n  word8", b"word8 word7", b"  "], [TEXT])
    assert (found.documents, found.shared) == (3, 1)


def test_thirteen_words_across_a_border_of_pieces_are_found():
    words = TEXT.decode().split()
    documents = [" ".join(words[k : k + 13]).encode() for k in range(0, 3900, 7)]
    for size in (512, 777, 1 << 20):
        assert overlap(documents, in_pieces(TEXT, size)).shared == len(documents)
    assert str(overlap(documents[:1], [b"nothing"])).startswith("0 of 1 documents (0.0%)")
