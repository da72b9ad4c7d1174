"""The whole method, stage by stage: each is the command of a job, with the outputs of others."""
