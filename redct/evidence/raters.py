"""What those are called whose labels `redct test` compares; the names stand in its files."""

from typing import Final

EDGE: Final = "edge classifier"
LLM: Final = "LLM"
TFIDF: Final = "TF-IDF + logistic"
MAJORITY: Final = "majority class"
