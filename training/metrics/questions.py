"""Visual question answering's files: a question and its answer an entry, in the ground truth and in predictions."""

from pathlib import Path

from training.metrics import pairing
from training.metrics.answering import Question, normalized
from training.metrics.entries import Entry, coco_entries


def read_pairs(predictions: Path, truth: Path) -> tuple[list[tuple[str, Question]], int]:
    """(said, asked) of every question of the ground truth; and how many had no prediction, which count as empty.

    See `pairing.read_pairs` for a question that stands several times in one image.
    """
    return pairing.read_pairs(_FORM, predictions, truth, coco_entries(truth))


def _question(entry: Entry) -> Question:
    answers = entry.texts("answers")
    if not answers or "answer" in entry.data:
        answers = (entry.text("answer"), *answers)
    if not all(map(normalized, answers)):
        raise entry.wrong("An answer is empty.", "Write what counts as right.")
    return Question(answers, None if entry.data.get("type") is None else entry.text("type"))


def _key(entry: Entry) -> pairing.Key:
    """An image and a question's id; without one its words, in lower case without outer blanks, and its region."""
    if entry.data.get("question_id") is not None:
        return entry.image, entry.key("question_id")
    words = " ".join(entry.text("question").lower().split())
    return entry.image, words, "" if entry.data.get("bbox") is None else str(entry.bbox())


_FORM = pairing.Form[Question, str]("question", _key, _question, lambda entry, _: entry.text("answer"), nothing="")
