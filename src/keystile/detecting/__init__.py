"""Finds personal data and secrets in text that nobody labelled: the second net, never the first.

What is found are shapes of values (`entities`), made sure of by checks (`checks`, `phones`). It
sees a text as it stands: whoever writes a value in another way hides it.
"""
