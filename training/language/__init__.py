"""What is said of composed scenes: captions, referring expressions, questions, and conversations of them.

Everything said is true. Where people could disagree (a thing somewhat to the left, a colour that is mixed), nothing is
said, so that each question has one right answer.
"""
