import dataclasses

import numpy as np

from probing.tasks.keeping import keeping


def test_labels_are_made_once_as_long_as_there_is_room_and_are_the_same(digits):
    made = dict.fromkeys(range(len(digits.documents)), 0)

    def counted(i, document):
        def read():
            made[i] += 1
            return document.read()

        return dataclasses.replace(document, read=read)

    documents = tuple(counted(i, d) for i, d in enumerate(digits.documents))
    data = dataclasses.replace(digits, documents=documents)
    each = sum(part.nbytes for part in digits.labels(0))
    for room, times in ((1 << 20, 1), (each, 3)):
        made.update(dict.fromkeys(made, 0))
        kept = keeping(data, room)
        for _ in range(3):
            for i in (0, 5):
                for ours, theirs in zip(kept.labels(i), digits.labels(i), strict=True):
                    np.testing.assert_array_equal(ours, theirs)
        assert (made[0], made[5]) == (1, times)
    assert (kept.digest, kept.splits.tolist()) == (digits.digest, digits.splits.tolist())
