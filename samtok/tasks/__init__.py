"""Dialogues for six tasks: texts that point at masks become questions and answers in mask words."""

from samtok.tasks.conversation import Conversation, Message
from samtok.tasks.draft import DialogueOptions
from samtok.tasks.regions import Region
from samtok.tasks.registry import GENERAL_VQA, TASK_NAMES, make_conversations

__all__ = [
    "GENERAL_VQA",
    "TASK_NAMES",
    "Conversation",
    "DialogueOptions",
    "Message",
    "Region",
    "make_conversations",
]
