"""What all relayed connections of a balancer share."""

from __future__ import annotations

from homing.balancer.data_planes.moving import Mover
from homing.balancer.data_planes.readiness import Readiness, ReadinessReactor
from homing.balancer.data_planes.spare_pipes import SparePipes
from homing.balancer.descriptor_reserve import DescriptorReserve


class Traffic:
    """Who can go on, and what moves the bytes."""

    def __init__(self, reactor: ReadinessReactor, reserve: DescriptorReserve) -> None:
        self.reactor = reactor
        self.reserve = reserve
        self.readiness = Readiness(reactor)
        self.pipes = SparePipes(reserve)
        self.mover = Mover(self.pipes)

    def close(self) -> None:
        """No connection is left."""
        self.readiness.close()
        self.pipes.close()
