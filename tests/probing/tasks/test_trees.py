"""The Stanford Sentiment Treebank's trees."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probing.tasks.trees import TreeError, looks_like_tree, parse_tree

WORDS = st.text("abc'.,-é映", min_size=1, max_size=4)
LABELS = st.integers(0, 4)
TREES = st.recursive(
    st.tuples(LABELS, WORDS),
    lambda inner: st.tuples(LABELS, st.lists(inner, min_size=1, max_size=3)),
    max_leaves=12,
)


def text(tree):
    label, inside = tree
    return f"({label} {inside if isinstance(inside, str) else ' '.join(map(text, inside))})"


def words(tree):
    _, inside = tree
    return [inside] if isinstance(inside, str) else [w for part in inside for w in words(part)]


@settings(deadline=None)
@given(TREES)
def test_a_tree_gives_its_label_and_its_words(tree):
    assert parse_tree(text(tree)) == (tree[0], " ".join(words(tree)))
    assert looks_like_tree(text(tree))


@settings(deadline=None)
@given(TREES, st.data())
def test_a_tree_without_one_parenthesis_is_refused(tree, data):
    line = text(tree)
    places = [i for i, letter in enumerate(line) if letter in "()"]
    at = data.draw(st.sampled_from(places))
    with pytest.raises(TreeError):
        parse_tree(line[:at] + line[at + 1 :])


def test_the_treebanks_escapes_are_undone():
    line = "(3 (2 -LRB-) (3 (2 and\\/or) (2 -RRB-)))"
    assert parse_tree(line).text == "( and/or )"


def test_a_word_may_hold_a_space():
    assert parse_tree("(2 (2 8\u00a01\\/2) (2 8 1\\/2))").text == "8\u00a01/2 8 1/2"


def test_depth_is_no_limit():
    assert parse_tree("(1 " * 5000 + "deep" + ")" * 5000) == (1, "deep")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("(3 (2 a) (2 b)", "1 parentheses are never closed"),
        ("(3 (2 a)) (2 b)", "after the end of the tree, at character 11"),
        ("(3 (7 a))", "label '7' at character 5"),
        ("(3 ((2 a)))", "a node without a label before character 5"),
        ("(3 (2))", "an empty node ends at character 6"),
        ("(3 a (2 b))", "a word beside a tree, at character 6"),
        ("(3 (2 b) a)", "a word beside a tree, at character 10"),
        ("a (3 b)", "'a' outside a tree, at character 1"),
        ("", "unbalanced"),
    ],
)
def test_what_is_no_tree_is_said_with_its_place(line, reason):
    with pytest.raises(TreeError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        parse_tree(line)
