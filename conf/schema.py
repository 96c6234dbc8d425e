"""What the primary configurations hold, with types: Hydra refuses any other key."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import II, MISSING


@dataclass
class EvaluationSchema:
    """Evaluation during training, always on the same tapes."""

    tapes: int = 64  # 0: no evaluation, and then the last model is the best
    every: int = 50_000  # steps
    seed: int = 0
    split: str = "validation"


@dataclass
class CheckpointSchema:
    """From which an interrupted run goes on."""

    every: int = 200_000  # steps
    keep: int = 2


@dataclass
class TrainSchema:
    """`config.yaml`, of `stockyard-train`."""

    env: Any = MISSING  # group: the environment
    scenario: Any = MISSING  # group: the world, where the environment has a choice
    agent: Any = MISSING  # group: the learner
    experiment: Any = None  # group: a whole run, by name
    launcher: Any = None  # group: how the runs of a sweep are spread
    seed: int = 0
    total_steps: int = 1_000_000  # of all environments of the batch together
    n_envs: int = II("agent.n_envs")  # batch size; the agent's settings were chosen for its own
    eval: EvaluationSchema = field(default_factory=EvaluationSchema)
    checkpoint: CheckpointSchema = field(default_factory=CheckpointSchema)
    against: list[Any] | None = None  # heuristics to beat; null: one for what is decided
    resume: str | None = None  # a run folder to go on with
    progress: bool = True


@dataclass
class EvaluateSchema:
    """`evaluate.yaml`, of `stockyard-evaluate`."""

    env: Any = MISSING
    scenario: Any = MISSING
    # heuristics by name, or {name: base_stock, order_up_to: 30}; run folders by path; null: naive,
    # newsvendor and base_stock, or where not only orders are decided a rule that decides the same
    policies: list[Any] | None = None
    against: str | None = None  # whom to compare with; null: the best
    tapes: int = 256
    periods: int | None = None  # null: the horizon of the environment, less the warm-up
    warmup: int = 0  # periods, whole steps
    seed: int = 0
    split: str = "test"
    which: str = "best"  # of a run folder: its "best" model or the "last"
    output: str | None = None  # JSON file; null: evaluation.json in the folder of this command


@dataclass
class TuneSchema:
    """`tune.yaml`, of `stockyard-tune`."""

    env: Any = MISSING
    scenario: Any = MISSING
    policy: str | None = None  # a heuristic by name; null: one for what is decided
    tapes: int = 64  # training tapes
    seed: int = 0
    method: str = "coordinate"  # or "tpe": a study by Optuna, and then the other from its best
    trials: int = 60  # of a study, in all
    batches: int | None = (
        None  # of tapes, after each of which a hopeless trial ends; null: the rule's
    )
    train: list[str] | None = None  # overrides of `stockyard-train`: its settings are tuned instead
    space: Any = None  # of train, {key: {low: , high: , log: false, integer: false}}
    # JSON file, a study beside it; null: in the folder of this command, of a study always the same
    output: str | None = None


@dataclass
class ValidateSchema:
    """`validate.yaml`, of `stockyard-validate`."""

    table: str | None = None  # YAML file of instances; null: the known answers that come with us
    only: Any = None  # instances or problems by name, with * and ?; a list of them; null: all
    short: bool = False  # a small subset in small batches
    output: str | None = None  # JSON file, the page beside it; null: in the folder of this command
    resume: bool = True  # go on with the rows of an interrupted run in `output`
    workers: int = 1  # processes
    seed: int = 0


@dataclass
class OptimalitySchema:
    """`optimality.yaml`, of `stockyard-optimality`."""

    only: Any = None  # studies by name, with * and ?; a list of them; null: all
    overrides: list[str] = field(default_factory=list)  # of every run, for a quick try
    runs: str = "runs/optimality"  # folder of the training runs and of the JSON file
    page: str | None = None  # Markdown file, the picture beside it; null: in the folder `runs`
    tapes: int = 2000  # test tapes
    periods: int = 1000  # counted on each tape
    warmup: int = 100  # periods before them
    workers: int = 1  # processes


@dataclass
class HeadroomSchema:
    """`headroom.yaml`, of `stockyard-headroom`."""

    task: str = "replenishment"  # the contest: a file of conf/headroom
    stage: str = "evaluate"  # tune, train, bound, evaluate, frontier: goes on where interrupted
    scenarios: Any = None  # a list of names; null: the contest's, or the benchmark's
    only: Any = None  # rules or learners by name, with * and ?; null: all
    runs: str = "runs/headroom"  # folder of results, by contest
    page: str | None = None  # Markdown file, JSON and picture beside it; null: in `runs`
    tapes: int = 256  # test tapes
    slow_tapes: int = 32  # test tapes of slow rules and bounds
    validation_tapes: int = 128  # on which the best of a kind is chosen
    tuning_tapes: int = 64  # training tapes of a search
    overrides: list[str] = field(default_factory=list)  # of every training, for a quick try
    workers: int = 1  # processes


@dataclass
class ForecastSchema:
    """`forecast.yaml`, of `stockyard-forecast`; numbers by size hold one for each of `sizes`."""

    train: bool = True  # false: judge the weights there are
    scenarios: Any = None  # a name or a list of them; null: all of the benchmark
    sizes: list[str] = field(default_factory=lambda: ["small", "medium"])
    tapes: dict[str, int] = field(  # training tapes of each scenario
        default_factory=lambda: {"small": 64, "medium": 6, "large": 1}
    )
    every: dict[str, int] = field(  # of so many decisions one gives rows to train on
        default_factory=lambda: {"small": 1, "medium": 2, "large": 8}
    )
    steps: int = 10_000  # of the optimiser
    test_tapes: dict[str, int] = field(  # test tapes of each scenario
        default_factory=lambda: {"small": 128, "medium": 4, "large": 1}
    )
    # of a network's products those that are trained on; the others are judged apart
    trained_products: int = 100
    worth_tapes: int = 256  # test tapes on which a rule is played with each forecast; 0: none
    # npz to write or, without training, to judge; null: in the folder of this command or, without
    # training, the one that comes with the package
    weights: str | None = None
    page: str | None = None  # Markdown file, JSON beside it; null: in the folder of this command
    seed: int = 0


@dataclass
class WhatIfSchema:
    """`what_if.yaml`, of `stockyard-what-if`."""

    env: Any = MISSING
    scenario: Any = MISSING  # group: the world that the experiment's base case changes first
    what_if: Any = MISSING  # group: the experiment, a base case and the cases beside it
    policy: Any = None  # as in `EvaluateSchema`; null: the one of `policies` for the environment
    policies: dict[str, Any] = field(default_factory=dict)  # id of an environment -> policy
    tapes: int = 256
    periods: int | None = None  # null: the horizon of the environment, less the warm-up
    warmup: int = 0  # periods, whole steps
    seed: int = 0
    split: str = "test"
    which: str = "best"  # of a run folder: its "best" model or the "last"
    tuning_tapes: int = 64  # training tapes, where a case says `retune: true`
    workers: int = 1  # processes
    folder: str = MISSING  # of finished cases; one for every experiment
    page: str | None = None  # Markdown file, JSON and picture beside it; null: in `folder`
    resume: bool = True  # take the cases that are finished in `folder`
    progress: bool = True


@dataclass
class LeaderboardSchema:
    """`leaderboard.yaml`, of `stockyard-leaderboard`."""

    stage: str = "run"  # new, check, run, page; also as the first word of the command
    benchmark: str = "quick"  # a file of conf/leaderboard, or the path of one
    folder: str = "my_submission"  # of new and check: the submission
    track: str | None = None  # of new: the track to write for; null: the benchmark's first
    submissions: Any = None  # of run: folders with a submission.yaml, one or a list
    only: Any = None  # of run: rows by name, with * and ?; null: all
    house: bool = True  # of run: with the rules and trained agents that come with the code
    pickles: bool = False  # whether submissions may be opened by unpickling, which runs code
    secret: str | None = None  # file of the secret of held-out tapes; "-": standard input
    runs: str = "runs/leaderboard"  # folder of what is done, by benchmark; goes on from there
    results: str | None = None  # folder of results and page; null: by benchmark in `runs`
    reported: Any = None  # of page: folders of results that others found, to be shown unranked
    # processes, or ray: core tasks of a Ray cluster; needs the extra `ray`. The command line says
    # `launcher`, which to Hydra would be the group of that name
    cell_launcher: str = "processes"
    workers: int = 1  # processes; 0: all cores


def register_schemas() -> None:
    """Makes the schemas known to Hydra; doing it twice does no harm."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainSchema)
    store.store(name="evaluate_schema", node=EvaluateSchema)
    store.store(name="tune_schema", node=TuneSchema)
    store.store(name="validate_schema", node=ValidateSchema)
    store.store(name="optimality_schema", node=OptimalitySchema)
    store.store(name="headroom_schema", node=HeadroomSchema)
    store.store(name="forecast_schema", node=ForecastSchema)
    store.store(name="what_if_schema", node=WhatIfSchema)
    store.store(name="leaderboard_schema", node=LeaderboardSchema)
