"""The table of public corpora that are known by name: where each is, whose it is, and what of it
is which split.

Digests are those of the files themselves where these were at hand, or else as public projects that
check their downloads have them written down; None where neither is known.
"""

from __future__ import annotations

from dataclasses import dataclass

_GITHUB = "https://raw.githubusercontent.com"
_OPENAI = f"{_GITHUB}/openai/generating-reviews-discovering-sentiment"
_OPENAI += "/0032e4b87903713ad4242599f5dda2eb7b8c40fd/data"
_EWT = f"{_GITHUB}/UniversalDependencies/UD_English-EWT/r2.16"


@dataclass(frozen=True)
class Download:
    """A file as it is published."""

    name: str
    addresses: tuple[str, ...]
    """Where it may be had, the first that gives it."""
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Text:
    """A text of a corpus: a download, or a member of one that is an archive."""

    download: Download
    split: str | None = None
    """train, validation or test, where the corpus says so itself."""
    member: str | None = None
    largest: int | None = None
    """Bytes that the member may have."""
    sha256: str | None = None
    """Of the member."""

    @property
    def name(self) -> str:
        return self.member.rpartition("/")[2] if self.member else self.download.name


@dataclass(frozen=True)
class Named:
    """A public corpus."""

    name: str
    what: str
    page: str
    """Where a person finds it."""
    licence: str
    citation: str
    texts: tuple[Text, ...]
    splits: tuple[float, float, float] | None = None
    """The shares of its bytes that the field trains, validates and tests on."""
    records: str = ""
    """Of a corpus that is no running text, what its files hold."""
    field: str = ""
    """The field of the texts among them; none where there are no texts to prepare."""


def _mahoney(name: str, sha256: str, size: int, of_text: str | None) -> tuple[Text, ...]:
    file = f"{name}.zip"
    addresses = (f"https://mattmahoney.net/dc/{file}", f"http://mattmahoney.net/dc/{file}")
    download = Download(file, addresses, sha256, size)
    return (Text(download, member=name, largest=10**8, sha256=of_text),)


def _wikitext(size: str, sha256: str, length: int, largest: int) -> tuple[Text, ...]:
    file = f"wikitext-{size}-raw-v1.zip"
    addresses = (
        f"https://wikitext.smerity.com/{file}",
        f"https://s3.amazonaws.com/research.metamind.io/wikitext/{file}",
    )
    download = Download(file, addresses, sha256, length)
    return tuple(
        Text(download, split, f"wikitext-{size}-raw/wiki.{part}.raw", largest)
        for split, part in (("train", "train"), ("validation", "valid"), ("test", "test"))
    )


def _splits(address: str, name: str, digests: dict[str, tuple[str, int]]) -> tuple[Text, ...]:
    names = {"train": "train", "dev": "validation", "test": "test"}
    files = {part: name.format(part) for part in digests}
    return tuple(
        Text(Download(files[part], (f"{address}/{files[part]}",), *known), names[part])
        for part, known in digests.items()
    )


