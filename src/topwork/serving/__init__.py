"""Servables behind HTTP.

The room in reading order:

- `limits`: every bound in one place; `refusals`: what a client is told when it is turned away;
- `messages`: one request in, one response out, the body read within bounds;
- `bodies`, `numerals`: a body becomes inputs, of long lists of numbers as well; `answers`: answers become a body;
- `keys`, `keyring`: an API key, and the file of them; `rates`, `door`: how often somebody may come, and who may;
- `origins`: pages of other origins; `hosts`: under which names a server may be asked; `access`: the operator's choice
  of all this; `addresses`: which clients are one, `crowds`: how many connections each has;
- `gate`: who may work now; `work`: the threads that do it; `durations`: how long both took;
- `hooks`: a user's own code around a servable, its answers held by `conformity` against its schema;
- `chains`: several servables as one, each asked where its `conditions` hold;
- `gathering`: what several threads ask of a servable, computed together; `errands`: what they hear of who has left;
- `replicas`: a servable in worker processes; `fleet` keeps them, `vigilance` says which are broken, `autoscaling` how
  many there are to be; `replica` is one of them, `replica_process` what runs in it, `frames` (with `references`) what
  the two say;
- `staffing`: what a server knows of all that;
- `hosting`: one servable with its proof, its gate and its threads; `prediction`: one request from end to end;
- `visits`: what is noted of a request; `versions`: a model that is several, with `traffic`, `canaries`, `sequences` and
  `shadows`;
- `directory`, `marks` and `newcomers`: models of a folder; `shelf`: models within a memory;
- `routes`, `pages`: which paths there are, and what a person sees;
- `job_file`, `job_records`, `job_store`, `job_lanes`, `job_progress`, `job_work`, `job_views`, `jobs`, `job_opening`:
  requests that are answered later; `batches`: of whole files;
- `webhooks`, `telling`: who is told of their ends;
- `inference` with `tensors` and `outputs`, `sagemaker`: the protocols of others; `metrics`: what is counted;
- `openapi` with `tensor_schemas`, `job_schemas`, `schemes`, `schemas` and `places`: the description of paths and keys;
- `app`: the ASGI application that joins them; `http11` and `server`: the process around it, or around what else
  is `served`.

It knows no task and no modality: it sees `topwork.contracts.Servable` and nothing behind it.
"""
