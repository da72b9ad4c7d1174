"""What is told of rollouts and audits: plain numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pipelines.grpo.records import AuditedAnswer, RolloutGroup
from samtok.metrics.gres import GresTally
from samtok.rewards import Reward, no_repeat
from samtok.words import parse


def measure_groups(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Rewards and forms of the answers of some groups.

    Args:
        groups: at least one.

    Returns:
        ``reward/total`` and every component that applied (means over answers), ``reward/spread``
        (mean over groups of the deviation within, G - 1 degrees of freedom), ``reward/flat_share``
        of groups, response length (tokens), shares of answers that ended, and the forms of
        :func:`measure_texts`; ``num_sampled_tokens``.
    """
    answers = [answer for group in groups for answer in group.answers]
    texts = [text for group in groups for text in group.texts]
    lengths = [len(answer.token_ids) for answer in answers]
    spreads = [np.std([r.total for r in group.rewards], ddof=1) for group in groups]
    return {
        **mean_rewards([reward for group in groups for reward in group.rewards]),
        "reward/spread": float(np.mean(spreads)),
        "reward/flat_share": float(np.mean([group.is_flat for group in groups])),
        "responses/length": float(np.mean(lengths)),
        "responses/ended_share": float(np.mean([answer.has_ended for answer in answers])),
        **measure_texts(texts, "responses"),
        "num_sampled_tokens": float(sum(lengths)),
    }


def measure_audit(answers: Sequence[AuditedAnswer]) -> dict[str, float]:
    """Rewards beside what the masks are really worth.

    Args:
        answers: at least one.

    Returns:
        Under ``audit/``: gIoU, cIoU, N-acc and T-acc as gRefCOCO has them, rewards, forms, and
        ``reward_iou_correlation`` (Pearson, over answers). What is not defined is left out.
    """
    tally = GresTally()
    for answer in answers:
        tally.add_overlap(answer.overlap)
    scores = tally.scores()
    rewards = np.array([answer.reward.total for answer in answers])
    ious = np.array([answer.overlap.iou for answer in answers])
    named = {
        "g_iou": scores.g_iou,
        "c_iou": scores.c_iou,
        "n_acc": scores.n_acc,
        "t_acc": scores.t_acc,
    }
    if rewards.std() > 0 and ious.std() > 0:
        named["reward_iou_correlation"] = float(np.corrcoef(rewards, ious)[0, 1])
    figures = {f"audit/{name}": value for name, value in named.items() if not np.isnan(value)}
    rewards_by_name = mean_rewards([answer.reward for answer in answers])
    figures |= {f"audit/{name}": value for name, value in rewards_by_name.items()}
    return figures | measure_texts([answer.text for answer in answers], "audit")


def mean_rewards(rewards: Sequence[Reward]) -> dict[str, float]:
    """``reward/total``, and each component over the answers that it applied to."""
    found: dict[str, list[float]] = defaultdict(list)
    for reward in rewards:
        found["reward/total"].append(reward.total)
        for name, value in reward.components.items():
            found[f"reward/{name}"].append(value)
    return {name: float(np.mean(values)) for name, values in sorted(found.items())}


def measure_texts(texts: Sequence[str], prefix: str) -> dict[str, float]:
    """Forms of some answers.

    Returns:
        Shares of answers without a mask (``refusal_rate``) and of those that write one span more
        than three times (``repeat_rate``), and of spans that are well formed (left out without
        spans).
    """
    spans = [parse(text) for text in texts]
    statuses = [span.status for found in spans for span in found]
    figures = {
        f"{prefix}/refusal_rate": float(np.mean([not found for found in spans])),
        f"{prefix}/repeat_rate": float(np.mean([1 - no_repeat(text) for text in texts])),
    }
    if statuses:
        is_well_formed = [status == "well_formed" for status in statuses]
        figures[f"{prefix}/well_formed_share"] = float(np.mean(is_well_formed))
    return figures
