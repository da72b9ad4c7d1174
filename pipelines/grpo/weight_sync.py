"""New weights on the trainer's side: broadcast to rollout actors, or laid in the object store."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import ray
import torch
from ray.actor import ActorHandle

from pipelines.grpo.weight_group import WeightGroup, list_layout, open_meeting

logger = logging.getLogger(__name__)


class WeightSender:
    """Makes weights known to rollouts; in the first worker of a training.

    A broadcast reaches the actors without a copy on the way. The copy in the object store follows
    it, for actors that are put in the place of others, or that the broadcast did not reach.

    Args:
        controller: of the rollouts.
        device: where weights lie.
        broadcasts: whether they are broadcast.
        timeout_seconds: of waiting for an actor.
    """

    def __init__(
        self,
        controller: ActorHandle,
        device: torch.device,
        broadcasts: bool,
        timeout_seconds: float,
    ) -> None:
        self._controller = controller
        self._device = device
        self._broadcasts = broadcasts
        self._timeout_seconds = timeout_seconds
        self._group: WeightGroup | None = None
        self._members: tuple[int, int] | None = None  # as `invite` tells them

    def send(self, version: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Return when rollouts know them.

        Args:
            version: steps that they have learned.
            weights: those that learn, on the device.
        """
        weights = {name: weight.float() for name, weight in weights.items()}
        if self._broadcasts:
            self._broadcast(version, weights)
        copy = ray.put({name: weight.cpu().numpy() for name, weight in weights.items()})
        ray.get(self._controller.publish.remote(version, [copy]))

    def _broadcast(self, version: int, weights: Mapping[str, torch.Tensor]) -> None:
        members = ray.get(self._controller.invite.remote(version))
        store = None
        if self._group is not None and members == self._members:
            meeting = self._group.meeting
        else:
            self._group = None  # frees the one before
            host = ray.util.get_node_ip_address()
            meeting, store = open_meeting(host, 1 + members[0], self._timeout_seconds)
        received = self._controller.receive.remote(version, meeting, list_layout(weights))
        try:
            if self._group is None:
                self._group = WeightGroup(meeting, 0, self._device, self._timeout_seconds, store)
            self._group.send(weights)
        except RuntimeError as error:
            logger.warning("weights of step %d did not reach all actors: %s", version, error)
            self._group = None  # closed, so that the others do not wait either
        ray.get(received)
        self._members = members
