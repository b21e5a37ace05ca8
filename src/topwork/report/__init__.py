"""What a person reads: a fit record as a page, as Markdown, and as a few plain sentences.

The room renders `contracts.FitRecord` and nothing else: it knows no task, no modality and no file, and it
computes no metric. Everything in a record that came from data is untrusted text.
"""
