"""A game of telling a story with a language model.

The room in reading order:

- `narrator`: what the game asks of a model; `manners`: how a turn is written down for one;
- `starts`: how stories begin; `settings`: what a player may change;
- `story`: a story so far, and its turns; `saves`: stories in files;
- `sentences`, `loops`, `words`, `endings`: whole sentences; those that were there before; those that are not to be
  read; those that end a story;
- `memory`: what of a story a model is shown; `telling`: a turn as it is written, sentence by sentence;
- `moves`, `commands`: a line as a turn, and what stands behind a slash; `events`: what happens;
- `game`: the game that joins them;
- `site`: the game behind HTTP, for a page.

It knows no engine and no terminal; `topwork.verbs.playing` brings the model.
"""
