"""The tokenizer as a service: a Ray Serve application with an HTTP interface.

Requests pass `gate` (who, how often, how much), `api` (the routes), `codecs` (pictures and masks on
the wire), and reach a `deployments` replica, whose `engine` shares backbone passes between them.
Everything but `deployments` and `run` works without Ray.
"""
