"""METEOR 1.5 for English, in Python: the numbers of the Java program that captioning papers report."""

from training.metrics.meteor.score import Meteor, MeteorScores, corpus_scores

__all__ = ["Meteor", "MeteorScores", "corpus_scores"]
