"""Gymnasium environments for a retail fulfilment network; importing registers their ids."""

from gymnasium.envs.registration import register

for _task in ("replenishment", "placement", "restock_limits", "truck_fill", "network"):
    register(
        id=f"stockyard/{_task.title().replace('_', '')}-v0",
        entry_point="stockyard.envs.env:NetworkEnv",
        vector_entry_point="stockyard.envs.vector_env:NetworkVectorEnv",
        kwargs={"task": _task},
        disable_env_checker=True,  # the test suite runs it; in use it would halve the speed
    )
