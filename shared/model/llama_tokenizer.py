"""A tokenizer from LLaMA's `tokenizer.model`, splitting text as the reference's does (transformers 4's slow one).

Its two habits matter to the ids: every stretch of text between special tokens is tokenised as if it stood alone, with
a space put before it; and spaces beside GLaMM's added tokens belong to those.
"""

import json
import shutil
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from shared.model.checkpoint import CheckpointError
from shared.model.tokenizer import ADDED, FILE, GlammTokenizer

SENTENCEPIECE_FILE = "tokenizer.model"
ADDED_FILE = "added_tokens.json"
SOURCES = (SENTENCEPIECE_FILE, ADDED_FILE, "special_tokens_map.json", "tokenizer_config.json")
"""What the reference makes its tokenizer from. It reads no tokenizer.json."""
SPECIAL = ("<unk>", "<s>", "</s>")
SPACE = "▁"
SAMPLE = "A chat between a curious human and an assistant.\nUSER: Où est  le 猫? ASSISTANT:"


def read(folder: Path) -> str:
    """The JSON of the folder's tokenizer with GLaMM's tokens: made from its tokenizer.model, else its tokenizer.json.

    In this order, since the reference reads the first alone, and the second may split text otherwise.
    Raises CheckpointError where the folder has neither, or its vocabulary is not GLaMM's.
    """
    if (path := folder / SENTENCEPIECE_FILE).is_file():
        tokenizer = from_sentencepiece(path)
    elif (path := folder / FILE).is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing narrower
            raise CheckpointError(f"{path} is not a tokenizer: {error}") from error
    else:
        raise CheckpointError(f"{folder} has no tokenizer; put LLaMA's {SENTENCEPIECE_FILE}, or a {FILE}, into it")
    if not any(tokenizer.token_to_id(token) is not None for token in ADDED):
        _add(tokenizer, _added(folder, tokenizer.get_vocab_size()))
        _check(path, tokenizer)
        return str(tokenizer.to_str())
    _check(path, tokenizer)
    return path.read_text()


def keep_sources(folder: Path, destination: Path) -> None:
    """Copies what the reference makes its tokenizer from, where a folder has it."""
    for name in SOURCES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, destination / name)


def write_reference(folder: Path, destination: Path) -> None:
    """What a checkpoint of ours kept for the reference, or its tokenizer.json where it has no tokenizer.model.

    Raises CheckpointError where these two give tokens other ids.
    """
    keep_sources(folder, destination)
    if not (folder / SENTENCEPIECE_FILE).is_file():
        shutil.copyfile(folder / FILE, destination / FILE)
        return
    ours = GlammTokenizer.read(folder).tokenizer
    if Tokenizer.from_str(read(folder)).get_vocab() != ours.get_vocab():
        raise CheckpointError(f"{folder}: {SENTENCEPIECE_FILE} and {FILE} give tokens other ids; remove the first")
    if not (folder / ADDED_FILE).is_file():
        listed = {token: ours.token_to_id(token) for token in ADDED}
        (destination / ADDED_FILE).write_text(json.dumps(listed, indent=2) + "\n")


def from_sentencepiece(path: Path) -> Tokenizer:
    """LLaMA's own vocabulary, without added tokens. Raises CheckpointError for another kind of model."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise CheckpointError(f"{path} can only be read with the package sentencepiece, which is missing") from error
    try:
        pieces = SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a sentencepiece model: {error}") from error
    count = pieces.get_piece_size()
    vocabulary = {pieces.id_to_piece(i): i for i in range(count)}
    if tuple(vocabulary)[:3] != SPECIAL:
        raise CheckpointError(f"{path} does not begin with {', '.join(SPECIAL)}, as LLaMA's does")
    written = [i for i in range(count) if not (pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_byte(i))]
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            _merges(vocabulary, {pieces.id_to_piece(i): pieces.get_score(i) for i in written}),
            unk_token=SPECIAL[0],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    if tokenizer.encode(SAMPLE).ids != pieces.encode(SAMPLE):
        raise CheckpointError(f"{path} is no byte-pair model like LLaMA's")
    return tokenizer


def _merges(vocabulary: dict[str, int], scores: dict[str, float]) -> list[tuple[str, str]]:
    """Sentencepiece joins whichever neighbours make the piece with the best score; merges are that, listed in order."""
    ranked = [
        (-score, vocabulary[piece[:cut]], vocabulary[piece[cut:]], piece[:cut], piece[cut:])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    return [(left, right) for *_, left, right in sorted(ranked)]


def _added(folder: Path, base: int) -> list[str]:
    """The tokens to add behind `base` others: those that the folder lists, else GLaMM's."""
    path = folder / ADDED_FILE
    if not path.is_file():
        return list(ADDED)
    try:
        listed: dict[str, int] = json.loads(path.read_text())
        tokens = sorted(listed, key=lambda token: listed[token])
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is no list of tokens and their ids: {error}") from error
    if [listed[token] for token in tokens] != list(range(base, base + len(tokens))):
        raise CheckpointError(f"{path} does not number its tokens on from the {base} of the vocabulary")
    return tokens


def _add(tokenizer: Tokenizer, tokens: list[str]) -> None:
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=True) for token in tokens]
    )


def _check(path: Path, tokenizer: Tokenizer) -> None:
    try:
        GlammTokenizer(tokenizer)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    ids = [int(tokenizer.token_to_id(token) or 0) for token in ADDED]
    if [i - ids[0] for i in ids] != list(range(len(ADDED))):
        found = ", ".join(f"{token} {i}" for token, i in zip(ADDED, ids, strict=True))
        raise CheckpointError(f"{path} has GLaMM's tokens in another order than the reference: {found}")
