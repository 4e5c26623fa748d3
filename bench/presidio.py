"""Presidio's side of `bench.detectors`, in a Python of its own that knows nothing of Keystile.

Reads one JSON value a line: `[number, seed]` makes labelled sentences, anything else analyses them.
Answers with one line each.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from typing import Any


def main() -> None:
    """Answer until there is nothing more to read."""
    # They are in this program's own environment only.
    import spacy  # noqa: PLC0415
    from presidio_analyzer import AnalyzerEngine  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import SpacyNlpEngine  # noqa: PLC0415
    from presidio_evaluator.data_generator import PresidioSentenceFaker  # noqa: PLC0415

    language, entities = SpacyNlpEngine(), sys.argv[1].split(",")
    language.nlp = {"en": spacy.blank("en")}
    engine = AnalyzerEngine(nlp_engine=language, supported_languages=["en"])
    engine.analyze("mail a@example.com", language="en", entities=entities)
    texts: list[str] = []
    for line in sys.stdin:
        asked: Any = json.loads(line)
        if isinstance(asked, list):
            with redirect_stdout(sys.stderr):
                faker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, random_seed=asked[1])
                made = faker.generate_new_fake_sentences(num_samples=asked[0])
            texts = [one.full_text for one in made]
            spans = [
                [[span.entity_type, span.start_position, span.end_position] for span in one.spans]
                for one in made
            ]
            answer: Any = [texts, spans]
        else:
            begun = time.process_time()
            found = [engine.analyze(text, language="en", entities=entities) for text in texts]
            seconds = time.process_time() - begun
            marks = [
                [[one.entity_type, one.start, one.end] for one in several] for several in found
            ]
            answer = [seconds, marks]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