CORPORA = (
    Named(
        "tiny_shakespeare",
        "plays of Shakespeare, 1.1 MB",
        "https://github.com/karpathy/char-rnn",
        "public domain",
        "Karpathy 2015, The Unreasonable Effectiveness of Recurrent Neural Networks",
        (
            Text(
                Download(
                    "tinyshakespeare.txt",
                    (f"{_GITHUB}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
                    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                    1_115_394,
                )
            ),
        ),
        (0.9, 0.1, 0.0),
    ),
    Named(
        "enwik8",
        "the first 100 MB of a dump of the English Wikipedia, XML",
        "https://mattmahoney.net/dc/textdata.html",
        "CC BY-SA 3.0, GFDL",
        "Mahoney 2006, Large Text Compression Benchmark; the Hutter Prize",
        _mahoney(
            "enwik8",
            "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
            36_445_475,
            "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
        ),
        (0.9, 0.05, 0.05),
    ),
    Named(
        "text8",
        "100 MB of the English Wikipedia, a to z and blanks alone",
        "https://mattmahoney.net/dc/textdata.html",
        "CC BY-SA 3.0, GFDL",
        "Mahoney 2006, Large Text Compression Benchmark",
        _mahoney(
            "text8",
            "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
            31_344_016,
            None,
        ),
        (0.9, 0.05, 0.05),
    ),
    Named(
        "wikitext2",
        "good articles of Wikipedia, raw, 13 MB",
        "https://wikitext.smerity.com",
        "CC BY-SA 3.0",
        "Merity, Xiong, Bradbury & Socher 2016, Pointer Sentinel Mixture Models",
        _wikitext(
            "2",
            "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
            4_721_645,
            20 * 10**6,
        ),
    ),
    Named(
        "wikitext103",
        "good articles of Wikipedia, raw, 540 MB",
        "https://wikitext.smerity.com",
        "CC BY-SA 3.0",
        "Merity, Xiong, Bradbury & Socher 2016, Pointer Sentinel Mixture Models",
        _wikitext(
            "103",
            "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794",
            191_984_949,
            10**9,
        ),
    ),
    Named(
        "karpathy_linux",
        "C of the Linux kernel, 6.2 MB",
        "https://cs.stanford.edu/people/karpathy/char-rnn/",
        "GPL-2.0",
        "Karpathy, Johnson & Fei-Fei 2015, Visualizing and Understanding Recurrent Networks",
        (
            Text(
                Download(
                    "linux_input.txt",
                    ("https://cs.stanford.edu/people/karpathy/char-rnn/linux_input.txt",),
                )
            ),
        ),
        (0.9, 0.05, 0.05),
    ),
    Named(
        "sst",
        "sentences of film reviews with their sentiment, two classes",
        "https://github.com/openai/generating-reviews-discovering-sentiment",
        "MIT (the repository)",
        "Socher et al. 2013, Recursive Deep Models for Semantic Compositionality",
        _splits(
            _OPENAI,
            "{}_binary_sent.csv",
            {
                "train": (
                    "6003623bcb35aad3a446a265b8931b7ccab61fcc10f2e9c1fec916ff67c7be35",
                    726_331,
                ),
                "dev": (
                    "f34c4987fea208fefc2d62a1b42c83a766cbfc7ce58c2a878ef953cf91f01729",
                    92_802,
                ),
                "test": (
                    "519cea7ed4d22fe7ec4eccbb3d5ba6d88902a3b15ce129f476aa8364463a9fc7",
                    190_431,
                ),
            },
        ),
        records="csv with the fields label and sentence",
        field="sentence",
    ),
    Named(
        "ud_english_ewt",
        "English of the web with parts of speech, Universal Dependencies 2.16",
        "https://github.com/UniversalDependencies/UD_English-EWT",
        "CC BY-SA 4.0",
        "Silveira et al. 2014, A Gold Standard Dependency Corpus for English",
        _splits(
            _EWT,
            "en_ewt-ud-{}.conllu",
            {
                "train": (
                    "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
                    14_203_025,
                ),
                "dev": (
                    "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
                    1_805_545,
                ),
                "test": (
                    "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
                    1_804_515,
                ),
            },
        ),
        records="CoNLL-U",
    ),
    Named(
        "amazon_reviews",
        "82.8 million product reviews, deduplicated: 18 GB of JSON lines, gzip",
        "https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html",
        "research use",
        "McAuley, Targett, Shi & van den Hengel 2015, Image-Based Recommendations",
        (
            Text(
                Download(
                    "aggressive_dedup.json.gz",
                    ("http://snap.stanford.edu/data/amazon/productGraph/aggressive_dedup.json.gz",),
                )
            ),
        ),
        records="JSON lines with the field reviewText",
        field="reviewText",
    ),
)
