"""Tasks take public corpora by name."""

from mlstm.corpus import named
from mlstm.corpus.named_corpora import Download, Named, Text
from probing.tasks import part_of_speech, sentiment

CSV = "label,sentence\n1,a good film\n0,a dull film\n"
TREE = "# sent_id = a-1\n# text = It rains\n1\tIt\tit\tPRON\tPRP\t_\t2\tnsubj\t_\t_\n"
TREE += "2\trains\train\tVERB\tVBZ\t_\t0\troot\t_\t_\n\n"


def known(tmp_path, monkeypatch, files: dict[str, str]) -> None:
    monkeypatch.setenv("MLSTM_CACHE", str(tmp_path))
    folder = tmp_path / "corpora" / "reviews"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    texts = tuple(Text(Download(name, ("http://127.0.0.1:9/x",))) for name in files)
    made = Named("reviews", "reviews", "http://page", "MIT", "Someone", texts)
    monkeypatch.setattr(named, "CORPORA", (made,))


def test_sentiment_is_read_from_a_corpus_by_name(tmp_path, monkeypatch):
    known(tmp_path, monkeypatch, {f"{part}_binary.csv": CSV for part in ("train", "dev", "test")})
    data = sentiment("reviews")
    assert {document.split for document in data.documents} == {"train", "dev", "test"}
    assert len(data.documents) == 6


def test_parts_of_speech_are_read_from_a_corpus_by_name(tmp_path, monkeypatch):
    known(tmp_path, monkeypatch, {"x-ud-train.conllu": TREE, "x-ud-dev.conllu": TREE})
    assert len(part_of_speech("reviews").documents) == 2
