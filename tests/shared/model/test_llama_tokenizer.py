"""A tokenizer made from a sentencepiece model says the ids that sentencepiece says."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from shared.model import conversation, llama_tokenizer, stand_in_tokenizer
from shared.model.checkpoint import CheckpointError
from shared.model.tokenizer import ADDED, GlammTokenizer
from tests.sentencepieces import CORPUS, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released folder's tokenizer files."""
    made = tmp_path_factory.mktemp("released")
    train(made / "tokenizer.model")
    return made


@pytest.fixture(scope="module")
def pieces(folder: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> GlammTokenizer:
    return GlammTokenizer(Tokenizer.from_str(llama_tokenizer.read(folder)))


ALPHABET = "abcdeginorstu .,:'\n\t0123456789ÀéñßО猫🐕▂"


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from(ALPHABET) | st.characters(exclude_categories=["Cs"], exclude_characters="▁\0"), min_size=1)
)
def test_any_text_has_the_ids_of_sentencepiece(
    tokenizer: GlammTokenizer, pieces: SentencePieceProcessor, text: str
) -> None:
    if not any(token in text for token in (*ADDED, "<s>", "</s>", "<unk>")):
        assert tokenizer.encode(text) == pieces.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == pieces.decode(pieces.encode(text)).strip()


@pytest.mark.parametrize("text", CORPUS[:12])
def test_sentences_have_the_ids_of_sentencepiece(
    tokenizer: GlammTokenizer, pieces: SentencePieceProcessor, text: str
) -> None:
    plain = text
    for token in ("<im_start><image><im_end>", *ADDED):
        plain = plain.replace(token, "")
    assert tokenizer.encode(plain) == pieces.encode(plain)


def test_glamms_tokens_follow_the_vocabulary(tokenizer: GlammTokenizer, pieces: SentencePieceProcessor) -> None:
    base = pieces.get_piece_size()
    assert [tokenizer.tokenizer.token_to_id(token) for token in ADDED] == list(range(base, base + len(ADDED)))
    assert (tokenizer.bos, tokenizer.eos, tokenizer.size) == (1, 2, base + len(ADDED))


def test_text_between_special_tokens_is_tokenised_as_if_it_stood_alone(
    tokenizer: GlammTokenizer, pieces: SentencePieceProcessor
) -> None:
    """Each stretch gets a space of its own in front, and the spaces beside GLaMM's tokens are theirs."""
    p, end, seg = (tokenizer.tokenizer.token_to_id(token) for token in ("<p>", "</p>", "[SEG]"))
    for text in (
        "A <p> brown dog </p> [SEG] stands.",
        "A<p>brown dog</p>[SEG]stands.",
        "A  <p>brown dog </p>  [SEG] stands.",
    ):
        expected = [*pieces.encode("A"), p, *pieces.encode("brown dog"), end, seg, *pieces.encode("stands.")]
        assert tokenizer.encode(text) == expected


def test_a_prompt_is_tokenised_around_the_image(tokenizer: GlammTokenizer, pieces: SentencePieceProcessor) -> None:
    prompt = conversation.build([(conversation.REGION_CAPTION, None)])
    start, end, bbox = (tokenizer.tokenizer.token_to_id(token) for token in ("<im_start>", "<im_end>", "<bbox>"))
    before, rest = prompt.split("<im_start><image><im_end>")
    middle, after = rest.split("<bbox>")
    expected = [
        *(tokenizer.bos, *pieces.encode(before.rstrip(" ")), start, -200, end),
        *(*pieces.encode(middle.strip(" ")), bbox, *pieces.encode(after.lstrip(" "))),
    ]
    assert tokenizer.encode_prompt(prompt) == expected


def test_the_folders_own_list_of_added_tokens_counts(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    listed = {token: 420 + index for index, token in enumerate(("<pad>", *ADDED))}
    (tmp_path / "added_tokens.json").write_text(json.dumps(listed))
    read = GlammTokenizer(Tokenizer.from_str(llama_tokenizer.read(tmp_path)))
    assert read.seg == listed["[SEG]"]
    (tmp_path / "added_tokens.json").write_text(json.dumps({token: i + 1 for token, i in listed.items()}))
    with pytest.raises(CheckpointError, match="on from the 420"):
        llama_tokenizer.read(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({ADDED[1]: 420, ADDED[0]: 421}))
    with pytest.raises(CheckpointError, match="no token '<bbox>'"):
        llama_tokenizer.read(tmp_path)


def test_the_model_counts_where_there_is_a_made_tokenizer_as_well(folder: Path, tmp_path: Path) -> None:
    """The reference reads tokenizer.model alone; a fast tokenizer beside it may split text otherwise."""
    (tmp_path / "tokenizer.json").write_text(stand_in_tokenizer.make(420 + len(ADDED)))
    stand_in = llama_tokenizer.read(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    assert llama_tokenizer.read(tmp_path) == llama_tokenizer.read(folder) != stand_in


def test_other_kinds_of_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="is not a sentencepiece model"):
        llama_tokenizer.read(tmp_path)
    train(path, model_type="unigram", vocab_size=360)
    with pytest.raises(CheckpointError, match="no byte-pair model"):
        llama_tokenizer.read(tmp_path)
    train(path, bos_piece="<begin>")
    with pytest.raises(CheckpointError, match="does not begin with <unk>, <s>, </s>"):
        llama_tokenizer.read(tmp_path)


@pytest.mark.parametrize("size", [stand_in_tokenizer.SMALLEST, 688, 32007])
def test_a_stand_in_reads_any_text_back(size: int) -> None:
    made = GlammTokenizer(Tokenizer.from_str(stand_in_tokenizer.make(size)))
    assert made.size == size
    assert (made.bos, made.eos, made.seg) == (1, 2, size - 3)
    for text in ("A dog on the left.", "Wörter und 犬 🐕!"):
        assert made.decode(made.encode(text)) == text


def test_a_stand_in_needs_room_for_every_byte() -> None:
    with pytest.raises(ValueError, match="no room"):
        stand_in_tokenizer.make(stand_in_tokenizer.SMALLEST - 1)
