"""Orders of a fixed rule, written down before the episode: buying that no placement changes."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import Array, as_like, to_numpy
from stockyard.envs.network.params import Params
from stockyard.envs.network.topology import Network

if TYPE_CHECKING:
    from stockyard.envs.network.tapes import Tape

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class OrderRecorder:
    """Plays a buyer on one pooled stock and writes down what it orders.

    At each review a product is ordered up to its forecast over quoted lead time, review and a
    safety cover; an order below half the minimum is left, a smaller one raised to the minimum, and
    what a supplier cannot ship in a review is cut in proportion. What will not be delivered counts
    until the last part of its order is due, for nobody knows of it before. The pool sells what it
    holds and receives what the tape delivers, so the orders are near those of a real network, and
    the same whatever is placed where.
    """

    network: Network
    on_hand: Floats  # (P,) units at the start of the tape
    inbound: tuple[Floats, ...]  # of (P,) units; [k] arrives in k + 1 periods
    minimum: Floats  # (P,) units of an order
    safety_days: float

    def record(self, params: Params, tape: "Tape") -> Array:
        """The orders of each review, (epochs, B, P) units.

        Args:
            params: the step's constants.
            tape: with forecasts, arrivals and supplier capacities.
        """
        network, h = self.network, self.network.periods_per_day
        demand = to_numpy(tape.demand).sum(axis=2)
        daily = to_numpy(tape.forecast_daily).sum(axis=2)
        lane = network.carries.argmax(axis=0)
        product = np.arange(network.num_products)
        quoted = to_numpy(tape.quoted)[:, :, lane, product]
        lead = to_numpy(tape.lead)[:, :, :, lane, product].astype(np.int64)
        fraction = to_numpy(tape.fraction)[:, :, :, lane, product]
        periods, batch = demand.shape[:2]
        coming = np.zeros((periods + int(lead.max()) + len(self.inbound) + 2, *demand.shape[1:]))
        missing = np.zeros_like(coming)  # what the buyer learns will not come
        for k, units in enumerate(self.inbound):
            coming[k + 1] += units
        stock = np.broadcast_to(self.on_hand, demand.shape[1:]).astype(np.float64)
        position = stock + sum(self.inbound, start=np.zeros(network.num_products))
        supplier = network.inbound.supplier[lane, product]
        rows = np.arange(batch)[:, None]
        orders = np.zeros((len(quoted), batch, network.num_products))
        for t in range(periods):
            stock, position = stock + coming[t], position - missing[t]
            epoch, rest = divmod(t, tape.epoch_periods)
            if not rest:
                days = quoted[epoch] / h + params.review_days + self.safety_days
                need = daily[min(t, len(daily) - 1)] * days - position
                order = np.where(need < self.minimum / 2.0, 0.0, np.maximum(need, self.minimum))
                capacity = tape.limit("supplier_capacity", t)
                if capacity is not None:
                    order = order * self._share(order, to_numpy(capacity), supplier, params)
                orders[epoch] = order
                for m in range(lead.shape[2]):
                    part = order * fraction[epoch, :, m]
                    np.add.at(coming, (t + lead[epoch, :, m], rows, product), part)
                # an open order counts in full until its last part is due
                position = position + order
                short = order * (1.0 - fraction[epoch].sum(axis=1))
                np.add.at(missing, (t + lead[epoch].max(axis=1), rows, product), short)
            sold = np.minimum(stock, demand[t])
            stock, position = stock - sold, position - sold
        return as_like(orders, tape.demand)

    def _share(
        self, order: Floats, capacity: Floats, supplier: npt.NDArray[np.int64], params: Params
    ) -> Floats:
        """What suppliers can ship of the orders, (B, P), 0 to 1."""
        volume = np.zeros((len(order), capacity.shape[1]))
        np.add.at(volume.T, supplier, order.T)
        room = capacity * params.review_days
        share = np.clip(room / np.maximum(volume, 1e-9), 0.0, 1.0)
        return np.asarray(share[:, supplier])
