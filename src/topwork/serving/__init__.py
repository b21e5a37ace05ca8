"""Servables behind HTTP.

The rooms in reading order:

- `http`: one request in, one response out, keys, paths and bodies, all of it bounded;
- `batching`: who may work when, and what is computed together;
- `wrapping`: servables around servables, a user's own code and chains;
- `replicas`: a servable in worker processes;
- `protocols`: how models are asked, and the exact description;
- `traffic`: several versions of a model, and many models;
- `jobs`: requests that are answered later, and batches of whole files;
- `watching`: numbers, log, traces, drift;
- `settings`: what an operator may set.

Beside them `limits` has every bound in one place, `hosting` is one servable with its proof, its gate and its threads,
`app` the ASGI application that joins them, `succession` what changes models while it runs, and `server` the process.

It knows no task and no modality: it sees `topwork.contracts.Servable` and nothing behind it.
"""
